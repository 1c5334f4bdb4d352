"""Published devices against aihwkit's models of them, where aihwkit is installed (powerplan-crossbar[aihwkit]).

aihwkit draws noisy weights of every layer of the digits network, with its own mapping of weights to the whole range of
conductance; the error of the outputs over the draws is compared with what powerplan predicts for its preset at gains of
the whole range. aihwkit's reading noise is frozen in a draw, which leaves the mean-square error what it is.

    python -m benchmarks.aihwkit_devices [--json FILE]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import run
from powerplan.network.ops import Linear

_INPUTS, _DRAWS = 32, 1000
_DAY = 86400.0


def _cmo(acceptance: float) -> Any:
    from aihwkit.inference.noise.reram import ReRamCMONoiseModel

    model = ReRamCMONoiseModel(acceptance_range=acceptance)
    # the converter keeps the range; clipping to it is left to the device, as in the preset
    model.g_min, model.g_max = 0.0, 1e9
    model.coeff_g_max_reference = model.g_max
    return model


def _models() -> list[tuple[str, Callable[[], Any], dict[str, Any], tuple[float, ...]]]:
    """Preset, aihwkit's model of it, what else the hardware needs, times [s]."""
    from aihwkit.inference.converter.conductance import SinglePairConductanceConverter
    from aihwkit.inference.noise.hermes import HermesNoiseModel
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
    from aihwkit.inference.noise.reram import ReRamWan2022NoiseModel

    def wan() -> Any:
        return ReRamWan2022NoiseModel(g_converter=SinglePairConductanceConverter(g_max=40.0, g_min=0.0))

    after = (1.0, 3600.0, _DAY)
    offset = {"weight_mapping": "offset"}
    return [
        ("pcm_nandakumar2019", lambda: PCMLikeNoiseModel(g_max=25.0), {}, after),
        ("pcm_hermes_1dev", lambda: HermesNoiseModel(num_devices=1), {}, after),
        ("pcm_hermes_2dev", lambda: HermesNoiseModel(num_devices=2), {}, after),
        ("reram_wan2022_fitA", wan, {}, (1.0, _DAY, 2 * _DAY)),
        ("reram_cmo_hfox_02pct", lambda: _cmo(0.2), offset, (3600.0, _DAY)),
        ("reram_cmo_hfox_2pct", lambda: _cmo(2), offset, (3600.0, _DAY)),
    ]


def _draws(model: Any, time: float, example: pp.Example) -> np.ndarray:
    """Mean-square error of the outputs in every draw."""
    network, inputs = example.network, example.inputs[:_INPUTS]
    operations = [node.op for node in network.crossbars if isinstance(node.op, Linear)]
    layers = [(operation.matrix, operation.bias) for operation in operations]
    ideal = network(inputs)
    errors = []
    for _ in range(_DRAWS):
        x = inputs
        for k, (weight, bias) in enumerate(layers):
            noisy = model.apply_noise(torch.as_tensor(weight, dtype=torch.float32), time).reshape(weight.shape)
            x = x @ noisy.numpy().astype(float).T + (0.0 if bias is None else bias)
            x = np.maximum(x, 0) if k + 1 < len(layers) else x
        errors.append(((x - ideal) ** 2).mean())
    return np.array(errors)


def measure() -> dict[str, Any]:
    """Every preset that aihwkit has a model of."""
    example = pp.load_example("digits")
    inputs = example.inputs[:_INPUTS]
    signal = float((example.network(inputs) ** 2).mean())
    rows = []
    for preset, model, more, times in _models():
        for time in times:
            torch.manual_seed(0)
            hardware = pp.Hardware.preset(preset).replace(time=time, **more)
            prediction = pp.predict(
                example.network, hardware, pp.Gains.full_range(example.network, hardware, inputs), inputs
            )
            drawn = _draws(model(), time, example)
            rows.append(
                {
                    "preset": preset,
                    "time_s": time,
                    "predicted_nmse": prediction.nmse,
                    "aihwkit_nmse": float(drawn.mean()) / signal,
                    "ratio": float(drawn.mean()) / prediction.mse,
                    "standard_error": float(drawn.std(ddof=1)) / math.sqrt(len(drawn)) / prediction.mse,
                }
            )
            print(rows[-1], flush=True)
    return {"draws": _DRAWS, "inputs": _INPUTS, "devices": rows}


if __name__ == "__main__":
    run(__doc__, measure)
