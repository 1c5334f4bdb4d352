"""Which gains are free, which are held, and the limits of the free ones.

The planner works on θ = log of the free gains. Its granularity decides what shares an entry: one gain for the
network, one per layer, one conductance gain per column, or one voltage gain per row (signal).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.gains import (
    Gain,
    column_conductance_limits,
    conductance_limits,
    reference_voltage_limits,
    row_conductance_limits,
    row_voltage_limits,
    voltage_limits,
)
from powerplan.hardware.hardware import ideal_wires
from powerplan.network import Network
from powerplan.planning import policy
from powerplan.planning.problem.blocks import Block, Entry, GainBlock, SignalBlock
from powerplan.planning.settings import QUANTITIES

_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeGains:
    """The map between θ and gains. Memory is linear in the number of free gains.

    Attributes:
        held_gains: those used where nothing is free.
        blocks: the runs of entries of θ, in order.
    """

    network: Network
    held_gains: Gains
    blocks: tuple[Block, ...]

    @cached_property
    def lower(self) -> np.ndarray:
        """Lower limits of θ, (n,); a numerical guard."""
        return np.concatenate([block.lower for block in self.blocks])

    @cached_property
    def upper(self) -> np.ndarray:
        """Upper limits of θ, (n,)."""
        return np.concatenate([block.upper for block in self.blocks])

    @cached_property
    def power_exponents(self) -> np.ndarray:
        """(n,) exponent t with which power changes with a gain, P ∝ exp(t θ)."""
        return np.concatenate([block.power_exponents for block in self.blocks])

    @property
    def count(self) -> int:
        """Number of free gains n."""
        return len(self.upper)

    def entries(self, indices: Iterable[int]) -> Iterator[Entry]:
        """What the entries of θ at increasing indices are."""
        parts = self._parts()
        block, part = next(parts)
        for i in indices:
            while i >= part.stop:
                block, part = next(parts)
            yield block.entry(int(i) - part.start)

    def name_of(self, entry: Entry) -> str:
        """The layer an entry belongs to, or "network"."""
        return self.network.layer_names[entry.layers[0]] if len(entry.layers) == 1 else "network"

    def label_of(self, entry: Entry) -> str:
        """The same, for a person."""
        return self.network.layer_labels[entry.layers[0]] if len(entry.layers) == 1 else "network"

    def tensors(self, theta: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Conductance and voltage gains of every layer as differentiable functions of θ (n,)."""
        gains = {
            "conductance": [torch.tensor(np.array(g)).to(theta) for g in self.held_gains.conductance],
            "voltage": [torch.tensor(np.array(g)).to(theta) for g in self.held_gains.voltage],
        }
        for block, part in self._parts():
            block.put(theta[part], gains)
        return gains["conductance"], gains["voltage"]

    def gains(self, theta: np.ndarray) -> Gains:
        """The gains at θ (n,)."""
        both = self.tensors(torch.tensor(theta, dtype=torch.float64))
        conductance, voltage = (tuple(g.numpy() if g.dim() else float(g) for g in gains) for gains in both)
        return Gains(conductance=conductance, voltage=voltage)

    def theta_of(self, gains: Gains) -> np.ndarray | None:
        """θ (n,) of given gains, within the limits; None if this granularity cannot represent them."""
        parts = [block.theta_of(gains) for block in self.blocks]
        if any(part is None for part in parts):
            return None
        theta = np.concatenate([part for part in parts if part is not None])
        return np.asarray(np.clip(theta, self.lower, self.upper))

    def _parts(self) -> Iterator[tuple[Block, slice]]:
        start = 0
        for block in self.blocks:
            stop = start + len(block.upper)
            yield block, slice(start, stop)
            start = stop


def hold(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    conductance: Sequence[Gain] | None,
    voltage: Sequence[Gain] | None,
) -> Gains:
    """The gains that are held: as given, else the largest the limits allow.

    Voltage: V_max / max|x| over the ideal activations of the batch; conductance: the largest whose devices
    stay within ``conductance_max``.
    """
    gains = Gains(
        # the limits of the conductances depend on the row voltages, so these must fit first
        conductance=(_TINY,) * len(network.crossbars) if conductance is None else conductance,  # type: ignore[arg-type]
        voltage=voltage_limits(network, hardware, inputs) if voltage is None else voltage,  # type: ignore[arg-type]
    )
    gains.check(network, hardware)
    if conductance is None:
        gains = replace(gains, conductance=tuple(conductance_limits(network, hardware, gains.voltage)))
        gains.check(network, hardware)
    return gains


