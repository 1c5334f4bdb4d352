"""Buffers that draws use again and again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch


class Scratch:
    """Buffers reused from block to block and from draw to draw: fresh memory would cost a page fault each time."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}

    def normals(self, shape: tuple[int, ...], name: str = "normals") -> torch.Tensor:
        """A float32 buffer of this shape, contents undefined."""
        return self._buffer(name, shape, torch.float32)

    def values(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A named buffer of the simulation's precision and this shape, contents undefined."""
        return self._buffer(name, shape, self._dtype)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size, dtype=dtype, device=self._device)
        return buffer[:size].view(shape)


def over_sides(combine: Callable[..., torch.Tensor], devices: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    """Sum or difference (D, g, o, n) of devices (D, sides, g, o, n) over the sides; the one side itself."""
    if devices.shape[1] == 1:
        return devices[:, 0]
    return combine(devices[:, 0], devices[:, 1], out=scratch.values("pair", devices[:, 0].shape))
