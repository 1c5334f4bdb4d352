"""The ideal (noise-free) forward pass, in torch."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from powerplan.checks import check_inputs, is_frozen, without_zeros
from powerplan.errors import InvalidInput, Violation
from powerplan.network.array_maps import ArrayMap, array_map
from powerplan.network.digital import digital
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import CrossbarOp

if TYPE_CHECKING:
    from powerplan.network.graph import Network


def torch_device(name: object) -> torch.device:
    """The torch device of this name.

    Raises:
        InvalidInput: a device that this machine does not have.
    """
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in devices:
        raise InvalidInput.of(
            "device", name, f"one of {', '.join(map(repr, devices))} on this machine", "Use device='cpu'."
        )
    return torch.device(str(name))


def crossbar_tensors(
    op: CrossbarOp, dtype: torch.dtype, device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Matrix (n_out, n_in) and bias or None of a crossbar operation in torch, read-only.

    They are kept as long as the operation; of large ones, in another precision or on another device, the bias only.
    """
    tensors = _TENSORS.setdefault(op, {})
    key = (dtype, str(device))
    if key not in tensors:
        bias = None if op.bias is None else same_numbers(op.bias, dtype, device)
        matrix = same_numbers(op.matrix, dtype, device) if is_kept(op.matrix, dtype, device) else None
        tensors[key] = matrix, bias
    matrix, bias = tensors[key]
    return same_numbers(op.matrix, dtype, device) if matrix is None else matrix, bias


def same_numbers(array: np.ndarray, dtype: torch.dtype, device: str = "cpu") -> torch.Tensor:
    """A tensor with the numbers of a frozen array, which must not be changed: in its precision on the CPU it is the
    same memory."""
    return torch.as_tensor(np.asarray(_Numbers(array))).to(device, dtype)


def is_kept(array: np.ndarray, dtype: torch.dtype, device: str = "cpu") -> bool:
    """Whether the tensor of an array is worth its memory: it takes none of its own, or little."""
    return array.size <= _KEPT_ENTRIES or (str(device) == "cpu" and torch.as_tensor(array[:0].copy()).dtype == dtype)


