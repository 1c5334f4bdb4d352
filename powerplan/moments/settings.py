"""How predictions are made: the table of their settings."""

from __future__ import annotations

from dataclasses import dataclass, fields

from powerplan.settings import SEED, Choice, Flag, Number, Settings, Unchecked, Whole, setting

METHODS = ("linearized", "covariance", "diagonal")
PRECISIONS = ("float64", "float32")
#: bytes that one part of a prediction may take, unless told otherwise
MEMORY_LIMIT = 1 << 30
#: more error samples say nothing more
MOST_SAMPLES = 65536
#: standard error of the MSE, as a part of it, until which rounds of error samples are added
SAMPLING_ERROR = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionSettings(Settings):
    """How predictions are made; how to add a setting is told in :mod:`powerplan.settings`."""

    method: str = setting(
        Choice(METHODS),
        "linearized",
        "Predictor: linearized keeps all correlations; covariance carries the full covariance of every layer, the "
        "reference for small layers; diagonal assumes independence: cheap, 10-20 % low, "
        "and not available for single chips.",
        more="Linearized costs about one forward pass and K backward passes, covariance O(n²) to O(n³).",
    )
    dtype: str = setting(
        Choice(PRECISIONS),
        "float64",
        "Precision of the predictions; with float32, use a tolerance of 1e-4 or more in plans.",
        more="See docs/benchmarks.md for what float32 loses.",
    )
    device: str = setting(Unchecked(), "cpu", "Where torch calculates: cpu, or cuda where there is one.")
    output_combinations: int | None = setting(
        Whole(at_least=2, at_most=4096, or_zero=True, advice="A standard error needs two; 0 takes every output."),
        None,
        "Number of random ±1 combinations of the outputs that are backpropagated, 0 = every output by itself; with "
        "combinations the MSE has a standard error.",
        more="It is then unbiased, and there is no output covariance.",
        otherwise="every output of up to 64, else 16 combinations",
    )
    marginal_fields: int | None = setting(
        Whole(at_least=0, at_most=MOST_SAMPLES, advice="A few hundred are plenty."),
        None,
        "Number of error samples (a forward pass each), which correct variances, means, power and the addition of "
        "errors where errors of one origin meet or are rare and large; 0 = none.",
        more="Errors of one origin meet where devices serve several positions, at residual connections, in softmax, "
        "norms, maxima and whatever else is not linear on several entries. Large networks take fewer than "
        "requested; the prediction says how many, and which sampling error is left.",
        otherwise="32 to 256 if there are such errors, up to 2048 if they are rare, then as many as the sampling "
        "error needs",
    )
    sampling_error: float = setting(
        Number(above=0),
        SAMPLING_ERROR,
        "Relative standard error of the MSE down to which error samples are added, if their number is not given.",
        more="In large networks a limit of work is reached earlier, see ``Prediction.sampling_limited``.",
    )
    chip_spread: bool = setting(
        Flag(),
        False,
        "Predict also the distribution of the error over chips (``Prediction.chips``): standard deviation, quantiles "
        "and yields.",
        more="Up to 256 outputs of all inputs together cost about one prediction more, others about 60 passes.",
    )
    seed: int = SEED
    memory_limit: int = setting(
        Whole(at_least=1, at_most=2**50, unit="B"),
        MEMORY_LIMIT,
        "Approximate memory for the inputs processed at a time [bytes]; at least one input is.",
    )

    @property
    def prediction(self) -> PredictionSettings:
        """Those that are about predictions."""
        if type(self) is PredictionSettings:
            return self
        return PredictionSettings(**{row.name: getattr(self, row.name) for row in fields(PredictionSettings)})
