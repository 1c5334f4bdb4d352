"""Apply a plan to aihwkit, IBM's analog hardware simulator: one inference configuration per crossbar layer.

aihwkit maps a layer's largest |weight| to ``g_max`` and zero to ``g_min``, in µS. A layer with conductance gain c has

    g_min = G_min,     g_max = G_min + c max|W|,
    out_noise = √T σ_I / (c v)   (read noise of the columns of T row tiles, in units of the layer's output),
    inp_noise = σ_V / v          (row noise, in units of its input),

no converters, no bounds, one array per layer and the bias added digitally. Scales of columns are the mapping scales of
its tiles. :func:`layer_settings` computes these values; the other functions hand them to aihwkit, which must be
installed: ``pip install 'powerplan-crossbar[aihwkit]'``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.deployment.torch_layers import folded, matched_layers as _match
from powerplan.errors import InvalidInput, MissingExtra
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.hardware import ERROR_SOURCES
from powerplan.hardware.stored import stored
from powerplan.hardware.tiling import layer_arrays
from powerplan.network import Network
from powerplan.network.ops import CrossbarOp

if TYPE_CHECKING:
    from powerplan.planning import Plan

_MICRO = 1e-6


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """What aihwkit is told about one crossbar layer.

    Attributes:
        name: of the layer.
        g_min, g_max: conductances that zero and the layer's largest |weight| are mapped to [µS].
        out_noise: standard deviation of the read noise in units of the layer's output.
        inp_noise: standard deviation of the row noise in units of the layer's input.
        column_scale: what outputs are multiplied by before the bias is added, (n_out,); None = nothing.
    """

    name: str
    g_min: float
    g_max: float
    out_noise: float
    inp_noise: float
    column_scale: np.ndarray | None = None


def layer_settings(network: Network, hardware: Hardware, gains: Gains) -> tuple[LayerSettings, ...]:
    """The settings of every crossbar layer, in order.

    Raises:
        InvalidInput: gains that differ within a layer or lack the scales that the hardware has, layers without weights,
            or hardware aihwkit has no model for.
    """
    gains.check(network, hardware)
    gains.check_has_scales(hardware)
    _check_supported(hardware)
    settings = []
    for i, (node, arrays) in enumerate(zip(network.crossbars, layer_arrays(network, hardware), strict=True)):
        assert isinstance(node.op, CrossbarOp)
        if arrays.copies > 1:
            raise InvalidInput.of(
                "hardware.mapping",
                hardware.mapping,
                f"'shared': aihwkit has one array for all {arrays.copies} positions of {node.array_name}",
                "Plan without it, or simulate with powerplan.",
            )
        c, v = gains.conductance[i], gains.voltage[i]
        if np.ndim(c) or np.ndim(v):
            raise InvalidInput.of(
                f"gains of {node.array_name}",
                "one gain per column or row",
                "one conductance gain and one voltage gain per layer: aihwkit scales a whole array",
                "Plan with granularity='layer' or 'network'.",
            )
        peak = float(stored(node.op, hardware).column_peaks.max())
        if peak == 0:
            raise InvalidInput.of(
                f"weights of {node.array_name}", 0.0, "at least one weight that is not 0", "Remove it."
            )
        settings.append(
            LayerSettings(
                name=node.array_name,
                g_min=hardware.conductance_min / _MICRO,
                g_max=(hardware.conductance_min + float(c) * peak) / _MICRO,
                out_noise=math.sqrt(arrays.row_tiles) * hardware.read_noise_std / (float(c) * float(v)),
                inp_noise=hardware.input_noise_std / float(v),
                column_scale=None if gains.column_scale is None else gains.column_scale[i],
            )
        )
    return tuple(settings)


#: fields of the hardware that these settings do not express, the value they stand for, and why
_FIXED = (
    ("weight_mapping", "differential", "a layer becomes differential pairs"),
    ("bias_mapping", "digital", "biases are added digitally"),
    ("read_out", "tia", "aihwkit reads currents"),
    ("row_scale", "none", "inputs have no scales of their own"),
    ("row_drive", "one_end", "rows are driven ideally"),
    ("dac_bits", None, "a layer has no converters"),
    ("adc_bits", None, "a layer has no converters"),
    ("input_slice_bits", None, "inputs drive their rows at once"),
    ("adc_range", None, "outputs have no bound"),
    ("thermal_noise", False, "read noise has one standard deviation per layer"),
    ("shot_noise", False, "read noise has one standard deviation per layer"),
)
#: errors that are given to it: those of every device by itself, and noise that is the same in all rows or columns
_EXPRESSED = (
    "programming_noise_std",
    "programming_noise_proportional",
    "programming_noise_polynomial",
    "programming_noise_curve",
    "clip_conductance",
    "drift",
    "low_frequency_noise",
    "device_gain_std",
    "stuck_on_fraction",
    "stuck_off_fraction",
    "read_noise_std",
    "input_noise_std",
)


def _check_supported(hardware: Hardware) -> None:
    known = {*_EXPRESSED, *(name for name, _, _ in _FIXED)}
    others = [(name, 0.0, f"aihwkit has no {words}") for name, words in ERROR_SOURCES.items() if name not in known]
    for name, expressed, why in (*_FIXED, *others):
        value = getattr(hardware, name)
        if value != expressed:
            raise InvalidInput.of(
                f"hardware.{name}", value, f"{expressed!r}: {why}", "Plan without it, or simulate with powerplan."
            )
    if hardware.compensates_drift:
        raise InvalidInput.of(
            "hardware.drift_compensation",
            True,
            "False: aihwkit is given devices as they are at the time of inference, and not how they started",
            "Plan without it, or simulate with powerplan.",
        )


def rpu_configs(plan: Plan, network: Network) -> dict[str, Any]:
    """A ``TorchInferenceRPUConfig`` for every crossbar layer, by the layer's name.

    Scales of columns are no part of it: they are set in tiles (``set_mapping_scales``), as :func:`to_analog` does.

    Raises:
        MissingExtra: aihwkit is not installed.
        InvalidInput: as :func:`layer_settings`.
    """
    settings = layer_settings(network, plan.hardware, plan.gains)
    noise_model = _noise_model(plan.hardware)
    return {layer.name: _rpu_config(layer, noise_model) for layer in settings}


def to_analog(module: Any, plan: Plan, network: Network) -> Any:
    """An aihwkit copy of a torch module whose layers are those of a plan's network.

    BatchNorms are folded as :func:`powerplan.from_torch` folds them; those that it keeps stay digital. Layers are
    matched by their weights, so that names and order do not matter. Program it with
    ``aihwkit.inference.utils.program_analog_weights(module.eval(), None)``; each call draws new devices.

    Args:
        module: a torch module with Linear and Conv2d layers.

    Raises:
        MissingExtra: aihwkit is not installed.
        InvalidInput: a layer whose weights are not in the network, or a convolution that aihwkit does not have: other
            than Conv2d, of several groups, or not padded with zeros.
    """
    module = folded(module, network.input_shape)
    matched = _match(module, network)
    configs = rpu_configs(plan, network)
    import torch
    from aihwkit.nn.conversion import convert_to_analog

    def specific(name: str, _: Any, general: Any) -> Any:
        return configs[matched[name]] if name in matched else general  # containers are converted too

    analog = convert_to_analog(module, next(iter(configs.values())), specific_rpu_config_fun=specific)
    if plan.gains.column_scale is not None:
        scales = dict(zip(network.layer_names, plan.gains.column_scale, strict=True))
        for name, layer in analog.named_modules():
            if name in matched:
                for tile in layer.analog_tiles():
                    tile.set_mapping_scales(torch.tensor(scales[matched[name]], dtype=tile.get_dtype()))
    return analog


def _rpu_config(layer: LayerSettings, noise_model: Any) -> Any:
    from aihwkit.inference import SinglePairConductanceConverter
    from aihwkit.simulator.configs import (
        BoundManagementType,
        IOParameters,
        MappingParameter,
        NoiseManagementType,
        TorchInferenceRPUConfig,
    )

    return TorchInferenceRPUConfig(
        forward=IOParameters(
            inp_bound=0.0,
            inp_res=-1.0,
            out_bound=0.0,
            out_res=-1.0,
            out_noise=layer.out_noise,
            inp_noise=layer.inp_noise,
            bound_management=BoundManagementType.NONE,
            noise_management=NoiseManagementType.NONE,
        ),
        noise_model=noise_model(SinglePairConductanceConverter(g_max=layer.g_max, g_min=layer.g_min)),
        drift_compensation=None,
        mapping=MappingParameter(digital_bias=True, max_input_size=0, max_output_size=0, weight_scaling_omega=0.0),
    )


def _noise_model(hardware: Hardware) -> Any:
    """aihwkit noise model whose devices are those of the hardware."""
    try:
        from aihwkit.inference import BaseNoiseModel
    except ImportError as error:
        raise MissingExtra("aihwkit", "aihwkit", "Applying a plan to aihwkit") from error

    class HardwareNoiseModel(BaseNoiseModel):  # type: ignore[misc]
        """Devices hold what the hardware says when they are read; there is nothing left to age."""

        def apply_programming_noise_to_conductance(self, g_target: Any) -> Any:
            return programmed_conductances(hardware, g_target * _MICRO) / _MICRO

        def apply_drift_noise_to_conductance(self, g_prog: Any, *_: Any) -> Any:
            return g_prog

    return HardwareNoiseModel


def programmed_conductances(hardware: Hardware, target: Any) -> Any:
    """Random conductances [S] of devices that ``target`` [S] is wanted of, drawn from torch's global generator."""
    import torch

    from powerplan.hardware.predistortion import targets
    from powerplan.hardware.sampling import Devices

    wide = targets(hardware, target.double())
    devices = Devices.prepare(hardware, wide, torch.ones((1,) * wide.dim(), dtype=torch.float64))
    shape = (1, *wide.shape)
    drawn = devices.sample(
        lambda: torch.randn(shape, dtype=torch.float64),
        lambda: torch.rand(shape, dtype=torch.float64),
        torch.empty(shape, dtype=torch.float64),
    )
    return drawn[0].to(target)
