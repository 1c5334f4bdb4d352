"""Operators of ONNX that move entries about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call, number, wholes
from powerplan.network.onnx_import.constants import Rule, room, shape_of, slices, split_sizes, target_shape
from powerplan.network.ops import Permute, Reshape, Take
from powerplan.network.torch_import.rules import RULES as ATEN, normalising, shaping as torch_rules
from powerplan.network.torch_import.value import Refused, Value, array, value

#: how Resize writes the grids of torch's modes
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")


@dataclass(frozen=True)
class Behind(Value):
    """A value whose batch is merged *behind* axis p of S: torch shape (..., S_p · B, ...).

    Exporters write linear layers on (length, batch, width) as ones on (length · batch, width). Such a value can be
    taken along its later axes only, and by a reshape that parts the two again.
    """


def reshape(call: Call, x: Any, shape: Any = None) -> Value:
    source = value(x)
    wanted = list(target_shape(call, source.torch_shape, call.get("shape") if shape is None else shape))
    place = source.batch
    if call.batch > 1 and len(wanted) > place and wanted[place] == call.batch:
        wanted[place] = 1  # written for the declared batch
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = math.prod(source.shape) // max(known, 1)
    if isinstance(source, Behind):
        return _parted(source, wanted)
    if place and len(wanted) == place + 1 and wanted[place] != 1 and wanted[:place] == [*source.shape[:place]]:
        # with a batch of one it could also be merged with the features, but nothing could be done with that
        reshaped = torch_rules.reshape(source, [*wanted[:place], 1, *wanted[place:]])
        return Behind(reshaped.name, reshaped.shape, reshaped.builder, batch=place - 1, merged=True)
    return torch_rules.reshape(source, wanted)


def _parted(x: Behind, wanted: list[int]) -> Value:
    """A reshape of a value whose batch is merged behind an axis: the two are parted, or stay together."""
    place = x.batch + 1
    if tuple(wanted[:place]) != x.shape[:place] or math.prod(wanted) != math.prod(x.shape):
        raise Refused("the reshape does not part the batch from the axis it was merged with")
    plain = Value(x.name, x.shape, x.builder, batch=place)
    if len(wanted) > place and wanted[place] == 1:
        return torch_rules.reshape(plain, wanted)
    reshaped = torch_rules.reshape(plain, [*wanted[:place], 1, *wanted[place:]])
    return Behind(reshaped.name, reshaped.shape, reshaped.builder, batch=x.batch, merged=True)


def flatten(call: Call, x: Any) -> Value:
    source = value(x)
    shape = source.torch_shape
    axis = call.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    if axis <= source.batch and not call.single:
        hint = "" if source.batch else "; axis=1 keeps them apart"
        raise Refused(f"axis={axis} puts the inputs of a batch into one row{hint}")
    return torch_rules.reshape(source, [math.prod(shape[:axis]), math.prod(shape[axis:])])


def transpose(call: Call, x: Any) -> Value:
    source = value(x)
    return torch_rules.permute(source, list(call.get("perm") or reversed(range(len(source.torch_shape)))))


def squeeze(call: Call, x: Any, axes: Any = None) -> Value:
    return torch_rules.squeeze(x, call.numbers("axes", axes))


def unsqueeze(call: Call, x: Any, axes: Any = None) -> Value:
    source, places = value(x), call.numbers("axes", axes) or ()
    total = len(source.torch_shape) + len(places)
    for axis in sorted(a % total for a in places):
        source = torch_rules.unsqueeze(source, axis)
    return source


def concat(call: Call, *parts: Any) -> Value:
    return torch_rules.concatenate(parts, int(call.get("axis")))


def take_slice(call: Call, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    source: Any = value(x)
    for axis, chosen in slices(call, starts, ends, axes, steps):
        if not isinstance(source, Value):  # no entries are left
            source = source[(slice(None),) * (axis % source.ndim) + (chosen,)]
        elif chosen.step is not None and chosen.step < 0:
            source = taken(source, axis, np.arange(source.torch_shape[axis])[chosen])
        else:
            source = torch_rules.sliced(source, axis, chosen)
    return source


def taken(x: Value, axis: int, places: np.ndarray) -> Any:
    """Entries at places (any shape) along an axis, which their axes replace; none at all are a constant."""
    own, dim = x.axis(axis), x.torch_axis(axis)
    if dim == x.batch:
        raise Refused("it takes inputs out of the batch")
    if not places.size:
        return np.zeros((*x.torch_shape[:dim], *places.shape, *x.torch_shape[dim + 1 :]), dtype=np.float32)
    room((*x.shape[:own], *places.shape, *x.shape[own + 1 :]))
    entries = np.arange(math.prod(x.shape), dtype=np.float64).reshape(x.shape).take(places, axis=own)
    moved_by = places.ndim - 1 if dim < x.batch else 0
    return x.apply(Take(indices=entries.reshape(-1), shape=entries.shape), batch=x.batch + moved_by)


def split(call: Call, x: Any, sizes: Any = None) -> tuple[Any, ...]:
    source, axis = value(x), int(call.get("axis", 0))
    return torch_rules.split(source, list(split_sizes(call, source.shape[source.axis(axis)], sizes)), axis)


def gather(call: Call, x: Any, index: Any) -> Any:
    axis = int(call.get("axis", 0))
    if isinstance(index, Value):
        table = array(x)
        if axis % table.ndim or table.ndim != 2:
            raise Refused("an index that depends on the network's input looks up rows of a table")
        return normalising.embedding(index, table)
    source, places = value(x), np.asarray(index)
    rows = places.reshape(-1)
    if source.merged and len(source.shape) == 1 and np.array_equal(rows, np.arange(source.shape[0])):
        return torch_rules.reshape(source, *places.shape)  # a view by strides, as exporters of torch write it
    if places.ndim == 0:
        return torch_rules.select(source, axis, int(places))
    if not len(rows):
        return taken(source, axis, places)
    first, by = int(rows[0]), int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if places.ndim == 1 and by > 0 and first >= 0 and np.array_equal(rows, first + by * np.arange(len(rows))):
        return torch_rules.sliced(source, axis, slice(first, int(rows[-1]) + 1, by))
    return taken(source, axis, places)


def pad(call: Call, x: Any, widths: Any = None, fill: Any = None, axes: Any = None) -> Value:
    source = value(x)
    amounts = call.numbers("pads", widths) or ()
    rank = len(source.torch_shape)
    along = [a % rank for a in wholes(axes)] if axes is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(along):
        pairs[axis] = (amounts[i], amounts[len(along) + i])
    constant = number(fill if fill is not None else call.get("value", 0.0))
    mode = {"edge": "replicate", "wrap": "circular"}.get(call.get("mode", "constant"), call.get("mode", "constant"))
    flat = [n for pair in reversed(pairs) for n in pair]
    return torch_rules.pad(source, flat, mode, constant)


def resize(call: Call, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Value:
    source = value(x).leading()
    if call.op_type == "Upsample" or call.opset < 11:  # inputs (x, scales), or an attribute
        scales = call.get("scales") if roi is None else roi
    if call.get("axes") is not None:
        raise Refused("axes is not supported: give scales or sizes of all axes")
    call.only("keep_aspect_ratio_policy", "stretch")
    call.only("antialias", 0)
    call.only("exclude_outside", 0)
    target, factors = _target(source, scales, sizes)
    mode = call.get("mode", "nearest")
    old = call.op_type == "Upsample" or call.opset < 11
    grid = "asymmetric" if old else call.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        rounding = "floor" if old else call.get("nearest_mode", "round_prefer_floor")
        whole = all(f >= 1 and float(f).is_integer() for f in factors)
        if not (grid == "asymmetric" and rounding == "floor") and not (
            grid in _HALF_PIXEL and whole and rounding in ("round_prefer_floor", "round_prefer_ceil")
        ):
            raise Refused(f"nearest with {grid!r} and {rounding!r} is not supported; use asymmetric and floor")
        return torch_rules.interpolate(source, target, mode="nearest")
    if grid not in ("align_corners", *_HALF_PIXEL):
        raise Refused(f"{mode} with {grid!r} is not supported; use half_pixel or align_corners")
    if mode == "cubic" and not math.isclose(call.get("cubic_coeff_a", -0.75), -0.75):
        raise Refused("cubic_coeff_a must be -0.75")
    if grid == "pytorch_half_pixel":  # unlike torch's own: where one entry is left, it is the first
        for axis, size in enumerate(target, start=2):
            source = torch_rules.narrow(source, axis, 0, 1) if size == 1 else source
    name = "bicubic" if mode == "cubic" else _LINEAR[len(target)]
    return torch_rules.interpolate(source, target, mode=name, align_corners=grid == "align_corners")


def _target(x: Value, scales: Any, sizes: Any) -> tuple[tuple[int, ...], list[float]]:
    """New spatial sizes and the factors they are of the old ones."""
    shape = x.torch_shape
    if sizes is not None and np.size(sizes):
        full = wholes(sizes)
        factors = [n / m for n, m in zip(full, shape, strict=True)]
    else:
        factors = [float(f) for f in np.asarray(scales).reshape(-1)]
        exact = [n * f for n, f in zip(shape, factors, strict=True)]
        full = tuple(math.floor(n + 1e-6) for n in exact)
        if any(abs(n - t) > 1e-4 for n, t in zip(exact, full, strict=True)):
            raise Refused("scales that do not give whole sizes are not supported; give sizes")
    if full[1] != shape[1] or factors[0] not in (1.0, float(full[0])):
        raise Refused("only spatial axes can be resized")
    return full[2:], factors[2:]


def expand(call: Call, x: Any, shape: Any) -> Value:
    source = value(x)
    wanted = list(wholes(shape))
    place = source.batch + len(wanted) - len(source.torch_shape)
    if call.batch > 1 and 0 <= place < len(wanted) and wanted[place] == call.batch:
        wanted[place] = 1
    full = np.broadcast_shapes(source.torch_shape, tuple(wanted))
    return source if full == source.torch_shape else torch_rules.expand(source, list(room(full)))


def depth_to_space(call: Call, x: Any) -> Value:
    source, size = value(x).leading(), int(call.get("blocksize"))
    if call.get("mode", "DCR") == "CRD":
        return torch_rules.pixel_shuffle(source, size)
    channels, height, width = source.shape
    parted = source.apply(Reshape(shape=(size, size, channels // size**2, height, width)))
    turned = parted.apply(Permute(axes=(2, 3, 0, 4, 1)))
    return turned.apply(Reshape(shape=(channels // size**2, height * size, width * size)))


def space_to_depth(call: Call, x: Any) -> Value:
    source, size = value(x).leading(), int(call.get("blocksize"))
    channels, height, width = source.shape
    parted = source.apply(Reshape(shape=(channels, height // size, size, width // size, size)))
    turned = parted.apply(Permute(axes=(2, 4, 0, 1, 3)))
    return turned.apply(Reshape(shape=(channels * size**2, height // size, width // size)))


def tile(call: Call, x: Any, repeats: Any) -> Value:
    source, counts = value(x), wholes(repeats)
    room([n * c for n, c in zip(source.torch_shape, counts, strict=True)])
    return torch_rules.repeat(source, list(counts))


def triangle(call: Call, x: Any, k: Any = None) -> Value:
    name = "triu" if call.get("upper", 1) else "tril"
    result: Value = ATEN[name](value(x), int(number(k) or 0))
    return result


def gather_elements(call: Call, x: Any, index: Any) -> Value:
    result: Value = ATEN["gather"](value(x), int(call.get("axis", 0)), np.array(array(index)))
    return result


RULES: dict[str, Rule] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Slice": take_slice,
    "Split": split,
    "Gather": gather,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
    "Expand": expand,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Tile": tile,
    "Trilu": triangle,
    "GatherElements": gather_elements,
    **dict.fromkeys(("Identity", "Dropout"), lambda call, x, *unused: value(x)),
    "Shape": lambda call, x: shape_of(call, x.torch_shape),
    "Size": lambda call, x: np.array(math.prod(x.torch_shape), dtype=np.int64),
}
