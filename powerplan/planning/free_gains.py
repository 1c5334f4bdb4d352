"""Which gains are free, which are held, and the limits of the free ones.

The planner works on θ = log of the free gains, one entry per free gain. Its granularity only decides which
columns share an entry: all of them (network), those of a layer, or none (column).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from powerplan.checks import Checker, nearest
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.gains import Gain, conductance_limits, voltage_limits
from powerplan.network import Network

GRANULARITIES = ("network", "layer")
QUANTITIES = ("conductance", "voltage")

#: the smallest gain considered, as a fraction of its largest
SMALLEST_FRACTION = 1e-6


@dataclass(frozen=True, kw_only=True)
class FreeGain:
    """One entry of θ: a conductance or voltage gain of some layers, with its limits [S or V per unit]."""

    quantity: str
    layers: tuple[int, ...]
    largest: float

    @property
    def smallest(self) -> float:
        """Lower limit, a numerical guard."""
        return self.largest * SMALLEST_FRACTION

    def limit_name(self, upper: bool) -> str:
        """Name of the upper or lower limit in reports."""
        return f"{self.quantity}_max" if upper else f"{self.quantity}_gain_min"


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeGains:
    """The map between θ and gains.

    Attributes:
        held: gains used where nothing is free.
        free: the entries of θ.
    """

    network: Network
    held: Gains
    free: tuple[FreeGain, ...]

    @property
    def lower(self) -> np.ndarray:
        """Lower limits of θ, (n,)."""
        return np.log([g.smallest for g in self.free])

    @property
    def upper(self) -> np.ndarray:
        """Upper limits of θ, (n,)."""
        return np.log([g.largest for g in self.free])

    def name_of(self, entry: FreeGain) -> str:
        """The layer an entry belongs to, or "network"."""
        return self.network.layer_names[entry.layers[0]] if len(entry.layers) == 1 else "network"

    def tensors(self, theta: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Conductance and voltage gains of every layer as differentiable functions of θ (n,)."""
        result: dict[str, list[Tensor]] = {
            "conductance": [torch.tensor(np.array(g)).to(theta) for g in self.held.conductance],
            "voltage": [torch.tensor(g, dtype=torch.float64).to(theta) for g in self.held.voltage],
        }
        for i, entry in enumerate(self.free):
            for layer in entry.layers:
                result[entry.quantity][layer] = theta[i].exp()
        return result["conductance"], result["voltage"]

    def gains(self, theta: np.ndarray) -> Gains:
        """The gains at θ (n,)."""
        conductance, voltage = self.tensors(torch.tensor(theta, dtype=torch.float64))
        return Gains(
            conductance=tuple(g.numpy() if g.dim() else float(g) for g in conductance),
            voltage=tuple(float(g) for g in voltage),
        )


def hold(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    conductance: Sequence[Gain] | None,
    voltage: Sequence[float] | None,
) -> Gains:
    """The gains that are held: as given, else the largest the limits allow.

    Voltage: V_max / max|x| over the ideal activations of the batch; conductance: the largest whose devices
    stay within ``conductance_max``.
    """
    gains = Gains(
        conductance=tuple(conductance_limits(network, hardware) if conductance is None else conductance),
        voltage=tuple(voltage_limits(network, hardware, inputs) if voltage is None else voltage),
    )
    gains.check(network, hardware)
    return gains


def free_gains(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    *,
    granularity: str,
    optimize: Sequence[str],
    held: Gains,
) -> FreeGains:
    """The free gains for a granularity.

    Raises:
        InvalidInput: unknown names, nothing to optimise, or a voltage that no noise holds up.
    """
    check = Checker()
    if granularity not in GRANULARITIES:
        check.fail(
            "granularity",
            granularity,
            "one of " + ", ".join(map(repr, GRANULARITIES)),
            nearest(str(granularity), GRANULARITIES),
        )
    quantities = (optimize,) if isinstance(optimize, str) else tuple(optimize)
    if not quantities or any(q not in QUANTITIES for q in quantities):
        check.fail("optimize", quantities, "'conductance', 'voltage' or both", "Name the gains to optimise.")
    elif "voltage" in quantities and not (hardware.read_noise_std or hardware.input_noise_std):
        check.fail(
            "optimize",
            quantities,
            "'voltage' only with read noise or row noise",
            "Without them a lower voltage costs no accuracy and the best one is zero: set "
            "hardware.read_noise_std or input_noise_std, or hold the voltage.",
        )
    check.done()
    largest = {
        "conductance": conductance_limits(network, hardware),
        "voltage": voltage_limits(network, hardware, inputs),
    }
    entries = []
    for quantity in (q for q in QUANTITIES if q in quantities):
        limits = largest[quantity]
        groups = [tuple(range(len(limits)))] if granularity == "network" else [(i,) for i in range(len(limits))]
        entries += [
            FreeGain(quantity=quantity, layers=group, largest=min(limits[i] for i in group)) for group in groups
        ]
    return FreeGains(network=network, held=held, free=tuple(entries))


def check_noisy(hardware: Hardware) -> None:
    """Refuse hardware without any noise: every gain is then equally exact."""
    if hardware.is_noiseless:
        raise InvalidInput.of(
            "hardware",
            "no noise of any kind",
            "programming, read or row noise",
            "Set programming_noise_std (or another noise): without noise any gain meets any target.",
        )