class _Numbers:
    """An array as torch takes it without a warning that it is read-only."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # lives as long as the tensor
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


#: entries of a matrix up to which its copy in another precision is kept
_KEPT_ENTRIES = 1 << 20
_TENSORS: WeakKeyDictionary[
    CrossbarOp, dict[tuple[torch.dtype, str], tuple[torch.Tensor | None, torch.Tensor | None]]
] = WeakKeyDictionary()


def node_map(network: Network, node: Node) -> ArrayMap:
    """The linear maps of a crossbar node."""
    assert isinstance(node.op, CrossbarOp)
    return array_map(node.op, network.shapes[node.inputs[0]])


def ideal_values(
    network: Network,
    inputs: np.ndarray | torch.Tensor,
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    keep: Collection[str] | None = None,
    observe: Callable[[Node, torch.Tensor], None] | None = None,
) -> dict[str, torch.Tensor]:
    """Value (B, *shape) of every node, and of "input", without noise.

    Args:
        keep: names of the values wanted; None = all. The others are dropped as soon as nothing reads them.
        observe: called with every crossbar node and its input (B, *input_shape).
    """
    values = {INPUT: torch.as_tensor(np.array(inputs), dtype=dtype, device=device)}
    batch = len(values[INPUT])
    for node in network.nodes:
        x = [values[name] for name in node.inputs]
        if node.op.is_crossbar:
            assert isinstance(node.op, CrossbarOp)
            maps = node_map(network, node)
            weight, bias = crossbar_tensors(node.op, dtype, device)
            values[node.name] = maps.add_bias(maps.apply(x[0], weight), bias)
            if observe is not None:
                observe(node, x[0])
        elif x:
            values[node.name] = digital(node.op, *x)
        else:
            values[node.name] = digital(node.op).to(device, dtype)
        if keep is not None:
            for name in network.last_readers.get(node.name, ()):
                if name not in keep:
                    del values[name]
    for name in values:  # what no input reaches is the same for all
        if len(values[name]) != batch:
            values[name] = values[name].expand(batch, *values[name].shape[1:])
    return values


@dataclass(frozen=True, kw_only=True, eq=False)
class IdealPass:
    """What planning and prediction need to know of the noise-free pass of a batch.

    Attributes:
        output: (B, K) float64.
        row_peaks: by array, the largest |value| at each of its rows over batch, reads and positions, (n_rows,); of rows
            that nothing drives as of the others, see :func:`~powerplan.checks.without_zeros`.
    """

    output: torch.Tensor
    row_peaks: Mapping[str, np.ndarray]


def ideal_pass(network: Network, inputs: np.ndarray, *, device: str = "cpu") -> IdealPass:
    """The noise-free pass of a batch in float64, a few inputs at a time; the last one of a network is remembered.

    Args:
        inputs: (B, *input_shape).

    Raises:
        InvalidInput: outputs that are infinite or no numbers.
    """
    known = _PASSES.get(network)
    if known is not None and known.inputs is inputs:
        return known.ideal
    batch = check_inputs(inputs, network.input_shape)
    key = hashlib.sha256(batch.dtype.str.encode() + batch.tobytes()).hexdigest()
    if known is not None and known.key == key:
        _PASSES[network] = replace(known, inputs=inputs if is_frozen(inputs) else None)
        return known.ideal
    peaks = {name: np.zeros(1) for name in network.layer_names}

    def observe(node: Node, x: torch.Tensor) -> None:
        maps = node_map(network, node)
        rows = torch.stack([maps.patches(one[None]).abs().amax((0, 2)) for one in x]).amax(0)
        peaks[node.array_name] = np.maximum(peaks[node.array_name], rows.reshape(-1).cpu().numpy())

    sizes = {name: math.prod(shape) for name, shape in network.shapes.items()}
    name, largest = max(sizes.items(), key=lambda item: item[1])
    _check_memory(name, largest)
    outputs = []
    step = max(1, _PASS_ENTRIES // largest)
    with torch.no_grad():
        for low in range(0, len(batch), step):
            values = ideal_values(
                network, batch[low : low + step], device=device, keep=(network.output,), observe=observe
            )
            outputs.append(values[network.output].flatten(1).cpu())
            if not outputs[-1].isfinite().all():
                _check_finite(network, ideal_values(network, batch[low : low + step], device=device))
    ideal = IdealPass(output=torch.cat(outputs), row_peaks={name: without_zeros(peak) for name, peak in peaks.items()})
    _PASSES[network] = _LastPass(key=key, inputs=inputs if is_frozen(inputs) else None, ideal=ideal)
    return ideal


@dataclass(frozen=True, kw_only=True, eq=False)
class _LastPass:
    """The last pass of a network: its inputs by their content, and as the array itself if nobody can change it."""

    key: str
    inputs: np.ndarray | None
    ideal: IdealPass


def _check_finite(network: Network, values: Mapping[str, torch.Tensor]) -> None:
    """Name the first node without finite values: a root of negative numbers, say."""
    for node in network.nodes:
        finite = values[node.name].isfinite().flatten(1).all(1)
        if not finite.all():
            raise InvalidInput(
                Violation(
                    field=f"network.nodes[{node.name!r}]",
                    value=str(node.op.attributes().get("label", node.op.type)),
                    reason=f"its value is infinite or NaN for {int((~finite).sum())} of {len(finite)} inputs",
                    allowed="operations with finite values for these inputs",
                    advice="Give inputs for which it is defined, scale them, or change the operation.",
                )
            )


def _check_memory(name: str, entries: int) -> None:
    """Refuse a node's value of so many entries that this machine's memory cannot hold two of them in float64."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told here
        return
    if 2 * 8 * entries > memory:
        raise InvalidInput.of(
            "network.input_shape" if name == INPUT else f"network.nodes[{name!r}]",
            f"a value of {entries:,} entries per input",
            f"at most {memory // 16:,} (two such values in float64 in this machine's memory, {memory / 1e9:.1f} GB)",
            "Check sizes, strides and paddings, or use smaller inputs.",
        )


#: entries of the largest value of a few inputs worked on at a time
_PASS_ENTRIES = 1 << 23
_PASSES: WeakKeyDictionary[Network, _LastPass] = WeakKeyDictionary()
