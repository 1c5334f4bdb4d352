"""Keyword options of the calls; every one may be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from powerplan_client import values
from powerplan_client.keywords import PlanKeywords, PredictionKeywords, SimulationKeywords

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
    reads: of nodes that name one array, or one weight tensor of a module or model: "shared" = of the same devices, at
        the same gains; "separate" = of an array each.
    weight_slices: bits of the slices that weights are held in, from the most significant, (4, 4); slice k of layer
        "fc1" is the layer "fc1.slicek". Of some layers only: {"fc1": (4, 4), "fc2": (2, 6)}. None = one device, or
        pair, for a weight.
    shared_converters: the slices of a layer are converted one after the other, by the converters of one.
    output_moments, layer_moments, layer_covariances: large parts of the answer to include.
    validate_only: check the request and stop; the answer is None.
    accept_implausible: calculate even if a number is most likely in another unit (reason IMPLAUSIBLE); the doubts are
        then among the warnings.
    on_upload: told of the upload of large arrays.
    """

    input_shape: Sequence[int] | None
    analog: str | int | Sequence[str | int] | None
    digital: str | int | Sequence[str | int] | None
    reads: str
    weight_slices: Sequence[int] | Mapping[str, Sequence[int]] | None
    shared_converters: bool
    output_moments: bool
    layer_moments: bool
    layer_covariances: bool
    validate_only: bool
    accept_implausible: bool
    on_upload: UploadProgress | None


class PredictionOptions(RequestOptions, PredictionKeywords, total=False):
    """Options of every call that makes predictions: of the request, and of :mod:`powerplan_client.keywords`."""


class PlanOptions(PredictionOptions, PlanKeywords, total=False):
    """Options of planning, likewise; what is left out takes the engine's default."""


class SubmitOptions(PlanOptions, total=False):
    """Options of a job. run_limit: seconds it may run."""

    run_limit: float | None


class PredictOptions(PredictionOptions, total=False):
    """Options of predict. labels: (B,) classes, for the expected accuracy; accuracy_samples: of its sampling."""

    labels: Sequence[int] | np.ndarray | None
    accuracy_samples: int


class SimulateOptions(RequestOptions, SimulationKeywords, total=False):
    """Options of simulate: of the request, of :mod:`powerplan_client.keywords`, and

    labels: (B,) classes, for the accuracy.
    keep_draws: include MSE and classes of every draw.
    """

    labels: Sequence[int] | np.ndarray | None
    keep_draws: bool


_TIMES = ("timeout", "time_limit", "run_limit")
_FLAGS = (
    "output_moments", "layer_moments", "layer_covariances", "keep_draws", "validate_only", "calibrate",
    "accept_implausible",
)  # fmt: skip


def checked(kind: type, passed: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call of that kind; infinite times are None.

    Raises:
        InvalidRequest: an option that the call does not have, or a plain value of another type.
    """
    values.known(passed, kind.__annotations__)
    options = dict(passed)
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
