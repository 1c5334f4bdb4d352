"""The noisy forward pass of a network on crossbars, for several draws at once.

Values are (D, B, *shape); D = 1 as long as nothing random has touched them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from powerplan.hardware import Gains, Hardware
from powerplan.hardware.conversions import converter_power
from powerplan.hardware.full_scale import full_scales
from powerplan.montecarlo.block import BLOCK_DEVICES
from powerplan.montecarlo.crossbar import Crossbar
from powerplan.montecarlo.read_out import BlockDevices
from powerplan.montecarlo.scratch import Scratch
from powerplan.montecarlo.streams import Streams
from powerplan.network import INPUT, Activation, CrossbarOp, Network, Op
from powerplan.network.digital import digital

#: activations without a transcendental function: rounded the same wherever a value lies in memory
_PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu", "hard_tanh")


class NoisyForward:
    """The network with its crossbars and a batch of inputs, ready to be drawn.

    Args:
        fast_wires: the drop along wires in closed form.
        inputs: (B, *input_shape), in the precision and on the device of the simulation.
        ideal: the same inputs in full precision, for the full scale of the read-out; None = ``inputs``.
    """

    def __init__(
        self,
        network: Network,
        hardware: Hardware,
        gains: Gains,
        inputs: torch.Tensor,
        ideal: np.ndarray | None = None,
        *,
        fast_wires: bool = False,
    ) -> None:
        dtype, device = inputs.dtype, inputs.device
        self._network, self._batch, self._itemsize = network, len(inputs), dtype.itemsize
        self._scratch = Scratch(dtype, device)
        self._crossbars: dict[str, Crossbar] = {}
        scales = full_scales(network, hardware, inputs.cpu().double().numpy() if ideal is None else ideal)
        layers = hardware.of_layers(network.layer_names)
        digital_scales = (entries or (None,) * len(scales) for entries in (gains.column_scale, gains.row_scale))
        arrays = zip(
            network.reads.values(), layers, gains.conductance, gains.voltage, scales, *digital_scales, strict=True
        )
        for nodes, own, c, v, scale, column_scale, row_scale in arrays:
            crossbar: Crossbar | None = None
            for node in nodes:
                assert isinstance(node.op, CrossbarOp)
                shape = network.shapes[node.inputs[0]]
                if crossbar is None:
                    crossbar = Crossbar(
                        node.op,
                        shape,
                        c,
                        v,
                        own,
                        scale,
                        column_scale,
                        row_scale,
                        fast_wires=fast_wires,
                        dtype=dtype,
                        device=device,
                    )
                    self._crossbars[node.name] = crossbar
                else:
                    self._crossbars[node.name] = crossbar.also_read(node.op, shape)
        shared = hardware.mapping == "shared"
        self._read_again = [name for name, nodes in network.reads.items() if shared and len(nodes) > 1]
        self._converters = torch.as_tensor(converter_power(network, hardware)).to(device, dtype)
        self._shared = {INPUT: inputs[None]}  # what all draws have in common is computed once
        self._shared_rows: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for node in network.nodes:
            if self._shared.keys() >= set(node.inputs):
                crossbar = self._crossbars.get(node.name)
                if crossbar is not None:
                    rows = crossbar.rows(self._shared[node.inputs[0]])
                    self._shared_rows[node.name] = rows, crossbar.drive(rows)
                elif node.inputs:
                    self._shared[node.name] = _digital_by_draw(node.op, *(self._shared[name] for name in node.inputs))
                else:
                    self._shared[node.name] = digital(node.op).to(device, dtype)[None]

    def __call__(
        self, streams: Streams, observe: Callable[[str, torch.Tensor], None] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass of the batch through newly programmed arrays in every draw.

        Args:
            streams: of D draws.
            observe: called with the name and the decoded output z (D, B, *shape) of every read of an array.

        Returns:
            Outputs (D, B, K) and power [W] of every array in every draw, all its reads together, (D, L).
        """
        values = dict(self._shared)
        power: dict[str, torch.Tensor] = {}
        kept: dict[str, list[BlockDevices]] = {name: [] for name in self._read_again}
        for node in self._network.nodes:
            if node.name not in self._shared:
                x = [values[name] for name in node.inputs]
                crossbar = self._crossbars.get(node.name)
                if crossbar is None:
                    values[node.name] = _digital_by_draw(node.op, *x)
                else:
                    rows, drive = self._shared_rows.get(node.name) or _rows(crossbar, x[0])
                    values[node.name], watts = crossbar.read(
                        rows, drive, streams, self._scratch, kept.get(node.array_name)
                    )
                    before = power.get(node.array_name)
                    power[node.array_name] = watts if before is None else before + watts
                    if observe is not None:
                        observe(node.name, values[node.name])
            for name in self._network.last_readers.get(node.name, ()):
                if name != self._network.output:
                    del values[name]
        return values[self._network.output].flatten(2), torch.stack(list(power.values()), dim=1) + self._converters

    def chunk(self, memory_limit: int) -> int:
        """Draws to run at a time: as many as fit the core's cache and the memory limit [bytes], at least one."""
        sizes = {name: self._batch * math.prod(shape) for name, shape in self._network.shapes.items()}
        live, elements, hot = {INPUT}, 0, 0
        for node in self._network.nodes:
            live.add(node.name)
            crossbar = self._crossbars.get(node.name)
            scratch = crossbar.scratch_elements(self._batch) if crossbar is not None else 0
            elements = max(elements, scratch + sum(sizes[name] for name in live))
            hot = max(hot, (crossbar.block_devices if crossbar is not None else 0) + sizes[node.name])
            live -= set(self._network.last_readers.get(node.name, ()))
        elements += sum(self._crossbars[self._network.reads[name][0].name].devices for name in self._read_again)
        return max(1, min(BLOCK_DEVICES // hot, memory_limit // (self._itemsize * elements)))


def _rows(crossbar: Crossbar, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = crossbar.rows(x)
    return rows, crossbar.drive(rows)


def _digital_by_draw(op: Op, *values: torch.Tensor) -> torch.Tensor:
    """A digital operation on values (D or 1, B or 1, *shape).

    Draw by draw, because a vectorised exp is rounded differently at the ragged end of an array: a draw's result
    must not depend on its neighbours. Piecewise linear activations have no such end and are applied at once.
    """
    if isinstance(op, Activation) and op.kind in _PIECEWISE_LINEAR:
        return digital(op, values[0])
    draws = max(len(value) for value in values)
    if draws == 1:
        return digital(op, *(value[0] for value in values))[None]
    return torch.stack([digital(op, *(value[d % len(value)] for value in values)) for d in range(draws)])
