"""How an error is spread over chips: what predictions and simulations say of it in the same words.

Written here, copied to the client by scripts/generate_client.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from powerplan.errors import InvalidInput

_GAUSSIAN = NormalDist()
#: of the quantiles that files and messages tell: from one chip in a thousand to all but one
PROBABILITIES = tuple(_GAUSSIAN.cdf(step / 10) for step in range(-31, 32))

#: parts of the chips that are told in short
SUMMARY = (0.5, 0.9, 0.95, 0.99)

_NUMBERS = ("mean", "std", "std_standard_error")
_LISTS = ("probabilities", "quantiles", "low", "high")


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread(ABC):
    """The distribution over chips of an error.

    A chip is one draw of all its devices; its error is that over all calibration inputs and outputs.

    Attributes:
        mean: over chips.
        std: standard deviation over chips.
        std_standard_error: standard error of ``std``; NaN if nothing tells it.
    """

    mean: float
    std: float
    std_standard_error: float

    def quantile(self, probability: float) -> float:
        """The error that this part of the chips keeps within.

        Args:
            probability: between 0 and 1, both excluded.

        Raises:
            InvalidInput: a probability out of range.
        """
        return self._quantile(check_probability(probability))

    def quantile_interval(self, probability: float) -> tuple[float, float]:
        """A 95 % confidence interval of :meth:`quantile`.

        Raises:
            InvalidInput: a probability out of range.
        """
        return self._quantile_interval(check_probability(probability))

    def yield_at(self, bound: float) -> float:
        """The part of the chips whose error is at most the bound.

        Raises:
            InvalidInput: a bound that is no number, or negative.
        """
        return self._yield_at(_bound(bound))

    def yield_interval(self, bound: float) -> tuple[float, float]:
        """A 95 % confidence interval of :meth:`yield_at`.

        Raises:
            InvalidInput: a bound that is no number, or negative.
        """
        return self._yield_interval(_bound(bound))

    def scaled(self, factor: float) -> Self:
        """That of the error times a positive factor."""
        values = {name: factor * getattr(self, name) for name in _NUMBERS}
        return replace(self, **values, **self._scaled(factor))

    def summary(self) -> dict[str, float | None]:
        """Mean, standard deviation with its error, and a few quantiles, by name: ``mean``, ``std``, ``q95``."""
        values = {name: getattr(self, name) for name in _NUMBERS}
        values |= {f"q{round(100 * part)}": self.quantile(part) for part in SUMMARY}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def tabulated(self) -> TabulatedSpread:
        """What files and messages tell of it: quantiles at steps of a tenth of a standard deviation of a Gaussian."""
        intervals = [self.quantile_interval(p) for p in PROBABILITIES]
        return TabulatedSpread(
            mean=self.mean,
            std=self.std,
            std_standard_error=self.std_standard_error,
            probabilities=PROBABILITIES,
            quantiles=tuple(self.quantile(p) for p in PROBABILITIES),
            low=tuple(low for low, _ in intervals),
            high=tuple(high for _, high in intervals),
        )

    @abstractmethod
    def _scaled(self, factor: float) -> dict[str, Any]: ...

    @abstractmethod
    def _quantile(self, probability: float) -> float: ...

    @abstractmethod
    def _quantile_interval(self, probability: float) -> tuple[float, float]: ...

    @abstractmethod
    def _yield_at(self, bound: float) -> float: ...

    @abstractmethod
    def _yield_interval(self, bound: float) -> tuple[float, float]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TabulatedSpread(Spread):
    """A spread by its quantiles, as it is read from files and messages; between them it is interpolated.

    Attributes:
        probabilities: increasing, of the quantiles.
        quantiles: the errors that these parts of the chips keep within.
        low, high: the ends of their 95 % confidence intervals.
    """

    probabilities: tuple[float, ...]
    quantiles: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def tabulated(self) -> TabulatedSpread:
        return self

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {name: tuple(factor * each for each in getattr(self, name)) for name in ("quantiles", "low", "high")}

    @property
    def _scores(self) -> list[float]:
        return [_GAUSSIAN.inv_cdf(p) for p in self.probabilities]

    def _at(self, values: Sequence[float], probability: float) -> float:
        return float(
            np.interp(_GAUSSIAN.inv_cdf(probability), [_GAUSSIAN.inv_cdf(p) for p in self.probabilities], values)
        )

    def _part(self, values: Sequence[float], bound: float) -> float:
        if bound < values[0]:
            return 0.0
        if bound >= values[-1]:
            return 1.0
        return _GAUSSIAN.cdf(float(np.interp(bound, values, self._scores)))

    def _quantile(self, probability: float) -> float:
        return self._at(self.quantiles, probability)

    def _quantile_interval(self, probability: float) -> tuple[float, float]:
        return self._at(self.low, probability), self._at(self.high, probability)

    def _yield_at(self, bound: float) -> float:
        return self._part(self.quantiles, bound)

    def _yield_interval(self, bound: float) -> tuple[float, float]:
        return self._part(self.high, bound), self._part(self.low, bound)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """The errors of single chips.

    Attributes:
        mse: mean over a chip's inputs and outputs of (y − y*)².
        signal_power: mean over inputs and outputs of y*².
        wrong: the part of the inputs in another class than the wanted one: that of the labels that were given, or of
            the target, which without labels is that of the ideal outputs; None without these.
        power: of one inference [W]; None in predictions.
    """

    mse: Spread
    signal_power: float
    wrong: Spread | None = None
    power: Spread | None = None

    @property
    def nmse(self) -> Spread:
        """``mse`` over ``signal_power``; NaN if the ideal outputs are all zero."""
        return self.mse.scaled(1 / self.signal_power if self.signal_power > 0 else math.nan)

    def wrong_by_chip(self) -> Spread:
        """``wrong``, where it is known.

        Raises:
            InvalidInput: nothing was said of the wanted classes.
        """
        if self.wrong is not None:
            return self.wrong
        advice = "Give labels; for those that change, the classes of the ideal outputs."
        raise wrong_number(
            "chips.wrong", None, "chips of a call with labels, or of a plan for classes of chips", advice
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in files: spreads by their quantiles."""
        known = {name: spread for name in ("wrong", "power") if (spread := getattr(self, name)) is not None}
        more = {name: _plain(spread) for name, spread in known.items()}
        return {"mse": _plain(self.mse), "signal_power": self.signal_power, **more}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Chips:
        """What :meth:`to_dict` gave."""
        more = {name: _read(values[name]) for name in ("wrong", "power") if values.get(name) is not None}
        return cls(mse=_read(values["mse"]), signal_power=float(values["signal_power"]), **more)


