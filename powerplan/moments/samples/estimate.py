"""Marginal moments that know of correlations.

Propagating marginal variances takes the inputs of every operation as independent. They are not: one kernel serves
all positions, so its errors agree from position to position, and a residual join adds errors with a common origin. The
variance of what gathers them (a convolution, a mean, a join) is then wrong, usually too small, and with it slopes
and power behind it. And where values that err together meet in one operation (a window of max-pooling, queries and
keys, a norm), its rule for independent Gaussians misses a part of the mean.

*Error samples* are carried through the network: joint samples of all errors around the means, drawn with their true
correlations at every source,

    δz = W̄ δx + δW (x̄ + δx) + independent noise      at a crossbar, one δW for all positions where they share it,
    δy = f(x̄ + δx) − E f                             at a digital operation.

Nothing about them is Gaussian but what comes of many rows: the variance of what devices add goes with the square of
the input in every sample, and few devices are drawn from their own distribution.

They give these corrections, none of which repeats what is known in closed form:

- *factors* of variances. At a crossbar what its own devices add is known; only the mean square of W̄ δx is taken from
  the samples, pooled over inputs, samples and positions of a channel (or over all entries of a vector). Samples are
  scaled to the variance so found, which keeps chance out of what follows. Elsewhere it is the mean square of δy;
  where a shift is not told from chance, it is in the variance, so that E[y²] is that of the samples.
- *shifts* of means, in standard deviations of each entry: the mean over the samples of the residual
  r = f(x̄ + δx) − (E f of the rule) − P δx, whose linear part has no chance in it.
- factors of *power*: a crossbar whose rows see some positions more often than others weighs their E[x²] by more than
  the channel that variances are pooled over, and the current of a column adds up what its rows err by together.
- *coherence*: how residuals and the errors of inputs add up at the output, and *slopes* where the linear part is only
  assumed (a Jacobian at the mean, a maximum over a window), see :mod:`powerplan.moments.samples.coherence`.

Why: docs/decisions/error-samples.md [0093, 0210].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.staircase import Converted
from powerplan.moments.rounds import in_rounds, in_rows, ratio_of_sums
from powerplan.moments.rules.maxima import linearize_joint, window_correlation
from powerplan.moments.samples.coherence import KeptSamples, Saturated, added_up
from powerplan.moments.samples.converters import (
    ConverterSamples,
    reads_apart,
    saturated,
    saturates_alike,
    saturation_of,
    through_columns,
    through_rows,
)
from powerplan.moments.samples.corrections import NONE, Corrections, Saturation
from powerplan.moments.samples.count import is_arrangement
from powerplan.moments.samples.crossbar import Draw, merged, own_samples, power_of_samples
from powerplan.moments.samples.statistics import centre, centred, in_stds, mean_square, ratio, shift_of, stds
from powerplan.moments.sources.errors import Independent, OfRows
from powerplan.moments.sources.sampled import standard_normals
from powerplan.moments.sources.stuck import is_rare
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import START, Place, Step
from powerplan.moments.walks.marginal import Trace, mean_field
from powerplan.moments.walks.walk import Carried
from powerplan.network import ops
from powerplan.network.digital import digital
from powerplan.network.graph import Network

#: operations whose linear part rests on one correlation for all pairs of a window
_WINDOWED = ops.MaxPool | ops.AdaptiveMaxPool


class Estimate(NamedTuple):
    """What M rounds of samples of B inputs say.

    Attributes:
        corrections: the mean over the rounds.
        mean, marginal: of the output and its variance as each round predicts them, (M, B, K).
        variance: in directions of the output, (M, B, D).
        power: of all arrays, (M,) [W].
    """

    corrections: Corrections
    mean: Tensor
    marginal: Tensor
    variance: Tensor
    power: Tensor


@torch.no_grad()
def estimate_corrections(
    network: Network,
    crossbars: Sequence[ProgrammedArray],
    inputs: Tensor,
    directions: Tensor,
    *,
    rounds: int,
    samples: int,
    seed: int,
    for_coherence: tuple[int, int],
    known: Corrections = NONE,
    jumps: bool = False,
    averaged: int = 1,
) -> Estimate:
    """Corrections at given gains, from independent rounds of samples that pass the network together.

    Args:
        inputs: (B, *shape).
        directions: of the output, (B, D, K), in which errors are added up.
        rounds: M; one where errors are rare, or an array is read by several nodes.
        samples: R, number of samples of a round.
        seed: of the samples.
        for_coherence: samples of the inputs of arrays, and of residuals, that it is found from; 0 = it is not.
        known: coherence and slopes where they are not found.
        jumps: what noise makes of jumps matters.
        averaged: rounds of a prediction, whose mean is taken: what shifts owe to chance is that of so many.
    """
    several = inputs.repeat(rounds, *(1,) * (inputs.dim() - 1))
    sampled = _Samples(
        network,
        crossbars,
        several,
        samples,
        rounds=rounds,
        seed=seed,
        for_coherence=for_coherence,
        jumps=jumps,
        averaged=averaged,
    )
    sampled.walk()
    corrections = Corrections(
        factors=sampled.factors,
        shifts=sampled.shifts,
        correlations=sampled.correlations,
        array_power=sampled.array_power,
        tia_power=sampled.tia_power,
        converters=sampled.converters,
        samples=rounds * samples,
    )
    trace = sampled.trace or mean_field(network, crossbars, several, corrections)
    kept = KeptSamples(errors=sampled.errors, linear=sampled.linear, converters=sampled.saturated)
    added = added_up(trace, directions.repeat(rounds, 1, 1), kept, rounds=rounds, known=known)
    corrections = replace(corrections, coherence=added.coherence, slopes=added.slopes)
    mean, marginal, variance = (
        in_rounds(value.expand(len(several), -1), rounds)
        for value in (trace.output_mean, trace.output_variance, added.variance)
    )
    return Estimate(corrections.over_rounds(rounds), mean, marginal, variance, sampled.power)


class _Samples(Carried):
    """Means, variances (B, *shape) and error samples (B or 1, R or 1, *shape) of the values still to be read."""

    def __init__(
        self,
        network: Network,
        crossbars: Sequence[ProgrammedArray],
        inputs: Tensor,
        count: int,
        *,
        rounds: int,
        seed: int,
        for_coherence: tuple[int, int],
        jumps: bool,
        averaged: int,
    ) -> None:
        super().__init__(network, crossbars, inputs)
        still = torch.zeros_like(inputs)
        self.values: dict[Place, tuple[Tensor, Tensor, Tensor]] = {START: (inputs, still, still.unsqueeze(1))}
        self.factors: dict[Place, Tensor] = {}
        self.shifts: dict[Place, Tensor] = {}
        self.correlations: dict[Place, Tensor] = {}
        self.array_power: dict[str, Tensor] = {}
        self.tia_power: dict[str, Tensor] = {}
        self.converters: dict[Place, Saturation] = {}
        # what coherence is found from
        self.errors: dict[Place, Tensor] = {}
        self.linear: dict[Place, Tensor] = {}
        self.saturated: dict[Place, Saturated] = {}
        self._driving: dict[Place, Tensor] = {}  # of arrays whose converters draw the errors
        self._seeds: dict[str, int] = {}  # of the devices of arrays with several reads
        self.power = inputs.new_zeros(rounds)
        self._count, self._rounds, self._averaged = count, rounds, averaged
        self._generator = torch.Generator(inputs.device).manual_seed(seed)
        self._jumps = jumps
        self._rare = any(
            is_rare(c) or saturates_alike(c.hardware) or reads_apart(c.hardware, c.map.n_in) for c in crossbars
        )
        self._for_coherence, self._for_residuals = for_coherence
        # converters of rows round values that lie on lattices in another way, which samples know nothing of
        self._keeps_steps = not any(c.hardware.dac_bits for c in crossbars)

    @property
    def trace(self) -> Trace | None:
        """The walk as a forward pass with the corrections found, where it is one."""
        if not self._keeps_steps:
            return None
        mean, variance = self.moments(self.lowered.output)
        return Trace(
            lowered=self.lowered,
            steps=self.steps,
            means=self.means,
            output_mean=mean.flatten(1),
            output_variance=variance.flatten(1),
        )

    def moments(self, place: Place) -> tuple[Tensor, Tensor]:
        return self.values[place][:2]

    def _ratio(self, estimate: Tensor, expected: Tensor) -> Tensor:
        """Of variances, by channel and round."""
        return ratio(estimate, expected, self._rounds)

    def drop(self, place: Place) -> None:
        del self.values[place]
        if not self._keeps_steps:
            self.steps.pop(place, None)

    def lattice(self, step: Step) -> None:
        return None  # samples are on lattices themselves

    def array(self, step: Step) -> None:
        array, (mean, variance, error) = self.programmed[step.node.name], self.values[step.inputs[0]]
        name, place, exact = step.node.name, step.place, step.inputs[0] not in self.lowered.noisy
        reading = Reading(array=array, mean=mean, variance=variance, slices=self.slices.pop(step.inputs[0], ()))
        passed = ArrayStep.of(reading, exact=exact, rounds=self._rounds)
        spread, through, mean = passed.variance, None, passed.mean
        draws_later = array.hardware.converts_columns and self._rare
        ends = place == self.lowered.output and not array.is_read_again  # nothing reads its errors
        power = passed.array_power, passed.tia_power
        own = None if draws_later or ends else own_samples(passed, merged(passed.errors), error, self._draw(step))
        if not exact:
            through = passed.push(error)
            square = mean_square(through) + spread - passed.of_inputs
            if array.is_read_again and own is not None:
                square = square + 2 * (centred(through) * own).mean(1)
            self.factors[place] = self._ratio(square, spread)
            spread = spread * self.factors[place]
            if not reading.slices:  # digits do not err together
                power = power_of_samples(passed, error, self._rounds)
                independent = passed.array_power, passed.tia_power
                self.array_power[name], self.tia_power[name] = map(ratio_of_sums, power, independent)
            if array.is_shared and self._for_coherence:
                self.errors[place] = error[:, : self._for_coherence].expand(len(self.inputs), -1, *error.shape[2:])
            if array.is_read_again and self._count > 1:
                moved = self._shifted_by_devices(step, passed, error, spread)
                std = stds(spread)
                self.shifts[place] = in_stds(moved, std)
                mean = mean + self.shifts[place] * std
        self.power = self.power + power[0] + power[1]
        if array.hardware.converts_columns or self._keeps_steps:
            self.steps[place] = replace(passed, mean=mean, variance=spread)
        if own is None:
            self._driving[place] = error
        else:
            error = own if through is None else through.add_(own)
            error = centred(error) if array.is_read_again else error
            scale = self._ratio(spread, mean_square(error)).sqrt().unsqueeze(1)
            error = own * scale if error is own else error.mul_(scale)
        self.values[place] = mean, spread, error

    def _draw(self, step: Step) -> Draw:
        """What the samples of an array are drawn with, the same devices for all its reads."""
        common, array = None, self.programmed[step.node.name]
        if array.is_read_again:
            if step.node.array_name not in self._seeds:
                seed = torch.randint(1 << 31, (), generator=self._generator, device=self.inputs.device)
                self._seeds[step.node.array_name] = int(seed)
            common = self._seeds[step.node.array_name]
        return Draw(self._count, self._generator, common, self._rounds, self._rare or self._jumps)

    def _shifted_by_devices(self, step: Step, passed: ArrayStep, error: Tensor, spread: Tensor) -> Tensor:
        """By how much (B, *shape) errors of devices move the mean, that of the input being of the same devices."""
        common = [errors for errors in passed.errors if not isinstance(errors, Independent | OfRows)]
        if not common:
            return torch.zeros_like(spread)
        both = [own_samples(one, common, error, self._draw(step)) for one in (passed, replace(passed, exact=True))]
        beyond = both[0] - both[1]
        chance = centred(beyond).square().mean(1) / self._count
        return shift_of(beyond.mean(1), chance, stds(spread), passed.mean.expand_as(spread))

    def convert(self, step: Step, closed_form: Callable[..., Converted]) -> None:
        (source,), place = step.inputs, step.place
        mean, variance, error = self.values[source]
        if not self._rare or source not in self.lowered.noisy:
            converted = closed_form(rounds=True)
            if step.noisy:
                error = self._rounded(converted.slope.unsqueeze(1) * error, converted.residual)
        else:
            samples, closed = self._through(step)
            saturation = self.converters[place] = saturation_of(samples, closed, mean, variance)
            if self._for_coherence:
                self.saturated[place] = saturated(samples, closed, saturation, variance).some(self._for_residuals)
            converted, error = (
                saturation.apply(closed_form(rounds=samples.unrounded), variance),
                centred(samples.behind),
            )
            if samples.unrounded:
                rounding = converted.variance(samples.before.square().mean(1)) - error.square().mean(1)
                error = self._rounded(error, rounding.clamp(min=0))
        self.values[place] = converted.mean, converted.variance(variance), error
        if self._keeps_steps:
            self.steps[place] = converted.linearized(variance, noisy=step.noisy)

    def _through(self, step: Step) -> tuple[ConverterSamples, Converted]:
        """Samples through converters that saturate, and the closed form."""
        (source,) = step.inputs
        mean, variance, error = self.values[source]
        if step.place.part == "rows":
            return through_rows(self.programmed[step.node.name], mean, variance, error)
        analog = self.steps[source]
        assert isinstance(analog, ArrayStep)
        factor = ratio(variance, analog.independent)
        return through_columns(analog, self._driving.pop(source), factor, self._draw(step))

    def _rounded(self, error: Tensor, variance: Tensor) -> Tensor:
        """Samples with an independent error of this variance (B, *shape)."""
        shape = (len(self.inputs), self._count, *error.shape[2:])
        return error + variance.sqrt().unsqueeze(1) * standard_normals(shape, self._generator, error)

    def _exact(self, step: Step) -> None:
        """A digital operation that no noise reaches."""
        mean = digital(step.node.op, *(self.values[place][0] for place in step.inputs)).to(self.inputs)
        still = torch.zeros_like(mean)
        self.values[step.place] = mean, still, still.unsqueeze(1)

    def digital(self, step: Step) -> None:
        if step.noisy:
            self._with_noise(step)
        else:
            self._exact(step)

    def _with_noise(self, step: Step) -> None:
        """A digital operation with noise in one of its inputs."""
        rare = self._rare or self._jumps
        count = self._for_residuals
        arriving = [self.values[place] for place in step.inputs]
        if isinstance(step.node.op, _WINDOWED):
            by_round = arriving[0][2].flatten(0, 1).chunk(self._rounds)
            correlation = torch.stack([window_correlation(step.node.op, errors) for errors in by_round])
            self.correlations[step.place] = in_rows(correlation, len(self.inputs))
        means, variances, errors = zip(*arriving, strict=True)
        passed = linearize_joint(step.node.op, means, variances, self.correlations.get(step.place))
        mean, variance, error = passed.mean, passed.variance, passed.push(*errors)
        if self._keeps_steps:
            self.steps[step.place] = passed
        if passed.residual is None and not passed.first_order:
            if not is_arrangement(step.node.op):
                self.factors[step.place] = self._ratio(mean_square(error), variance)
                variance = variance * self.factors[step.place]
        else:
            whole = self._output(step, means, errors)
            # not in place where entries of it are one in memory
            whole = whole.sub_(mean.unsqueeze(1)) if whole.is_contiguous() else whole - mean.unsqueeze(1)
            if not bool(whole.isfinite().all()):  # beyond where it is defined, which a warning tells
                whole = torch.where(whole.isfinite(), whole, error)
            residual = whole - error
            if count and self._count > 1 and (rare or passed.first_order or isinstance(step.node.op, _WINDOWED)):
                self.linear[step.place] = centred(error)[:, :count].expand(len(mean), -1, *mean.shape[1:])
            error, off = centre(whole)
            spread = mean_square(error)
            factor = found = self._ratio(spread, variance)
            if self._count > 1:
                apart, estimate = centre(residual)
                std = stds(variance)
                chance = mean_square(apart) / self._count
                moved = shift_of(estimate, chance, std, mean, self._rounds, averaged=self._averaged)
                # E[y²] less the mean's square
                square = spread * (1 - 1 / self._count) + off * off - moved * moved + 2 * mean * (estimate - moved)
                if count:
                    self.errors[step.place] = apart[:, :count]
                # means far beyond the variance leave rounding there
                factor = self._ratio(square, variance).clamp(factor / 2, 2 * factor)
                std = std * factor.sqrt()
                self.shifts[step.place] = in_stds(moved, std)
                mean = mean + self.shifts[step.place] * std
            self.factors[step.place] = factor
            variance = variance * factor
            if self._count > 1:  # to centre what was centred before adds variance
                error = error.mul_(ratio_of_sums(factor, found).sqrt().unsqueeze(1))
        self.values[step.place] = mean, variance, error

    def _output(self, step: Step, means: Sequence[Tensor], errors: Sequence[Tensor]) -> Tensor:
        """Values (B, R, *shape) of an operation at its noisy inputs."""
        size = (len(self.inputs), self._count)
        noisy = ((m.unsqueeze(1) + e).expand(*size, *m.shape[1:]) for m, e in zip(means, errors, strict=True))
        output = digital(step.node.op, *(x.flatten(0, 1) for x in noisy))
        return output.reshape(*size, *output.shape[1:])
