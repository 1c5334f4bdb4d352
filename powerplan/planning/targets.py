"""What a plan must reach."""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.checks import Checker


@dataclass(frozen=True)
class _Bound:
    value: float

    def __post_init__(self) -> None:
        check = Checker("target.")
        if check.number(type(self).__name__, self.value, above=0):
            object.__setattr__(self, "value", float(self.value))
        check.done()


class MaxMSE(_Bound):
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0)."""


class MaxNMSE(_Bound):
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %)."""


class MaxPower(_Bound):
    """Least mean squared error such that the power of one inference is at most ``value`` [W] (> 0)."""


Target = MaxMSE | MaxNMSE | MaxPower

#: targets by name, for files, the command line and the wire
TARGETS: dict[str, type[Target]] = {"max_mse": MaxMSE, "max_nmse": MaxNMSE, "max_power": MaxPower}


def target_name(target: Target) -> str:
    """The name of a target's kind in :data:`TARGETS`."""
    return next(name for name, kind in TARGETS.items() if isinstance(target, kind))
