"""Proof of optimality, recomputed from a problem and a point alone.

For a convex program min f(x) s.t. h(x) <= 0, l <= x <= u (f = log objective, h = log(constraint / bound)) and
any λ >= 0, the gradient r = ∇f(x) + λ ∇h(x) bounds f from below on the feasible set: every feasible y has

    f(y) >= f(y) + λ h(y) >= f(x) + λ h(x) + r·(y − x),

so f(x) − f* <= −λ h(x) + max_y r·(x − y), the maximum over any set that holds an optimal point (weak duality).
With R constraints λ and h have R entries, and λ h(x), λ ∇h(x) are sums over them.
An optimal y has objective(y) <= objective(x) and constraint(y) <= bound, which bounds every term of both
posynomials by itself: this is the region used where a gain has no limit.

Why: docs/decisions/certificates.md [0011].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, sparse

from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.checks import Checker

#: a gain this close to a limit (in log gain) counts as being at it
ACTIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimalityCertificate:
    """How far a point is from proven optimality. All entries are relative (logs); 0 is perfect.

    Attributes:
        kkt_residual: sum of the absolute entries of ∇ log objective + λ ∇ log constraint + limit multipliers. To
            first order, no change of every gain by at most a factor e that keeps the constraints lowers the objective
            by a larger fraction. (The largest entry would say nothing of many gains, each with a tiny share.)
        duality_gap: upper bound on log(objective / optimum), see the module's formula.
        constraint_violation: constraint / bound − 1 where positive, or the largest excess over a limit.
        complementarity: largest multiplier × |distance from its constraint|, over the constraint and the limits:
            what a point off its constraints seems to gain or lose.
        duals: (R,) λ >= 0; d log objective* / d log bound_r = −λ_r.
        limit_duals: (n,) > 0 at an upper limit, < 0 at a lower one; d log objective* / d limit = −limit_dual.
    """

    kkt_residual: float
    duality_gap: float
    constraint_violation: float
    complementarity: float
    duals: np.ndarray
    limit_duals: np.ndarray

    @property
    def dual(self) -> float:
        """Σ λ_r: −d log objective* / d log bound where all bounds move together."""
        return float(self.duals.sum())

    @property
    def worst(self) -> float:
        """The largest of the four measures."""
        measures = (self.kkt_residual, self.duality_gap, self.constraint_violation, self.complementarity)
        return float(np.max(measures))


def certify(
    gradient_objective: np.ndarray,
    gradient_constraint: np.ndarray,
    log_constraint_value: float | np.ndarray,
    at: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    dual: float | np.ndarray | None = None,
    region: tuple[np.ndarray, np.ndarray] | None = None,
) -> OptimalityCertificate:
    """Certificate of a point of a convex program in x, from the gradients there.

    Args:
        gradient_objective: (n,) gradient of the log objective.
        gradient_constraint: (n,) gradient of the log constraint, or (R, n) of R of them.
        log_constraint_value: log(constraint / bound), or (R,).
        at: (n,) the point x.
        lower, upper: (n,) limits of x.
        dual: λ >= 0, or (R,), to certify with; None = those with the least residual.
        region: (lower, upper) of a box that holds an optimal point; None = the limits.

    Raises:
        InvalidInput: shapes that differ, NaN.
    """
    g, h, x, low, high = (
        np.asarray(a, dtype=np.float64) for a in (gradient_objective, gradient_constraint, at, lower, upper)
    )
    excess = np.atleast_1d(np.asarray(log_constraint_value, dtype=np.float64))
    check = Checker("certify.")
    if h.shape not in (g.shape, (*excess.shape, *g.shape)):
        check.fail("gradient_constraint", h, f"shape {g.shape}, or one such row per constraint", "Give all gradients.")
    for name, a in (("at", x), ("lower", low), ("upper", high)):
        if a.shape != g.shape:
            check.fail(name, a, f"shape {g.shape}, as gradient_objective", "Give one entry per gain.")
    for name, a in (("gradient_objective", g), ("gradient_constraint", h), ("at", x)):
        if not np.isfinite(a).all():
            check.fail(name, a, "finite numbers", "The gradients do not exist here; move the point inside.")
    for value in () if dual is None else np.atleast_1d(dual).tolist():
        check.number("dual", value, at_least=0)
    check.done()

    h = np.atleast_2d(h)
    at_lower, at_upper = x <= low + ACTIVE_TOLERANCE, x >= high - ACTIVE_TOLERANCE
    if dual is None:
        multipliers = _least_residual(g, h, np.minimum(excess, 0.0), at_lower, at_upper)
    else:
        multipliers = np.atleast_1d(np.asarray(dual, dtype=np.float64))
    r = g + multipliers @ h
    limit_duals = np.where((at_upper & (r < 0)) | (at_lower & (r > 0)), -r, 0.0)
    distance = np.where(limit_duals > 0, np.abs(high - x), np.where(limit_duals < 0, np.abs(x - low), 0.0))
    outside = max(float(np.maximum(low - x, x - high).max()), 0.0)
    slackness = np.abs(np.append(multipliers * excess, np.abs(limit_duals) * distance))
    return OptimalityCertificate(
        kkt_residual=float(np.abs(r + limit_duals).sum()),
        duality_gap=max(-float(multipliers @ excess) + _largest_decrease(r, x, region or (low, high)), 0.0),
        constraint_violation=max(float(np.expm1(min(excess.max(), 700.0))), outside, 0.0),
        complementarity=float(slackness.max()),
        duals=multipliers,
        limit_duals=limit_duals,
    )


def certificate_at(
    problem: GeometricProgram, x: np.ndarray, *, dual: float | None = None, least_constraint: bool = False
) -> OptimalityCertificate:
    """Certificate of a point of a geometric program.

    Args:
        x: (n,) log gains, finite.
        dual: λ to certify with; None = the one with the least residual.
        least_constraint: certify instead that x has the least constraint value within the limits; the
            duality gap then bounds log(constraint(x) / least), and λ is 0.
    """
    if least_constraint:
        return _least_constraint_certificate(problem, x)
    log_bound = float(np.log(problem.bound))
    levels = ((problem.objective, problem.objective.log_value(x)), (problem.constraint, log_bound))
    g, h = problem.objective.gradient(x), problem.constraint.gradient(x)
    return _certify_over_terms(problem, g, h, problem.log_constraint(x), x, levels, dual)


def _least_constraint_certificate(problem: GeometricProgram, x: np.ndarray) -> OptimalityCertificate:
    """As :func:`certificate_at`. Terms that vanish as a gain without a limit runs away bound nothing: they are
    left out of the lower bound, and what they still add at x is part of the gap."""
    f = problem.constraint
    single, gain, exponent = f.variables >= 0, np.maximum(f.variables, 0), f.single_exponents
    vanishing = single & np.where(exponent < 0, np.isinf(problem.upper[gain]), np.isinf(problem.lower[gain]))
    in_other_terms = np.bincount(f.exponents[~vanishing].indices, minlength=f.gains) > 0
    for sign in (1.0, -1.0):
        other = np.bincount(gain[single & (exponent * sign < 0)], minlength=f.gains) > 0
        vanishing &= ~((exponent * sign > 0) & (in_other_terms | other)[gain])
    g, level = f.gradient(x), f.log_value(x)
    if not vanishing.any():
        return _certify_over_terms(problem, g, np.zeros(f.gains), 0.0, x, ((f, level),), 0.0)
    certificate = certify(g, np.zeros(f.gains), 0.0, x, problem.lower, problem.upper, dual=0.0)
    if vanishing.all():
        return replace(certificate, duality_gap=np.inf)
    remaining = Posynomial(log_coefficients=f.log_coefficients[~vanishing], exponents=f.exponents[~vanishing])
    rest = replace(problem, constraint=remaining)
    extra = level - remaining.log_value(x)
    return replace(certificate, duality_gap=extra + _least_constraint_certificate(rest, x).duality_gap)


def _certify_over_terms(
    problem: GeometricProgram,
    g: np.ndarray,
    h: np.ndarray,
    log_constraint: float,
    x: np.ndarray,
    levels: tuple[tuple[Posynomial, float], ...],
    dual: float | None,
) -> OptimalityCertificate:
    """:func:`certify` over the region where every posynomial's terms stay below its level."""
    region = _region(problem, levels)
    certificate = certify(g, h, log_constraint, x, problem.lower, problem.upper, dual=dual, region=region)
    if np.isfinite(certificate.duality_gap) or problem.is_separable:
        return certificate
    decrease = _largest_decrease_over_terms(g + certificate.dual * h, x, region, levels)
    return replace(certificate, duality_gap=max(-certificate.dual * log_constraint + decrease, 0.0))