def free_gains(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    *,
    granularity: str,
    optimize: Sequence[str],
    held_gains: Gains,
    corners: Sequence[Hardware] = (),
) -> FreeGains:
    """The free gains for a granularity.

    Args:
        corners: further hardware, whose noise may hold up the voltages too.

    Raises:
        InvalidInput: a voltage that no noise holds up, or rows without both gains free.
    """
    check = Checker()
    quantities = tuple(optimize)
    if "voltage" in quantities and not _all_voltages_held_up(network, (hardware, *corners)):
        check.fail(
            "optimize",
            quantities,
            "'voltage' only with read noise or row noise, or converters of a fixed range",
            "Without them a lower voltage costs no accuracy and the best one is zero: set hardware.read_noise_std, "
            "input_noise_std, thermal_noise, shot_noise or dac_bits, or hold the voltage.",
        )
    elif granularity == "signal" and set(quantities) != set(QUANTITIES):
        check.fail(
            "optimize",
            quantities,
            "'conductance' and 'voltage' with granularity 'signal'",
            "A row's voltage is raised by as much as its stored weights are lowered: free both.",
        )
    check.done()
    if granularity == "signal":
        blocks = _signal_blocks(network, hardware, inputs)
    else:
        blocks = []
        if "conductance" in quantities:
            volts = None if "voltage" in quantities else held_gains.voltage
            conductances = column_conductance_limits(network, hardware, volts)
            blocks += _gain_blocks("conductance", conductances, granularity)
        if "voltage" in quantities:
            voltages = [np.array([limit]) for limit in voltage_limits(network, hardware, inputs)]
            blocks += _gain_blocks("voltage", voltages, granularity)
    return FreeGains(network=network, held_gains=held_gains, blocks=tuple(blocks))


def _all_voltages_held_up(network: Network, hardwares: Sequence[Hardware]) -> bool:
    """Whether a lower voltage costs accuracy in every layer, on some hardware."""
    by_layer = zip(*(each.of_layers(network.layer_names) for each in hardwares), strict=True)
    return all(any(layer.holds_up_voltages for layer in layers) for layers in by_layer)


def _gain_blocks(quantity: str, limits: list[np.ndarray], granularity: str) -> list[Block]:
    """One block for the network or one per layer; the columns of a layer share its lower limit.

    Args:
        limits: largest gains of every layer: one number, or one per column.
    """
    by_column = granularity == "column" and quantity == "conductance"
    if granularity == "network":
        groups, limits = [tuple(range(len(limits)))], [np.concatenate(limits)]
    else:
        groups = [(i,) for i in range(len(limits))]
    blocks: list[Block] = []
    for group, limit in zip(groups, limits, strict=True):
        upper = np.log(limit if by_column else limit.min(keepdims=True))
        lower = np.full(upper.shape, upper.min() + np.log(policy.SMALLEST_FRACTION))
        blocks.append(GainBlock(quantity=quantity, layers=group, lower=lower, upper=upper, by_column=by_column))
    return blocks


def _signal_blocks(network: Network, hardware: Hardware, inputs: np.ndarray) -> list[Block]:
    rows, voltages = row_conductance_limits(network, hardware), row_voltage_limits(network, hardware, inputs)
    # no row beyond the limit of v_ref, then it keeps its own
    constants = reference_voltage_limits(network, hardware)
    return [
        SignalBlock(layer=i, smallest=policy.SMALLEST_FRACTION, rows=a, voltages=np.minimum(v, most))
        for i, (a, v, most) in enumerate(zip(rows, voltages, constants, strict=True))
    ]


def check_noisy(hardware: Hardware) -> None:
    """Refuse hardware without any noise: every gain is then equally exact, or with wires the less the better."""
    if ideal_wires(hardware).is_noiseless:
        raise InvalidInput.of(
            "hardware",
            "no noise of any kind",
            "programming, read or row noise, or converters",
            "Set programming_noise_std (or another noise): without noise any gain meets any target.",
        )
