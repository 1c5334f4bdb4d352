"""Monte Carlo simulation of a network on crossbars.

    MSE = mean over draws of e_d,   e_d = mean over inputs and outputs of (y_d − y*)²
    standard error of the MSE = std(e_d) / √D

One draw programs every array once and passes the whole batch through it. Each draw has its own stream of random
numbers, and the draws are independent: how many are run at a time changes the time taken, not the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt
import torch

from powerplan.checks import check_inputs, check_kinds, frozen_array
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.conversions import converter_power
from powerplan.hardware.costs.model import CostModel
from powerplan.hardware.operating_point import OperatingPoint
from powerplan.moments.chips.sampled import part_interval
from powerplan.moments.digital_scales import with_scales
from powerplan.moments.prediction import LayerMoments
from powerplan.montecarlo.forward import NoisyForward
from powerplan.montecarlo.settings import SimulationSettings
from powerplan.montecarlo.simulation import RunningEstimate, Simulation
from powerplan.montecarlo.statistics import Records, RunningMoments, block_draws
from powerplan.montecarlo.streams import Streams
from powerplan.network import Network
from powerplan.network.forward import ideal_values, torch_device
from powerplan.per_input import Inputs
from powerplan.plausibility import question
from powerplan.settings import takes

if TYPE_CHECKING:
    from powerplan.montecarlo.keywords import SimulationOptions

#: the stopping rule is looked at after every so many draws
ROUND = 128
#: outputs up to which the output covariance is kept whatever it takes; beyond, within 1/16 of the memory limit
COVARIANCE_OUTPUTS = 64


@takes(SimulationSettings)
def simulate(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: npt.ArrayLike,
    *,
    progress: Callable[[int, int], None] | None = None,
    estimates: Callable[[RunningEstimate], None] | None = None,
    **settings: Unpack[SimulationOptions],
) -> Simulation:
    """Estimate error and power of a network on noisy crossbars by drawing devices at random.

    Args:
        network: the trained network.
        hardware: the technology.
        gains: conductance and voltage gains of every crossbar layer.
        inputs: (B, *input_shape) calibration batch.
        {settings}
        progress: called with (draws made, draws) after every group of draws; raising StopIteration there ends the
            simulation with the draws made.
        estimates: called with the estimate so far after every 128 draws.

    Equal seeds give equal results on one machine whatever the memory limit.

    Raises:
        InvalidInput: values out of range, gains that do not fit, a device this machine does not have, layer
            covariances beyond the memory limit, or numbers too large for ``dtype``.

    Warns:
        PlausibilityWarning: a number of the hardware or of the answer is most likely in another unit.
        LimitWarning: the inputs drive rows beyond ``hardware.voltage_max``.
    """
    check_kinds(network=(network, Network), hardware=(hardware, Hardware), gains=(gains, Gains))
    batch = check_inputs(inputs, network.input_shape)
    asked = SimulationSettings(**settings)
    draws, memory_limit, moments = asked.draws, asked.memory_limit, asked.layer_moments
    real, place = getattr(torch, asked.dtype), torch_device(asked.device)
    gains.check(network, hardware)
    point = OperatingPoint(network=network, hardware=hardware, gains=gains, inputs=batch)
    question(hardware, point)
    point.warn_beyond_voltage()
    costs = CostModel.of(network, hardware)

    with torch.no_grad():
        wanted = (network.output, *(network.read_names if moments != "none" else ()))
        values = ideal_values(network, batch, device=str(place), keep=wanted)
        ideal = values[network.output].flatten(1)
        layers = _layer_accumulators(network, values, moments, memory_limit)
        del values
        tally = _Tally(ideal, len(network.layer_names), memory_limit)
        x = torch.as_tensor(np.array(batch)).to(place, real)
        gains = with_scales(network, hardware, gains, batch)
        forward = NoisyForward(network, hardware, gains, x, batch, fast_wires=asked.wires == "fast")
        streams = Streams(asked.seed, place)
        chunk = min(ROUND, forward.chunk(memory_limit))

        def observe(name: str, z: torch.Tensor) -> None:
            layers[name].add(z.flatten(2))

        drawn = 0
        while drawn < draws:
            end = min(drawn + ROUND, draws)
            while drawn < end:
                group = range(drawn, min(drawn + chunk, end))
                streams.start(group)
                output, power = forward(streams, observe if layers else None)
                tally.add(output, power)
                drawn = group.stop
                if progress is not None:
                    try:
                        progress(drawn, draws)
                    except StopIteration:
                        draws = end = drawn
            tally.gather(asked.dtype)
            if estimates is not None:
                estimates(tally.estimate(draws))
            if tally.is_precise(asked):
                break
        simulation = tally.result(
            seed=asked.seed,
            hardware=hardware,
            network=network,
            costs=costs,
            layers=tuple(
                LayerMoments(
                    name=name,
                    mean=_numpy(running.mean),
                    variance=_numpy(running.variance),
                    covariance=_numpy(running.covariance) if moments == "covariance" else None,
                )
                for name, running in layers.items()
            ),
        )
    question(simulation)
    return simulation


class _Tally:
    """Statistics of the outputs and powers of all draws."""

    def __init__(self, ideal: torch.Tensor, layers: int, memory_limit: int) -> None:
        batch, n = ideal.shape
        self._ideal = ideal
        self._has_covariance = n <= COVARIANCE_OUTPUTS or 16 * 8 * batch * n * n <= memory_limit
        self._output = RunningMoments(ideal, covariance=self._has_covariance)
        self._square = RunningMoments(ideal.new_zeros(1, n), covariance=False)
        self._by_input = ideal.new_zeros(batch)
        self._waiting: list[torch.Tensor] = []  # small outputs are processed together
        self._block = block_draws(ideal.numel())
        self._mse = Records(ideal.new_empty(0))
        self._worst = Records(ideal.new_empty(0))
        self._power = Records(ideal.new_empty(0, layers))
        self._classes = Records(
            torch.empty(0, batch, dtype=torch.uint8 if n <= 256 else torch.int32, device=ideal.device)
        )

    def add(self, output: torch.Tensor, power: torch.Tensor) -> None:
        """Take in outputs (D, B, K) and powers (D, L)."""
        self._waiting.append(output)
        self._power.add(power)
        if sum(map(len, self._waiting)) >= self._block:
            self._process()

    def gather(self, dtype: str) -> None:
        """Process what is waiting; refuse results that are no numbers."""
        self._process()
        if not bool(self._mse.all[-ROUND:].isfinite().all() & self._power.all[-ROUND:].isfinite().all()):
            raise InvalidInput.of(
                "inputs",
                "outputs that are not finite",
                f"inputs and weights whose noisy outputs are finite in {dtype}",
                "Scale the inputs or the weights down, or simulate with dtype='float64'.",
            )

    def _process(self) -> None:
        if not self._waiting:
            return
        output = torch.cat(self._waiting)
        self._waiting.clear()
        self._output.add(output)
        square = (output - self._ideal).square_()
        self._by_input += square.mean(2).sum(0)
        square = square.mean(1)
        self._square.add(square[:, None])
        self._mse.add(square.mean(1))
        self._worst.add(square.amax(1))
        classes = output[:, :, 0] > 0 if output.shape[2] == 1 else output.argmax(2)
        self._classes.add(classes)

    def is_precise(self, asked: SimulationSettings) -> bool:
        """True if MSE and yield are told as closely as asked for; False if neither is."""
        mse, fraction, width = self._mse.all, asked.relative_standard_error, asked.yield_width
        told = []
        if fraction is not None:
            told.append(len(mse) > 1 and bool(mse.std() <= fraction * math.sqrt(len(mse)) * mse.mean()))
        if width is not None:
            signal = float(self._ideal.square().mean())
            within = len(mse) // 2 if asked.yield_at is None else int((mse <= asked.yield_at * signal).sum())
            low, high = part_interval(within, len(mse))
            told.append(high - low <= width)
        return bool(told) and all(told)

    def estimate(self, draws: int) -> RunningEstimate:
        """The estimate from the draws made so far, of ``draws`` asked for."""
        by_draw, power = _numpy(self._mse.all.clone()), _numpy(self._power.all.sum(1))
        return RunningEstimate(
            draws=len(by_draw),
            draws_total=draws,
            mse=float(by_draw.mean()),
            mse_standard_error=float(_standard_error(by_draw)),
            signal_power=float(self._ideal.square().mean()),
            power=float(power.mean()),
            power_standard_error=float(_standard_error(power)),
        )

    def result(
        self,
        *,
        seed: int,
        hardware: Hardware,
        network: Network,
        costs: CostModel | None,
        layers: tuple[LayerMoments, ...],
    ) -> Simulation:
        """The simulation, in numpy."""
        by_draw, power = _numpy(self._mse.all), _numpy(self._power.all)
        mse, error = float(by_draw.mean()), float(_standard_error(by_draw))
        signal = float(self._ideal.square().mean())
        converters = converter_power(network, hardware)
        return Simulation(
            draws=len(by_draw),
            seed=seed,
            mse=mse,
            mse_standard_error=error,
            nmse=mse / signal if signal else math.nan,
            nmse_standard_error=error / signal if signal else math.nan,
            signal_power=signal,
            mse_by_output=_numpy(self._square.mean[0]),
            mse_by_output_standard_error=_numpy(self._square.standard_error[0]),
            mse_by_draw=by_draw,
            power_by_draw=frozen_array(power.sum(1)),
            worst_mse_by_draw=_numpy(self._worst.all),
            power=float(power.mean(0).sum()),
            power_standard_error=float(_standard_error(power.sum(1))),
            power_by_layer=frozen_array(power.mean(0)),
            power_by_layer_standard_error=frozen_array(_standard_error(power)),
            converter_power_by_layer=frozen_array(converters),
            costs=None if costs is None else costs.breakdown(power.mean(0) - converters),
            energy=float(power.mean(0).sum()) * hardware.read_time,
            layer_names=network.layer_names,
            layer_kinds=network.layer_kinds,
            ideal_output=_numpy(self._ideal),
            output_mean=_numpy(self._output.mean),
            output_covariance=_numpy(self._output.covariance) if self._has_covariance else None,
            classes=_numpy(self._classes.all),
            layers=layers,
            inputs=Inputs(
                mse_by_input=_numpy(self._by_input / len(by_draw)),
                signal_by_input=_numpy(self._ideal.square().mean(1)),
            ),
        )


def _layer_accumulators(
    network: Network, ideal: Mapping[str, torch.Tensor], moments: str, memory_limit: int
) -> dict[str, RunningMoments]:
    """One accumulator of the outputs of every read of an array, if moments are asked for."""
    if moments == "none":
        return {}
    references = {name: ideal[name].flatten(1) for name in network.read_names}
    size = 8 * sum(r.numel() * r.shape[1] for r in references.values())
    if moments == "covariance" and size > memory_limit:
        raise InvalidInput.of(
            "layer_moments",
            moments,
            f"covariances within memory_limit = {memory_limit} bytes; these take {size}",
            "Ask for 'variance', give fewer inputs, or raise memory_limit.",
        )
    return {name: RunningMoments(r, covariance=moments == "covariance") for name, r in references.items()}


def _standard_error(by_draw: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the first axis; NaN for a single draw."""
    if len(by_draw) < 2:
        return np.full(by_draw.shape[1:], np.nan)
    return np.asarray(by_draw.std(axis=0, ddof=1) / math.sqrt(len(by_draw)))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    array.setflags(write=False)
    return array
