"""Random separable programs: coefficients over 12 orders of magnitude; no, some or all limits bind."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from powerplan.allocation import GeometricProgram, Posynomial, kkt_bisection

LIMITS = ("none", "some", "all")


def monomial_program(seed: int, gains: int) -> GeometricProgram:
    """One power and one error term per gain, common exponents, no limits: the closed form's case."""
    rng = np.random.default_rng(seed)
    return GeometricProgram.separable(
        power_coefficients=10 ** rng.uniform(-6, 6, (gains, 1)),
        power_exponents=rng.uniform(0.5, 3, 1),
        error_coefficients=10 ** rng.uniform(-6, 6, (gains, 1)),
        error_exponents=rng.uniform(0.5, 3, 1),
        bound=10 ** rng.uniform(-6, 6),
        constant_power=10 ** rng.uniform(-6, 6) if rng.random() < 0.5 else 0.0,
    )


def random_program(seed: int, gains: int, limits: str, *, simple_powers: bool | None = None) -> GeometricProgram:
    """Several power and error terms per gain, some of them zero.

    Args:
        limits: "none"; "some": random limits and a bound that they can reach; "all": every gain ends at a limit.
        simple_powers: integer exponents (cvxpy's form in powers) or real ones; None = drawn.
    """
    rng = np.random.default_rng(seed)
    simple = rng.random() < 0.5 if simple_powers is None else simple_powers
    power_terms, error_terms = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    p = 10 ** rng.uniform(-6, 6, (gains, power_terms))
    k = 10 ** rng.uniform(-6, 6, (gains, error_terms))
    p[:, 1:] *= rng.random((gains, power_terms - 1)) < 0.8
    k[:, 1:] *= rng.random((gains, error_terms - 1)) < 0.8
    t = np.arange(1.0, power_terms + 1) if simple else rng.uniform(0.5, 3, power_terms)
    s = np.array([2.0, 1.0])[:error_terms] if simple else rng.uniform(0.5, 3, error_terms)
    coefficients = {"power_coefficients": p, "power_exponents": t, "error_coefficients": k, "error_exponents": s}
    free = GeometricProgram.separable(**coefficients, bound=10 ** rng.uniform(-3, 3))
    if limits == "none":
        return free
    # limits are drawn about the optimum without limits, so that each of them is of consequence
    centre, errors = kkt_bisection(free).x, free.constraint
    lower = centre + rng.normal(-1, 1, gains)
    upper = lower + rng.uniform(0, 4, gains)
    if limits == "some":
        least, most = errors.log_value(upper), errors.log_value(lower)
        log_bound = least + rng.uniform(0.01, 0.99) * (most - least)
    elif rng.random() < 0.4:  # every gain would go beyond its upper limit, and only there is the bound met
        upper = centre - rng.uniform(0, 1, gains)
        lower = upper - 1
        log_bound = errors.log_value(upper)
    elif rng.random() < 0.5:  # the lower limits meet the bound already
        log_bound = errors.log_value(lower) + 0.1
    else:  # nothing can move
        upper = lower
        log_bound = errors.log_value(lower)
    return GeometricProgram.separable(**coefficients, bound=float(np.exp(log_bound)), lower=lower, upper=upper)


def mixed(program: GeometricProgram, seed: int) -> GeometricProgram:
    """The same program without limits in gains u with x = M u for a random invertible M: the same optimum."""
    rng = np.random.default_rng(seed)
    n = program.gains
    m = np.linalg.qr(rng.normal(size=(n, n)))[0] * rng.uniform(0.5, 2, n)
    changed = [
        Posynomial(log_coefficients=f.log_coefficients, exponents=sparse.csr_array(f.exponents @ m))
        for f in (program.objective, program.constraint)
    ]
    return GeometricProgram(
        objective=changed[0], constraint=changed[1], bound=program.bound, lower=-np.inf, upper=np.inf
    )
