"""Full covariance of every value of a network, and between values that meet again later.

Every operation acts on the joint covariance of the values that are still to be read: with its linearisation J,

    Cov(y, c) = J Cov(x, c)  for every such value c,       Cov(y, y) = J Cov(x, x) Jᵀ + what it adds itself.

A digital operation adds what :func:`~powerplan.moments.rules.beyond_linear` says, a crossbar the covariances of its
error sources (:mod:`powerplan.moments.sources`).

Why: docs/decisions/moments.md [0163].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from powerplan.errors import InvalidInput
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.staircase import Converted
from powerplan.moments.rules import Linearized, beyond_linear
from powerplan.moments.rules.linearized import flat_entries, over_batch
from powerplan.moments.rules.maxima import correlation_of_means, linearize_joint, window_average
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import START, Place, Step
from powerplan.moments.walks.marginal import Trace
from powerplan.moments.walks.walk import Carried
from powerplan.network.digital import digital
from powerplan.network.graph import Network
from powerplan.network.ops import AdaptiveMaxPool, MaxPool

#: bytes of covariances of one input that are taken on
MOST_BYTES = 4 << 30
Push = Callable[..., Tensor]


class _Values:
    """Means (B, *shape) of the values still to be read, and their covariances (B, n, n′) where they are not zero."""

    def __init__(self, inputs: Tensor) -> None:
        self.means: dict[Place, Tensor] = {START: inputs}
        self._blocks: dict[tuple[Place, Place], Tensor] = {}
        self._variances: dict[Place, Tensor] = {}

    def block(self, first: Place, second: Place) -> Tensor | None:
        """Covariance of two values; None = zero."""
        if (first, second) in self._blocks:
            return self._blocks[first, second]
        mirrored = self._blocks.get((second, first))
        return None if mirrored is None else mirrored.mT

    def full(self, first: Place, second: Place) -> Tensor:
        """Covariance of two values, zeros if need be."""
        block = self.block(first, second)
        if block is None:
            sizes = [self.means[place][0].numel() for place in (first, second)]
            block = self.means[first].new_zeros(1, *sizes)
        return block

    def variance(self, place: Place) -> Tensor:
        """Variances (B, *shape) of a value."""
        if place not in self._variances:
            mean, block = self.means[place], self.block(place, place)
            self._variances[place] = (
                torch.zeros_like(mean)
                if block is None
                else block.diagonal(dim1=-2, dim2=-1).reshape(block.shape[0], *mean.shape[1:])
            )
        return self._variances[place]

    def pushed(self, sources: Sequence[Place], block: Callable[[Place], Tensor | None], push: Push) -> Tensor | None:
        """J Cov(x, c) (B, n, n_c) with ``block`` the covariances (B, n_x, n_c) of every input x with c."""
        blocks = [block(place) for place in sources]
        width = next((b.shape[2] for b in blocks if b is not None), None)
        if width is None:
            return None
        perturbations = []
        for place, covariance in zip(sources, blocks, strict=True):
            shape = self.means[place].shape[1:]
            if covariance is None:
                perturbations.append(self.means[place].new_zeros(1, width, *shape))
            else:
                perturbations.append(covariance.mT.reshape(covariance.shape[0], width, *shape))
        pushed = push(*perturbations)
        return pushed.reshape(*pushed.shape[:2], -1).mT

    def covariances_after(self, sources: Sequence[Place], push: Push) -> tuple[dict[Place, Tensor], Tensor | None]:
        """Cov(y, c) with every value c, and the linear part of Cov(y, y)."""
        cross: dict[Place, Tensor] = {}
        for other in self.means:
            pushed = self.pushed(sources, lambda place, other=other: self.block(place, other), push)  # type: ignore[misc]
            if pushed is not None:
                cross[other] = pushed
        own = self.pushed(sources, lambda place: cross[place].mT if place in cross else None, push)
        return cross, own

    def add(self, place: Place, mean: Tensor, cross: dict[Place, Tensor], own: Tensor | None) -> None:
        """A new value with its covariances."""
        self.means[place] = mean
        if own is not None:
            self._blocks[place, place] = 0.5 * (own + own.mT)
        for other, block in cross.items():
            self._blocks[place, other] = block

    def drop(self, place: Place) -> None:
        """Forget a value that nothing reads any more."""
        del self.means[place]
        self._variances.pop(place, None)
        for key in [key for key in self._blocks if place in key]:
            del self._blocks[key]


def full_covariance(network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor) -> Trace:
    """Mean and full covariance of every node for inputs (B, *shape).

    Raises:
        InvalidInput: the covariances of one input alone would take more than :data:`MOST_BYTES`.
    """
    check_size(network, inputs.element_size())
    carried = _Joint(network, crossbars, inputs)
    carried.walk()
    output = carried.lowered.output
    covariance = carried.values.full(output, output).expand(len(inputs), -1, -1)
    return Trace(
        lowered=carried.lowered,
        steps=carried.steps,
        means=carried.means,
        output_mean=carried.values.means[output].flatten(1),
        output_variance=covariance.diagonal(dim1=-2, dim2=-1),
        output_covariance=covariance,
        covariances=carried.covariances,
    )


class _Joint(Carried):
    """Means and covariances of the values still to be read, and covariances (B, n, n) of the outputs of crossbars."""

    def __init__(self, network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor) -> None:
        super().__init__(network, crossbars, inputs)
        self.values = _Values(inputs)
        self.covariances: dict[str, Tensor] = {}

    def moments(self, place: Place) -> tuple[Tensor, Tensor]:
        return self.values.means[place], self.values.variance(place)

    def drop(self, place: Place) -> None:
        self.values.drop(place)

    def digital(self, step: Step) -> None:
        values, op = self.values, step.node.op
        means, variances = zip(*map(self.moments, step.inputs), strict=True) if step.inputs else ((), ())
        correlation = None
        if isinstance(op, MaxPool | AdaptiveMaxPool):
            (place,) = step.inputs
            correlation = _window_correlation(op, values.variance(place), values.full(place, place))
        passed = linearize_joint(op, means, variances, correlation)
        if not step.inputs:  # a constant, in the precision of the rest
            passed = replace(passed, mean=passed.mean.to(self.inputs), variance=passed.variance.to(self.inputs))
        mean, beyond = None, None
        if step.noisy:
            places = step.inputs
            mean, beyond = beyond_linear(op, passed, means, lambda i, j: values.full(places[i], places[j]))
        self._pass(step, passed, beyond, mean)

    def array(self, step: Step) -> None:
        (source,) = step.inputs
        (mean, variance), array = self.moments(source), self.programmed[step.node.name]
        incoming = self.values.block(source, source)
        single = incoming if array.map.positions == 1 and array.map.groups == 1 else None
        reading = Reading(
            array=array, mean=mean, variance=variance, covariance=single, slices=self.slices.pop(source, ())
        )
        passed = ArrayStep.of(reading, exact=source not in self.lowered.noisy)
        added = [part.covariance(incoming) for part in passed.errors]
        self._pass(step, passed, sum(added[1:], added[0]) if added else None)
        self.steps[step.place] = replace(passed, variance=self.values.variance(step.place).expand_as(passed.mean))

    def convert(self, step: Step, closed_form: Callable[..., Converted]) -> None:
        converted = closed_form(rounds=True)
        self._pass(step, converted.linearized(self.moments(step.inputs[0])[1], noisy=step.noisy))

    def _pass(self, step: Step, passed: Linearized, beyond: Tensor | None = None, mean: Tensor | None = None) -> None:
        """A step with the covariance that is added to its linear part, else that of its residual, and its mean if it is
        another than that of the linear form."""
        if beyond is None and passed.residual is not None and step.place.part != "digital":
            beyond = torch.diag_embed(flat_entries(passed.residual, 1))
        cross, own = self.values.covariances_after(step.inputs, passed.push)
        own = beyond if own is None else own if beyond is None else own + beyond
        place, self.steps[step.place] = step.place, passed
        self.values.add(place, passed.mean if mean is None else mean, cross, own)
        if step.node.op.is_crossbar:  # the last of a crossbar is that of its output
            self.covariances[step.node.name] = self.values.full(place, place).expand(len(passed.mean), -1, -1)


def _window_correlation(op: MaxPool | AdaptiveMaxPool, variance: Tensor, covariance: Tensor) -> Tensor:
    """Mean correlation of two entries of a window, (C, *1), from the covariance (B, n, n) of all entries."""
    average = window_average(op, tuple(variance.shape[1:]))

    def means(rows: Tensor) -> Tensor:
        return over_batch(lambda x: digital(average, x), rows.reshape(*rows.shape[:2], *variance.shape[1:]))

    half = means(covariance)
    both = means(half.flatten(2).mT).flatten(2).diagonal(dim1=-2, dim2=-1)
    return correlation_of_means(average, both.reshape(-1, *half.shape[2:]), digital(average, variance))


def joint_entries(network: Network) -> int:
    """Entries of the covariances of one input that a pass holds at its fullest, those of all crossbars kept."""
    shapes = network.shapes
    live: dict[str, int] = {}
    stored = fullest = 0
    for node in network.nodes:
        size = math.prod(shapes[node.name])
        if node.name in network.noisy:
            live[node.name] = size
            stored += size**2 if node.op.is_crossbar else 0
        # all pairs of values once, and three more of the size of the new one while it is made
        entries = sum(live.values())
        pairs = (entries**2 + sum(n**2 for n in live.values())) // 2
        fullest = max(fullest, stored + pairs + 3 * size * max(live.values(), default=0))
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                live.pop(name, None)
    return fullest


def check_size(network: Network, element_size: int) -> None:
    """Refuse a network whose covariances do not fit."""
    needed = joint_entries(network) * element_size
    if needed > MOST_BYTES:
        raise InvalidInput.of(
            "method",
            "covariance",
            f"covariances of at most {MOST_BYTES / 2**30:.0f} GiB for one input; this network needs "
            f"{needed / 2**30:.3g} GiB",
            "Use method='linearized', which forms none, or a smaller network or input.",
        )
