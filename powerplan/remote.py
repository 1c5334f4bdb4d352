"""The same calculations on a planning server, with the engine's values as answers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from powerplan.errors import InvalidInput, MissingExtra, PowerplanError, RefusedByServer, ServerUnreachable
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.operating_point import OperatingPoint
from powerplan.moments.prediction import ArrayDrop, Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.per_input import Inputs
from powerplan.planning.plausible_limits import CostLimits
from powerplan.plausibility import corners_of, question
from powerplan.spread import Chips, TabulatedSpread

if TYPE_CHECKING:
    from powerplan.network import Network
    from powerplan.planning import Plan, Target

TOKEN_VARIABLE = "POWERPLAN_TOKEN"
#: what is given here by setting of the client
_SETTINGS = {
    "insecure": "--server-plaintext",
    "root_certificates": "--server-ca",
    "client_certificate": "--server-certificate",
    "client_key": "--server-key",
    "token": TOKEN_VARIABLE,
}
_T = TypeVar("_T")


def connect(
    server: str,
    server_ca: str | None = None,
    server_certificate: str | None = None,
    server_key: str | None = None,
    server_plaintext: bool = False,
) -> Any:
    """A client for the server that the options name; its calls take as long as the server lets them.

    Raises:
        InvalidInput: no address, or a certificate that cannot be read.
        MissingExtra: the client is not installed.
    """
    try:
        from powerplan_client import InvalidRequest, PlannerClient
        from powerplan_client.addresses import FORMS, AddressError, parse_address
    except ImportError as error:
        raise MissingExtra("powerplan-client", "server", "Using a planning server") from error
    try:
        parse_address(server)
        return PlannerClient(
            server,
            insecure=True if server_plaintext else None,
            root_certificates=_read("server_ca", server_ca),
            client_certificate=_read("server_certificate", server_certificate),
            client_key=_read("server_key", server_key),
            token=os.environ.get(TOKEN_VARIABLE) or None,
            timeout=None,
        )
    except AddressError as error:
        raise InvalidInput.of("--server", error.shown, FORMS, str(error)) from error
    except InvalidRequest as error:
        (violation,) = error.violations
        why, _, allowed = violation.description.rpartition("allowed: ")
        advice = f"It {why.rstrip('; ')}." if why else "Give it so."
        raise InvalidInput.of(_SETTINGS[violation.field], "(not shown)", allowed, advice) from error


class _Told:
    """A result whose accuracy a server has told, for the labels that it was asked with."""

    _accuracy: tuple[float, float, float] | None = None
    _ideal_accuracy: float = math.nan

    def accuracy_with_error(self, labels: Any, **sampling: Any) -> tuple[float, float]:
        """As told; the standard error is NaN from a server that does not state it."""
        assert self._accuracy is not None
        return self._accuracy[:2]

    def accuracy_input_error(self, labels: Any, **sampling: Any) -> float:
        """As told; NaN from a server that does not state it."""
        assert self._accuracy is not None
        return self._accuracy[2]

    def ideal_accuracy(self, labels: Any) -> float:
        """As told; NaN from a server that does not state it."""
        return self._ideal_accuracy

    def accuracy(self, labels: Any, **sampling: Any) -> float:
        """The accuracy as told."""
        return self.accuracy_with_error(labels)[0]


class RemotePrediction(_Told, Prediction):
    """A prediction made by a server, without its output moments but with the accuracy for the labels given."""

    @property
    def tells_accuracy(self) -> bool:
        return self._accuracy is not None

    def chips_for(self, labels: Any) -> Chips | None:
        """As told, for the labels that it was asked with."""
        return self.chips


class RemoteSimulation(_Told, Simulation):
    """A simulation made by a server, without its draws but with the spread over chips that these had, and with the
    accuracy for the labels given."""

    _chips: Chips | None = None

    @property
    def chips(self) -> Chips | None:  # type: ignore[override]
        """As told; None from a server that does not tell it."""
        return self._chips

    def chips_for(self, labels: Any) -> Chips | None:  # type: ignore[override]
        """As told, for the labels that it was asked with."""
        return self._chips


@dataclass(frozen=True)
class Remote:
    """The engine's calculations, made by a server through ``powerplan_client``; ``labels`` are for accuracies."""

    client: Any
    labels: np.ndarray | None = None

    def plan(
        self,
        network: Network,
        hardware: Hardware,
        inputs: np.ndarray,
        target: Target,
        *,
        progress: Any = None,
        **options: Any,
    ) -> Plan:
        """As :func:`powerplan.plan`."""
        corners = options.get("corners", ())
        question(hardware, *corners_of(corners), CostLimits(options), target)
        with errors():
            answer = self.client.plan(network, hardware, inputs, target, **_given(options))
        plan = _plan(answer, hardware, corners, target)
        question(*plan.predictions)
        return plan

    def frontier(
        self,
        network: Network,
        hardware: Hardware,
        inputs: np.ndarray,
        *,
        targets: Sequence[Target],
        on_point: Callable[[int, Plan], None] | None = None,
        **options: Any,
    ) -> tuple[Plan, ...]:
        """As :func:`powerplan.frontier`."""
        plans: list[Plan] = []
        question(hardware, *corners_of(options.get("corners", ())), CostLimits(options), *targets)
        with errors():
            for answer in self.client.frontier(network, hardware, inputs, list(targets), **_given(options)):
                plans.append(_plan(answer, hardware, options.get("corners", ()), targets[len(plans)]))
                question(*plans[-1].predictions)
                if on_point is not None:
                    on_point(len(plans) - 1, plans[-1])
        return tuple(plans)

    def predict(
        self,
        network: Network,
        hardware: Hardware,
        gains: Gains,
        inputs: np.ndarray,
        *,
        progress: Callable[[float], None] | None = None,
        **options: Any,
    ) -> Prediction:
        """As :func:`powerplan.predict`; a server tells no progress."""
        question(hardware, OperatingPoint(network=network, hardware=hardware, gains=gains, inputs=inputs))
        with errors():
            answer = self.client.predict(network, hardware, gains, inputs, labels=self.labels, **_given(options))
        prediction = _engine_value(RemotePrediction, answer)
        _tell_accuracy(prediction, answer)
        question(prediction)
        return prediction

    def simulate(
        self,
        network: Network,
        hardware: Hardware,
        gains: Gains,
        inputs: np.ndarray,
        *,
        progress: Callable[[int, int], None] | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> Simulation:
        """As :func:`powerplan.simulate`, on a device of the server's choice."""
        question(hardware, OperatingPoint(network=network, hardware=hardware, gains=gains, inputs=inputs))
        tell = None if progress is None else lambda running: progress(running.draws, running.draws_total)
        with errors():
            answer = self.client.simulate(
                network, hardware, gains, inputs, progress=tell, labels=self.labels, **_given(options)
            )
        empty = np.empty(0)
        simulation = _engine_value(
            RemoteSimulation,
            answer,
            mse_by_draw=empty,
            ideal_output=empty,
            output_mean=empty,
            classes=empty,
        )
        _tell_accuracy(simulation, answer)
        object.__setattr__(simulation, "_chips", _part(answer.chips))
        question(simulation)
        return simulation


def _tell_accuracy(value: _Told, answer: Any) -> None:
    if answer.accuracy is not None:
        errors = (answer.accuracy_standard_error, answer.accuracy_input_standard_error)
        told = (answer.accuracy, *(math.nan if error is None else error for error in errors))
        object.__setattr__(value, "_accuracy", told)
    if answer.ideal_accuracy is not None:
        object.__setattr__(value, "_ideal_accuracy", answer.ideal_accuracy)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the client from those of the engine; None is left to the server.

    Doubts about units are told here, to the person at this machine, as the engine's calls tell them.
    """
    renamed = {"time_limit" if name == "deadline" else name: value for name, value in options.items()}
    settings = {name: value for name, value in renamed.items() if value is not None and name != "progress"}
    return {**settings, "accept_implausible": True}


def _plan(answer: Any, hardware: Hardware, corners: Sequence[Hardware], target: Target) -> Plan:
    """The engine's plan; what was asked is as it was asked here, not as it came back, but for what the plan chose."""
    from powerplan.planning import Corner, Plan
    from powerplan.planning.settings import CHOICES

    chosen = [name for name in answer.optimize if name in CHOICES]

    def with_choice(asked: Hardware, answered: Any) -> Hardware:
        return asked.replace(**{name: getattr(answered.hardware, name) for name in chosen})

    corner_values = tuple(
        _engine_value(Corner, answered, hardware=with_choice(corner, answered))
        for corner, answered in zip(corners, answer.corners, strict=True)
    )
    kept = with_choice(hardware, answer)
    return _engine_value(Plan, answer, target=target, hardware=kept, corners=corner_values)


@cache
def _engine_kinds() -> dict[str, type]:
    """The engine's classes of what stands within an answer, by the name that the client's have too."""
    from powerplan.hardware.costs.breakdown import CostBreakdown
    from powerplan.hardware.tiling import LayerArrays
    from powerplan.planning import outcome

    kinds = {name: kind for name, kind in vars(outcome).items() if getattr(kind, "__module__", "") == outcome.__name__}
    spreads = {"Chips": Chips, "TabulatedSpread": TabulatedSpread, "Inputs": Inputs}
    return {
        **kinds,
        **spreads,
        "CostBreakdown": CostBreakdown,
        "Gains": Gains,
        "LayerArrays": LayerArrays,
        "ArrayDrop": ArrayDrop,
        "Prediction": Prediction,
    }


def _engine_value(kind: type[_T], value: Any, **known: Any) -> _T:
    """The engine's value with the fields of the client's value of the same name."""
    assert is_dataclass(kind)
    names = {field.name for field in fields(kind)} - known.keys()
    return kind(**{name: _part(getattr(value, name)) for name in names if hasattr(value, name)}, **known)


def _part(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_part, value))
    kind = _engine_kinds().get(type(value).__name__)
    if kind is None:
        return value
    return kind(value.value) if issubclass(kind, Enum) else _engine_value(kind, value)


@contextmanager
def errors() -> Iterator[None]:
    """Errors of the client as the engine's own.

    Raises:
        RefusedByServer: a request that cannot be used.
        ServerUnreachable: no server there.
        PowerplanError: any other fault.
    """
    from powerplan_client.errors import InvalidRequest, PlannerError, Unavailable

    try:
        yield
    except InvalidRequest as error:
        raise RefusedByServer(str(error)) from error
    except Unavailable as error:
        raise ServerUnreachable(
            f"server: {error}. Check the address and that powerplan serve runs there (powerplan status HOST:PORT "
            "tells); a server with TLS on another machine needs --server-ca unless its "
            "certificate is publicly trusted, one without TLS --server-plaintext."
        ) from error
    except PlannerError as error:
        raise PowerplanError(str(error)) from error


def _read(name: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput.of(f"--{name.replace('_', '-')}", path, "a readable file", f"{error.strerror}.") from error
