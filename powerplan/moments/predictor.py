"""The predictor as one differentiable torch function of the gains.

``predict`` reports its values; planning takes its derivatives.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.errors import InvalidInput, RangeWarning
from powerplan.hardware.conversions import converter_power
from powerplan.hardware.costs.model import CostModel
from powerplan.hardware.full_scale import FullScale, full_scales
from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware, LayerHardware, ideal_wires
from powerplan.hardware.layer_targets import shifts_together
from powerplan.hardware.row_samples import row_samples
from powerplan.hardware.wires.inputs import current_shares
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.held import LastMade, made_again
from powerplan.moments.array.program import program
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.wired import WiredAmplifier
from powerplan.moments.digital_scales import Scales, scaled_by_rules
from powerplan.moments.samples.corrections import NONE, Corrections
from powerplan.moments.samples.count import Sampling, errors_are_alike
from powerplan.moments.settings import MEMORY_LIMIT, METHODS as METHODS, SAMPLING_ERROR
from powerplan.moments.slopes import check_slopes
from powerplan.moments.sources.errors import total
from powerplan.moments.walks.adjoint import Source, output_directions, sweep
from powerplan.moments.walks.joint import full_covariance, joint_entries
from powerplan.moments.walks.marginal import Trace, mean_field
from powerplan.moments.walks.reorder import maxima_first
from powerplan.network.forward import ideal_pass
from powerplan.network.graph import Network

#: outputs up to which every one gets its own adjoint, unless the caller says otherwise
MOST_EXACT_OUTPUTS = 64
#: random combinations of more outputs than that
DEFAULT_COMBINATIONS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Predicted moments at given gains, as tensors. B inputs, K outputs, L crossbar layers.

    Attributes:
        mean: (B, K) mean output.
        variance: (B, K) output variance; with random combinations (B, C), the mean output variance by combination.
        covariance: (B, K, K), or None if not asked for or of random combinations.
        sources: output variance by noise source; with ``linearized`` they sum to ``variance``.
        bias_by_layer: (L,) mean squared output bias caused by each layer's shifted mean weights; zero if not asked for.
        wire_bias_by_layer: the same of the resistance of wires alone; 0 where no ideal weights are given.
        array_power, tia_power, converter_power: (L,) [W].
        trace: the forward pass.
    """

    mean: Tensor
    variance: Tensor
    covariance: Tensor | None
    sources: tuple[Source, ...]
    bias_by_layer: Tensor
    wire_bias_by_layer: Tensor
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
        sampling: of the error samples that are still to correct marginal moments, None = none; see
            :mod:`powerplan.moments.sampling`.
        seed: of combinations and error samples.
        corrections: of marginal moments and of what is taken as independent.
        scales: of the columns of every crossbar, None where the read-out does not depend on it.
        current_shares: of the rows in the currents of columns, of every crossbar; None where wires are ideal.
        row_samples: values at the rows of every crossbar that decide on its digital scales; None without such.
        converter_power: of every crossbar (L,) [W].
        cost_model: what components around the arrays take; None where the hardware has no costs.
        averaged: the converters ("rows", "noisy rows", "columns") whose rounding is averaged over gains, as plans mind
            it; that of others is the one at the very gains.
        chip_ratio: the number that a part of the chips keeps within, over its mean, where a target is on such a part.
        input_factor: what a target's mean over inputs is multiplied by, where it is on a part of them or for others.
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
    current_shares: tuple[Tensor | None, ...]
    row_samples: tuple[Tensor | None, ...]
    converter_power: Tensor
    cost_model: CostModel | None = None
    memory_limit: int = MEMORY_LIMIT
    sampling: Sampling | None = None
    seed: int = 0
    corrections: Corrections = NONE
    averaged: frozenset[str] = frozenset()
    chip_ratio: float = 1.0
    input_factor: float = 1.0

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
        sampling_error: float = SAMPLING_ERROR,
        seed: int = 0,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Predictor:
        """Move the constants of a network and a batch of inputs to torch.

        Args:
            output_combinations: random combinations of the outputs, 0 = every output by itself;
                None = every output of up to 64, else 16 combinations.
            marginal_fields, sampling_error: see :func:`powerplan.predict`.
            seed: of combinations and error samples.
        """
        check_slopes(network)
        _check_reads(network, hardware, method)
        if marginal_fields == 0 and method == "linearized":
            _warn_of_reads(network, hardware)
        original, network = network, maxima_first(network)
        outputs = math.prod(network.output_shape)
        combinations = output_combinations
        if combinations is None:
            combinations = 0 if outputs <= MOST_EXACT_OUTPUTS else DEFAULT_COMBINATIONS
        sampling = None
        if method == "linearized":
            sampling = Sampling.of(network, hardware, len(inputs), samples=marginal_fields, error=sampling_error)
        return cls(
            original=original,
            network=network,
            hardware=hardware,
            method=method,
            sampling=sampling,
            seed=seed,
            crossbars=ArrayConstants.all_of(network, hardware, dtype, device),
            inputs=torch.as_tensor(np.array(inputs), dtype=dtype, device=device),
            ideal=ideal_pass(network, inputs, device=device).output.to(device),
            is_exact=not combinations,
            directions=output_directions(len(inputs), outputs, combinations, seed, dtype).to(device),
            scales=full_scales(original, hardware, inputs),
            current_shares=tuple(
                None if part is None else part.to(device, dtype) for part in current_shares(original, hardware, inputs)
            ),
            row_samples=tuple(
                None if part is None else part.to(device, dtype) for part in row_samples(original, hardware, inputs)
            ),
            converter_power=torch.as_tensor(converter_power(original, hardware)).to(device, dtype),
            cost_model=CostModel.of(original, hardware),
            memory_limit=memory_limit,
        )

    @cached_property
    def layers(self) -> tuple[LayerHardware, ...]:
        """The hardware of every crossbar."""
        return self.hardware.of_layers(self.network.layer_names)

    @property
    def signal_power(self) -> float:
        """Mean over inputs and outputs of y*²."""
        return float((self.ideal**2).mean())

    def gain_tensors(self, gains: Gains) -> tuple[list[Tensor], list[Tensor], Scales]:
        """Conductance gains, () or (n_out,), voltage gains, () or (n_rows,), and digital scales of every layer."""
        like = self.inputs
        conductance, voltage, columns, rows = (
            [torch.as_tensor(np.array(g), dtype=like.dtype, device=like.device) for g in entries or ()]
            for entries in (gains.conductance, gains.voltage, gains.column_scale, gains.row_scale)
        )
        return conductance, voltage, Scales(columns=columns or None, rows=rows or None)

    def program(
        self, conductance: Sequence[Tensor], voltage: Sequence[Tensor], scales: Sequence[Any] | None = None
    ) -> list[ProgrammedArray]:
        """The crossbars at given gains: what does not depend on the inputs.

        Args:
            scales: digital scales, as in :class:`Scales`; those that are None follow from the gains by the rules of the
                hardware.
        """
        make = partial(program, averaged=self.averaged, last=None if self._keeps_moments else LastMade())
        arrays = [
            make(crossbar, hardware, c.to(self.inputs), v.to(self.inputs), scale, shares)
            for crossbar, hardware, c, v, scale, shares in zip(
                self.crossbars, self.layers, conductance, voltage, self.scales, self.current_shares, strict=True
            )
        ]
        return scaled_by_rules(arrays, self.row_samples, Scales(*(scales or ())))

    def ideal_weights(self, gains: Gains, programmed: Sequence[ProgrammedArray]) -> dict[str, Tensor]:
        """Mean weights (n_out, n_in) that arrays would have if their wires had no resistance, at the same gains, with
        targets and digital scales made for such wires; nothing where wires are ideal.

        Scales that gains have are taken times what the rules make for ideal wires, over what they make for these.

        Args:
            programmed: the crossbars at these gains.
        """
        if not self.hardware.has_wires:
            return {}
        conductance, voltage, scales = self.gain_tensors(gains)
        made_for_wires = any(h.scales_columns or h.scales_rows or shifts_together(h) for h in self.layers)
        if scales == Scales() and not made_for_wires:
            read_outs = ((array.constants.name, array.read_out) for array in programmed)
            return {name: read.ideal for name, read in read_outs if isinstance(read, WiredAmplifier)}
        ideal = replace(self, hardware=ideal_wires(self.hardware), current_shares=(None,) * len(self.crossbars))
        if scales != Scales():
            made, made_ideal = (Scales.of(each.program(conductance, voltage)) for each in (self, ideal))
            scales = Scales(
                *(
                    known and [s * new / old for s, new, old in zip(known, others or (), own or (), strict=True)]
                    for known, others, own in zip(scales, made_ideal, made, strict=True)
                )
            )
        arrays = ideal.program(conductance, voltage, scales)
        return {array.constants.name: array.mean_weight for array in arrays}

    @property
    def _keeps_moments(self) -> bool:
        """Whether what prediction or plan keep of the size of the weights of all arrays takes but a few of the memory
        limits."""
        tensors = _OF_WEIGHTS_PLANNED if torch.is_grad_enabled() else _OF_WEIGHTS
        weights = sum(crossbar.size for crossbar in self.crossbars)
        return tensors * weights * self.inputs.element_size() <= _LIMITS_FOR_WEIGHTS * self.memory_limit

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """The inputs divided so that the moments of one part, with all its directions, fit the memory limit."""
        shapes = self.network.shapes
        sizes = [math.prod(shapes[node.name]) for node in self.network.nodes]
        per_input = _KEPT_TENSORS * sum(sizes) + _KEPT_OF_SLICE * self._slice_sizes
        directions = self.directions.shape[1]
        if self.method == "covariance":
            per_input += joint_entries(self.network)
        else:
            per_input += 4 * directions * max(sizes)
        step = max(1, self.memory_limit // (per_input * self.inputs.element_size()))
        return tuple(slice(low, min(low + step, len(self.inputs))) for low in range(0, len(self.inputs), step))

    @property
    def _slice_sizes(self) -> int:
        """Entries of the inputs that come in slices, slice by slice."""
        reads = zip(self.layers, self.network.reads.values(), strict=True)
        return sum(
            len(own.input_slices.weights) * math.prod(self.network.shapes[node.inputs[0]])
            for own, nodes in reads
            if own.input_slices is not None
            for node in nodes
        )

    def trace(self, programmed: Sequence[ProgrammedArray], part: slice = slice(None)) -> Trace:
        """The forward pass of a part of the inputs."""
        x = self.inputs[part]
        if self.method == "covariance":
            return full_covariance(self.network, programmed, x)
        return mean_field(self.network, programmed, x, self.corrections.of(part, len(self.inputs)))

    def moments(
        self,
        programmed: Sequence[ProgrammedArray],
        part: slice = slice(None),
        *,
        full: bool = False,
        ideal_weights: Mapping[str, Tensor] = MappingProxyType({}),
        trace: Trace | None = None,
    ) -> Moments:
        """Moments of the output for programmed crossbars and a part of the inputs.

        Args:
            full: with what only a report needs: the output covariance and the bias by layer.
            ideal_weights: of :meth:`ideal_weights`, for the bias by wires.
            trace: the corrected forward pass of these inputs, where it is at hand.
        """
        with made_again([array.held for array in programmed]):
            return self._moments(programmed, part, full, ideal_weights, trace)

    def _moments(
        self,
        programmed: Sequence[ProgrammedArray],
        part: slice,
        full: bool,
        ideal_weights: Mapping[str, Tensor],
        trace: Trace | None,
    ) -> Moments:
        x, trace = self.inputs[part], trace or self.trace(programmed, part)
        directions = self.directions if self.is_exact else self.directions[part]
        joint = full and self.is_exact and self.method == "linearized"
        adjoints = sweep(
            trace,
            directions,
            joint=joint,
            biases=full,
            ideal_weights=ideal_weights,
            coherence=self.corrections.coherence,
            slopes=self.corrections.slopes,
        )
        sources, joint_covariance = adjoints.sources, adjoints.covariance
        if (whole := self.corrections.whole) != 1:
            sources = tuple(replace(source, variance=whole * source.variance) for source in sources)
            joint_covariance = None if joint_covariance is None else whole * joint_covariance
        if self.method == "linearized":
            variance = sum((source.variance for source in sources), x.new_zeros(len(x), directions.shape[1]))
            covariance = joint_covariance
        else:
            variance = trace.output_variance
            covariance = trace.output_covariance
            if full and covariance is None:
                covariance = torch.diag_embed(variance)
        names, reads = self.network.layer_names, self.network.read_names

        def squares(bias: Mapping[str, Tensor]) -> Tensor:
            means = x.new_zeros(len(names))
            for name, moved in bias.items():
                means[names.index(name)] = (moved**2).mean()
            return means

        return Moments(
            mean=trace.output_mean.expand(len(x), -1),
            variance=variance,
            covariance=covariance,
            sources=sources,
            bias_by_layer=squares(adjoints.bias),
            wire_bias_by_layer=squares(adjoints.wire_bias),
            array_power=self._by_array({n: trace.array(n).array_power for n in reads}, self.corrections.array_power),
            tia_power=self._by_array({n: trace.array(n).tia_power for n in reads}, self.corrections.tia_power),
            converter_power=self.converter_power,
            trace=trace,
        )

    def _by_array(self, by_read: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Tensor:
        """Sums (L,) over the reads of every array, corrected by the factors of those that have one."""
        corrected = {name: factors[name] * value if name in factors else value for name, value in by_read.items()}
        return torch.cat([total([corrected[n.name] for n in nodes]) for nodes in self.network.reads.values()])


def _check_reads(network: Network, hardware: Hardware, method: str) -> None:
    """Refuse methods that take the errors of two reads as independent where both are of the same devices."""
    again = [name for name, nodes in network.reads.items() if len(nodes) > 1]
    if again and hardware.mapping == "shared" and method != "linearized":
        raise InvalidInput.of(
            "method",
            method,
            f"'linearized': {again[0]} is read by several nodes, whose errors are of the same devices",
            "Use method='linearized', which adds them up; or give every read an array of its own (reads='separate').",
        )


def _warn_of_reads(network: Network, hardware: Hardware) -> None:
    """Warn that without error samples two reads of one array are taken as independent behind what is not linear."""
    if hardware.mapping == "shared" and errors_are_alike(network):
        name = next(name for name, nodes in network.reads.items() if len(nodes) > 1)
        warnings.warn(
            f"without error samples (marginal_fields = 0) errors common to several reads of {name} are taken as "
            "independent, and the result can be off by any factor. Leave marginal_fields out, or give it at least 16.",
            RangeWarning,
            stacklevel=3,
        )


#: tensors of the size of the weights that a prediction keeps, and one with derivatives
_OF_WEIGHTS, _OF_WEIGHTS_PLANNED = 3, 5
#: memory limits that these may take
_LIMITS_FOR_WEIGHTS = 2
#: tensors of the size of a value kept for every node of a traced network, about
_KEPT_TENSORS = 5
#: and for every slice of an input
_KEPT_OF_SLICE = 3
