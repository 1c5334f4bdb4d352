"""Rounds of error samples until their chance is small, and what is left of it.

Every round of samples is independent of the others and gives corrections of its own. A prediction has their mean; what
the M rounds predict each by itself, P_m, scatters around it, and

    SE² = Σ_m (P_m − mean P)² / (M (M − 1)) · (t / 1.96)²,

t the quantile of Student's distribution that has 95 % of it within ±t: 1.96 SE hold 95 % however few rounds there are.

Corrections are ratios, so that the mean of P_m is off by about the square of the scatter of one round: far less than
its standard error. The number of rounds that brings SE to what is asked for is worked out from the first ones, and
all of them are made before it is looked at again, since ending at the first small SE would favour those that are small
by chance.

The variance of the outputs is known twice: as what every source causes by itself, v, and as that of the sampled
outputs, u, which scatters more and leaves nothing out. Where their ratio τ = Σ_m u_m / Σ_m v_m is off 1 by more than
chance (a quotient of values that err together, a norm of little but noise), it is a factor of all sources,

    1 + (τ − 1) (1 − (3 SE_τ / (τ − 1))²)₊,

and SE_τ is part of the standard error.

Why: docs/decisions/error-samples.md [0242, 0631].
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.stats import norm as normal, t as student
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.predictor import Predictor
from powerplan.moments.samples import coherence
from powerplan.moments.samples.corrections import NONE, Corrections, SamplingError
from powerplan.moments.samples.count import Sampling
from powerplan.moments.samples.estimate import estimate_corrections
from powerplan.moments.samples.steps import noise_is_within_steps

#: what a round predicts by itself: MSE (), power () [W] and MSE of every output (K,) of the inputs that have samples;
#: variance of the outputs by sources and of the samples, (2,)
_Predicted = tuple[Tensor, Tensor, Tensor, Tensor]
#: live tensors of the size of the largest value for every sample
_SAMPLE_TENSORS = 8
#: tensors of the size of all values kept of every sample, about
_KEPT_TENSORS = 3
#: entries of all values, all samples and inputs together, beyond which there are fewer samples, then fewer inputs
_SAMPLE_ENTRIES = 1 << 27
#: samples of a round of large networks at least, and their first rounds: a few entries of very many tell much
_FEWEST, _ROUNDS_OF_LARGE = 4, 3
#: far from the seeds that anyone gives one after the other
_SEEDS_APART = 1_000_003
#: times as many rounds as the scatter of those made asks for
_MORE = 1.2
#: standard errors within which the ratio of two variances is taken as 1
_CHANCE = 3.0


@torch.no_grad()
def corrected(predictor: Predictor, programmed: Sequence[ProgrammedArray], stop_at: float | None = None) -> Predictor:
    """The predictor corrected as it must be at these gains, whatever gains follow; itself without samples.

    Args:
        stop_at: ``time.monotonic()`` value at which no further round is begun; two are made in any case.
    """
    sampling = _sampling_at(predictor, programmed)
    if sampling is None or not sampling.samples:
        return predictor if sampling is None else replace(predictor, sampling=None)
    rounds = _Rounds.of(predictor, programmed, sampling)
    mean, predicted = NONE, list[_Predicted]()
    wanted = rounds.first
    while len(predicted) < wanted and not (len(predicted) > 1 and stop_at and time.monotonic() > stop_at):
        corrections, own = rounds.made(len(predicted), min(rounds.at_once, wanted - len(predicted)), mean)
        predicted += own
        mean = mean.pooled_with(corrections) if mean.samples else corrections
        if len(predicted) == wanted < rounds.most:
            missing = (_error_of(predicted)[1] / sampling.error) ** 2
            if missing > 1:
                wanted = math.ceil(min(rounds.most, _MORE * missing * wanted))
    whole, mse = _error_of(predicted)
    power, outputs = (_relative([one[i] for one in predicted]) for i in (1, 2))
    error = SamplingError(mse=mse, power=power.item(), outputs=outputs, limited=mse > sampling.error)
    return replace(predictor, corrections=replace(mean, whole=whole, error=error), sampling=None)


def _sampling_at(predictor: Predictor, programmed: Sequence[ProgrammedArray]) -> Sampling | None:
    """How samples are taken at these gains."""
    sampling = predictor.sampling
    if sampling is None or sampling.on_steps is None:
        return sampling
    trace = predictor.trace(programmed, predictor.parts[0])
    return sampling.on_steps if noise_is_within_steps(predictor.network, trace) else sampling


def _error_of(predicted: Sequence[_Predicted]) -> tuple[float, float]:
    """The factor of the variance of the outputs, and the standard error of the MSE with it as a part of that."""
    error = _relative([mse for mse, *_ in predicted]).item()
    total = sum(float(mse) for mse, *_ in predicted)
    by_sources, sampled = torch.stack([variances for *_, variances in predicted]).unbind(1)
    if len(predicted) < 3 or not bool(by_sources.sum() > 0):
        return 1.0, error
    ratio = float(sampled.sum() / by_sources.sum())
    chance = _student(len(predicted)) * float((sampled - ratio * by_sources).std()) * len(predicted) ** 0.5
    chance /= float(by_sources.sum())
    if abs(ratio - 1) <= _CHANCE * chance:
        return 1.0, error
    whole = 1 + (ratio - 1) * (1 - (_CHANCE * chance / (ratio - 1)) ** 2)
    return whole, math.hypot(error, chance * float(by_sources.sum()) / total)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rounds:
    """Rounds of samples, and what each predicts by itself.

    Large networks get few samples, of some of the inputs only. These are worked on in groups that fit the memory limit,
    the first of which gives the coherence, in the first rounds, which is enough; all do where errors are rare.

    Attributes:
        samples: of a round.
        first, most: rounds to begin with, and at most.
        many, jumps: as in :class:`Sampling`.
        inputs: that have samples.
        group: inputs worked on at a time.
        at_once: rounds worked on at a time.
        for_coherence: samples of the inputs of arrays, and of residuals, from which it is found.
    """

    predictor: Predictor
    programmed: Sequence[ProgrammedArray]
    samples: int
    first: int
    most: int
    many: bool
    jumps: bool
    inputs: int
    group: int
    at_once: int
    for_coherence: tuple[int, int]

    @classmethod
    def of(cls, predictor: Predictor, programmed: Sequence[ProgrammedArray], sampling: Sampling) -> _Rounds:
        sizes = [math.prod(shape) for shape in predictor.network.shapes.values()]
        batch, entries, largest = len(predictor.inputs), sum(sizes), max(sizes)
        room = predictor.memory_limit // predictor.inputs.element_size()
        affordable = max(_FEWEST, _SAMPLE_ENTRIES // (sampling.first * batch * entries))
        first = sampling.first if affordable > _FEWEST else min(sampling.first, _ROUNDS_OF_LARGE)
        samples = min(sampling.samples, affordable, max(2, room // (_SAMPLE_TENSORS * largest)))
        inputs = min(batch, max(1, _SAMPLE_ENTRIES // (first * samples * entries)))
        group = min(inputs, predictor.parts[0].stop, max(1, room // (samples * _SAMPLE_TENSORS * largest)))
        at_once = max(1, room // (group * samples * _SAMPLE_TENSORS * largest))
        together = min(at_once, first) if group == inputs and _pass_together(programmed, sampling) else 1
        enough = -(-coherence.enough_samples(predictor.network, group) // first)
        count = min(samples, enough, max(1, room // (8 * group * entries)))
        return cls(
            predictor=predictor,
            programmed=programmed,
            samples=samples,
            first=first,
            many=sampling.many,
            jumps=sampling.jumps,
            most=min(sampling.most, max(first, _SAMPLE_ENTRIES // (samples * batch * entries))),
            inputs=inputs,
            group=group,
            at_once=together,
            for_coherence=(count, min(samples, max(count, room // (_KEPT_TENSORS * together * group * entries)))),
        )

    def made(self, number: int, rounds: int, known: Corrections) -> tuple[Corrections, list[_Predicted]]:
        """Corrections from so many rounds, the first of them of this number, and what each predicts; coherence and
        slopes are those known from the first rounds, which is enough, unless errors are rare.

        The MSE is that in a few directions of the output, the same for every round: what they do not see of a change is
        averaged over the inputs. It is shared out among the outputs as the forward pass finds.
        """
        predictor, rare = self.predictor, self.many
        count, outputs = self.inputs, predictor.ideal.shape[1]
        directions = coherence.directions(
            predictor.network, count, rare=rare, seed=predictor.seed, like=predictor.inputs
        )
        finds = rare or number < self.first
        groups: list[tuple[int, Corrections]] = []
        bias = marginal = predictor.ideal.new_zeros(rounds, outputs)
        variance = power = predictor.ideal.new_zeros(rounds)
        for low in range(0, count, self.group):
            part = slice(low, min(low + self.group, count))
            size = part.stop - low
            corrections, *found = estimate_corrections(
                predictor.network,
                self.programmed,
                predictor.inputs[part],
                directions[part],
                rounds=rounds,
                samples=self.samples,
                # every group and round has samples of its own
                seed=predictor.seed + _SEEDS_APART * (low + number * len(predictor.inputs)),
                for_coherence=self.for_coherence if rare or (finds and not groups) else (0, 0),
                known=groups[0][1] if groups and finds else known,
                jumps=self.jumps,
                averaged=self.first if self.jumps else 1,
            )
            groups.append((size, corrections))
            mean, own, caused, dissipated = (value.double() for value in found)
            bias = bias + (mean - predictor.ideal[part]).square().sum(1) / count
            marginal = marginal + own.sum(1) / count
            variance = variance + caused.mean(2).sum(1) / count
            power = power + size / count * dissipated
        total = marginal.mean(1)
        power = power + predictor.converter_power.double().sum()
        by_output = bias + marginal * (variance / torch.where(total > 0, total, 1.0)).unsqueeze(1)
        # random combinations of the outputs have another variance; rare errors are not in that of a channel
        sampled = total if directions.shape[1] == outputs and not rare else variance
        both = torch.stack([variance, sampled], 1)
        return Corrections.joined(groups), list(zip(by_output.mean(1), power, by_output, both, strict=True))


def _pass_together(programmed: Sequence[ProgrammedArray], sampling: Sampling) -> bool:
    """True if rounds may pass the network together: what depends on all inputs of a chip is known by round."""
    again = any(array.is_read_again or not array.read_out.adds_devices for array in programmed)
    return not again and not sampling.many


def _relative(predictions: Sequence[Tensor]) -> Tensor:
    """Standard error of the mean of independent predictions as a part of it; NaN of a single one."""
    values, rounds = torch.stack(list(predictions)), len(predictions)
    if rounds == 1:
        return torch.full_like(values[0], math.nan)
    mean = values.mean(0)
    error = values.std(0) / math.sqrt(rounds) * _student(rounds)
    return torch.where(mean > 0, error / torch.where(mean > 0, mean, 1.0), 0.0 * mean)


def _student(rounds: int) -> float:
    """How much wider the middle 95 % of Student's distribution are than those of a Gaussian."""
    return float(student.ppf(0.975, rounds - 1) / normal.ppf(0.975))
