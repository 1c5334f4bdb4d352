"""The case a command works on: network, inputs, labels, hardware and gains, read from files and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from powerplan.checks import check_inputs
from powerplan.cli.chat import Chat
from powerplan.cli.networks import placed
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.network import Network
from powerplan.network.reads import READS
from powerplan.reading.arrays import read_array, read_arrays
from powerplan.reading.labels import classes
from powerplan.reading.networks import load_network
from powerplan.reading.text import read_json

if TYPE_CHECKING:
    from powerplan.planning import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A network with the inputs to judge it by; ``labels`` if known. ``name`` is for titles."""

    name: str
    network: Network
    inputs: np.ndarray
    labels: np.ndarray | None


def read_case(
    chat: Chat,
    *,
    network_file: str | None,
    example: str | None,
    inputs_file: str | None,
    labels_file: str | None,
    batch: int | None,
    analog: Sequence[str] = (),
    digital: Sequence[str] = (),
    reads: str = READS[0],
    weight_slices: Mapping[str, Any] | None = None,
) -> Case:
    """The case named by the options of :func:`powerplan.cli.options.network_options`.

    Raises:
        click.UsageError: no network, or two.
        InvalidInput: files that cannot be read or do not fit together.
    """
    if (network_file is None) == (example is None):
        raise click.UsageError("network: give exactly one of --network FILE (with --inputs FILE) and --example NAME.")
    inputs: Any = None
    labels: Any = None
    if example is not None:
        from powerplan.examples import example_names, load_example

        if example in example_names():
            chat.note(f"training the {example} example")
            chat.doing("training")
        built_in = load_example(example)
        name, network, inputs, labels = example, built_in.network, built_in.inputs, built_in.labels
    else:
        assert network_file is not None
        if inputs_file is None:
            raise click.UsageError("inputs: --network needs calibration inputs, --inputs FILE.")
        chat.doing(f"loading torch and {network_file}")
        name, network = Path(network_file).stem, load_network(network_file)
    network = placed(network, analog, digital, reads, weight_slices)
    if inputs_file is not None:
        inputs, labels = _read_inputs(inputs_file, network)
    if labels_file is not None:
        labels = read_array("labels", labels_file)
    inputs = check_inputs(inputs, network.input_shape)
    labels = None if labels is None else classes(labels, len(inputs))
    if batch is not None:
        inputs, labels = inputs[:batch], None if labels is None else labels[:batch]
    return Case(name=name, network=network, inputs=inputs, labels=labels)


def read_hardware(hardware_file: str | None, changes: Mapping[str, Any], default: Hardware | None = None) -> Hardware:
    """The hardware of a preset (in ``changes``), a file, ``default`` or the defaults, with some fields changed."""
    base, changes = default or Hardware(), dict(changes)
    preset = changes.pop("preset", None)
    if preset is not None:
        if hardware_file is not None:
            raise click.UsageError("hardware: give either --hardware FILE or --preset NAME, not both.")
        return Hardware.preset(preset, **changes)
    if hardware_file is not None:
        _require_file("hardware", hardware_file)
        return Hardware.from_toml(hardware_file, **changes)
    return base.replace(**changes) if changes else base


def read_gains_file(gains_file: str | None) -> tuple[Gains | None, Plan | None]:
    """The gains of a JSON file ({"conductance": [...], "voltage": [...]}), and the plan if it is a plan's."""
    if gains_file is None:
        return None, None
    values = read_json("gains", gains_file)
    if isinstance(values, dict) and {"conductance", "voltage"} & values.keys():
        if not all(isinstance(values.get(key), list) for key in ("conductance", "voltage")):
            raise InvalidInput.of(
                "gains", gains_file, "two lists, conductance and voltage", "Give one entry per layer."
            )
        return Gains.from_dict(values), None
    from powerplan.planning import Plan

    plan = Plan.load(gains_file)
    return plan.gains, plan


def make_gains(
    case: Case,
    hardware: Hardware,
    *,
    conductance: Sequence[float] | None,
    voltage: Sequence[float] | None,
) -> Gains:
    """Gains from options: one value for all layers or one per layer; None = the largest within the limits."""
    from powerplan.hardware.gains import conductance_limits, voltage_limits

    siemens = per_layer("conductance", conductance, case.network)
    volts = per_layer("voltage", voltage, case.network)
    gains = Gains(
        conductance=tuple(conductance_limits(case.network, hardware)) if siemens is None else siemens,
        voltage=tuple(voltage_limits(case.network, hardware, case.inputs)) if volts is None else volts,
    )
    gains.check(case.network, hardware)
    return gains


def per_layer(name: str, values: Sequence[float] | None, network: Network) -> tuple[float, ...] | None:
    """One value per crossbar layer: a single one is repeated."""
    count = len(network.crossbars)
    if values is None or len(values) == count:
        return None if values is None else tuple(values)
    if len(values) == 1:
        return (values[0],) * count
    raise InvalidInput.of(
        f"--{name}",
        ",".join(f"{v:g}" for v in values),
        f"one value, or one per crossbar layer ({count}: {', '.join(network.layer_labels)})",
        "Fix the list.",
    )


def _read_inputs(path: str, network: Network) -> tuple[np.ndarray, np.ndarray | None]:
    arrays = read_arrays("inputs", path)
    labels = arrays.pop("labels", None)
    inputs = arrays.get("inputs") if len(arrays) != 1 else next(iter(arrays.values()))
    if inputs is None:
        raise InvalidInput.of("inputs", sorted(arrays), "an array named 'inputs'", f"Rename it in {path}.")
    flat = int(np.prod(network.input_shape))
    if inputs.ndim == 2 and inputs.shape[1] == flat:  # rows of a table, for a network of images
        inputs = inputs.reshape(-1, *network.input_shape)
    return inputs, labels


def check_output_file(field: str, path: str) -> None:
    """Refuse, before any long work, a path that no file can be written to."""
    file = Path(path)
    if file.is_dir() or not file.parent.is_dir():
        raise InvalidInput.of(
            field, path, "a file in an existing folder", f"Name a file, or create {file.parent} first."
        )


def _require_file(field: str, path: str) -> None:
    if not Path(path).is_file():
        raise InvalidInput.of(field, path, "an existing file", "Check the path.")
