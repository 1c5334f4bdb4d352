"""nn.MultiheadAttention with a module for each of its projections: they are arrays of their own, with names."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def separate_projections(module: nn.Module) -> None:
    """Give every attention module inside (in place) ``q_proj``, ``k_proj``, ``v_proj`` instead of one packed matrix."""
    for part in list(module.modules()):
        if isinstance(part, nn.MultiheadAttention) and type(part).forward is nn.MultiheadAttention.forward:
            _separate(part)


def _separate(part: nn.MultiheadAttention) -> None:
    if part.bias_k is not None or part.add_zero_attn or "forward" in part.__dict__:
        return
    weights = (
        part.in_proj_weight.chunk(3) if part.in_proj_weight is not None else
        (part.q_proj_weight, part.k_proj_weight, part.v_proj_weight)
    )  # fmt: skip
    biases = (None,) * 3 if part.in_proj_bias is None else part.in_proj_bias.chunk(3)
    for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
        layer.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        part.add_module(name, layer.eval())
    part.__dict__["forward"] = MethodType(_attend, part)


def _attend(
    self: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What nn.MultiheadAttention computes for inputs with a batch axis."""
    if query.dim() != 3:
        raise ValueError("its inputs must have a batch axis; with batch_first=True it is the first one")
    projected = []
    for layer, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value)):
        x = layer(x)
        x = x if self.batch_first else x.transpose(0, 1)
        heads: Any = x
        projected.append(heads.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2))
    q, k, v = projected
    mask: Any = None
    if attn_mask is not None:
        mask = _added(attn_mask, q)
        mask = mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask
    elif is_causal:
        mask = _added(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1), q)
    if key_padding_mask is not None:
        padding = _added(key_padding_mask, q)[:, None, None, :]
        mask = padding if mask is None else mask + padding
    weights = None
    if need_weights:
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
        context = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        context = F.scaled_dot_product_attention(q, k, v, mask)
    merged = context.transpose(1, 2).flatten(-2)
    output = self.out_proj(merged if self.batch_first else merged.transpose(0, 1))
    return output, weights


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """What a mask adds to the scores: torch's are True where attention is not allowed."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype).masked_fill(mask, float("-inf"))
