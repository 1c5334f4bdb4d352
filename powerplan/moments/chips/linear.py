"""Chips of the linearised network: errors of the outputs that are the same whenever a chip reads its inputs.

They are linear in the standard normal numbers z of a chip, e = J z, with one block of numbers for every source of
every array. J is never formed: ``push`` is J z, by a walk forwards, ``pull`` its transpose, by a walk in reverse, and
the Gram matrix J Jᵀ between all outputs of all inputs is what chips have in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.chips.rounding import CONVERTERS, converted_errors, passes_one_by_one, rounds
from powerplan.moments.predictor import Predictor
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.samples.coherence import multiplications
from powerplan.moments.sources.common import CommonErrors
from powerplan.moments.sources.errors import squares, total
from powerplan.moments.walks.adjoint import pulled_back
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import Place, Step
from powerplan.moments.walks.marginal import Trace
from powerplan.network.digital import digital

#: a source of errors of an array: its name, and the number of the source
Source = tuple[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearChips:
    """The chips of a predictor at given gains. B inputs, K outputs.

    Attributes:
        traces: a forward pass of every part of the inputs, with the part.
    """

    predictor: Predictor
    traces: Sequence[tuple[slice, Trace]]

    @classmethod
    def of(cls, predictor: Predictor, programmed: Sequence[ProgrammedArray]) -> LinearChips:
        """Those of a predictor, corrected as it must be at these gains."""
        return cls(predictor=predictor, traces=[(part, predictor.trace(programmed, part)) for part in predictor.parts])

    @property
    def most_vectors(self) -> int:
        """Directions whose numbers fit the memory limit, at least 1."""
        (_, trace), *_ = self.traces
        arrays = [step.array for step in trace.steps.values() if isinstance(step, ArrayStep)]
        devices = sum(a.constants.size * (1 if a.is_shared else a.map.positions) for a in arrays)
        return max(1, self.predictor.memory_limit // (2 * devices * self.predictor.inputs.element_size()))

    def most_chips(self, tensors: int) -> int:
        """Chips whose numbers, and so many tensors of the size of the largest value, fit the memory limit, at least
        1."""
        largest = max(math.prod(shape) for shape in self.predictor.network.shapes.values())
        entries = tensors * self.predictor.parts[0].stop * largest * self.predictor.inputs.element_size()
        fit: int = self.predictor.memory_limit // entries
        return max(1, min(self.most_vectors, fit))

    @property
    def is_shared(self) -> bool:
        """True if any array serves several positions."""
        return any(passed.array.is_shared for _, passed, _ in _all_common(self.traces[0][1]))

    @property
    def multiplications(self) -> int:
        """Of a pass of all inputs."""
        return len(self.predictor.inputs) * multiplications(self.predictor.network)

    def pull(self, directions: Tensor) -> dict[Source, Tensor]:
        """Jᵀ for directions (R, B, K), by source (R, *numbers)."""
        pulled: dict[Source, Tensor] = {}
        for part, trace in self.traces:
            for source, reads in self._sources(trace, directions[:, part].transpose(0, 1)):
                for common, adjoint in reads:
                    numbers = common.pull(adjoint)
                    pulled[source] = pulled[source] + numbers if source in pulled else numbers
        return pulled

    def push(self, normals: Mapping[Source, Tensor]) -> Tensor:
        """J z for z by source (R, *numbers), (R, B, K)."""
        return torch.cat([self._pushed(trace, normals, {}) for _, trace in self.traces], 1)

    def pairs(self, normals: Mapping[Source, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """J z for z by source (R, *numbers), and the errors of chips of z and of −z whose network is not linearised,
        (R, B, K) each."""
        each = []
        for _, trace in self.traces:
            columns = {
                source: common.push(normals[source])
                for source, passed, common in _all_common(trace)
                if not passed.array.is_read_again
            }
            negative = [{source: -value for source, value in values.items()} for values in (normals, columns)]
            each.append(
                (
                    self._pushed(trace, normals, columns),
                    self._pushed(trace, normals, columns, linear=False),
                    self._pushed(trace, *negative, linear=False),
                )
            )
        linear, one, other = (torch.cat(parts, 1) for parts in zip(*each, strict=True))
        return linear, one, other

    @cached_property
    def numbers(self) -> dict[Source, tuple[int, ...]]:
        """The shape of z by source."""
        (_, trace), *_ = self.traces
        return {source: common.numbers for source, _, common in _all_common(trace)}

    def gram_times(self, vectors: Tensor) -> Tensor:
        """J Jᵀ v for vectors (R, B, K), as many at a time as fit the memory limit."""
        some = torch.split(vectors.to(self.predictor.inputs), self.most_vectors)
        product = self._product if len(self.traces) == 1 else lambda each: self.push(self.pull(each))
        return torch.cat([product(each) for each in some]).double()

    def _product(self, vectors: Tensor) -> Tensor:
        """J Jᵀ v for vectors (R, B, K), of inputs in a single part: what it is by column, array by array."""
        ((_, trace),) = self.traces
        normals: dict[Source, Tensor] = {}
        columns: dict[Source, Tensor] = {}
        for source, reads in self._sources(trace, vectors.transpose(0, 1)):
            if len(reads) == 1:
                ((common, adjoint),) = reads
                columns[source] = common.through(adjoint)
            else:
                normals[source] = total([common.pull(adjoint) for common, adjoint in reads])
        return self._pushed(trace, normals, columns)

    def gram(self) -> Tensor:
        """J Jᵀ, (B, K, B, K); of inputs in a single part, whose directions are the outputs."""
        ((_, trace),) = self.traces
        directions = self.predictor.directions.expand(len(self.predictor.inputs), -1, -1)
        total = directions.new_zeros(*directions.shape[:2], *directions.shape[:2])
        for _, reads in self._sources(trace, directions):
            total += type(reads[0][0]).across(reads)
        return total

    def mean_square(self) -> Tensor:
        """Mean () of the diagonal of J Jᵀ, as exactly as the predictor's directions tell."""
        total = self.predictor.ideal.new_zeros(())
        for part, trace in self.traces:
            directions = self.predictor.directions if self.predictor.is_exact else self.predictor.directions[part]
            size = len(trace.output_mean)
            for _, reads in self._sources(trace, directions.expand(size, -1, -1)):
                total = total + size * type(reads[0][0]).caused(reads).mean().double()
        return total / len(self.predictor.inputs)

    @cached_property
    def rounding(self) -> float:
        """Mean over the outputs of the variance that is taken for rounding in converters."""
        total = 0.0
        for part, trace in self.traces:
            if not rounds(trace):
                continue
            directions = self.predictor.directions if self.predictor.is_exact else self.predictor.directions[part]
            for step, adjoint in pulled_back(trace, directions, self.predictor.corrections.slopes):
                residual = trace.steps[step.place].residual
                if step.place.part in CONVERTERS and residual is not None:
                    total += len(trace.output_mean) * float(squares(adjoint, residual).mean())
        return total / len(self.predictor.inputs)

    @property
    def sees_rounding(self) -> bool:
        """Whether ``pairs`` pass all converters one by one."""
        (_, trace), *_ = self.traces
        steps = [step for step in trace.lowered.steps if step.noisy and step.place.part in CONVERTERS]
        return all(passes_one_by_one(trace, step) for step in steps)

    @cached_property
    def bias(self) -> Tensor:
        """Of the outputs on average over chips, (B, K)."""
        return torch.cat([trace.output_mean for _, trace in self.traces]).double() - self.predictor.ideal

    def _sources(self, trace: Trace, directions: Tensor) -> Iterator[tuple[Source, list[tuple[CommonErrors, Tensor]]]]:
        """The sources of all arrays, in every node that reads the array, with the adjoints (B, R, G, P, o) of its
        columns for directions (B, R, K)."""
        met: dict[str, list[tuple[ArrayStep, Tensor]]] = {}
        for step, adjoint in pulled_back(trace, directions, self.predictor.corrections.slopes):
            passed = trace.steps[step.place]
            if not isinstance(passed, ArrayStep):
                continue
            array, name = passed.array, _devices(step, passed)
            reads = met.setdefault(name, [])
            reads.append((passed, over_batch(array.map.columns, adjoint)))
            if array.is_read_again and len(reads) < len(array.constants.reads):
                continue
            del met[name]
            columns = [adjoint for _, adjoint in reads]
            for number, common in enumerate(zip(*(_common(read) for read, _ in reads), strict=True)):
                yield (name, number), list(zip(common, columns, strict=True))

    def _pushed(
        self, trace: Trace, normals: Mapping[Source, Tensor], columns: Mapping[Source, Tensor], *, linear: bool = True
    ) -> Tensor:
        """Errors (R, B, K) of the outputs from z by source, and where it is known from what it moves the columns by.

        Without being linearised digital operations are what they are, and devices err with what arrives at their rows.
        """
        lowered, slopes = trace.lowered, self.predictor.corrections.slopes
        values: dict[Place, Tensor] = {}
        for step in lowered.steps:
            if not step.noisy:
                continue
            passed = trace.steps[step.place]
            errors, arriving = passed.mean.new_zeros(()), list[Tensor]()
            if any(place in values for place in step.inputs):
                known = [values.get(place, torch.zeros_like(trace.means[place]).unsqueeze(1)) for place in step.inputs]
                count = max(value.shape[1] for value in known)
                arriving = [value.expand(len(trace.output_mean), count, *value.shape[2:]) for value in known]
                if not linear and step.place.part == "digital":
                    errors = _moved(trace, step, arriving)
                elif not linear and step.place.part in CONVERTERS and passes_one_by_one(trace, step):
                    errors = converted_errors(trace, step, *arriving)
                else:
                    errors = passed.push(*arriving) * slopes.get(step.place, 1.0)
            if isinstance(passed, ArrayStep):
                for source, common in _sources_of(step, passed):
                    own = columns[source] if source in columns else common.push(normals[source])
                    if arriving and not linear:
                        own = own + common.crossed(normals[source], over_batch(passed.array.map.patches, *arriving))
                    errors = errors + over_batch(passed.array.map.gather, own)
            values[step.place] = errors
            for place in lowered.last_read.get(step.place, ()):
                values.pop(place, None)
        return values[lowered.output].flatten(2).transpose(0, 1)


