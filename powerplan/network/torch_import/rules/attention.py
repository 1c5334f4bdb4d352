"""Attention of torch: projections are linear layers on crossbars, products of activations are digital.

scores = Q Kᵀ / √d + mask,   output = softmax(scores) V,   for every head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from powerplan.network.ops import Activation, Scale, Softmax
from powerplan.network.torch_import.rules.arrays import product, swapped
from powerplan.network.torch_import.rules.elementwise import affine
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import MASKED, Refused, Value


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
    return attend(q, k, v, attn_mask, is_causal=is_causal, scale=scale)


def attend(
    q: Value, k: Value, v: Value, *masks: Any, is_causal: bool = False, scale: float | None = None, softcap: float = 0.0
) -> Value:
    """The output (…, length, width) of queries, keys and values (…, length, width).

    Args:
        masks: added to the scores, or True where attention is allowed; None = none.
        scale: of the scores; None = 1/√width.
        softcap: c of c tanh(scores / c), in front of the masks; 0 = none.
    """
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = product(q, swapped(k, "k_transpose"), name="scores")
    scores = scores.apply(Scale(scale=np.array([factor]), shift=np.zeros(1)), name="scaled")
    if softcap:
        bent = affine(scores, 1 / softcap, 0.0).apply(Activation(kind="tanh"), name="capped")
        scores = affine(bent, softcap, 0.0)
    causal = np.tril(np.ones((q.shape[-2], k.shape[-2]), dtype=bool)) if is_causal else None
    for mask in (*masks, causal):
        scores = scores if mask is None else affine(scores, 1.0, _mask(mask))
    return product(scores.apply(Softmax(axis=-1), name="softmax"), v, name="context")


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


RULES: dict[str, Rule] = declared(Standing.FIRST_ORDER, {"scaled_dot_product_attention": attention})
