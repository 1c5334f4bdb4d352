"""Calls of torch that move entries about: reshapes, permutations, slices, joins, padding, resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from powerplan.network.ops import Concat, Pad, Permute, Reshape, Shape, Slice, Upsample
from powerplan.network.ops.shaping import UPSAMPLE_AXES, Flatten
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, grown, joined, value


def reshape(input: Any, *shape: Any) -> Value:
    """A new torch shape. What is in front of the batch must stay; the batch may be merged with the next axis."""
    x = value(input)
    wanted = _listed(shape)
    known = math.prod(n for n in wanted if n != -1)
    target = tuple(math.prod(x.torch_shape) // max(known, 1) if n == -1 else n for n in wanted)
    return _to_shape(x, target)


def _to_shape(x: Value, target: Shape) -> Value:
    how = f"a reshape from {x.torch_shape} to {target} (with a batch of {x.builder.batch_size})"
    if math.prod(target) != math.prod(x.torch_shape):
        raise Refused(f"{how} does not keep the entries")
    p = _batch_place(x, target)
    if p is None:
        raise Refused(f"{how} moves the batch axis")
    size = target[p] // x.builder.batch_size
    merged = size != 1
    shape = (*target[:p], *((size,) if merged else ()), *target[p + 1 :])
    if shape == x.shape:
        return replace(x, batch=p, merged=merged)
    op = Flatten() if shape == (math.prod(x.shape),) else Reshape(shape=shape)
    return x.apply(op, batch=p, merged=merged)


def _batch_place(x: Value, target: Shape) -> int | None:
    """The axis of a reshaped value that starts with the batch; None if there is none."""
    size, before = x.builder.batch_size, math.prod(x.shape[: x.batch])
    if size == 1:
        return x.batch if target[: x.batch] == x.torch_shape[: x.batch] and len(target) > x.batch else None
    return next(
        (p for p, n in enumerate(target) if math.prod(target[:p]) == before and n % size == 0 and n),
        None,
    )


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Value:
    x = value(input)
    start, end = x.torch_axis(start_dim), x.torch_axis(end_dim)
    shape = x.torch_shape
    return _to_shape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def unflatten(input: Any, dim: int, sizes: Any) -> Value:
    x = value(input)
    axis, shape = x.torch_axis(dim), x.torch_shape
    known = math.prod(n for n in sizes if n != -1)
    parts = tuple(shape[axis] // max(known, 1) if n == -1 else n for n in sizes)
    return _to_shape(x, (*shape[:axis], *parts, *shape[axis + 1 :]))


def unsqueeze(input: Any, dim: int) -> Value:
    x = value(input)
    axes = len(x.torch_shape) + 1
    if not isinstance(dim, int) or not -axes <= dim < axes:
        raise Refused(f"dim={dim!r} is no axis of the result")
    place = dim % axes
    before = place <= x.batch
    axis = place if before or x.merged else place - 1
    batch = x.batch + before
    return x.apply(Reshape(shape=(*x.shape[:axis], 1, *x.shape[axis:])), batch=batch)


def squeeze(input: Any, dim: Any = None) -> Value:
    x = value(input)
    dims = range(len(x.torch_shape)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    gone = {d for d in map(x.torch_axis, dims) if d != x.batch and x.torch_shape[d] == 1}
    if dim is not None and not x.merged and x.batch in {x.torch_axis(d) for d in dims}:
        raise Refused("it drops the batch axis")
    shape = tuple(n for i, n in enumerate(x.shape) if i not in {x.axis(d) for d in gone})
    if not gone:
        return x
    return x.apply(Reshape(shape=shape), batch=x.batch - sum(d < x.batch for d in gone))


def permute(input: Any, *dims: Any) -> Value:
    x = value(input)
    order = [x.torch_axis(d) for d in _listed(dims)]
    if sorted(order) != list(range(len(x.torch_shape))):
        raise Refused(f"{order} does not name every axis once")
    axes = tuple(x.batch if d == x.batch else x.axis(d) for d in order if x.merged or d != x.batch)
    batch = order.index(x.batch)
    return replace(x, batch=batch) if axes == tuple(range(len(axes))) else x.apply(Permute(axes=axes), batch=batch)


def transpose(input: Any, dim0: int, dim1: int) -> Value:
    x = value(input)
    order = list(range(len(x.torch_shape)))
    a, b = x.torch_axis(dim0), x.torch_axis(dim1)
    order[a], order[b] = order[b], order[a]
    return permute(x, order)


def movedim(input: Any, source: Any, destination: Any) -> Value:
    x = value(input)
    sources, destinations = (
        [x.torch_axis(d) for d in (axes if isinstance(axes, tuple | list) else [axes])]
        for axes in (source, destination)
    )
    order = [d for d in range(len(x.torch_shape)) if d not in sources]
    for place, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, axis)
    return permute(x, order)


def expand(input: Any, *sizes: Any) -> Value:
    x = value(input)
    wanted = _listed(sizes)
    shape = (1,) * (len(wanted) - len(x.torch_shape)) + x.torch_shape
    if len(wanted) > len(x.torch_shape):
        raise Refused("it puts axes in front of the batch")
    target = tuple(n if w == -1 else w for w, n in zip(wanted, shape, strict=True))
    if target[x.batch] != x.torch_shape[x.batch]:
        raise Refused("it expands the batch axis")
    return grown(x, _without_batch(x, target))


def expand_as(input: Any, other: Any) -> Any:
    shape = other.torch_shape if isinstance(other, Value) else tuple(other.shape)
    return expand(input, shape) if isinstance(input, Value) else input.expand(shape)


def repeat(input: Any, *sizes: Any) -> Value:
    x = value(input)
    counts = _listed(sizes)
    if len(counts) != len(x.torch_shape) or counts[x.batch] != 1:
        raise Refused("it repeats the batch axis")
    for dim, count in enumerate(counts):
        if count != 1:
            x = concatenate([x] * count, dim)
    return x


def concatenate(tensors: Any, dim: int = 0, axis: int | None = None) -> Value:
    """Values behind each other; constants among them become nodes."""
    parts = [part for part in tensors if isinstance(part, Value) or math.prod(part.shape)]
    like = next(part for part in parts if isinstance(part, Value))
    values = [part if isinstance(part, Value) else like.constant(like.place(array(part))) for part in parts]
    if len(values) == 1:
        return values[0]
    return joined(Concat(axis=like.axis(dim if axis is None else axis)), *values)


def stack(tensors: Any, dim: int = 0) -> Value:
    parts = [part if isinstance(part, Value) else torch.as_tensor(part) for part in tensors]
    return concatenate([unsqueeze(p, dim) if isinstance(p, Value) else p.unsqueeze(dim) for p in parts], dim)


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    return sliced(value(input), dim, slice(start, start + length))


def select(input: Any, dim: int, index: int) -> Value:
    x = value(input)
    axis, place = x.axis(dim), x.torch_axis(dim)
    start = index + x.shape[axis] if index < 0 else index
    op = Slice(axis=axis, start=start, stop=start + 1, keep_axis=False)
    return x.apply(op, batch=x.batch - (place < x.batch))


def split(input: Any, split_size: Any = None, dim: int = 0, *, split_size_or_sections: Any = None) -> tuple[Any, ...]:
    x = value(input)
    sizes = split_size if split_size is not None else split_size_or_sections
    length = x.shape[x.axis(dim)]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    ends = np.cumsum(sizes)
    return tuple(narrow(x, dim, int(end - n), int(n)) for end, n in zip(ends, sizes, strict=True))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    x = value(input)
    return split(x, -(-x.shape[x.axis(dim)] // chunks), dim)


def unbind(input: Any, dim: int = 0) -> tuple[Value, ...]:
    x = value(input)
    return tuple(select(x, dim, i) for i in range(x.shape[x.axis(dim)]))


def sliced(x: Value, dim: int, taken: slice) -> Any:
    """Entries along an axis, one after the other; none at all are a constant."""
    if x.torch_axis(dim) == x.batch and not x.merged and taken != slice(None):
        raise Refused("it takes inputs out of the batch")
    size = x.torch_shape[x.torch_axis(dim)]
    start, stop, step = taken.indices(size)
    if (start, stop, step) == (0, size, 1):
        return x
    axis = x.axis(dim)
    if step < 1:
        raise Refused("slices are supported with a positive step")
    if start >= stop:
        place = x.torch_axis(dim)
        return torch.zeros((*x.torch_shape[:place], 0, *x.torch_shape[place + 1 :]), dtype=x.builder.dtype)
    return x.apply(Slice(axis=axis, start=start, stop=stop, step=step))


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    x = _value(input)
    widths = [int(n) for n in pad]
    if min(widths, default=0) < 0 or len(widths) > 2 * len(x.torch_shape):
        raise Refused("negative padding is not supported; slice instead")
    pairs = [(0, 0)] * (len(x.torch_shape) - len(widths) // 2)
    pairs += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    if any(pairs[x.batch]):
        raise Refused("it pads the batch axis")
    without_batch = [pair for axis, pair in enumerate(pairs) if x.merged or axis != x.batch]
    if not any(map(any, without_batch)):
        return x
    first = next(i for i, pair in enumerate(without_batch) if any(pair)) if mode == "constant" else 1
    first = min(first, 1)  # all spatial axes behind the channels, so that a convolution can take the padding over
    name = {"constant": "zeros"}.get(mode, mode)
    return x.apply(Pad(padding=tuple(without_batch[first:]), mode=name, value=float(value or 0.0)))


_value = value


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    x = value(input).leading()
    spatial = x.shape[1:]
    if antialias:
        raise Refused("antialias is not supported")
    if mode not in UPSAMPLE_AXES:
        raise Refused(f"mode={mode!r} is not supported, only {', '.join(UPSAMPLE_AXES)}")
    if size is not None:
        target = (size,) * len(spatial) if isinstance(size, int) else tuple(int(n) for n in size)
    else:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * len(spatial)
        exact = [n * f for n, f in zip(spatial, factors, strict=True)]
        target = tuple(math.floor(n) for n in exact)
        if not recompute_scale_factor and any(n != t for n, t in zip(exact, target, strict=True)):
            raise Refused("a scale factor that does not give a whole size; give size or recompute_scale_factor=True")
    return x.apply(Upsample(size=target, mode=mode, align_corners=bool(align_corners)))


def pixel_shuffle(input: Any, upscale_factor: int) -> Value:
    x, r = value(input).leading(), upscale_factor
    channels, height, width = x.shape
    split_up = x.apply(Reshape(shape=(channels // (r * r), r, r, height, width)))
    return split_up.apply(Permute(axes=(0, 3, 1, 4, 2))).apply(
        Reshape(shape=(channels // (r * r), height * r, width * r))
    )


def channel_shuffle(input: Any, groups: int) -> Value:
    x = value(input).leading()
    split_up = x.apply(Reshape(shape=(groups, x.shape[0] // groups, *x.shape[1:])))
    order = (1, 0, *range(2, len(split_up.shape)))
    return split_up.apply(Permute(axes=order)).apply(Reshape(shape=x.shape))


def roll(input: Any, shifts: Any, dims: Any = ()) -> Value:
    x = value(input)
    steps, axes = ([entries] if isinstance(entries, int) else list(entries) for entries in (shifts, dims))
    if len(steps) != len(axes):
        raise Refused("name the axes to roll along")
    for step, dim in zip(steps, axes, strict=True):
        size = x.shape[x.axis(dim)]
        if step % size:
            cut = size - step % size
            x = concatenate([sliced(x, dim, slice(cut, size)), sliced(x, dim, slice(0, cut))], dim)
    return x


def _listed(sizes: Sequence[Any]) -> list[int]:
    items = list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else list(sizes)
    if not all(isinstance(n, int) for n in items):
        raise Refused("sizes must be whole numbers")
    return items


def _without_batch(x: Value, torch_shape: Shape) -> Shape:
    size = (torch_shape[x.batch] // x.builder.batch_size,) if x.merged else ()
    return (*torch_shape[: x.batch], *size, *torch_shape[x.batch + 1 :])


def _upsampled(mode: str) -> Any:
    """The rule of torch's own names: (input, size, [align_corners,] scale factors)."""

    def rule(input: Any, size: Any, *others: Any) -> Value:
        factors = next((list(x) for x in others if isinstance(x, list | tuple)), None)
        corners = bool(others[0]) if others and isinstance(others[0], bool) else False
        return interpolate(input, size, None if size is not None else factors, mode, corners)

    return rule


