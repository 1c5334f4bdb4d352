"""Calls that only move entries about: which entry goes where is found by moving their numbers.

Entries of the inputs are numbered from 1 (0 = none of them, a zero), and the call is made on the numbers. Made on the
numbers of the inputs of a batch, it tells where the batch has gone, and that no entry of one input reached another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.network.ops import Concat, Constant, Flatten, Reshape, Take
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value

#: not all of torch moves whole numbers
_NUMBERS = torch.float64


def moved(call: Callable[..., Any], *arguments: Any, data: tuple[int, ...] = (0,), **keywords: Any) -> Any:
    """What a call makes of values by moving their entries.

    Args:
        call: an ATen operation that copies entries of some arguments to places that depend on the others only.
        data: numbers of the arguments whose entries are moved.
    """
    like = next(x for x in arguments if isinstance(x, Value))
    if any(isinstance(x, Value) and i not in data for i, x in enumerate(arguments)):
        raise Refused("the places must not depend on the network's input")
    size = like.builder.batch_size
    places, batches = list(arguments), list(arguments)
    sources: list[Value] = []
    count = 0
    for i in data:
        if i >= len(arguments) or arguments[i] is None:
            continue
        x = arguments[i]
        if not isinstance(x, Value):
            # equal entries have one number, so that a constant may be made for the whole batch
            entries, numbers = torch.unique(torch.as_tensor(x), return_inverse=True)
            x = _constant(like, entries)
            places[i] = (numbers + count + 1).to(_NUMBERS)
            batches[i] = torch.full(numbers.shape, -1, dtype=_NUMBERS)
        else:
            numbers = torch.arange(count + 1.0, count + 1 + math.prod(x.shape), dtype=_NUMBERS).reshape(x.shape)
            places[i] = _spread(x, numbers.unsqueeze(x.batch))
            own = torch.arange(float(size), dtype=_NUMBERS)
            batches[i] = _spread(x, own.reshape(-1, *(1,) * (len(x.shape) - x.batch)))
        sources.append(x)
        count += math.prod(x.shape)
    where, whose = call(*places, **keywords), call(*batches, **keywords)
    if isinstance(where, Tensor):
        return _taken(sources, where, whose)
    return tuple(_taken(sources, w, b) for w, b in zip(where, whose, strict=True))


def _spread(x: Value, numbers: Tensor) -> Tensor:
    """Numbers, with an axis for the batch, as a tensor of the value's torch shape."""
    full = (*x.shape[: x.batch], x.builder.batch_size, *x.shape[x.batch :])
    return numbers.expand(full).reshape(x.torch_shape).contiguous()  # as_strided goes by what is stored


def _constant(like: Value, tensor: Tensor) -> Value:
    flat = tensor.detach().double().reshape(-1).numpy()
    name = like.builder.add(Constant(value=flat), (), "constant")
    return Value(name, flat.shape, like.builder)


def _taken(sources: list[Value], where: Tensor, whose: Tensor) -> Value:
    """The value of entries that were moved to these places."""
    first = sources[0]
    size = first.builder.batch_size
    # of a batch of one every axis can be it: that of the same number, if it is alone there
    for batch in sorted(range(where.dim()), key=lambda p: (where.shape[p] != size, p != first.batch)):
        length = where.shape[batch]
        if length % size:
            continue
        parts = (*where.shape[:batch], size, length // size, *where.shape[batch + 1 :])
        own = torch.arange(size).reshape(-1, *(1,) * (len(parts) - batch - 1))
        numbers, inputs = where.reshape(parts), whose.reshape(parts)
        one = numbers.select(batch, 0)
        fits = (inputs == own) | (inputs < 0) | (numbers == 0)
        if bool(fits.all()) and bool((numbers == one.unsqueeze(batch)).all()):
            merged = length != size
            shape = (*where.shape[:batch], *((length // size,) if merged else ()), *where.shape[batch + 1 :])
            return _gathered(sources, one.reshape(-1), shape, batch, merged)
    raise Refused("it mixes the inputs of a batch")


def _gathered(sources: list[Value], numbers: Tensor, shape: tuple[int, ...], batch: int, merged: bool) -> Value:
    first = sources[0]
    if len(sources) == 1 and int(numbers.min()) > 0:
        count = math.prod(first.shape)
        if len(numbers) == count and bool((numbers == torch.arange(1, count + 1)).all()):
            op = Flatten() if shape == (count,) else Reshape(shape=shape)
            return first.apply(op, batch=batch, merged=merged)
        return first.apply(Take(indices=(numbers - 1).numpy(), shape=shape), batch=batch, merged=merged)
    flat = [Value(_flat(x), (math.prod(x.shape),), x.builder) for x in sources]
    if int(numbers.min()) == 0:
        flat.insert(0, _constant(first, torch.zeros(1)))
    else:
        numbers = numbers - 1
    together = flat[0].apply(Concat(axis=0), *flat[1:]) if len(flat) > 1 else flat[0]
    return together.apply(Take(indices=numbers.numpy(), shape=shape), batch=batch, merged=merged)


def _flat(x: Value) -> str:
    return x.name if len(x.shape) == 1 else x.builder.add(Flatten(), (x.name,), "flat")


def _rule(name: str, data: tuple[int, ...] = (0,)) -> Any:
    return lambda *arguments, **keywords: moved(getattr(torch.ops.aten, name), *arguments, data=data, **keywords)


def _index(x: Any, places: Any) -> Any:
    indices = [None if i is None else torch.as_tensor(np.asarray(i)) if not isinstance(i, Value) else i for i in places]
    if any(isinstance(i, Value) for i in indices):
        raise Refused("the places must not depend on the network's input")
    return moved(lambda numbers: torch.ops.aten.index(numbers, indices), x)


RULES: dict[str, Rule] = declared(
    Standing.EXACT,
    {
        **{
            name: _rule(name)
            for name in """
        as_strided diagonal flip im2col index_select pixel_unshuffle repeat_interleave reflection_pad1d reflection_pad2d
        reflection_pad3d replication_pad1d replication_pad2d replication_pad3d rot90 tril triu unfold
        """.split()  # noqa: SIM905
        },
        "index": _index,
        **{name: _rule(name, (0, 1)) for name in ("select_scatter", "slice_scatter", "diagonal_scatter", "copy")},
    },
)