def _plain(spread: Spread) -> dict[str, Any]:
    values = asdict(spread.tabulated())
    known = {name: each if math.isfinite(each) else None for name, each in values.items() if isinstance(each, float)}
    high = [each if math.isfinite(each) else None for each in values["high"]]  # of few chips there is no upper end
    return {**values, **known, "high": high}


def _read(values: Mapping[str, Any]) -> TabulatedSpread:
    parts: dict[str, Any] = {name: math.nan if values[name] is None else float(values[name]) for name in _NUMBERS}
    parts |= {name: tuple(math.inf if each is None else float(each) for each in values[name]) for name in _LISTS}
    return TabulatedSpread(**parts)


def check_probability(value: float) -> float:
    """It, between 0 and 1.

    Raises:
        InvalidInput: it is not.
    """
    if _is_number(value) and 0 < value < 1:
        return float(value)
    raise wrong_number("probability", value, "a number between 0 and 1, both excluded", "95 % is 0.95.")


def _bound(value: float) -> float:
    if _is_number(value) and value >= 0:
        return float(value)
    raise wrong_number("bound", value, "a number >= 0", "1 % is 0.01.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def wrong_number(field: str, value: object, allowed: str, advice: str) -> ValueError:
    """The error that says what is allowed."""
    return InvalidInput.of(field, value, allowed, advice)