RULES: dict[str, Rule] = declared(
    Standing.EXACT,
    {
        **dict.fromkeys(("reshape", "view", "_unsafe_view", "_reshape_copy"), reshape),
        "flatten": flatten,
        "unflatten": unflatten,
        "unsqueeze": unsqueeze,
        "squeeze": squeeze,
        "permute": permute,
        **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
        **dict.fromkeys(("movedim", "moveaxis"), movedim),
        **dict.fromkeys(("t", "numpy_T", "mT"), lambda input: transpose(input, -2, -1)),
        "expand": lambda input, sizes, implicit=False: expand(input, sizes),
        "expand_as": expand_as,
        "repeat": repeat,
        "tile": repeat,
        **dict.fromkeys(("cat", "concat"), concatenate),
        "stack": stack,
        "narrow": narrow,
        "select": select,
        "slice": lambda input, dim=0, start=None, end=None, step=1: sliced(value(input), dim, slice(start, end, step)),
        **dict.fromkeys(("split", "split_with_sizes"), split),
        "chunk": chunk,
        "unbind": unbind,
        "pad": pad,
        "constant_pad_nd": lambda input, widths, value=0.0: pad(input, widths, "constant", value),
        "pixel_shuffle": pixel_shuffle,
        **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), channel_shuffle),
        "roll": roll,
        **{
            f"upsample_{mode}{n}d": _upsampled(name)
            for mode, n, name in (
                *(("nearest", n, "nearest") for n in (1, 2, 3)),
                ("linear", 1, "linear"),
                ("bilinear", 2, "bilinear"),
                ("trilinear", 3, "trilinear"),
                ("bicubic", 2, "bicubic"),
            )
        },
    },
)
