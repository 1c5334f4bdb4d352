"""From points to jobs: networks and inputs are read once, and every point gets the key of its job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerplan.batch.blobs import Blobs
from powerplan.batch.executors.local import LocalWorker
from powerplan.batch.jobs import Job, without_defaults
from powerplan.batch.naming import OPTIONS
from powerplan.batch.points import Point, plan_defaults
from powerplan.batch.targets import needs_labels
from powerplan.hardware import Hardware
from powerplan.hardware.hardware import defaults_by_measurements

if TYPE_CHECKING:
    from powerplan.batch.study import Study

#: folder of stored networks and inputs inside a study's folder
_BLOBS = "blobs"
#: seconds that reading one network or inputs may take (an example is trained)
_READ_LIMIT = 600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A study ready to run.

    Attributes:
        blobs: where its networks and inputs are.
        keys: key of every point.
        jobs: the different jobs by key.
        failures: code and message of keys that have no job, because a network or inputs cannot be read.
        provenance: digests of networks and inputs by name, and the sizes of the networks.
    """

    blobs: Blobs
    keys: tuple[str, ...]
    jobs: Mapping[str, Job]
    failures: Mapping[str, tuple[str, str]]
    provenance: Mapping[str, Any]


def prepare(study: Study, folder: Path, tell: Callable[[str], None] | None = None) -> Prepared:
    """Read what the points of a study need and make their jobs; ``tell`` is told what is being read."""
    blobs = Blobs(folder / _BLOBS)
    networks, inputs = _read(study, blobs, tell or (lambda _: None))
    keys: list[str] = []
    jobs: dict[str, Job] = {}
    failures: dict[str, tuple[str, str]] = {}
    for point in study.points:
        network = networks[point.settings["network"]]
        batch = inputs[_inputs_name(point)]
        broken = network if "code" in network else batch if "code" in batch else None
        if broken is not None:
            key = hashlib.sha256(json.dumps([broken, point.settings], default=list).encode()).hexdigest()
            failures[key] = broken["code"], broken["message"]
        else:
            job = _job(study, point, network, batch)
            key = job.key
            jobs.setdefault(key, job)
        keys.append(key)
    provenance = {
        "networks": {name: value.get("digest") for name, value in networks.items()},
        "network_sizes": {name: value["size"] for name, value in networks.items() if "size" in value},
        "inputs": {" ".join(filter(None, name)): value.get("inputs") for name, value in inputs.items()},
    }
    return Prepared(blobs=blobs, keys=tuple(keys), jobs=jobs, failures=failures, provenance=provenance)


def _read(study: Study, blobs: Blobs, tell: Callable[[str], None]) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """What is known of the networks by name and of the inputs by (name, "") or ("", example network)."""
    networks: dict[str, Any] = {}
    inputs: dict[tuple[str, str], Any] = {}
    worker = LocalWorker(blobs.folder)
    try:
        for point in study.points:
            name = point.settings["network"]
            if name not in networks:
                tell(f"reading network {name}")
                networks[name] = worker.read("network", study.values["networks"][name], study.base, _READ_LIMIT)
            key = _inputs_name(point)
            if key not in inputs:
                tell(f"reading inputs {key[0] or key[1]}")
                definition = study.values["inputs"][key[0]] if key[0] else study.values["networks"][key[1]]
                definition = {k: v for k, v in definition.items() if k != "inputs"}
                inputs[key] = worker.read("inputs", definition, study.base, _READ_LIMIT)
    finally:
        worker.close()
    return networks, inputs


def _inputs_name(point: Point) -> tuple[str, str]:
    name = point.settings["inputs"]
    return (name, "") if name is not None else ("", point.settings["network"])


def _job(study: Study, point: Point, network: Mapping[str, Any], batch: Mapping[str, Any]) -> Job:
    settings = point.settings
    options = without_defaults({name: settings[name] for name in OPTIONS}, plan_defaults())
    if settings["corners"]:
        options["corners"] = [_fields(study.hardware.of(name, {})) for name in settings["corners"]]
    return Job(
        network=network["network"],
        inputs=batch["inputs"],
        labels=batch["labels"] if needs_labels(settings["target"]) else None,
        hardware=_fields(study.hardware.of(settings["hardware"], settings["override"])),
        target=settings["target"],
        options=options,
    )


def _fields(hardware: Hardware) -> dict[str, Any]:
    """The fields of a hardware that differ from their defaults."""
    follows = defaults_by_measurements(hardware.measurements)
    return without_defaults(hardware.to_dict(), {**_default_fields(), **follows})


@cache
def _default_fields() -> dict[str, Any]:
    return Hardware().to_dict()
