"""The predictor as one differentiable torch function of the gains.

``predict`` reports its values; planning takes its derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.conversions import converter_power
from powerplan.hardware.full_scale import FullScale, full_scales
from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.samples import coherence
from powerplan.moments.samples.corrections import NONE, Corrections
from powerplan.moments.samples.count import enough_fields, has_rare_errors, needs_corrections
from powerplan.moments.samples.estimate import estimate_corrections
from powerplan.moments.slopes import check_slopes
from powerplan.moments.walks.adjoint import Source, sweep
from powerplan.moments.walks.joint import full_covariance, joint_entries
from powerplan.moments.walks.marginal import Trace, mean_field
from powerplan.moments.walks.reorder import maxima_first
from powerplan.network.forward import ideal_pass
from powerplan.network.graph import Network

METHODS = ("linearized", "covariance", "diagonal")

#: outputs up to which every one gets its own adjoint, unless the caller says otherwise
MOST_EXACT_OUTPUTS = 64
#: random combinations of more outputs than that
DEFAULT_COMBINATIONS = 16
#: bytes that one part of a prediction may take
MEMORY_LIMIT = 1 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Predicted moments at given gains, as tensors. B inputs, K outputs, L crossbar layers.

    Attributes:
        mean: (B, K) mean output.
        variance: (B, K) output variance; with random combinations (B, C), the mean output variance by combination.
        covariance: (B, K, K), or None if not asked for or of random combinations.
        sources: output variance by noise source; with ``linearized`` they sum to ``variance``.
        bias_by_layer: (L,) mean squared output bias caused by each layer's shifted mean weights; zero if not asked for.
        array_power, tia_power, converter_power: (L,) [W].
        trace: the forward pass.
    """

    mean: Tensor
    variance: Tensor
    covariance: Tensor | None
    sources: tuple[Source, ...]
    bias_by_layer: Tensor
    array_power: Tensor
    tia_power: Tensor
    converter_power: Tensor
    trace: Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A network on a hardware, ready to be evaluated at many gains.

    Attributes:
        original: the network as given.
        network: what is evaluated: the same nodes, max-pooling moved in front of activations that never decrease.
        inputs: (B, *input_shape).
        ideal: (B, K) ideal outputs, float64.
        is_exact: every output is a direction; else the directions are random combinations.
        directions: directions of the output that adjoints are pulled back from: (1, K, K), the outputs themselves, or
            (B, C, K), random combinations with entries ±1/√K.
        memory_limit: bytes that one part of a prediction may take, roughly; see :meth:`parts`.
        fields: random fields that correct marginal moments, 0 = none; see :mod:`powerplan.moments.samples.estimate`.
        seed: of combinations and fields.
        corrections: of marginal moments and of what is taken as independent.
        scales: of the columns of every crossbar, None where the read-out does not depend on it.
        converter_power: of every crossbar (L,) [W].
        averaged: the converters ("rows", "noisy rows", "columns") whose rounding is averaged over gains, as plans mind
            it; that of others is the one at the very gains.
    """

    original: Network
    network: Network
    hardware: Hardware
    method: str
    crossbars: tuple[ArrayConstants, ...]
    inputs: Tensor
    ideal: Tensor
    is_exact: bool
    directions: Tensor
    scales: tuple[FullScale | None, ...]
    converter_power: Tensor
    memory_limit: int = MEMORY_LIMIT
    fields: int = 0
    seed: int = 0
    corrections: Corrections = NONE
    averaged: frozenset[str] = frozenset()

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
        output_combinations: int | None = None,
        marginal_fields: int | None = None,
        seed: int = 0,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Predictor:
        """Move the constants of a network and a batch of inputs to torch.

        Args:
            output_combinations: random combinations of the outputs, 0 = every output by itself;
                None = every output of up to 64, else 16 combinations.
            marginal_fields: random fields that correct what is taken as independent, 0 = none; None = 16 to 2048 where
                errors of one origin meet (positions that share devices, joins) or are rare and large (stuck devices).
            seed: of combinations and fields.
        """
        check_slopes(network)
        original, network = network, maxima_first(network)
        outputs = math.prod(network.output_shape)
        combinations = output_combinations
        if combinations is None:
            combinations = 0 if outputs <= MOST_EXACT_OUTPUTS else DEFAULT_COMBINATIONS
        fields = marginal_fields
        if fields is None:
            needed = needs_corrections(network, hardware)
            fields = enough_fields(network, hardware, len(inputs)) if needed else 0
        return cls(
            original=original,
            network=network,
            hardware=hardware,
            method=method,
            fields=fields if method == "linearized" else 0,
            seed=seed,
            crossbars=ArrayConstants.all_of(network, hardware, dtype, device),
            inputs=torch.as_tensor(np.array(inputs), dtype=dtype, device=device),
            ideal=ideal_pass(network, inputs, device=device).output.to(device),
            is_exact=not combinations,
            directions=_directions(len(inputs), outputs, combinations, seed).to(device, dtype),
            scales=full_scales(original, hardware, inputs),
            converter_power=torch.as_tensor(converter_power(original, hardware)).to(device, dtype),
            memory_limit=memory_limit,
        )

    @property
    def signal_power(self) -> float:
        """Mean over inputs and outputs of y*²."""
        return float((self.ideal**2).mean())

    def gain_tensors(self, gains: Gains) -> tuple[list[Tensor], list[Tensor]]:
        """Conductance gains, () or (n_out,), and voltage gains, () or (n_rows,), of every layer."""
        like = self.inputs
        conductance, voltage = (
            [torch.as_tensor(np.array(g), dtype=like.dtype, device=like.device) for g in entries]
            for entries in (gains.conductance, gains.voltage)
        )
        return conductance, voltage

    def program(self, conductance: Sequence[Tensor], voltage: Sequence[Tensor]) -> list[ProgrammedArray]:
        """The crossbars at given gains: what does not depend on the inputs."""
        return [
            ProgrammedArray.at(
                crossbar, self.hardware, c.to(self.inputs), v.to(self.inputs), scale, averaged=self.averaged
            )
            for crossbar, c, v, scale in zip(self.crossbars, conductance, voltage, self.scales, strict=True)
        ]

    def corrected(self, programmed: Sequence[ProgrammedArray]) -> Predictor:
        """The predictor corrected as it must be at these gains, whatever gains follow; itself without fields.

        Large networks get fewer fields, then fields of some of the inputs only. These are worked on in groups that fit
        the memory limit, the first of which gives the coherence; all do where errors are rare.
        """
        if not self.fields:
            return self
        entries = [math.prod(shape) for shape in self.network.shapes.values()]
        room = self.memory_limit // self.inputs.element_size()
        few = max(_FEW_FIELDS, _FIELD_ENTRIES // (len(self.inputs) * sum(entries)))
        fields = min(self.fields, few, max(2, room // (_FIELD_TENSORS * max(entries))))
        pooled = min(len(self.inputs), max(1, _FIELD_ENTRIES // (fields * sum(entries))))
        step = min(pooled, max(1, room // (fields * _FIELD_TENSORS * max(entries))))
        kept = min(fields, coherence.enough_fields(self.network, step), max(1, room // (8 * step * sum(entries))))
        rare = has_rare_errors(self.hardware)
        rarely = min(fields, max(kept, room // (_RARE_TENSORS * step * sum(entries))))
        found: list[tuple[int, Corrections]] = []
        for low in range(0, pooled, step):
            group = self.inputs[low : min(low + step, pooled)]
            made = estimate_corrections(
                self.network,
                programmed,
                group,
                fields=fields,
                seed=self.seed + _SEEDS_APART * low,  # every group has fields of its own
                kept=(kept, rarely) if rare or not found else (0, 0),
            )
            found.append((len(group), made))
        return replace(self, corrections=Corrections.joined(found), fields=0)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """The inputs divided so that the moments of one part, with all its directions, fit the memory limit."""
        shapes = self.network.shapes
        sizes = [math.prod(shapes[node.name]) for node in self.network.nodes]
        per_input = _KEPT_TENSORS * sum(sizes)
        directions = self.directions.shape[1]
        if self.method == "covariance":
            per_input += joint_entries(self.network)
        else:
            per_input += 4 * directions * max(sizes)
        step = max(1, self.memory_limit // (per_input * self.inputs.element_size()))
        return tuple(slice(low, min(low + step, len(self.inputs))) for low in range(0, len(self.inputs), step))

    def moments(
        self, programmed: Sequence[ProgrammedArray], part: slice = slice(None), *, full: bool = False
    ) -> Moments:
        """Moments of the output for programmed crossbars and a part of the inputs.

        ``full`` adds what only a report needs: the output covariance and the bias by layer.
        """
        x = self.inputs[part]
        if self.method == "covariance":
            trace = full_covariance(self.network, programmed, x)
        else:
            corrections = self.corrections.of(part, len(self.inputs))
            trace = mean_field(self.network, programmed, x, corrections)
        directions = self.directions if self.is_exact else self.directions[part]
        joint = full and self.is_exact and self.method == "linearized"
        adjoints = sweep(
            self.network,
            trace,
            directions,
            joint=joint,
            biases=full,
            coherence=self.corrections.coherence,
            slopes=self.corrections.slopes,
        )
        if self.method == "linearized":
            variance = sum((source.variance for source in adjoints.sources), x.new_zeros(len(x), directions.shape[1]))
            covariance = adjoints.covariance
        else:
            variance = trace.output_variance
            covariance = trace.output_covariance
            if full and covariance is None:
                covariance = torch.diag_embed(variance)
        names = self.network.layer_names
        layers, factor = trace.crossbars, self.corrections
        none = torch.zeros((), dtype=x.dtype, device=x.device)
        return Moments(
            mean=trace.output_mean.expand(len(x), -1),
            variance=variance,
            covariance=covariance,
            sources=adjoints.sources,
            bias_by_layer=torch.stack([(adjoints.bias[n] ** 2).mean() if n in adjoints.bias else none for n in names]),
            array_power=torch.stack([factor.array_power.get(n, 1) * layers[n].array_power for n in names]),
            tia_power=torch.stack([factor.tia_power.get(n, 1) * layers[n].tia_power for n in names]),
            converter_power=self.converter_power,
            trace=trace,
        )


#: live tensors of the size of the largest value for every field
_FIELD_TENSORS = 8
#: tensors of the size of all values kept of every field where errors are rare, about
_RARE_TENSORS = 3
#: entries of all values, fields and inputs together, beyond which there are fewer fields, then fewer inputs
_FIELD_ENTRIES = 1 << 27
_FEW_FIELDS = 64
#: far from the seeds that anyone gives one after the other
_SEEDS_APART = 1_000_003
#: tensors of the size of a value kept for every node of a traced network, about
_KEPT_TENSORS = 5


def _directions(batch: int, outputs: int, combinations: int, seed: int) -> Tensor:
    if not combinations:
        return torch.eye(outputs, dtype=torch.float64)[None]
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (batch, combinations, outputs), generator=generator, dtype=torch.int8)
    return (2.0 * signs.double() - 1) / math.sqrt(outputs)
