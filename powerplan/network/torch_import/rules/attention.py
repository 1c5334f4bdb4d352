"""Attention of torch: projections are linear layers on crossbars, products of activations are digital.

scores = Q Kᵀ / √d + mask,   output = softmax(scores) V,   for every head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from powerplan.network.ops import Mean, Permute, Reshape, Scale, Softmax
from powerplan.network.torch_import.rules.arrays import linear, product, swapped
from powerplan.network.torch_import.rules.elementwise import affine
from powerplan.network.torch_import.value import MASKED, Refused, Value, array


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if dropout_p:
        raise Refused("dropout is switched on in evaluation mode too; pass dropout_p=0")
    if enable_gqa:
        raise Refused("enable_gqa is not supported")
    q, k, v = query, key, value
    if not all(isinstance(x, Value) for x in (q, k, v)):
        raise Refused("queries, keys and values must all depend on the network's input")
    masks = [] if attn_mask is None else [_mask(attn_mask)]
    if is_causal:
        masks.append(_mask(np.tril(np.ones((q.shape[-2], k.shape[-2]), dtype=bool))))
    return _attend(q, k, v, masks, scale)[0]


def multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Value, Value | None]:
    """Inputs (length, batch, width), the output likewise; the weights of attention (batch, [heads,] length, length)."""
    if training and dropout_p:
        raise Refused("dropout is switched on in evaluation mode too")
    if add_zero_attn or any(x is not None for x in (bias_k, bias_v, static_k, static_v)):
        raise Refused("add_zero_attn, bias_k, bias_v and static keys or values are not supported")
    like = next(x for x in (query, key, value) if isinstance(x, Value))
    if len(like.torch_shape) != 3 or like.batch != 1 or like.merged:
        raise Refused("its inputs must have a batch axis; with batch_first=True it is the first one")
    q, k, v = (_sequence(like, x) for x in (query, key, value))
    width = q.shape[-1]
    weights = (
        (q_proj_weight, k_proj_weight, v_proj_weight)
        if use_separate_proj_weight
        else np.split(array(in_proj_weight), 3)
    )
    biases = (None,) * 3 if in_proj_bias is None else np.split(array(in_proj_bias), 3)
    heads = []
    for x, weight, bias, name in zip((q, k, v), weights, biases, "qkv", strict=True):
        projected = linear(x, weight, bias, name=f"{name}_proj")
        split = projected.apply(Reshape(shape=(x.shape[0], num_heads, width // num_heads)), name=f"{name}_heads")
        # (batch, heads, length, width of a head)
        heads.append(split.apply(Permute(axes=(1, 0, 2)), batch=0, name=f"{name}_permute"))
    masks = [_mask(m) for m in (attn_mask,) if m is not None]
    if masks and masks[0].ndim == 3:
        raise Refused("a mask per head and input is not supported; give one of shape (length, length)")
    if key_padding_mask is not None:
        padding = array(key_padding_mask)
        masks.append(_mask(~padding if padding.dtype == bool else padding).reshape(-1, 1, 1, padding.shape[-1]))
    # torch's masks here are True where attention is *not* allowed
    if masks and attn_mask is not None and array(attn_mask).dtype == bool:
        masks[0] = _mask(~array(attn_mask))
    context, probabilities = _attend(heads[0], heads[1], heads[2], masks, None)
    back = context.apply(Permute(axes=(1, 0, 2)), batch=1, name="permute")
    merged = back.apply(Reshape(shape=(q.shape[0], width)), name="merge")
    output = linear(merged, out_proj_weight, out_proj_bias, name="out_proj")
    if not need_weights:
        return output, None
    return output, probabilities.apply(Mean(axes=(0,)), name="weights") if average_attn_weights else probabilities


def _attend(q: Value, k: Value, v: Value, masks: list[np.ndarray], scale: float | None) -> tuple[Value, Value]:
    """Output (…, length, width) and probabilities of queries, keys and values (…, length, width)."""
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = product(q, swapped(k, "k_transpose"), name="scores")
    scores = scores.apply(Scale(scale=np.array([factor]), shift=np.zeros(1)), name="scaled")
    for mask in masks:
        scores = affine(scores, 1.0, mask)
    probabilities = scores.apply(Softmax(axis=-1), name="softmax")
    return product(probabilities, v, name="context"), probabilities


def _mask(mask: Any) -> np.ndarray:
    """What a mask adds to the scores; True = attention is allowed."""
    if isinstance(mask, Value):
        raise Refused("a mask that depends on the network's input is not supported")
    mask_values = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    added = (
        np.where(mask_values, 0.0, MASKED)
        if mask_values.dtype == bool
        else np.maximum(mask_values.astype(np.float64), MASKED)
    )
    if (added <= MASKED).all(axis=-1).any():
        raise Refused("a mask leaves nothing to attend to")
    return added


def _sequence(like: Value, x: Any) -> Value:
    """An input of shape (length, batch, width); constants become nodes of their own."""
    if not isinstance(x, Value):
        return like.constant(like.place(array(x)))
    if (x.batch, x.merged, len(x.torch_shape)) != (like.batch, like.merged, 3):
        raise Refused("its inputs must have their batch axes in the same place")
    return x


RULES: dict[str, Any] = {
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
}
