"""Posynomials: sums of terms exp(b + a·x) in x = log gains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from powerplan.checks import Checker, frozen_array, number_array, real_array

#: largest number of gains or of terms in one posynomial
MAX_SIZE = 10_000_000
#: largest |exponent| of a term
MAX_EXPONENT = 1e3
#: largest |log coefficient| of a term
MAX_LOG_COEFFICIENT = 1e4


@dataclass(frozen=True, kw_only=True, eq=False)
class Posynomial:
    """f(x) = Σ_t exp(log_coefficients_t + exponents_t · x), x = log gains.

    Attributes:
        log_coefficients: (T,) logarithms of the positive coefficients, in the unit of f.
        exponents: (T, n) sparse (CSR) real exponents; an empty row is a constant term.

    Raises:
        InvalidInput: no terms, NaN or infinite entries, shapes that do not match, absurd sizes.
    """

    log_coefficients: np.ndarray
    exponents: sparse.csr_array

    def __post_init__(self) -> None:
        check = Checker("posynomial.")
        logs = real_array(check, "log_coefficients", self.log_coefficients, ndim=1)
        raw = _matrix(check, self.exponents)
        check.done()
        assert logs is not None
        assert raw is not None
        # only the shape is looked at before absurd sizes are refused
        rows, columns = raw.shape
        if max(rows, columns) > MAX_SIZE:
            check.fail("exponents", raw, f"at most {MAX_SIZE:,} terms and gains", "Merge terms or split the problem.")
        check.done()
        if rows != logs.size:
            check.fail(
                "exponents", raw, f"one row per coefficient ({logs.size})", "Give one row of exponents per term."
            )
        if logs.size == 0:
            check.fail(
                "log_coefficients", logs, "at least one term", "A posynomial without terms is zero; leave it out."
            )
        elif np.abs(logs).max() > MAX_LOG_COEFFICIENT:
            worst = float(logs[np.abs(logs).argmax()])
            check.fail("log_coefficients", worst, f"|log| <= {MAX_LOG_COEFFICIENT:g}", "Change the unit of the gains.")
        matrix = sparse.csr_array(raw, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        if not (np.abs(matrix.data) <= MAX_EXPONENT).all():
            worst = float(matrix.data[~(np.abs(matrix.data) <= MAX_EXPONENT)][0])
            check.fail(
                "exponents", worst, f"finite, |exponent| <= {MAX_EXPONENT:g}", "Check the exponents of the terms."
            )
        check.done()
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.setflags(write=False)
        object.__setattr__(self, "log_coefficients", frozen_array(logs, np.float64))
        object.__setattr__(self, "exponents", matrix)

    @classmethod
    def from_coefficients(cls, coefficients: npt.ArrayLike, exponents: object) -> Posynomial:
        """f(x) = Σ_t coefficients_t exp(exponents_t · x); terms whose coefficient is zero are dropped.

        Args:
            coefficients: (T,) >= 0, at least one > 0, in the unit of f.
            exponents: (T, n) dense or sparse.

        Raises:
            InvalidInput: negative, NaN or infinite coefficients, none that is positive.
        """
        check = Checker("posynomial.")
        values = coefficients_of(check, "coefficients", coefficients, ndim=1)
        check.done()
        matrix = _matrix(check, exponents)
        check.done()
        assert values is not None
        assert matrix is not None
        if matrix.shape[0] != values.size:
            check.fail("exponents", matrix, f"one row per coefficient ({values.size})", "Give one row per term.")
            check.done()
        keep = np.flatnonzero(values > 0)
        return cls(log_coefficients=np.log(values[keep]), exponents=matrix[keep])

    @property
    def terms(self) -> int:
        """Number of terms T."""
        return int(self.log_coefficients.size)

    @property
    def gains(self) -> int:
        """Number of gains n."""
        return int(self.exponents.shape[1])

    def log_terms(self, x: np.ndarray) -> np.ndarray:
        """(T,) logarithms of the terms at x (n,)."""
        return np.asarray(self.log_coefficients + self.exponents @ x)

    def term_values(self, x: np.ndarray) -> np.ndarray:
        """(T,) values of the terms at x (n,)."""
        return np.asarray(np.exp(self.log_terms(x)))

    def log_value(self, x: np.ndarray) -> float:
        """log f(x), without overflow."""
        return log_sum_exp(self.log_terms(x))

    def value(self, x: np.ndarray) -> float:
        """f(x)."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.log_value(x)))

    def shares(self, x: np.ndarray) -> np.ndarray:
        """(T,) share of each term in f(x); they sum to 1."""
        logs = self.log_terms(x)
        weights = np.exp(logs - logs.max())
        return np.asarray(weights / weights.sum())

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """(n,) gradient of log f at x: the exponents averaged over the shares of the terms."""
        return np.asarray(self.exponents.T @ self.shares(x))

    @cached_property
    def variables(self) -> np.ndarray:
        """(T,) index of the only gain in each term, -1 for a constant term, -2 for a term of several gains."""
        counts = np.diff(self.exponents.indptr)
        index = np.full(self.terms, -2)
        index[counts == 0] = -1
        single = counts == 1
        index[single] = self.exponents.indices[self.exponents.indptr[:-1][single]]
        return index

    @cached_property
    def single_exponents(self) -> np.ndarray:
        """(T,) exponent of the only gain in each term; 0 where there is none or several."""
        exponents = np.zeros(self.terms)
        single = self.variables >= 0
        exponents[single] = self.exponents.data[self.exponents.indptr[:-1][single]]
        return exponents


def log_sum_exp(logs: np.ndarray) -> float:
    """log Σ exp(logs), without overflow."""
    largest = float(logs.max())
    if not np.isfinite(largest):
        return largest
    return largest + float(np.log(np.exp(logs - largest).sum()))


def coefficients_of(check: Checker, field: str, value: object, *, ndim: int) -> np.ndarray | None:
    """Coefficients >= 0, or a noted violation and None."""
    array = real_array(check, field, value, ndim=ndim)
    if array is None:
        return None
    if array.size > MAX_SIZE:
        check.fail(field, array, f"at most {MAX_SIZE:,} coefficients", "Merge terms or split the problem.")
        return None
    if (array < 0).any():
        at = np.unravel_index(int(array.argmin()), array.shape)
        where = ", ".join(map(str, at))
        check.fail(f"{field}[{where}]", float(array[at]), ">= 0", "A posynomial has no negative terms.")
        return None
    return array.astype(np.float64)


def _matrix(check: Checker, value: Any) -> Any:
    """A sparse matrix as it is, anything else as an array with two axes; or a noted violation and None."""
    wanted = "a (T, n) matrix of numbers"
    if sparse.issparse(value):
        if value.ndim == 2 and value.dtype.kind in "fiub":
            return sparse.csr_array(value)
        check.fail("exponents", value, wanted, "Give real numbers, one row of exponents per term.")
        return None
    array = number_array(check, "exponents", value, wanted)
    if array is not None and array.ndim > 2:
        check.fail("exponents", array, wanted, "Give one row of exponents per term.")
        return None
    return None if array is None else np.atleast_2d(array)