def _least_residual(
    g: np.ndarray, h: np.ndarray, slack: np.ndarray, at_lower: np.ndarray, at_upper: np.ndarray
) -> np.ndarray:
    """The smallest λ >= 0 (R,) with the least Σ (residual of r = g + λ h)² + Σ (λ_r slack_r)².

    A gain inside its limits has residual r, at its upper limit max(r, 0), at its lower max(−r, 0), fixed 0.
    The derivative in λ is piecewise linear: each Newton step solves the piece it is on.
    """
    upper_only, lower_only = at_upper & ~at_lower, at_lower & ~at_upper
    inside = ~at_upper & ~at_lower
    multipliers = np.zeros(len(h))
    for _ in range(100):
        r = g + multipliers @ h
        counts = inside | (upper_only & (r > 0)) | (lower_only & (r < 0))
        if not h[:, counts].any():
            break
        previous, multipliers = multipliers, _on_piece(g[counts], h[:, counts], slack)
        if np.abs(multipliers - previous).max() <= 1e-15 * max(multipliers.max(), previous.max()):
            break
    return multipliers


def _on_piece(g: np.ndarray, h: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """argmin over λ >= 0 of |g + λ h|² + |λ slack|², (R,)."""
    if len(h) == 1:
        return np.asarray(np.maximum(-(h @ g) / ((h * h).sum(1) + slack**2), 0.0))
    used = np.flatnonzero(h.any(axis=1))
    system = np.concatenate([h[used].T, np.diag(slack[used])])
    multipliers = np.zeros(len(h))
    multipliers[used] = optimize.nnls(system, np.append(-g, np.zeros(used.size)), maxiter=100 * used.size)[0]
    return multipliers


def _largest_decrease(r: np.ndarray, x: np.ndarray, region: tuple[np.ndarray, np.ndarray]) -> float:
    """max of r·(x − y) over the box (a zero of r costs nothing, however large the box)."""
    down = np.where(r > 0, np.maximum(x - region[0], 0.0), np.where(r < 0, np.maximum(region[1] - x, 0.0), 0.0))
    used = r != 0
    return float((np.abs(r[used]) * down[used]).sum())


def _region(
    problem: GeometricProgram, posynomials: tuple[tuple[Posynomial, float], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The box of all x whose terms of a single gain stay below their posynomial's largest log value."""
    lower, upper = problem.lower.copy(), problem.upper.copy()
    for posynomial, largest in posynomials:
        single = posynomial.variables >= 0
        exponents, gains = posynomial.single_exponents[single], posynomial.variables[single]
        edge = (largest - posynomial.log_coefficients[single]) / exponents
        rising = exponents > 0
        np.minimum.at(upper, gains[rising], edge[rising])
        np.maximum.at(lower, gains[~rising], edge[~rising])
    return lower, upper


def _largest_decrease_over_terms(
    r: np.ndarray,
    x: np.ndarray,
    region: tuple[np.ndarray, np.ndarray],
    posynomials: tuple[tuple[Posynomial, float], ...],
) -> float:
    """max of r·(x − y) over the box and every term's own bound (a linear program); inf if unbounded."""
    matrix = sparse.vstack([p.exponents for p, _ in posynomials], format="csr")
    room = np.concatenate([largest - p.log_terms(x) for p, largest in posynomials])
    lower = np.minimum(region[0] - x, 0.0)
    upper = np.maximum(region[1] - x, 0.0)
    # scaled so that the solver's tolerances see numbers near one
    scale = float(np.abs(r).max()) or 1.0
    answer = optimize.linprog(
        r / scale, A_ub=matrix, b_ub=np.maximum(room, 0.0), bounds=np.stack([lower, upper], axis=1), method="highs"
    )
    return float(-answer.fun * scale) if answer.status == 0 else np.inf
