"""What is chosen of every layer beside gains, such as bits of converters, together with the gains.

Near a point, predictions without derivatives tell what every option of a layer does to the error, and what gains do:
with the costs this is a model of all choices (:mod:`powerplan.planning.bits.local_model`), in which the best one is
found and bounded (:mod:`powerplan.planning.bits.enumerate`). The model is made again about that choice until it stays;
the best few are then put onto the target by the prediction itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware.costs.model import CostModel
from powerplan.planning import policy
from powerplan.planning.bits.choices import Choices
from powerplan.planning.bits.chosen import Chosen
from powerplan.planning.bits.costs import ChoiceCosts
from powerplan.planning.bits.enumerate import Ranked, ranked, undominated
from powerplan.planning.bits.local_model import Exponentials, LocalModel, OptionEffects
from powerplan.planning.bits.scores import Limits, Score
from powerplan.planning.outcome import BitGap
from powerplan.planning.problem.measures import ArrayEnergy, Constraint, Error
from powerplan.planning.problem.problem import Problem, scale_onto
from powerplan.planning.problem.requirement import Requirement, requirement
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.problem.watch import OutOfTime, Watch
from powerplan.planning.session import Options, Session
from powerplan.planning.settings import BITS
from powerplan.planning.targets import Target


def choose(
    session: Session, target: Target, options: Options, *, or_least: bool, near: Session | None = None
) -> Chosen | None:
    """The options that cost least with the gains that go with them; None where the target is out of reach with the
    finest ones, none keep the limits, or time runs out.

    Args:
        session: with the most bits everywhere, on a hardware with costs.
        or_least: where none keep the limits, those that take least of what the first limit not kept is on.
        near: whose corrections and spread are taken; None = those of the finest options and largest gains.

    Raises:
        InvalidInput: options that cost nothing.
    """
    costs = costs_of(session)
    if near is None:
        near = session.for_choices_at(session.free.gains(session.free.upper), target, options.stop_at)
    held = session.corrected_like(near)
    limits = Limits.of(session.settings)
    try:
        chooser = _Chooser(held, target, costs, options, Score(name=session.settings.objective or "energy"), limits)
        chosen = chooser.chosen()
        if chosen is not None or not (or_least and chooser.is_met):
            return chosen
        for name, most in limits.each.items():  # the least of what no choice keeps, so that the plan tells it
            chosen = _Chooser(held, target, costs, options, Score(name=name), Limits()).chosen()
            if chosen is None or chosen.score > most:
                break
        return chosen
    except OutOfTime:
        return None


def costs_of(session: Session) -> ChoiceCosts:
    """What the choices of a session cost.

    Raises:
        InvalidInput: options that cost nothing, or that go with others.
    """
    model = CostModel.of(session.predictor.original, session.predictor.hardware)
    assert model is not None
    if "dac_bits" in session.settings.free_choices and session.predictor.hardware.input_slice_bits is not None:
        allowed = "other options than 'dac_bits' where hardware.input_slice_bits says how many reads an input takes"
        raise InvalidInput.of("optimize", session.settings.optimize, allowed, "Plan for each number of dac_bits.")
    costs = ChoiceCosts.of(model, Choices.of(session.settings, model))
    _check_costs(session, costs)
    return costs


def cheapest(session: Session) -> Chosen:
    """The options that take least energy beside the arrays, whatever the error."""
    costs = costs_of(session)
    least = float(costs.ends()[0, 0])
    gap = BitGap(gap=0.0, bound=least, relaxed=least, nodes=0, visited=0, convexity_violation=0.0)
    fields = costs.choices.fields(costs.cheapest)
    return Chosen(fields=fields, gap=gap, objective=Score(name="energy"), score=least, bound=least, floor=least)


class _Chooser:
    """The choice for one target."""

    def __init__(
        self, session: Session, target: Target, costs: ChoiceCosts, options: Options, score: Score, limits: Limits
    ) -> None:
        self.session, self.costs, self.options = session, costs, options
        self.score, self.limits = score, limits
        self.is_met = False
        self.choices = costs.choices
        self.known: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.sessions: dict[tuple[object, ...], Session] = {}
        self.watch = Watch(options.stop_at)
        self.predictions = 0
        self.wanted = requirement(target, session.predictors, session.weights)
        self.coordinates = _coordinates(session.free)

    def chosen(self) -> Chosen | None:
        free = self.session.free
        self.options.progress("choosing bits", 0.0)
        self._order(free.upper)
        theta = scale_onto(self._problem(self.choices.finest), free.upper)
        if theta is None:
            return None
        self.is_met = True
        self.wanted = self._by_error(theta)
        self._order(theta)
        choice = self.choices.finest
        effects = self._effects(theta)
        kept = undominated(self._model(choice, theta, effects), self.score, self.limits)
        self.costs, effects = self.costs.only(kept), effects.only(kept)
        self.choices = self.costs.choices
        choice = self.choices.finest
        best: Ranked | None = None
        for _ in range(policy.MODELS_MADE):
            model = self._model(choice, theta, effects)
            best = ranked(model, self.score, self.limits, self.choices.finest)
            if best is None:
                return None
            near = self._gains(theta, best.y[0])
            if np.array_equal(best.choices[0], choice):
                break
            choice = best.choices[0]
            moved = scale_onto(self._problem(choice), near, first=0.0)
            theta = near if moved is None else moved  # where it is missed, the next model knows
        assert best is not None
        finalist, value, ratio = self._finalist(best, theta)
        if not np.isfinite(value):
            return None
        energy = self.score.name == "energy"
        least = best if energy else ranked(model, Score(name="energy"), Limits(), best.choices[0])
        assert least is not None
        rough = self.session.predictor.hardware.input_slice_bits is not None or self.choices.has_ranges
        lowered = least.bound * ratio * (1 - (policy.ROUGHLY_EXACT if rough else policy.NEARLY_EXACT))
        return Chosen(
            fields=self.choices.fields(finalist),
            objective=self.score,
            score=value,
            bound=lowered if energy else self.score.below(lowered, self.costs),
            floor=float(self.costs.ends()[0, 0]),
            gap=BitGap(
                gap=0.0,
                bound=lowered,
                relaxed=least.bound,
                nodes=len(best.choices),
                visited=self.predictions,
                convexity_violation=best.violation,
            ),
        )

    def _finalist(self, best: Ranked, theta: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The best choice by the exact prediction, its score, and the least that one was seen to be as a part of the
        model's (at most 1); those are compared whose score by the model is below the best one."""
        finalist, value, least = best.choices[0], np.inf, 1.0
        seen: set[object] = set()
        for choice, y, score in zip(best.choices, best.y, best.scores, strict=True):
            if least * score >= value or len(seen) == policy.FINALISTS:
                break
            if self.choices.erring(choice) in seen:  # the same errors at a lower score
                continue
            seen.add(self.choices.erring(choice))
            settled = self._settled(choice, self._gains(theta, y))
            least = min(least, settled / score)
            if settled < value:
                finalist, value = choice, settled
        return finalist, value, least

    def _order(self, theta: np.ndarray) -> None:
        """Put the options that err least at gains θ last: with most bits, but in which range only predictions tell."""
        for number in range(len(self.choices.sides)):
            sites = slice(number * self.choices.layers, (number + 1) * self.choices.layers)
            finest, finest_ones = self.choices.finest, self.choices.sides[number].with_most_bits
            if len(finest_ones) == 1:
                continue
            errors = []
            for option in finest_ones:
                choice = finest.copy()
                choice[sites] = option
                _, terms, of = self._values(choice, theta)
                errors.append(np.bincount(of, terms).max())
            least = finest_ones[int(np.argmin(errors))]
            if errors[-1] > min(errors):
                self.choices = self.choices.ending_with(number, least)
                self.costs = ChoiceCosts.of(self.costs.model, self.choices)

    def _problem(self, choice: np.ndarray, *, exact: bool = False) -> Problem:
        """The gains beside a choice (sites,)."""
        fields = self.choices.fields(choice)
        key = tuple(fields.items())
        if key not in self.sessions:
            self.sessions[key] = self.session.with_fields(fields).corrected_like(self.session)
        session = self.sessions[key]
        own = replace(self.wanted, objective=ArrayEnergy(seconds=np.ones(self.choices.layers)))
        made = session.problem(own, self.session.free, exact=exact, watch=self.watch)
        accuracy = policy.BITS_CONSTRAINT if exact else policy.ABOUT_CONSTRAINT
        return replace(made, accuracy=max(accuracy, made.accuracy))

    def _by_error(self, theta: np.ndarray) -> Requirement:
        """The requirement, on the error: where it is on another number, as large an error as goes with that at θ."""
        if all(isinstance(each.measure, Error) for each in self.wanted.constraints):
            return self.wanted
        errors = tuple(
            Constraint(measure=Error(), value=1.0, corner=corner) for corner in range(len(self.session.predictors))
        )
        plain = replace(self.wanted, constraints=errors)
        self.wanted = plain
        _, *sums = self._problem(self.choices.finest).terms.values(theta)
        bounded = (replace(each, value=total.total) for each, total in zip(errors, sums, strict=True))
        return replace(plain, constraints=tuple(bounded))

    def _values(self, choice: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Powers (L,), terms (T,) of the constraints over their bounds, and the constraint (T,) of each."""
        key = (*self.choices.erring(choice), theta.tobytes())
        if key in self.known:
            return self.known[key]
        self.predictions += 1
        problem = self._problem(choice)
        powers, *constraints = problem.terms.values(theta)
        problem.excesses_of(constraints)  # refuses NaN
        terms = [c.terms / bound for c, bound in zip(constraints, problem.terms.bounds, strict=True)]
        of = np.repeat(np.arange(len(terms)), [len(each) for each in terms])
        self.known[key] = powers.terms, np.concatenate(terms), of
        return self.known[key]

    def _effects(self, theta: np.ndarray) -> OptionEffects:
        """What options do at gains θ."""
        finest, layers = self.choices.finest, self.choices.layers
        base = self._values(finest, theta)[1]
        tables, shares = [], []
        for number, side in enumerate(self.choices.sides):
            sites = range(number * layers, (number + 1) * layers)

            def added(option: int, own: range, to: np.ndarray = base) -> np.ndarray:
                choice = finest.copy()
                choice[list(own)] = option
                return np.asarray(self._values(choice, theta)[1] - to)

            tables.append(np.stack([added(option, sites) for option in range(len(side.options) - 1)] + [0 * base]))
            parts = np.zeros((len(side.options), layers, len(base)))
            for group in side.alike:
                telling = group[_telling(tables[-1][group])]
                alone = np.stack([added(telling, range(site, site + 1)) for site in sites])
                total = alone.sum(0)
                parts[group] = np.where(total > 0, alone / np.where(total > 0, total, 1.0), 1 / layers)
            shares.append(parts)
        return OptionEffects(tables=tuple(tables), shares=tuple(shares))

    def _model(self, choice: np.ndarray, theta: np.ndarray, effects: OptionEffects) -> LocalModel:
        """The model about a choice and gains θ."""
        finest = self.choices.finest
        if np.array_equal(choice, finest):  # nothing is added there
            choice = np.repeat([_telling(table) for table in effects.tables], self.choices.layers)
        free, m = self.session.free, len(self.coordinates)
        lower, upper, exponents = (
            np.array([reduce(limit[entries]) for entries in self.coordinates])
            for reduce, limit in (
                (np.median, free.lower - theta),
                (np.median, free.upper - theta),
                (np.mean, np.abs(free.power_exponents)),
            )
        )
        steps = np.where(upper >= policy.MODEL_STEP, policy.MODEL_STEP, -policy.MODEL_STEP)
        points = [theta, *(self._gains(theta, step) for step in np.diag(steps))]
        powers, terms, of = (np.stack(part) for part in zip(*(self._values(finest, x) for x in points), strict=True))
        added = np.stack([self._values(choice, x)[1] for x in points]) - terms
        known = effects.added(choice[None])[0]
        powers_response, base, more = (
            Exponentials.fitted(_ratios(values), steps, exponents, falling)
            for values, falling in (
                (powers, -exponents),
                (terms, np.full(m, policy.NOISE_EXPONENT)),
                (added, np.full(m, policy.NOISE_EXPONENT)),
            )
        )
        scale = np.where((added[0] > 0) & (known > 0), added[0] / np.where(known > 0, known, 1.0), 1.0)
        scale = scale.clip(1 / policy.LARGEST_REVISION, policy.LARGEST_REVISION)
        return LocalModel(
            choices=self.choices,
            costs=self.costs,
            effects=effects,
            powers=powers[0],
            power_response=powers_response,
            terms=np.concatenate([terms[0], scale]),
            term_response=base.beside(more, len(scale)),
            constraint_of=np.tile(of[0], 2),
            lower=lower,
            upper=upper,
        )

    def _gains(self, theta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """θ moved by y (m,)."""
        moved = theta.copy()
        for change, entries in zip(y, self.coordinates, strict=True):
            moved[entries] += change
        return np.asarray(np.clip(moved, self.session.free.lower, self.session.free.upper))

    def _settled(self, choice: np.ndarray, theta: np.ndarray) -> float:
        """The score of a choice on the target by the exact prediction; inf where it is missed."""
        exact = self._problem(choice, exact=True)
        fitted = scale_onto(exact, theta, first=0.0)
        if fitted is None:
            return np.inf
        totals = self.costs.totals(exact.terms.values(fitted)[0].terms, choice)
        return float(self.score.value(totals[None])[0])


def _ratios(values: np.ndarray) -> np.ndarray:
    """Of rows (1 + m, V) to the first one; 1 where that is not positive."""
    tiny = np.finfo(float).tiny
    return np.asarray(np.where(values[0] > tiny, np.maximum(values[1:], tiny) / np.maximum(values[0], tiny), 1.0))


def _telling(table: np.ndarray) -> int:
    """The option that adds about as much to the constraints (options, T) as they may be."""
    added = np.maximum(table.sum(1), np.finfo(float).tiny)
    return int(np.argmin(np.abs(np.log(added))))


def _coordinates(free: FreeGains) -> list[np.ndarray]:
    """Entries of θ that move together: those of one kind of gains in the same layers."""
    together: dict[tuple[object, ...], list[int]] = {}
    for i, entry in enumerate(free.entries(range(free.count))):
        together.setdefault((entry.quantity, entry.layers), []).append(i)
    return [np.array(entries) for entries in together.values()]


def _check_costs(session: Session, costs: ChoiceCosts) -> None:
    """Refuse numbers of bits that cost alike.

    Raises:
        InvalidInput: naming them.
    """
    for side, increments in zip(costs.choices.sides, costs.increments, strict=True):
        kind = side.kinds[0]
        fewest = next(i for i, each in enumerate(side.options) if each[1:] == side.options[-1][1:])
        if kind in BITS and not (increments[fewest, :, 0] < 0).any():
            allowed = f"{kind!r} only where the energy of a conversion depends on its bits"
            advice = "Give hardware.costs a model by bits."
            raise InvalidInput.of("optimize", session.settings.optimize, allowed, advice)