def _moved(trace: Trace, step: Step, arriving: Sequence[Tensor]) -> Tensor:
    """Errors (B, R, *shape) that a digital operation makes of those that arrive."""
    noisy = [
        (trace.means[place].unsqueeze(1) + e).flatten(0, 1) for place, e in zip(step.inputs, arriving, strict=True)
    ]
    output = digital(step.node.op, *noisy)
    return output.reshape(*arriving[0].shape[:2], *output.shape[1:]) - trace.means[step.place].unsqueeze(1)


def _devices(step: Step, passed: ArrayStep) -> str:
    """The name of the array whose devices a step reads: the node's own, or one for several nodes."""
    return step.node.array_name if passed.array.is_read_again else step.node.name


def _sources_of(step: Step, passed: ArrayStep) -> Iterator[tuple[Source, CommonErrors]]:
    """What an array errs by, the same on the whole chip, by source."""
    for number, common in enumerate(_common(passed)):
        yield (_devices(step, passed), number), common


def _all_common(trace: Trace) -> Iterator[tuple[Source, ArrayStep, CommonErrors]]:
    """That of all arrays, read by read."""
    for step in trace.lowered.steps:
        passed = trace.steps.get(step.place)
        if isinstance(passed, ArrayStep):
            for source, common in _sources_of(step, passed):
                yield source, passed, common


def _common(step: ArrayStep) -> list[CommonErrors]:
    return [common for errors in step.errors for common in errors.common()]
