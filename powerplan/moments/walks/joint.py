"""Full covariance of every value of a network, and between values that meet again later.

Every operation acts on the joint covariance of the values that are still to be read: with its linearisation J,

    Cov(y, c) = J Cov(x, c)  for every such value c,       Cov(y, y) = J Cov(x, x) Jᵀ + what it adds itself.

A digital operation adds what :func:`~powerplan.moments.rules.beyond_linear` says. A crossbar adds the errors of its
devices: column o at positions p and p′, reading the same array (shared mapping), errs with the covariance

    Σ_k V_ok E[x_pk x_p′k],       E[x_pk x_p′k] = E x_pk E x_p′k + Cov(x_pk, x_p′k) + δ_pp′ σ_V²/v_k²,

one array per position (unrolled mapping) with its diagonal only; read noise on the diagonal; the noise of the rows,
Σ_k U_ok U_o′k σ_V²/v_k², between the columns at one position.

Why: docs/decisions/moments.md [0163].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from powerplan.errors import InvalidInput
from powerplan.moments.array.columns import gain_errors
from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.conversion.channels import Conversion, convert_rows
from powerplan.moments.conversion.lattice import Lattice
from powerplan.moments.rules import Linearized, beyond_linear
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import correlation_of_means, linearize_joint, window_average
from powerplan.moments.sources.divider import node_products
from powerplan.moments.walks.marginal import CrossbarTrace, Trace, crossbar_variance
from powerplan.network.array_maps import ArrayMap
from powerplan.network.digital import digital
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import AdaptiveMaxPool, MaxPool

#: bytes of covariances of one input that are taken on
MOST_BYTES = 4 << 30
#: entries of one block of products of row values
_BLOCK_ENTRIES = 1 << 22

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
    known = {c.crossbar.name: c for c in crossbars}
    values = _Values(inputs)
    arrays: dict[str, CrossbarTrace] = {}
    steps: dict[str, Linearized] = {}
    lattices: dict[str, Lattice | None] = {}
    for node in network.nodes:
        lattice = lattices.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if node.op.is_crossbar:
            arrays[node.name] = made = _crossbar(known[node.name], values, node.inputs[0], node.name, lattice)
            lattices[node.name] = made.lattice
        else:
            steps[node.name] = _digital(node, values, inputs, noisy=node.name in network.noisy)
            lattices[node.name] = lattice and lattice.after(node.op)
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                values.drop(name)
                lattices.pop(name, None)
    covariance = values.full(network.output, network.output).expand(len(inputs), -1, -1)
    return Trace(
        crossbars=arrays,
        digital=steps,
        output_mean=values.means[network.output].flatten(1),
        output_variance=covariance.diagonal(dim1=-2, dim2=-1),
        output_covariance=covariance,
    )


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
    moments: ProgrammedArray, values: _Values, source: str, name: str, lattice: Lattice | None
) -> CrossbarTrace:
    """A crossbar with its converters, each a step of its own."""
    exact = values.block(source, source) is None
    rows = convert_rows(moments, values.means[source], values.variance(source), exact=exact, lattice=lattice)
    exact = exact and (rows is None or rows.residual is None)
    driven, analog = source, name
    if rows is not None:
        driven = f"{name} (rows)"
        _converted(values, source, driven, rows)
    if moments.hardware.converts_columns:
        analog = f"{name} (columns)"
    made = replace(_analog(moments, values, driven, analog), rows=rows)
    if rows is not None:
        values.drop(driven)
    if analog == name:
        return made.converted(made.mean, made.variance)
    independent = crossbar_variance(moments, made.injected, made.input_variance, exact_input=exact)
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


def _analog(moments: ProgrammedArray, values: _Values, source: str, name: str) -> CrossbarTrace:
    mean, variance = values.means[source], values.variance(source)
    map, weight = moments.map, moments.mean_weight

    def push(perturbation: Tensor) -> Tensor:
        return over_batch(lambda x: map.apply(x, weight), perturbation)

    cross, passed = values.covariances_after((source,), push)
    incoming = values.block(source, source)
    injected = moments.injected(mean, variance)
    # passive columns err together with all of their inputs, whose covariance counts
    joint = moments.is_shared or moments.divider is not None
    own = _device_errors(moments, mean, incoming) if joint else torch.diag_embed(injected.total.flatten(1))
    if joint and injected.read is not None:
        own = own + torch.diag_embed(injected.read.flatten(1))
    if moments.has_row_noise:
        own = own + _row_noise(moments)
    if passed is not None:
        own = own + passed
    own = 0.5 * (own + own.mT)
    output = moments.mean(mean)
    values.add(name, output, cross, own)
    single = incoming if incoming is not None and map.positions == 1 and map.groups == 1 else None
    return CrossbarTrace(
        moments=moments,
        input_mean=mean,
        input_variance=variance,
        mean=output,
        variance=own.diagonal(dim1=-2, dim2=-1).reshape(output.shape),
        covariance=own,
        injected=injected,
        array_power=array_power(moments, mean, variance, single),
        tia_power=tia_power(moments, mean, variance, single),
    )


def _device_errors(moments: ProgrammedArray, mean: Tensor, incoming: Tensor | None) -> Tensor:
    """Covariance (B, n, n) of the errors of devices, and of the gains of columns, that may serve several positions."""
    map = moments.map
    given = torch.stack([part.variance for part in moments.device_errors]).sum(0)
    spread = map.matrices(given.expand(map.n_out, map.n_in))  # (G, o, n)
    place = _input_places(map, mean)
    total = mean.new_zeros(())
    for part, products in _row_products(moments, mean, incoming, place):
        total = total + torch.einsum("gok,bgkpq->bgopq", spread[:, :, part], products)
    total = total + node_products(moments, mean, incoming, place)
    if moments.hardware.column_gain_std:
        variance = mean.new_zeros(mean.shape) if incoming is None else incoming.diagonal(dim1=-2, dim2=-1)
        for currents in gain_errors(moments, mean, variance.reshape(-1, *mean.shape[1:])):
            first = map.as_columns(currents.mean).transpose(2, 3)  # (B, G, o, P)
            apart = map.as_columns(currents.square).transpose(2, 3) - first * first
            gain = first.unsqueeze(-1) * first.unsqueeze(-2) + torch.diag_embed(apart)
            total = total + (moments.compensation * moments.hardware.column_gain_std) ** 2 * gain
    if not moments.is_shared:
        total = total * torch.eye(map.positions, dtype=total.dtype, device=total.device)
    place = _output_places(map, mean.device).transpose(1, 2)  # (G, o, P)
    return _scattered(
        map, total, place.unsqueeze(-1).expand(total.shape[1:]), place.unsqueeze(-2).expand(total.shape[1:])
    )


def _input_places(map: ArrayMap, mean: Tensor) -> Tensor:
    """Place in the flat input, counted from 1, of every row at every position, (G, n, P); 0 = padding."""
    count = mean[0].numel()
    numbered = torch.arange(1.0, count + 1, dtype=torch.float64, device=mean.device).reshape(1, *mean.shape[1:])
    return map.patches(numbered)[0].transpose(1, 2).round().long()


def _row_products(
    moments: ProgrammedArray, mean: Tensor, incoming: Tensor | None, place: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """E[x_pk x_p′k] (B, G, k, P, P), a block of rows k at a time."""
    map = moments.map
    rows = moments.affine.patches(mean).transpose(2, 3)  # (B, G, n, P)
    padded = None if incoming is None else torch.nn.functional.pad(incoming, (1, 0, 1, 0))
    noise = moments.row_noise if moments.has_row_noise else None
    size = max(1, _BLOCK_ENTRIES // (len(mean) * map.groups * map.positions**2))
    for low in range(0, map.n_in, size):
        part = slice(low, low + size)
        x = rows[:, :, part]
        products = x.unsqueeze(-1) * x.unsqueeze(-2)
        if padded is not None:
            here = place[:, part]
            products = products + padded[:, here.unsqueeze(-1), here.unsqueeze(-2)]
        if noise is not None:
            products = products + torch.diag_embed(noise[:, part].unsqueeze(-1).expand(-1, -1, map.positions))
        yield part, products


def _row_noise(moments: ProgrammedArray) -> Tensor:
    """Covariance (1, n, n) that the noise of the rows causes between columns read together."""
    map = moments.map
    weight = map.matrices(moments.analog_weight)
    joint = (weight * moments.row_noise.unsqueeze(1)) @ weight.mT  # (G, o, o)
    place = _output_places(map, weight.device)  # (G, P, o)
    block = joint.unsqueeze(1).expand(-1, map.positions, -1, -1)
    return _scattered(
        map, block[None], place.unsqueeze(-1).expand(block.shape), place.unsqueeze(-2).expand(block.shape)
    )


def _output_places(map: ArrayMap, device: torch.device) -> Tensor:
    """Place in the flat output, counted from 1, of every column at every position, (G, P, o); 0 = cut off."""
    shape = map.output_shape
    numbered = torch.arange(1.0, math.prod(shape) + 1, dtype=torch.float64, device=device)
    return map.columns(numbered.reshape(1, *shape))[0].round().long()


def _scattered(map: ArrayMap, block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Covariances (B, ...) added up at their places in (B, n, n)."""
    size = math.prod(map.output_shape) + 1
    flat = (rows * size + columns).reshape(1, -1).expand(block.shape[0], -1)
    full = block.new_zeros(block.shape[0], size * size).scatter_add(1, flat, block.flatten(1))
    return full.reshape(-1, size, size)[:, 1:, 1:]


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
