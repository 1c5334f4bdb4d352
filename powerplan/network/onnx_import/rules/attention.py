"""Attention of ONNX (opset 23) and of onnxruntime's own domain, which its optimiser writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules.elementwise import aten
from powerplan.network.onnx_import.rules.shaping import taken
from powerplan.network.torch_import.rules import arrays, shaping
from powerplan.network.torch_import.rules.attention import attend
from powerplan.network.torch_import.value import Refused, Value, array, value


def attention(
    call: Call, query: Any, key: Any, val: Any, mask: Any = None, past_key: Any = None, past: Any = None, *lengths: Any
) -> tuple[Value, ...]:
    """Of queries, keys and values (batch, heads, length, width) or (batch, length, heads · width)."""
    if any(x is not None for x in (past_key, past, *lengths)):
        raise Refused("keys and values of earlier calls, and lengths of sequences, are not supported")
    queries, keys, values = value(query), value(key), value(val)
    flat = len(queries.torch_shape) == 3
    if flat:
        own, theirs = int(call.get("q_num_heads")), int(call.get("kv_num_heads"))
        queries, keys, values = _heads(queries, own), _heads(keys, theirs), _heads(values, theirs)
    groups, rest = divmod(queries.torch_shape[1], keys.torch_shape[1])
    if rest:
        raise Refused("the heads of its queries are no multiple of those of its keys")
    repeated = np.repeat(np.arange(keys.torch_shape[1]), groups)
    output = attend(
        queries,
        *((keys, values) if groups == 1 else (taken(x, 1, repeated) for x in (keys, values))),
        mask,
        is_causal=bool(call.get("is_causal", 0)),
        scale=call.get("scale"),
        softcap=float(call.get("softcap", 0.0)),
    )
    return _together(output) if flat else output, keys, values


def packed_attention(
    call: Call,
    x: Any,
    weights: Any,
    bias: Any = None,
    mask: Any = None,
    past: Any = None,
    added: Any = None,
    *more: Any,
) -> Value:
    """Of onnxruntime: queries, keys and values are linear in one input, with matrices side by side."""
    call.only("do_rotary", 0)
    if any(item is not None for item in (past, *more)):
        raise Refused("keys and values of earlier calls are not supported")
    matrix = array(weights)
    sizes = np.cumsum(call.get("qkv_hidden_sizes") or [matrix.shape[1] // 3] * 3)[:-1]
    offsets = [None] * 3 if bias is None else np.split(array(bias), sizes)
    projected = [
        arrays.linear(value(x), part.T, offset, name=name)
        for part, offset, name in zip(np.split(matrix, sizes, axis=1), offsets, _PROJECTIONS, strict=True)
    ]
    return _attended(call, projected, mask, added, bool(call.get("unidirectional", 0)))


def multi_head_attention(
    call: Call,
    query: Any,
    key: Any = None,
    val: Any = None,
    bias: Any = None,
    mask: Any = None,
    added: Any = None,
    *past: Any,
) -> Value:
    """Of onnxruntime: queries, keys and values (batch, length, heads · width), each with a bias."""
    if key is None or val is None or any(item is not None for item in past):
        raise Refused("queries, keys and values must be apart, without those of earlier calls")
    inputs = [value(item) for item in (query, key, val)]
    if bias is not None:
        offsets = np.split(array(bias), np.cumsum([x.torch_shape[-1] for x in inputs])[:-1])
        inputs = [aten("add", x, offset) for x, offset in zip(inputs, offsets, strict=True)]
    return _attended(call, inputs, mask, added, bool(call.get("unidirectional", 0)))


def _attended(call: Call, inputs: list[Value], mask: Any, added: Any, causal: bool) -> Value:
    heads = int(call.get("num_heads"))
    q, k, v = (_heads(x, heads) for x in inputs)
    scale = float(call.get("scale", 0.0)) or None
    return _together(attend(q, k, v, _allowed(mask, k.shape[-2]), added, is_causal=causal, scale=scale))


def _allowed(mask: Any, length: int) -> np.ndarray | None:
    """Where attention is allowed, of (batch, length), (batch, queries, length) or lengths (batch,)."""
    if mask is None:
        return None
    entries = array(mask)
    if entries.ndim > 1 and (entries == entries[:1]).all():  # written for a batch
        entries = entries[:1]
    match entries.ndim:
        case 1 if (entries == length).all():
            return None
        case 2:
            return entries.astype(bool)[:, None, None]
        case 3:
            return entries.astype(bool)[:, None]
        case _:
            raise Refused(f"a mask of shape {entries.shape} is not supported; (batch, length) is")


def _heads(x: Value, count: int) -> Value:
    """(batch, length, heads · width) as (batch, heads, length, width)."""
    return shaping.transpose(shaping.unflatten(x, -1, (count, -1)), 1, 2)


def _together(x: Value) -> Value:
    """(batch, heads, length, width) as (batch, length, heads · width)."""
    return shaping.flatten(shaping.transpose(x, 1, 2), 2)


_PROJECTIONS = ("q_proj", "k_proj", "v_proj")

RULES: dict[str, Rule] = {
    "Attention": attention,
    "com.microsoft.Attention": packed_attention,
    "com.microsoft.MultiHeadAttention": multi_head_attention,
}
