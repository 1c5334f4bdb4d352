"""The predictor as one differentiable torch function of the gains.

``predict`` reports its values; planning takes its derivatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.moments.adjoint import Source, sweep
from powerplan.moments.crossbar import Crossbar, CrossbarMoments
from powerplan.moments.trace import Trace, full_covariance, mean_field
from powerplan.network.forward import ideal_values
from powerplan.network.graph import INPUT, Network

METHODS = ("linearized", "covariance", "diagonal")


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Predicted moments at given gains, as tensors. B inputs, K outputs, L crossbar layers.

    Attributes:
        mean: (B, K) mean output.
        variance: (B, K) output variance.
        covariance: (B, K, K), or None if not asked for.
        sources: output variance by noise source; with ``linearized`` they sum to ``variance``.
        bias_by_layer: (L,) mean squared output bias caused by each layer's shifted mean weights; zero if not asked for.
        array_power, tia_power: (L,) [W].
        trace: the forward pass.
    """

    mean: Tensor
    variance: Tensor
    covariance: Tensor | None
    sources: tuple[Source, ...]
    bias_by_layer: Tensor
    array_power: Tensor
    tia_power: Tensor
    trace: Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A network on a hardware, ready to be evaluated at many gains.

    Attributes:
        inputs: (B, *input_shape).
        ideal: (B, K) ideal outputs, float64.
        ideal_values: (B, *shape) ideal value of every node, float64.
    """

    network: Network
    hardware: Hardware
    method: str
    crossbars: tuple[Crossbar, ...]
    inputs: Tensor
    ideal: Tensor
    ideal_values: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        network: Network,
        hardware: Hardware,
        inputs: np.ndarray,
        *,
        method: str = "linearized",
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> Predictor:
        """Move the constants of a network and a batch of inputs to torch."""
        values = ideal_values(network, inputs, device=device)
        return cls(
            network=network,
            hardware=hardware,
            method=method,
            crossbars=Crossbar.all_of(network, dtype, device),
            inputs=values[INPUT].to(dtype),
            ideal=values[network.output].flatten(1),
            ideal_values=values,
        )

    @property
    def signal_power(self) -> float:
        """Mean over inputs and outputs of y*²."""
        return float((self.ideal**2).mean())

    def gain_tensors(self, gains: Gains) -> tuple[list[Tensor], list[Tensor]]:
        """Conductance gains, () or (n_out,), and voltage gains () of every layer."""
        like = self.inputs
        return (
            [torch.as_tensor(np.array(g), dtype=like.dtype, device=like.device) for g in gains.conductance],
            [torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in gains.voltage],
        )

    def program(self, conductance: Sequence[Tensor], voltage: Sequence[Tensor]) -> list[CrossbarMoments]:
        """The crossbars at given gains: what does not depend on the inputs."""
        return [
            CrossbarMoments.at(crossbar, self.hardware, c, v)
            for crossbar, c, v in zip(self.crossbars, conductance, voltage, strict=True)
        ]

    def moments(
        self, programmed: Sequence[CrossbarMoments], inputs: Tensor | None = None, *, full: bool = False
    ) -> Moments:
        """Moments of the output for programmed crossbars; ``inputs`` None = all of them.

        ``full`` adds what only a report needs: the output covariance and the bias by layer.
        """
        x = self.inputs if inputs is None else inputs
        forward = full_covariance if self.method == "covariance" else mean_field
        trace = forward(self.network, programmed, x)
        adjoints = sweep(self.network, trace, full=full)
        if self.method == "linearized":
            variance = sum((source.variance for source in adjoints.sources), torch.zeros_like(trace.output_mean))
            joint = adjoints.covariance
        else:
            variance = trace.output_variance
            joint = trace.output_covariance
            if full and joint is None:
                joint = torch.diag_embed(variance)
        layers = [trace.crossbars[name] for name in self.network.layer_names]
        none = torch.zeros((), dtype=x.dtype, device=x.device)
        return Moments(
            mean=trace.output_mean,
            variance=variance,
            covariance=joint,
            sources=adjoints.sources,
            bias_by_layer=torch.stack(
                [(adjoints.bias[n] ** 2).mean() if n in adjoints.bias else none for n in self.network.layer_names]
            ),
            array_power=torch.stack([layer.array_power for layer in layers]),
            tia_power=torch.stack([layer.tia_power for layer in layers]),
            trace=trace,
        )
