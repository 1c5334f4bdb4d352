"""Rounds of error samples until their chance is small, and what is left of it.

Every round of samples is independent of the others and gives corrections of its own. A prediction has their mean; what
the M rounds predict each by itself, P_m, scatters around it, and

    SE² = Σ_m (P_m − mean P)² / (M (M − 1)) · (t / 1.96)²,

t the quantile of Student's distribution that has 95 % of it within ±t: 1.96 SE hold 95 % however few rounds there are.

Corrections are ratios, so that the mean of P_m is off by about the square of the scatter of one round: far less than
its standard error. The number of rounds that brings SE to what is asked for is worked out from the first ones, and
all of them are made before it is looked at again, since ending at the first small SE would favour those that are small
by chance.

Why: docs/decisions/error-samples.md [0242].
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.stats import norm as normal, t as student
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.predictor import Predictor, output_directions
from powerplan.moments.samples import coherence
from powerplan.moments.samples.corrections import Corrections, SamplingError
from powerplan.moments.samples.count import Sampling, has_rare_errors
from powerplan.moments.samples.estimate import estimate_corrections
from powerplan.moments.walks.marginal import Trace

#: live tensors of the size of the largest value for every sample
_SAMPLE_TENSORS = 8
#: tensors of the size of all values kept of every sample where errors are rare, about
_RARE_TENSORS = 3
#: entries of all values, all samples and inputs together, beyond which there are fewer samples, then fewer inputs
_SAMPLE_ENTRIES = 1 << 27
#: samples of a round of large networks at least, and their first rounds: a few entries of very many tell much
_FEWEST, _ROUNDS_OF_LARGE = 4, 3
#: far from the seeds that anyone gives one after the other
_SEEDS_APART = 1_000_003
#: directions of the outputs of all inputs together that tell the standard error of the MSE, at least
_DIRECTIONS = 4
#: times as many rounds as the scatter of those made asks for
_MORE = 1.2


@torch.no_grad()
def corrected(predictor: Predictor, programmed: Sequence[ProgrammedArray], stop_at: float | None = None) -> Predictor:
    """The predictor corrected as it must be at these gains, whatever gains follow; itself without samples.

    Args:
        stop_at: ``time.monotonic()`` value at which no further round is begun; two are made in any case.
    """
    sampling = predictor.sampling
    if sampling is None:
        return predictor
    rounds = _Rounds.of(predictor, programmed, sampling)
    mean, trace = rounds.corrections(0)
    predicted = [rounds.predicted(mean, trace)]
    wanted = rounds.first
    while len(predicted) < wanted and not (len(predicted) > 1 and stop_at and time.monotonic() > stop_at):
        corrections, trace = rounds.corrections(len(predicted))
        predicted.append(rounds.predicted(corrections, trace))
        mean = mean.pooled_with(corrections)
        if len(predicted) == wanted < rounds.most:
            missing = (_relative([mse for mse, _, _ in predicted]).item() / sampling.error) ** 2
            if missing > 1:
                wanted = math.ceil(min(rounds.most, _MORE * missing * wanted))
    mse, power, outputs = (_relative(values) for values in zip(*predicted, strict=True))
    error = SamplingError(mse=mse.item(), power=power.item(), outputs=outputs, limited=mse.item() > sampling.error)
    return replace(predictor, corrections=replace(mean, error=error), sampling=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rounds:
    """Rounds of samples, and what each predicts by itself.

    Large networks get few samples, of some of the inputs only. These are worked on in groups that fit the memory limit,
    the first of which gives the coherence, in the first rounds, which is enough; all do where errors are rare.

    Attributes:
        samples: of a round.
        first, most: rounds to begin with, and at most.
        inputs: that have samples.
        group: inputs worked on at a time.
        for_coherence: samples from which coherence is found, and those where errors are rare.
    """

    predictor: Predictor
    programmed: Sequence[ProgrammedArray]
    samples: int
    first: int
    most: int
    inputs: int
    group: int
    for_coherence: tuple[int, int]

    @classmethod
    def of(cls, predictor: Predictor, programmed: Sequence[ProgrammedArray], sampling: Sampling) -> _Rounds:
        sizes = [math.prod(shape) for shape in predictor.network.shapes.values()]
        batch, entries, largest = len(predictor.inputs), sum(sizes), max(sizes)
        room = predictor.memory_limit // predictor.inputs.element_size()
        affordable = max(_FEWEST, _SAMPLE_ENTRIES // (sampling.first * batch * entries))
        first = sampling.first if affordable > _FEWEST else min(sampling.first, _ROUNDS_OF_LARGE)
        samples = min(sampling.samples, affordable, max(2, room // (_SAMPLE_TENSORS * largest)))
        inputs = min(batch, max(1, _SAMPLE_ENTRIES // (first * samples * entries)))
        group = min(inputs, max(1, room // (samples * _SAMPLE_TENSORS * largest)))
        enough = -(-coherence.enough_samples(predictor.network, group) // first)
        count = min(samples, enough, max(1, room // (8 * group * entries)))
        return cls(
            predictor=predictor,
            programmed=programmed,
            samples=samples,
            first=first,
            most=min(sampling.most, max(first, _SAMPLE_ENTRIES // (samples * batch * entries))),
            inputs=inputs,
            group=group,
            for_coherence=(count, min(samples, max(count, room // (_RARE_TENSORS * group * entries)))),
        )

    def corrections(self, number: int) -> tuple[Corrections, Trace | None]:
        """Corrections from the samples of the round of this number, and the forward pass with them if it was made."""
        predictor, rare = self.predictor, has_rare_errors(self.predictor.network, self.predictor.hardware)
        groups: list[tuple[int, Corrections]] = []
        trace = None
        for low in range(0, self.inputs, self.group):
            inputs = predictor.inputs[low : min(low + self.group, self.inputs)]
            corrections, trace = estimate_corrections(
                predictor.network,
                self.programmed,
                inputs,
                samples=self.samples,
                # every group and round has samples of its own
                seed=predictor.seed + _SEEDS_APART * (low + number * len(predictor.inputs)),
                for_coherence=self.for_coherence if rare or (number < self.first and not groups) else (0, 0),
            )
            groups.append((len(inputs), corrections))
        return Corrections.joined(groups), trace if len(groups) == 1 else None

    def predicted(self, corrections: Corrections, trace: Trace | None) -> tuple[Tensor, Tensor, Tensor]:
        """MSE (), power () and MSE of every output (K,) of the inputs that have samples.

        The MSE is that in a few random directions of the output, the same for every round: what they do not see of a
        change is averaged over the inputs. It is shared out among the outputs as the forward pass finds.
        """
        count = self.inputs
        inputs, ideal = self.predictor.inputs[:count], self.predictor.ideal[:count]
        some = -(-_DIRECTIONS // count)
        directions = output_directions(count, ideal.shape[1], some, self.predictor.seed, inputs.dtype)
        predictor = replace(
            self.predictor,
            inputs=inputs,
            ideal=ideal,
            directions=directions.to(inputs.device),
            is_exact=False,
            corrections=corrections,
        )
        bias = variance = marginal = power = ideal.new_zeros(())
        for part in predictor.parts:
            size = len(inputs[part])
            moments = predictor.moments(self.programmed, part, trace=trace if size == count else None)
            bias = bias + (moments.mean - ideal[part]).square().sum(0) / count
            variance = variance + moments.variance.double().mean(1).expand(size).sum() / count
            marginal = marginal + moments.trace.output_variance.double().expand(size, -1).sum(0) / count
            dissipated = moments.array_power + moments.tia_power + moments.converter_power
            power = power + size / count * dissipated.double().sum()
        total = marginal.mean()
        outputs = bias + marginal * torch.where(total > 0, variance / torch.where(total > 0, total, 1.0), 0.0)
        return outputs.mean(), power, outputs


def _relative(predictions: Sequence[Tensor]) -> Tensor:
    """Standard error of the mean of independent predictions as a part of it; NaN of a single one."""
    values, rounds = torch.stack(list(predictions)), len(predictions)
    if rounds == 1:
        return torch.full_like(values[0], math.nan)
    mean = values.mean(0)
    error = values.std(0) / math.sqrt(rounds) * float(student.ppf(0.975, rounds - 1) / normal.ppf(0.975))
    return torch.where(mean > 0, error / torch.where(mean > 0, mean, 1.0), 0.0)
