"""Options of calls that predict and plan. Written by scripts/generate_keywords.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy.typing as npt

from powerplan_client.shared import Gain, Steps


class PredictionKeywords(TypedDict, total=False):
    """How predictions are made.

    method: Predictor: linearized keeps all correlations; covariance carries the full covariance of every layer, the
        reference for small layers; diagonal assumes independence: cheap, 10-20 % low, and not available for single
        chips. Linearized costs about one forward pass and K backward passes, covariance O(n²) to O(n³). Allowed: one of
        'linearized', 'covariance', 'diagonal'. Default: linearized.
    dtype: Precision of the predictions; with float32, use a tolerance of 1e-4 or more in plans. See docs/benchmarks.md
        for what float32 loses. Allowed: one of 'float64', 'float32'. Default: float64.
    output_combinations: Number of random ±1 combinations of the outputs that are backpropagated, 0 = every output by
        itself; with combinations the MSE has a standard error. It is then unbiased, and there is no output covariance.
        Allowed: 0, or an integer from 2 to 4,096. Default: every output of up to 64, else 16 combinations.
    marginal_fields: Number of error samples (a forward pass each), which correct variances, means, power and the
        addition of errors where errors of one origin meet or are rare and large; 0 = none. Errors of one origin meet
        where devices serve several positions, at residual connections, in softmax, norms, maxima and whatever else is
        not linear on several entries. Large networks take fewer than requested; the prediction says how many, and which
        sampling error is left. Allowed: an integer from 0 to 65,536. Default: 32 to 256 if there are such errors, up to
        2048 if they are rare, then as many as the sampling error needs.
    sampling_error: Relative standard error of the MSE down to which error samples are added, if their number is not
        given. In large networks a limit of work is reached earlier, see ``Prediction.sampling_limited``. Allowed: a
        finite number > 0. Default: 0.01.
    chip_spread: Predict also the distribution of the error over chips (``Prediction.chips``): standard deviation,
        quantiles and yields. Up to 256 outputs of all inputs together cost about one prediction more, others about 60
        passes. Allowed: True or False. Default: False.
    seed: Of every random number. Allowed: an integer from 0 to 9,223,372,036,854,775,807. Default: 0.
    memory_limit: Approximate memory for the inputs processed at a time [bytes]; at least one input is. Allowed: an
        integer from 1 to 1,125,899,906,842,624. Default: 1073741824.
    """

    method: str
    dtype: str
    output_combinations: int | None
    marginal_fields: int | None
    sampling_error: float
    chip_spread: bool
    seed: int
    memory_limit: int


class PlanKeywords(PredictionKeywords, total=False):
    """How plans are made.

    granularity: Gains that are free: one for the network, one per layer, a conductance per column (output of a layer),
        or signal: a voltage per row, with the inverse in its stored weights. Signal needs both gains free. Allowed: one
        of 'network', 'layer', 'column', 'signal'. Default: layer.
    optimize: What is free: conductance gains, voltage gains (need read or row noise) and, for every layer beside gains
        of one kind at least, adc_bits and dac_bits (need conversion energies that depend on bits), adc_headroom and
        columns_per_adc (need costs). Allowed: 'conductance' or 'voltage' or 'adc_bits' or 'dac_bits' or 'adc_headroom'
        or 'columns_per_adc', one or several. Default: conductance.
    objective: What is minimised, for hardware with costs: energy, latency or area of an inference, power (energy over
        latency) or energy_delay (energy times latency). Allowed: one of 'energy', 'power', 'latency', 'energy_delay',
        'area'. Default: energy if converters are free, else the power of the arrays.
    max_energy: Largest energy of an inference, besides the target. Allowed: a finite number > 0 [J]. Default: no limit.
    max_latency: Largest latency of an inference, besides the target. Allowed: a finite number > 0 [s]. Default: no
        limit.
    max_area: Largest area, besides the target. Allowed: a finite number > 0 [m2]. Default: no limit.
    least_bits: Fewest bits of a converter if adc_bits or dac_bits are free. Allowed: an integer from 2 to 16. Default:
        4.
    most_bits: Most bits of a converter if adc_bits or dac_bits are free. Allowed: an integer from 2 to 16. Default: 10.
    conductance: Fixed conductance gains, if they are not optimised [S per unit weight], one per layer. Default: the
        largest that the limits allow.
    voltage: Fixed voltage gains, if they are not optimised [V per unit activation], one per layer. Default: voltage_max
        at the largest activation over the inputs.
    verify_draws: Draws of the simulation that verifies the plan; 0 = none. As many as needed means 256 to 10 000: they
        give the rate to 0.1 percentage points and 5 % of the target, within about a minute (a fifth of the time to the
        deadline) per simulation; none if fewer fit. Allowed: 0, or an integer from 2 to 10,000,000. Default: for
        targets on classes as many as needed, else 0.
    yield_width: Verify with as many draws as are needed for a 95 % confidence interval of the yield (the fraction of
        chips that meet the target) of this width (0.02: two percentage points). Instead of ``verify_draws``. Allowed: a
        finite number > 0 and <= 1. Default: ``verify_draws``.
    calibrate: Plan again for the bound whose simulation meets the target; needs a verification. At most twice, for the
        target times predicted/simulated, until the simulation is within its standard error of the target. Allowed: True
        or False. Default: for targets on classes.
    calibration: Inputs that plans are for: mean, the calibration inputs; upper, the population of which these are a
        random sample, by meeting the target at the upper end of the 95 % confidence interval. With a target on a part
        of the inputs at the upper end of the interval of that quantile. Not for single outputs and power budgets.
        Allowed: one of 'mean', 'upper'. Default: mean.
    tolerance: KKT residual at which to stop. Allowed: a finite number > 0 and <= 0.1. Default: 1e-08.
    max_iterations: Most iterations, of ten quasi-Newton steps each. Allowed: an integer from 1 to 100,000. Default: 60.
    time_limit: Seconds after which to stop with the best gains found. The cheapest found that meet the target, else
        those nearest to it (``outcome`` is DEADLINE, ``plan.meets_target`` says which). It includes verification, with
        fewer draws if necessary. A prediction in progress is not interrupted, at least one is made, and the predictions
        that report the plan follow. Allowed: a finite number > 0 [s], or infinity for no limit. Default: no limit.
    corners: Further hardware (other noise, temperatures, times) in which the same gains must meet the target. Within
        the limits of all; what is minimised is that of ``hardware``. Default: none.
    output_weights: Weights >= 0 of the outputs' squared errors, one per output, scaled to mean 1; not for targets on
        classes. The MSE is then the mean of weight × squared error (NMSE: over the likewise weighted signal;
        MaxOutputMSE: of every output with a weight > 0). Default: all alike.
    conductance_steps: Values that a free conductance gain can be set to [S per unit weight]. A :class:`Steps` for all
        layers, or one Steps or None per layer; ``plan.discrete`` then bounds what is lost. Default: continuous.
    voltage_steps: Values that a free voltage gain can be set to [V per unit activation], likewise. Default: continuous.
    """

    granularity: str
    optimize: Sequence[str]
    objective: str | None
    max_energy: float | None
    max_latency: float | None
    max_area: float | None
    least_bits: int
    most_bits: int
    conductance: Sequence[Gain] | None
    voltage: Sequence[Gain] | None
    verify_draws: int | None
    yield_width: float | None
    calibrate: bool | None
    calibration: str
    tolerance: float
    max_iterations: int
    time_limit: float | None
    corners: Sequence[Any]
    output_weights: npt.ArrayLike | None
    conductance_steps: Steps | Sequence[Steps | None] | None
    voltage_steps: Steps | Sequence[Steps | None] | None


class SimulationKeywords(TypedDict, total=False):
    """How simulations are made.

    draws: How often every array is programmed anew; with a relative standard error, at most. Allowed: an integer from 1
        to 10,000,000. Default: 2000.
    seed: Of every random number. Allowed: an integer from 0 to 9,223,372,036,854,775,807. Default: 0.
    relative_standard_error: Stop once the standard error of the MSE is below this fraction of it. Looked at after every
        128 draws. Allowed: a finite number > 0. Default: make all draws.
    yield_width: Stop once the 95 % confidence interval of the yield at ``yield_at`` is at most this wide (0.02: two
        points). Looked at after every 128 draws; with ``relative_standard_error`` once both are met. Allowed: a finite
        number > 0 and <= 1. Default: make all draws.
    yield_at: The bound on the NMSE of a chip whose yield is known to this width. Allowed: a finite number > 0. Default:
        the median chip's NMSE, whose yield needs most draws.
    wires: How arrays with resistive wires are solved: exact, to rounding errors; or fast, by closed forms, exact for
        the mean devices and to first order in the deviation of a draw from them. Without resistance of wires both are
        the same. Exact takes about 0.1 s for every array of 128 rows and columns in every draw. Allowed: one of
        'exact', 'fast'. Default: exact.
    """

    draws: int
    seed: int
    relative_standard_error: float | None
    yield_width: float | None
    yield_at: float | None
    wires: str
