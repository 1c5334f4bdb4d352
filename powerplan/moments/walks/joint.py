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
from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import Conversion, convert_rows
from powerplan.moments.conversion.lattice import Lattice
from powerplan.moments.rules import Linearized, beyond_linear
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import correlation_of_means, linearize_joint, window_average
from powerplan.moments.sources import errors_of
from powerplan.moments.walks.marginal import CrossbarTrace, Trace, crossbar_variance
from powerplan.moments.walks.walk import Carried, walk
from powerplan.network.digital import digital
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import AdaptiveMaxPool, MaxPool

#: bytes of covariances of one input that are taken on
MOST_BYTES = 4 << 30
Push = Callable[..., Tensor]


class _Values:
    """Means (B, *shape) of the values still to be read, and their covariances (B, n, n′) where they are not zero."""

    def __init__(self, inputs: Tensor) -> None:
        self.means: dict[str, Tensor] = {INPUT: inputs}
        self._blocks: dict[tuple[str, str], Tensor] = {}

    def block(self, first: str, second: str) -> Tensor | None:
        """Covariance of two values; None = zero."""
        if (first, second) in self._blocks:
            return self._blocks[first, second]
        mirrored = self._blocks.get((second, first))
        return None if mirrored is None else mirrored.mT

    def full(self, first: str, second: str) -> Tensor:
        """Covariance of two values, zeros if need be."""
        block = self.block(first, second)
        if block is None:
            sizes = [self.means[name][0].numel() for name in (first, second)]
            block = self.means[first].new_zeros(1, *sizes)
        return block

    def variance(self, name: str) -> Tensor:
        """Variances (B, *shape) of a value."""
        mean, block = self.means[name], self.block(name, name)
        if block is None:
            return torch.zeros_like(mean)
        return block.diagonal(dim1=-2, dim2=-1).reshape(block.shape[0], *mean.shape[1:])

    def pushed(self, sources: Sequence[str], block: Callable[[str], Tensor | None], push: Push) -> Tensor | None:
        """J Cov(x, c) (B, n, n_c) with ``block`` the covariances (B, n_x, n_c) of every input x with c."""
        blocks = [block(name) for name in sources]
        width = next((b.shape[2] for b in blocks if b is not None), None)
        if width is None:
            return None
        perturbations = []
        for name, given in zip(sources, blocks, strict=True):
            shape = self.means[name].shape[1:]
            if given is None:
                perturbations.append(self.means[name].new_zeros(1, width, *shape))
            else:
                perturbations.append(given.mT.reshape(given.shape[0], width, *shape))
        return push(*perturbations).flatten(2).mT

    def covariances_after(self, sources: Sequence[str], push: Push) -> tuple[dict[str, Tensor], Tensor | None]:
        """Cov(y, c) with every value c, and the linear part of Cov(y, y)."""
        cross: dict[str, Tensor] = {}
        for other in self.means:
            found = self.pushed(sources, lambda name, other=other: self.block(name, other), push)  # type: ignore[misc]
            if found is not None:
                cross[other] = found
        own = self.pushed(sources, lambda name: cross[name].mT if name in cross else None, push)
        return cross, own

    def add(self, name: str, mean: Tensor, cross: dict[str, Tensor], own: Tensor | None) -> None:
        """A new value with its covariances."""
        self.means[name] = mean
        if own is not None:
            self._blocks[name, name] = 0.5 * (own + own.mT)
        for other, block in cross.items():
            self._blocks[name, other] = block

    def drop(self, name: str) -> None:
        """Forget a value that nothing reads any more."""
        del self.means[name]
        for key in [key for key in self._blocks if name in key]:
            del self._blocks[key]


def full_covariance(network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor) -> Trace:
    """Mean and full covariance of every node for inputs (B, *shape).

    Raises:
        InvalidInput: the covariances of one input alone would take more than :data:`MOST_BYTES`.
    """
    check_size(network, inputs.element_size())
    carried = _Joint(network, crossbars, inputs)
    walk(network, carried)
    covariance = carried.values.full(network.output, network.output).expand(len(inputs), -1, -1)
    return Trace(
        crossbars=carried.arrays,
        digital=carried.steps,
        output_mean=carried.values.means[network.output].flatten(1),
        output_variance=covariance.diagonal(dim1=-2, dim2=-1),
        output_covariance=covariance,
    )


class _Joint(Carried):
    """Means and covariances of the values still to be read, and what every node did."""

    def __init__(self, network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor) -> None:
        self.values = _Values(inputs)
        self.arrays: dict[str, CrossbarTrace] = {}
        self.steps: dict[str, Linearized] = {}
        self._programmed = {c.constants.name: c for c in crossbars}
        self._noisy, self._inputs = network.noisy, inputs

    def crossbar(self, node: Node, lattice: Lattice | None) -> Lattice | None:
        step = _crossbar(self._programmed[node.name], self.values, node.inputs[0], node.name, lattice)
        self.arrays[node.name] = step
        return step.lattice

    def digital(self, node: Node) -> None:
        self.steps[node.name] = _digital(node, self.values, self._inputs, noisy=node.name in self._noisy)

    def drop(self, name: str) -> None:
        self.values.drop(name)


