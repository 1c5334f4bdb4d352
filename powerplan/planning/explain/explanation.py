"""What an explanation of a plan holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """Shares of one crossbar layer in the power and in the mean squared error (fractions)."""

    layer: str
    power: float
    error: float


@dataclass(frozen=True, kw_only=True)
class BindingLimit:
    """A limit that binds.

    Attributes:
        layer, limit: as in :class:`LimitPrice`.
        count: gains of the layer (columns or rows) at it.
        price: d log objective / d log limit, summed over them.
    """

    layer: str
    limit: str
    count: int
    price: float


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """What changing one parameter by 10 %, or by one bit, does.

    Attributes:
        parameter: "target", or a field of the hardware.
        factor: it is multiplied by (a curve or a model of drift or noise: what it gives); 1 for bits.
        bits: that a converter gets more; 0 for all else.
        price: shadow price, d log objective / d log parameter; None if the target is infeasible, and for bits. Of what
            moves the levels of converters it is the trend, from which planning again ripples.
        predicted: relative change of the objective by the price, factor^price − 1; None likewise.
        resolved: the same by planning again; None if no plan could be made then (``note`` says why). For an
            infeasible target, the relative change of the lowest reachable value; None where the target is then met.
        reaches_target: whether the plan made again meets its target.
        note: why there is no answer; "" if there is one.
        objective: of the plan made again [W, or MSE], where an infeasible target is then met; else None.
        energy: relative change of the energy of an inference by planning again, for hardware with costs and a target
            that is met; the objective is the power of the arrays, which may change the other way. Else None.
    """

    parameter: str
    factor: float
    price: float | None
    predicted: float | None
    resolved: float | None
    reaches_target: bool
    note: str = ""
    bits: int = 0
    objective: float | None = None
    energy: float | None = None


@dataclass(frozen=True, kw_only=True)
class YieldCost:
    """What the same bound costs for another part of the chips, by planning again.

    Attributes:
        chips: that part; None = for the mean over chips.
        change: relative change of the objective; None if no plan could be made (``note`` says why).
        note: why there is no answer; "" if there is one.
    """

    chips: float | None
    change: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class HardwareChange:
    """What other wires or arrays, or compensation, would do to a plan, by planning again.

    Attributes:
        what: there would be instead.
        change: relative change of the objective; for an infeasible target, of the lowest reachable value, None where
            the target is then met. None if no plan could be made (``note`` says why).
        reaches_target: whether the plan made again meets its target.
        note: why there is no answer; "" if there is one.
        objective, energy: as in :class:`Relaxation`.
    """

    what: str
    change: float | None
    reaches_target: bool
    note: str = ""
    objective: float | None = None
    energy: float | None = None


@dataclass(frozen=True, kw_only=True)
class EnergyShare:
    """What one component takes in one layer.

    Attributes:
        share: of the energy of an inference.
    """

    component: str
    layer: str
    share: float


@dataclass(frozen=True, kw_only=True)
class BitChange:
    """What other bits of a layer's converters would do, with gains planned again.

    Attributes:
        parameter: "adc_bits" or "dac_bits".
        bits: there would be instead.
        change: relative change of the energy of an inference, or of the error within a power budget; None if no plan
            meets the target then (``note`` says why).
        note: why there is no answer; "" if there is one.
    """

    layer: str
    parameter: str
    bits: int
    change: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A plan explained.

    Attributes:
        objective: "power", "error" (under a power budget), or "reached" for an infeasible target.
        value: of the objective [W, MSE, or the target's quantity].
        layers: shares of every crossbar layer, in order.
        limits: that bind, those that cost most first.
        relaxations: by what they buy, the best first; those that make a target reachable before all others.
        unlimited: the objective at the same target with the limits of the free gains lifted and conductance_min = 0:
            what noise and network alone ask for. None if there is no such bound, or the target is infeasible.
        sentences: all of it in words.
        yields: what other parts of the chips cost, the least first, where the target is on a part of them and is met.
        wires: what ideal wires, wider ones, smaller arrays, drivers at both ends and sides apart would do, where wires
            have resistance.
        compensations: what ways of compensating mean errors would do that the hardware does not use, where devices or
            wires make such errors.
        energy: where the energy of an inference goes, the most first; empty without costs.
        bits: what a bit more or less of every layer's converters would do to it; empty without costs.
    """

    objective: str
    value: float
    layers: tuple[LayerShare, ...]
    limits: tuple[BindingLimit, ...]
    relaxations: tuple[Relaxation, ...]
    unlimited: float | None
    sentences: tuple[str, ...]
    yields: tuple[YieldCost, ...] = ()
    wires: tuple[HardwareChange, ...] = ()
    compensations: tuple[HardwareChange, ...] = ()
    energy: tuple[EnergyShare, ...] = ()
    bits: tuple[BitChange, ...] = ()

    @property
    def gap(self) -> float | None:
        """(objective − unlimited) / unlimited: what the limits cost."""
        return None if not self.unlimited else self.value / self.unlimited - 1

    def __str__(self) -> str:
        return "\n".join(self.sentences)
