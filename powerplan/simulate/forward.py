"""The noisy forward pass of a network on crossbars, for several draws at once.

Values are (D, B, *shape); D = 1 as long as nothing random has touched them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from powerplan.hardware import Gains, Hardware
from powerplan.network import INPUT, Activation, Linear, Network, Op
from powerplan.network.forward import digital
from powerplan.simulate.crossbar import TILE_DEVICES, Crossbar, Scratch
from powerplan.simulate.streams import Streams

#: activations without a transcendental function: rounded the same wherever a value lies in memory
_PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu", "hard_tanh")


class NoisyForward:
    """The network with its crossbars, ready to be drawn.

    Args:
        batch: number of inputs B passed through every draw.
    """

    def __init__(
        self, network: Network, hardware: Hardware, gains: Gains, *, batch: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.network, self.batch, self._itemsize = network, batch, dtype.itemsize
        self._scratch = Scratch(dtype, device)
        self._crossbars: dict[str, Crossbar] = {}
        for node, c, v in zip(network.crossbars, gains.conductance, gains.voltage, strict=True):
            assert isinstance(node.op, Linear)
            self._crossbars[node.name] = Crossbar(node.op, c, v, hardware, dtype=dtype, device=device)
        self._last_use = {name: node.name for node in network.nodes for name in node.inputs}

    def __call__(
        self, x: torch.Tensor, streams: Streams, observe: Callable[[str, torch.Tensor], None] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass of the batch through newly programmed arrays in every draw.

        Args:
            x: (B, *input_shape).
            streams: of D draws.
            observe: called with the name and the decoded output z (D, B, n_out) of every crossbar layer.

        Returns:
            Outputs (D, B, *output_shape) and power [W] of every layer in every draw, (D, L) float64.
        """
        values = {INPUT: x[None]}
        power = []
        for node in self.network.nodes:
            crossbar = self._crossbars.get(node.name)
            if crossbar is not None:
                (source,) = node.inputs
                values[node.name], watts = crossbar.read(values[source], streams, self._scratch)
                power.append(watts)
                if observe is not None:
                    observe(node.name, values[node.name])
            else:
                values[node.name] = _digital_by_draw(node.op, *(values[name] for name in node.inputs))
            for name in set(node.inputs):
                if self._last_use[name] == node.name:
                    del values[name]
        return values[self.network.output], torch.stack(power, dim=1)

    def chunk(self, memory_limit: int) -> int:
        """Draws to run at a time: as many as fit the core's cache and the memory limit [bytes], at least one."""
        sizes = {name: self.batch * math.prod(shape) for name, shape in self.network.shapes.items()}
        live, elements, hot = {INPUT}, 0, 0
        for node in self.network.nodes:
            live.add(node.name)
            crossbar = self._crossbars.get(node.name)
            scratch = crossbar.scratch_elements(self.batch) if crossbar is not None else 0
            elements = max(elements, scratch + sum(sizes[name] for name in live))
            hot = max(hot, (crossbar.tile_devices if crossbar is not None else 0) + sizes[node.name])
            live -= {name for name in node.inputs if self._last_use[name] == node.name}
        return max(1, min(TILE_DEVICES // hot, memory_limit // (self._itemsize * elements)))


def _digital_by_draw(op: Op, x: torch.Tensor) -> torch.Tensor:
    """A digital operation on values (D, B, *shape).

    Draw by draw, because a vectorised exp is rounded differently at the ragged end of an array: a draw's result
    must not depend on its neighbours. Piecewise linear activations have no such end and are applied at once.
    """
    if isinstance(op, Activation) and op.kind in _PIECEWISE_LINEAR:
        return digital(op, x)
    return torch.stack([digital(op, draw) for draw in x])
