"""Planning profiles: power and error coefficients that a client computed itself, instead of a network.

P(g) = P_0 + Σ_i Σ_t p_it g_i^a_t        E(g) = E_0 + Σ_i Σ_s e_is g_i^(−b_s)        lower ≤ g ≤ upper
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from powerplan.allocation import GeometricProgram, Status, closed_form_covers, solve
from powerplan.errors import SolverFailed
from powerplan.planning.outcome import LimitPrice, Outcome, ShadowPrices, Termination
from powerplan.planning.targets import Target
from powerplan_client._generated import v1 as pb
from powerplan_client.building import target_message
from powerplan_client.plain_names import enum_numbers
from powerplan_server.wire.plans import termination_to_proto
from powerplan_server.wire.reading import Reader, printable, unexpected
from powerplan_server.wire.tasks import enum_from_proto, optional, target_of
from powerplan_server.wire.tensors import array_from_proto
from powerplan_server.wire.writing import message_of

SOLVERS = enum_numbers(pb.ProfileSolver.DESCRIPTOR)
_LIMIT_NAMES = {1: "upper", -1: "lower"}
#: smallest price of a limit that is reported
_LEAST_PRICE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """A planning profile: n gains, T power terms and S error terms each.

    Attributes:
        names: (n,) of the gains.
        power_coefficients: (n, T) [W per unit gain^exponent]; power_exponents: (T,).
        mse_coefficients: (n, S); mse_exponents: (S,), the error falls with the gain to minus these.
        lower, upper: (n,) limits of the gains; 0 and inf = none.
        constant_power: [W]; constant_mse: parts that no gain changes.
        signal_power: mean y*², for NMSE targets; None = not given.
        solver: "auto", "closed_form", "kkt" or "cvxpy".
    """

    names: tuple[str, ...]
    power_coefficients: np.ndarray
    power_exponents: np.ndarray
    mse_coefficients: np.ndarray
    mse_exponents: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    constant_power: float
    constant_mse: float
    signal_power: float | None
    solver: str

    def program(self, target: Target) -> GeometricProgram:
        """The geometric program for a target."""
        bound = self.bound(target)
        with np.errstate(divide="ignore"):
            lower, upper = np.log(self.lower), np.log(self.upper)
        least_power = GeometricProgram.separable(
            power_coefficients=self.power_coefficients,
            power_exponents=self.power_exponents,
            error_coefficients=self.mse_coefficients,
            error_exponents=self.mse_exponents,
            bound=bound,
            lower=lower,
            upper=upper,
            constant_power=self.constant_power,
            constant_error=self.constant_mse,
        )
        return least_power.reversed(bound) if target.is_budget else least_power

    def bound(self, target: Target) -> float:
        """What a target bounds here: the power, or the MSE."""
        bounds = target.bounds(self.signal_power)
        return bounds["power" if target.is_budget else "mse"]


def profile_from_proto(
    reader: Reader, task: pb.PlanTask, *, needs_target: bool = True
) -> tuple[Profile, Target | None] | None:
    """Profile and target of a task, or noted violations and None."""
    before = reader.count
    others = [name for name in ("network", "hardware", "inputs", "settings") if task.HasField(name)]
    unexpected(reader, others, "Give either a profile, or network, hardware, inputs and settings.")
    target = target_of(reader, task, needs_target=needs_target)
    profile = _profile(reader.at("profile"), task.profile)
    if len(task.corners):
        unexpected(reader, ["corners"], "Corners are of the hardware; a profile holds its coefficients.")
    if profile is not None and target is not None:
        check_profile_targets(reader, profile, [(reader.at("target"), target)])
    if reader.count > before or profile is None:
        return None
    return profile, target


def check_profile_targets(reader: Reader, profile: Profile, targets: Iterable[tuple[Reader, Target]]) -> None:
    """Note a violation for every target that cannot be decided from a profile.

    Args:
        reader: at the task.
        targets: each with its place.
    """
    bounds = []
    for place, target in targets:
        bounds.append(target.bounds(profile.signal_power).keys())
        if not bounds[-1] & {"power", "mse", "nmse"}:
            place.fail("a target on outputs or classes", "max_mse, max_nmse, max_power_watts", "It needs the network.")
    if any("nmse" in names and "mse" not in names for names in bounds):
        reader.at("profile.signal_power").fail("nothing", "a number > 0", "An NMSE target needs the signal power.")


def _profile(reader: Reader, message: pb.PlanningProfile) -> Profile | None:
    before = reader.count
    count = message.power_coefficients_watts.shape[0] if len(message.power_coefficients_watts.shape) == 2 else 0
    if count > reader.limits.max_profile_gains:
        reader.at("power_coefficients_watts").too_large(f"{count:,} gains", reader.limits.max_profile_gains, "gains")
        return None
    power = _coefficients(reader, message, "power", "power_coefficients_watts", count)
    error = _coefficients(reader, message, "mse", "mse_coefficients", count)
    limits = {
        name: _limit(reader.at(name), getattr(message, name), count, default)
        if message.HasField(name)  # type: ignore[arg-type]
        else np.full(count, default)
        for name, default in (("lower", 0.0), ("upper", np.inf))
    }
    names = _names(reader.at("gain_names"), message, count)
    for name in ("constant_power_watts", "constant_mse"):
        reader.at(name).number(getattr(message, name), at_least=0)
    signal_power = optional(message, "signal_power")
    if signal_power is not None:
        reader.at("signal_power").number(signal_power, above=0)
    solver = enum_from_proto(reader.at("solver"), message.solver, SOLVERS, default="auto")
    lower, upper = limits["lower"], limits["upper"]
    if lower is not None and upper is not None and (bad := np.flatnonzero(~(lower < upper))).size:
        i = int(bad[0])
        reader.at("lower").fail(
            float(lower[i]), f"less than upper = {float(upper[i]):g} for gain {i}", f"{bad.size} gains have no room."
        )
    if reader.count > before or power is None or error is None or lower is None or upper is None or solver is None:
        return None
    return Profile(
        names=names,
        power_coefficients=power[0],
        power_exponents=power[1],
        mse_coefficients=error[0],
        mse_exponents=error[1],
        lower=lower,
        upper=upper,
        constant_power=message.constant_power_watts,
        constant_mse=message.constant_mse,
        signal_power=signal_power,
        solver=solver,
    )


def _coefficients(
    reader: Reader, message: pb.PlanningProfile, kind: str, field: str, count: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """(n, T) coefficients and (T,) exponents, or noted violations and None."""
    before = reader.count
    place, exponents_place = reader.at(field), reader.at(f"{kind}_exponents")
    exponents = np.array(getattr(message, f"{kind}_exponents")[: reader.limits.max_profile_terms + 1], np.float64)
    if not 1 <= exponents.size <= reader.limits.max_profile_terms:
        exponents_place.fail(exponents.tolist(), f"1 to {reader.limits.max_profile_terms} exponents", "Name each term.")
    elif not (np.isfinite(exponents) & (exponents > 0)).all():
        exponents_place.fail(exponents.tolist(), "finite numbers > 0", "Power rises and error falls with the gain.")
    most = reader.limits.max_profile_gains * reader.limits.max_profile_terms
    array = array_from_proto(
        place,
        getattr(message, field),
        dtypes=[pb.DATA_TYPE_FLOAT64],
        max_elements=most,
        shape=(count or None, exponents.size or None),
    )
    if array is not None and (array.size == 0 or (array < 0).any() or not (array > 0).any(axis=1).all()):
        place.fail(array, "coefficients >= 0, in every row one > 0", "A gain without such a term has no best value.")
    return None if reader.count > before or array is None else (array, exponents)


def _limit(reader: Reader, message: pb.Tensor, count: int, default: float) -> np.ndarray | None:
    array = array_from_proto(
        reader,
        message,
        dtypes=[pb.DATA_TYPE_FLOAT64],
        max_elements=reader.limits.max_profile_gains,
        shape=(count,),
        infinite=default > 0,
    )
    if array is not None and not (array >= 0).all():
        reader.fail(array, "numbers >= 0", "Gains are positive.")
        return None
    return array


def _names(reader: Reader, message: pb.PlanningProfile, count: int) -> tuple[str, ...]:
    if not message.gain_names:
        return tuple(f"gain{i + 1}" for i in range(count))
    if len(message.gain_names) != count:
        reader.fail(f"{len(message.gain_names)} names", f"{count}, one per gain, or none", "Name every gain.")
        return ()
    names = tuple(message.gain_names)
    for i, name in enumerate(names):
        printable(reader.item(i), name)
    if len(set(names)) < count:
        reader.fail(f"{count - len(set(names))} repetitions", "each name once", "Rename the gains.")
    return names


def plan_profile(profile: Profile, target: Target) -> pb.ProfilePlan:
    """Solve a profile for a target.

    Raises:
        SolverFailed: no answer, or one that could not be proven optimal.
        InvalidInput: the closed form does not cover the profile, or coefficients too extreme.
    """
    started = time.monotonic()
    program = profile.program(target)
    used = profile.solver
    if used == "auto":
        used = "closed_form" if closed_form_covers(program) else "kkt"
    result = solve(program, used)
    if result.status in (Status.UNBOUNDED, Status.INACCURATE):
        raise SolverFailed(f"{result.advice} The solver {used} says: {result.solver_words}.")
    power, error = (result.constraint_value, result.objective)[:: 1 if target.is_budget else -1]
    outcome = Outcome.OPTIMAL if result.status is Status.OPTIMAL else Outcome.INFEASIBLE
    feasible = outcome is Outcome.OPTIMAL
    prices = [
        LimitPrice(layer=profile.names[i], limit=_LIMIT_NAMES[int(np.sign(dual))], price=-float(dual))
        for i, dual in enumerate(result.limit_duals)
        if abs(dual) > _LEAST_PRICE
    ]
    termination = Termination(
        outcome=outcome,
        message=result.advice,
        solver_status=result.solver_words,
        iterations=result.iterations,
        predictions=0,
        seconds=time.monotonic() - started,
        best_reachable=None if feasible else result.constraint_value * target.value / profile.bound(target),
        binding_limits=() if feasible else tuple(f"{p.layer}: {p.limit}" for p in prices[:100]),
    )
    answer = pb.ProfilePlan(
        gain_names=profile.names,
        gains=result.gains,
        power_watts=power,
        mse=error,
        power_by_gain_watts=_terms(profile.power_coefficients, profile.power_exponents, result.x),
        mse_by_gain=_terms(profile.mse_coefficients, -profile.mse_exponents, result.x),
        target=target_message(target),
        termination=termination_to_proto(termination),
        solver=SOLVERS[used],
    )
    if feasible and result.certificate is not None:
        shadow_prices = ShadowPrices(target=-result.dual, limits=tuple(prices))
        answer.certificate.CopyFrom(message_of(pb.Certificate, result.certificate, scanned=None, scan_gap=None))
        answer.shadow_prices.CopyFrom(message_of(pb.ShadowPrices, shadow_prices))
    return answer


def _terms(coefficients: np.ndarray, exponents: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(n,) Σ_t coefficients_it exp(exponents_t x_i)."""
    total: np.ndarray = (coefficients * np.exp(exponents * x[:, None])).sum(axis=1)
    return total