def _digital(node: Node, values: _Values, inputs: Tensor, *, noisy: bool) -> Linearized:
    means = [values.means[name] for name in node.inputs]
    correlation = None
    if isinstance(node.op, MaxPool | AdaptiveMaxPool):
        (name,) = node.inputs
        correlation = _window_correlation(node.op, values.variance(name), values.full(name, name))
    step = linearize_joint(node.op, means, [values.variance(name) for name in node.inputs], correlation)
    if not node.inputs:  # a constant, in the precision of the rest
        step = replace(step, mean=step.mean.to(inputs), variance=step.variance.to(inputs))
    cross, own = values.covariances_after(node.inputs, step.push)
    mean = step.mean
    if noisy:
        names = node.inputs
        shifted, extra = beyond_linear(node.op, step, means, lambda i, j: values.full(names[i], names[j]))
        mean = mean if shifted is None else shifted
        own = extra if own is None else own if extra is None else own + extra
    values.add(node.name, mean, cross, own)
    return step


def _window_correlation(op: MaxPool | AdaptiveMaxPool, variance: Tensor, covariance: Tensor) -> Tensor:
    """Mean correlation of two entries of a window, (C, *1), from the covariance (B, n, n) of all entries."""
    average = window_average(op, tuple(variance.shape[1:]))

    def means(rows: Tensor) -> Tensor:
        return over_batch(lambda x: digital(average, x), rows.reshape(*rows.shape[:2], *variance.shape[1:]))

    half = means(covariance)
    both = means(half.flatten(2).mT).flatten(2).diagonal(dim1=-2, dim2=-1)
    return correlation_of_means(average, both.reshape(-1, *half.shape[2:]), digital(average, variance))


def _crossbar(
    array: ProgrammedArray, values: _Values, source: str, name: str, lattice: Lattice | None
) -> CrossbarTrace:
    """A crossbar with its converters, each a step of its own."""
    exact = values.block(source, source) is None
    rows = convert_rows(array, values.means[source], values.variance(source), exact=exact, lattice=lattice)
    exact = exact and (rows is None or rows.residual is None)
    driven, analog = source, name
    if rows is not None:
        driven = f"{name} (rows)"
        _converted(values, source, driven, rows)
    if array.hardware.converts_columns:
        analog = f"{name} (columns)"
    made = replace(_analog(array, values, driven, analog), rows=rows)
    if rows is not None:
        values.drop(driven)
    if analog == name:
        return made.converted(made.mean, made.variance)
    independent = crossbar_variance(array, made.errors, made.input_variance, exact_input=exact)
    made = replace(made, variance=independent).converted(made.mean, made.variance)
    assert made.columns is not None
    covariance = _converted(values, analog, name, made.columns)
    values.drop(analog)
    return replace(made, covariance=covariance)


def _converted(values: _Values, source: str, name: str, conversion: Conversion) -> Tensor | None:
    """A value behind converters, and its covariance."""
    slope = conversion.slope

    def push(perturbation: Tensor) -> Tensor:
        return perturbation * slope.unsqueeze(1)

    cross, own = values.covariances_after((source,), push)
    if conversion.residual is not None:
        added = torch.diag_embed(conversion.residual.flatten(1))
        own = added if own is None else own + added
    values.add(name, values.means[source] + conversion.shift, cross, own)
    return own


def _analog(array: ProgrammedArray, values: _Values, source: str, name: str) -> CrossbarTrace:
    mean, variance = values.means[source], values.variance(source)
    map, weight = array.map, array.mean_weight

    def push(perturbation: Tensor) -> Tensor:
        return over_batch(lambda x: map.apply(x, weight), perturbation)

    cross, own = values.covariances_after((source,), push)
    incoming = values.block(source, source)
    reading = Reading(array=array, mean=mean, variance=variance)
    errors = errors_of(reading, array.whole)
    for part in errors:
        added = part.covariance(incoming)
        own = added if own is None else own + added
    output = array.mean(mean)
    if own is None:
        own = output.new_zeros(1, *(output[0].numel(),) * 2)
    own = (0.5 * (own + own.mT)).expand(len(output), -1, -1)
    values.add(name, output, cross, own)
    single = incoming if map.positions == 1 and map.groups == 1 else None
    powered = reading if single is None else replace(reading, covariance=single)
    return CrossbarTrace(
        array=array,
        input_mean=mean,
        input_variance=variance,
        mean=output,
        variance=own.diagonal(dim1=-2, dim2=-1).reshape(output.shape),
        covariance=own,
        errors=errors,
        array_power=array_power(powered),
        tia_power=tia_power(powered),
    )


def joint_entries(network: Network) -> int:
    """Entries of the covariances of one input that a pass holds at its fullest, those of all crossbars kept."""
    shapes = network.shapes
    live: dict[str, int] = {}
    kept = fullest = 0
    for node in network.nodes:
        size = math.prod(shapes[node.name])
        if node.name in network.noisy:
            live[node.name] = size
            kept += size**2 if node.op.is_crossbar else 0
        # all pairs of values once, and three more of the size of the new one while it is made
        held = sum(live.values())
        pairs = (held**2 + sum(n**2 for n in live.values())) // 2
        fullest = max(fullest, kept + pairs + 3 * size * max(live.values(), default=0))
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
