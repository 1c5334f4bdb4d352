"""The error of single inputs, and what a calibration batch says of inputs that it does not hold.

Written by scripts/generate_client.py. Do not edit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from powerplan_client.compat import dataclass
from powerplan_client.spread import check_probability, wrong_number

#: quantile of a standard normal number that 95 % intervals end at
_NORMAL = 1.959964


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """The errors of the calibration inputs, each a mean over all chips.

    The inputs are taken as a random sample of those that the network will meet. MSE and NMSE of all of these are within
    :meth:`mse_interval` and :meth:`nmse_interval` with 95 % confidence. The NMSE R = ē / s̄ is a ratio of two means over
    the sample; its standard error is that of the mean of (e − R s) / s̄ (delta method).

    Attributes:
        mse_by_input: (B,) e, mean over chips and outputs of (y − y*)².
        signal_by_input: (B,) s, mean over outputs of y*².
    """

    mse_by_input: np.ndarray
    signal_by_input: np.ndarray

    @property
    def mse_standard_error(self) -> float:
        """Of the MSE, as one of all inputs that there may be; NaN from a single input."""
        return self._standard_error(self.mse_by_input)

    @property
    def nmse_standard_error(self) -> float:
        """Of the NMSE likewise; NaN too if the ideal outputs are all zero."""
        return self._standard_error(self.nmse_parts)

    def mse_interval(self, fresh: int | None = None) -> tuple[float, float]:
        """A 95 % confidence interval of the MSE of other inputs.

        Args:
            fresh: how many they are, >= 1; None = all that there may be.

        Raises:
            InvalidRequest: another number of inputs.
        """
        return self._interval(self.mse_by_input, self.mse_standard_error, fresh)

    def nmse_interval(self, fresh: int | None = None) -> tuple[float, float]:
        """A 95 % confidence interval of the NMSE of other inputs; see :meth:`mse_interval`."""
        return self._interval(self.nmse_by_input, self.nmse_standard_error, fresh)

    @property
    def nmse_by_input(self) -> np.ndarray:
        """(B,) errors over the mean signal of all inputs: their mean is the NMSE. NaN without any signal."""
        by_input: np.ndarray = self.mse_by_input / self._signal
        return by_input

    @property
    def nmse_parts(self) -> np.ndarray:
        """(B,) parts of single inputs in the NMSE, to first order: R + (e − R s) / s̄; their mean is R."""
        nmse = self.nmse_by_input
        parts: np.ndarray = nmse + float(nmse.mean()) * (1 - self.signal_by_input / self._signal)
        return parts

    def mse_quantile(self, probability: float) -> float:
        """The MSE that this part of the inputs keeps within.

        Args:
            probability: between 0 and 1, both excluded.

        Raises:
            InvalidRequest: a probability out of range.
        """
        return float(np.quantile(self.mse_by_input, check_probability(probability)))

    def nmse_quantile(self, probability: float) -> float:
        """The error, over the mean signal of all inputs, likewise."""
        return self.mse_quantile(probability) / self._signal

    def worst(self, count: int = 5) -> tuple[int, ...]:
        """Indices of the inputs with the largest errors, the largest first; all if there are fewer than ``count``."""
        return tuple(int(index) for index in np.argsort(-self.mse_by_input, kind="stable")[:count])

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in files, with what follows from it for those who read them."""
        errors = {name: getattr(self, name) for name in ("mse_standard_error", "nmse_standard_error")}
        return {
            "mse_by_input": self.mse_by_input.tolist(),
            "signal_by_input": self.signal_by_input.tolist(),
            **{name: value if math.isfinite(value) else None for name, value in errors.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """What :meth:`to_dict` gave."""
        by_input = {name: np.array(values[name], dtype=float) for name in ("mse_by_input", "signal_by_input")}
        for array in by_input.values():
            array.setflags(write=False)
        return cls(**by_input)

    @property
    def _signal(self) -> float:
        signal = float(self.signal_by_input.mean())
        return signal if signal > 0 else math.nan

    def _standard_error(self, by_input: np.ndarray) -> float:
        count = len(by_input)
        return float(by_input.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan

    def _interval(self, by_input: np.ndarray, standard_error: float, fresh: int | None) -> tuple[float, float]:
        if fresh is not None and not (isinstance(fresh, int) and fresh >= 1):
            raise wrong_number("fresh", fresh, "a whole number >= 1, or None", "Leave it out for all inputs.")
        count, mean = len(by_input), float(by_input.mean())
        own = 0.0 if fresh is None else count / fresh
        half = student(count - 1) * standard_error * math.sqrt(1 + own)
        return max(mean - half, 0.0), mean + half


def student(freedom: int) -> float:
    """Where a 95 % interval of Student's t ends, from Fisher's expansion: within 2 % from 4 degrees of freedom on."""
    if freedom < 1:
        return math.nan
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
