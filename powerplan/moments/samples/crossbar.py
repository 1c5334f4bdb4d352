"""Samples of errors at the output of an array and the power that it takes, for samples of errors of its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.rounds import by_round
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.samples.statistics import ratio
from powerplan.moments.sources.device_samples import are_few, draws_columns, numbers_by_position
from powerplan.moments.sources.errors import Errors, Independent, total
from powerplan.moments.sources.sampled import Sampled
from powerplan.moments.sources.stuck import event_entries, is_rare
from powerplan.moments.walks.array_step import ArrayStep

#: entries of the values at the rows that are worked on at a time
_BLOCK_ENTRIES = 1 << 23
#: devices drawn at a time
_BLOCK_DEVICES = 1 << 25


class Draw(NamedTuple):
    """What samples are drawn with.

    Attributes:
        samples: their number.
        generator: of random numbers of a read.
        common: seed of those that all reads of an array have in common, its devices and columns; None = it has but one.
        rounds: the inputs are those of so many.
        rare: some samples have errors of quite another size than most.
    """

    samples: int
    generator: torch.Generator
    common: int | None
    rounds: int = 1
    rare: bool = False


def merged(errors: Sequence[Errors]) -> list[Errors]:
    """The same errors for samples: those that are independent from entry to entry as one."""
    others: list[Errors] = [part for part in errors if not isinstance(part, Independent)]
    variances = [part.variance for part in errors if isinstance(part, Independent)]
    if not variances:
        return others
    return [Independent(array=errors[0].array, kind="", by_column=total(variances)), *others]


def own_samples(step: ArrayStep, errors: Sequence[Errors], error: Tensor, draw: Draw) -> Tensor:
    """Samples (B, R, *shape) of errors that arise in an array, for those (B, R, *input_shape) of its input."""
    shape = (len(step.variance), draw.samples, *step.variance.shape[1:])
    if not errors:
        return step.variance.new_zeros(shape)
    blocks = []
    for _, sampled in in_blocks(step, error, draw):
        parts = [over_batch(step.array.map.gather, part.samples(sampled)) for part in errors]
        blocks.append(total([part.expand(shape[0], -1, *shape[2:]) for part in parts]))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)


def in_blocks(
    step: ArrayStep, error: Tensor, draw: Draw, of_values: Callable[[Tensor], Tensor] | None = None
) -> Iterator[tuple[slice, Sampled]]:
    """Some samples at a time, as many for all reads of an array: which, and what they are of the input, or of a part of
    its values."""
    array, map = step.array, step.array.map
    batch = len(step.mean)
    positions = (
        max(read.positions for read, _ in array.constants.reads.values()) if array.is_read_again else map.positions
    )
    # entries of one sample of all inputs: rows, devices (of which fewer are drawn at a time), events
    entries = batch * map.groups * positions * map.n_in
    if array.is_shared and draws_columns(array):
        drawn = map.positions if numbers_by_position(map) else map.n_in
        entries = max(entries, batch * map.n_out * drawn)
    elif array.is_shared:
        sets = batch if are_few(array) or draw.rounds > 1 else 1
        entries = max(entries, sets * array.constants.size * _BLOCK_ENTRIES // _BLOCK_DEVICES)
    if is_rare(array):
        entries = max(entries, batch * event_entries(array, positions))
    block = max(1, _BLOCK_ENTRIES // entries)
    common = draw.generator
    if draw.common is not None:
        common = torch.Generator(step.mean.device).manual_seed(draw.common)
    for low in range(0, draw.samples, block):
        some = slice(low, min(low + block, draw.samples))
        yield (
            some,
            Sampled(
                array=array,
                mean=step.reading.mean,
                errors=None if step.exact else error[:, some],
                of_values=of_values,
                count=some.stop - low,
                generator=draw.generator,
                common=common,
                rounds=draw.rounds,
                rare=draw.rare,
            ),
        )


def power_of_samples(step: ArrayStep, error: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Power in devices and amplifiers [W] of each round, (M,), for samples (N, R, *input_shape) of the input.

    Both are quadratic in the input. Its mean is known, and what samples add to the square of it by chance is left out.
    """
    array, mean = step.array, step.reading.mean
    spread = error.square().mean(1)
    scale = ratio(step.reading.variance, spread, rounds)
    spread = spread * scale
    reading = Reading(array=array, mean=mean, variance=spread)
    devices, amplifiers = array_power(reading, rounds), tia_power(reading, rounds)
    resistance = array.feedback_resistance
    if resistance is not None:
        weight = (1 + array.hardware.column_gain_std**2) * array.map.columns_view(array.decode**2 * resistance)
        error = error * scale.sqrt().unsqueeze(1)
        for tile in array.whole.tiles:
            for side, _ in array.sides:
                inside = array.within(Channel((tile,), ()), side)
                passed = over_batch(partial(array.map.apply_columns, weight=inside), error)
                beyond = passed.square().mean(1) - array.map.apply_columns(spread, inside.square())
                amplifiers = amplifiers + by_round(weight * beyond, rounds) * rounds / len(mean)
    return devices, amplifiers
