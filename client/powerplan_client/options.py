"""Keyword options of the calls; every one may be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from powerplan_client import values
from powerplan_client.inputs import Gain, Steps

#: called with (bytes sent, bytes in all) while large arrays are uploaded
UploadProgress = Callable[[int, int], None]


class CallOptions(TypedDict, total=False):
    """Options of every call.

    timeout: seconds for the whole call; None or infinite = no limit. Left out: the client's.
    request_id: idempotency key: the same request under the same key is done once.
    """

    timeout: float | None
    request_id: str | None


class ProfileOptions(CallOptions, total=False):
    """Options of plans of a profile.

    validate_only: check the request and stop; the answer is None.
    accept_implausible: calculate even if a number is most likely in another unit.
    """

    validate_only: bool
    accept_implausible: bool


class RequestOptions(CallOptions, total=False):
    """Options of calls with a network.

    input_shape: shape of one input, for a network given as a torch module.
    analog: layers on crossbars, the others are digital: types ("linear", "conv2d"), names, module paths or patterns, or
        numbers from 0 (-1 = the last); None = as the network has them.
    digital: layers among these to compute digitally, without noise.
    output_moments, layer_moments, layer_covariances: large parts of the answer to include.
    validate_only: check the request and stop; the answer is None.
    accept_implausible: calculate even if a number is most likely in another unit (reason IMPLAUSIBLE); the doubts are
        then among the warnings.
    on_upload: told of the upload of large arrays.
    """

    input_shape: Sequence[int] | None
    analog: str | int | Sequence[str | int] | None
    digital: str | int | Sequence[str | int] | None
    output_moments: bool
    layer_moments: bool
    layer_covariances: bool
    validate_only: bool
    accept_implausible: bool
    on_upload: UploadProgress | None


class PredictionOptions(RequestOptions, total=False):
    """How predictions are made, in every call that makes them.

    method: "linearized", "covariance" or "diagonal".
    dtype: "float64" or "float32"; with "float32" plans want a tolerance of 1e-4 or more.
    output_combinations: random combinations of the outputs, 2 to 4096, or 0 = every output by itself; None = every
        output of up to 64, else 16 combinations. With combinations mse has a standard error and there is no accuracy.
    marginal_fields: error samples that correct variances, means, power and how errors add up where errors of one origin
        meet, 0 = none; None = as needed.
    seed: of every random draw, of the combinations and of the fields.
    memory_limit: bytes that the inputs worked on at a time may take, roughly, at most 2^30.
    """

    method: str
    dtype: str
    output_combinations: int | None
    marginal_fields: int | None
    seed: int
    memory_limit: int


class PlanOptions(PredictionOptions, total=False):
    """Options of planning; what is left out takes the engine's default.

    granularity: "network", "layer", "column" or "signal" (a voltage gain per row, both gains free).
    optimize: the free gains, "conductance", "voltage" or both.
    conductance, voltage: gains to hold, one per crossbar layer.
    verify_draws, calibrate: Monte Carlo verification, and planning again so that it meets the target; left out, plans
        for targets on classes get both.
    tolerance, max_iterations: when to stop.
    time_limit: seconds after which the best plan so far is returned.
    corners: further hardware in which the same gains meet the target too.
    conductance_steps, voltage_steps: values a free gain can be set to: Steps, or one Steps or None per layer.
    output_weights: (K,) weights >= 0 of the outputs' squared errors, scaled to mean 1.
    """

    granularity: str
    optimize: Sequence[str]
    conductance: Sequence[Gain] | None
    voltage: Sequence[Gain] | None
    verify_draws: int
    calibrate: bool
    tolerance: float
    max_iterations: int
    conductance_steps: Steps | Sequence[Steps | None] | None
    voltage_steps: Steps | Sequence[Steps | None] | None
    time_limit: float | None
    corners: Sequence[Any]
    output_weights: Sequence[float] | np.ndarray | None


class SubmitOptions(PlanOptions, total=False):
    """Options of a job. run_limit: seconds it may run."""

    run_limit: float | None


class PredictOptions(PredictionOptions, total=False):
    """Options of predict. labels: (B,) classes, for the expected accuracy; accuracy_samples: of its sampling."""

    labels: Sequence[int] | np.ndarray | None
    accuracy_samples: int


class SimulateOptions(RequestOptions, total=False):
    """Options of simulate.

    draws, seed: of the simulation; relative_standard_error: stop once the MSE is known to this fraction.
    labels: (B,) classes, for the accuracy.
    keep_draws: include MSE and classes of every draw.
    """

    draws: int
    seed: int
    relative_standard_error: float | None
    labels: Sequence[int] | np.ndarray | None
    keep_draws: bool


_TIMES = ("timeout", "time_limit", "run_limit")
_FLAGS = (
    "output_moments", "layer_moments", "layer_covariances", "keep_draws", "validate_only", "calibrate",
    "accept_implausible",
)  # fmt: skip


def checked(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call of that kind; infinite times are None.

    Raises:
        InvalidRequest: an option that the call does not have, or a plain value of another type.
    """
    values.known(given, kind.__annotations__)
    options = dict(given)
    for name in _TIMES:
        if name in options:
            options[name] = values.seconds(name, options[name])
    for name in _FLAGS:
        if options.get(name) is not None:
            options[name] = values.flag(name, options[name])
    if options.get("request_id") is not None:
        values.text("request_id", options["request_id"])
    values.function("on_upload", options.get("on_upload"))
    return options
