"""What measurements say devices hold is taken as it is: predicted against networks of really measured cells.

rram_cells.csv holds every eighth cell of a published measurement of 16 292 (MIT licence, beside it), at six times.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import powerplan as pp
from benchmarks.measured_cells import Cells, drawn_errors, predicted, read_excerpt, tables
from powerplan.batch.prepare import _fields
from powerplan.hardware.aging import Snapshot
from powerplan.hardware.devices import Devices, device_moments

_DRAWS = 250
U = 1e-6


@pytest.fixture(scope="module")
def cells() -> Cells:
    return read_excerpt(Path(__file__).with_name("rram_cells.csv"))


@pytest.fixture(scope="module")
def example() -> pp.Example:
    return pp.load_example("digits")


@pytest.mark.slow
@pytest.mark.parametrize("time", [0.01, 0.1, 1.0, 4.0, 1e5])
def test_networks_of_measured_cells_err_as_predicted_from_their_moments(
    cells: Cells, example: pp.Example, time: float
) -> None:
    drawn = drawn_errors(cells, time, example, _DRAWS)
    error = float(drawn.std(ddof=1)) / math.sqrt(_DRAWS)
    assert error < 0.025 * drawn.mean()
    # four standard errors, and what activations make of errors that are not Gaussian
    assert predicted(example, cells.hardware(time)) == pytest.approx(drawn.mean(), abs=4 * error + 0.01 * drawn.mean())


@pytest.mark.slow
def test_another_way_to_tell_the_same_cells_is_off(cells: Cells, example: pp.Example) -> None:
    found = {name: predicted(example, hardware) for name, hardware in tables(cells, 1e5).items()}
    assert found["clipped"] > 1.02 * found["as_measured"]
    assert found["clipped_and_2uS"] > 1.3 * found["as_measured"]


@pytest.mark.slow
@pytest.mark.parametrize("time", [0.0, 0.01, 0.1, 1.0, 4.0, 1e5])
def test_a_lowest_level_at_target_0_is_said_to_be_so(cells: Cells, example: pp.Example, time: float) -> None:
    """It makes networks of these cells 34 % worse or more; where the level belongs, nothing is said."""
    targets = cells.targets
    with pytest.warns(pp.MeasurementWarning, match=r"lowest programmed level entered at target 0\? .*conductance_min"):
        cells.snapshot(time, np.append(0.0, targets[1:]))
    cells.snapshot(time, targets)  # warnings are errors
    cells.snapshot(time, targets - targets[0])  # all shifted alike
    found = tables(cells, time)
    assert predicted(example, found["lowest_at_0"]) > 1.3 * predicted(example, found["as_measured"])


def test_a_table_that_starts_at_0_is_not_suspected_where_devices_are_off_there() -> None:
    Snapshot.table([0, 10e-6, 25e-6], [0.3e-6, 10.1e-6, 24.8e-6], [0.4e-6, 0.9e-6, 1.1e-6])
    Snapshot.table([0, 10e-6, 25e-6], [0.1e-6, 5e-6, 12e-6], [0.4e-6, 0.9e-6, 1.1e-6])  # all have decayed
    for values in ({"type": "table", "reference": 1.0, "points": [0, 2e-6], "values": [1e-6, 2.1e-6]},):
        with pytest.warns(pp.MeasurementWarning):  # as a client sends it
            pp.Hardware(conductance_max=2e-6, measurements=({"mean": values},))


_TARGET, _MEAN, _STD = [0.0, 25e-6, 50e-6], [0.5e-6, 25e-6, 48e-6], [0.4e-6, 1.1e-6, 1.0e-6]
_TABLE = Snapshot.table(_TARGET, _MEAN, _STD)


def _held(hardware: pp.Hardware) -> tuple[list[float], list[float]]:
    mean, variance = device_moments(hardware, torch.tensor(_TARGET, dtype=torch.float64))
    return mean.tolist(), variance.sqrt().tolist()


@pytest.mark.parametrize(
    "hardware",
    [
        pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,)),
        pp.Hardware(conductance_max=50e-6).replace(measurements=(_TABLE,)),
        pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,)).replace(voltage_max=0.1),
        pp.Hardware.from_dict(
            {"conductance_max": 50e-6, "measurements": [{"target": _TARGET, "mean": _MEAN, "std": _STD}]}
        ),
        pp.Hardware.from_dict(pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,)).to_dict()),
        pickle.loads(pickle.dumps(pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,)))),
    ],
)
def test_devices_hold_what_was_measured_however_the_hardware_is_made(hardware: pp.Hardware) -> None:
    assert (hardware.programming_noise_std, hardware.clip_conductance) == (0.0, False)
    mean, std = _held(hardware)
    assert mean == pytest.approx(_MEAN, rel=1e-12)
    assert std == pytest.approx(_STD, rel=1e-12)


def test_draws_have_the_measured_moments(cells: Cells) -> None:
    hardware = pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,))
    target = torch.tensor(_TARGET, dtype=torch.float64)
    random, draws = torch.Generator().manual_seed(0), 100_000
    devices = Devices.prepare(hardware, target, torch.ones(1, dtype=torch.float64))
    shape = (draws, len(_TARGET))
    held = devices.sample(
        lambda: torch.randn(shape, dtype=torch.float64, generator=random),
        lambda: torch.rand(shape, dtype=torch.float64, generator=random),
        torch.empty(shape, dtype=torch.float64),
    )
    assert held.mean(0).tolist() == pytest.approx(_MEAN, abs=4 * max(_STD) / math.sqrt(draws))
    assert held.std(0).tolist() == pytest.approx(_STD, rel=4 / math.sqrt(2 * draws))


def test_what_is_given_beside_measurements_is_added_and_stays() -> None:
    hardware = pp.Hardware(conductance_max=50e-6, programming_noise_std=2e-6, measurements=(_TABLE,))
    assert _held(hardware)[1] == pytest.approx([math.hypot(2e-6, std) for std in _STD])
    given = pp.Hardware(conductance_max=50e-6, programming_noise_std=2e-6, clip_conductance=True)
    copy = given.replace(measurements=(_TABLE,))
    assert (copy.programming_noise_std, copy.clip_conductance) == (2e-6, True)
    assert _held(copy)[0][0] > _MEAN[0]


def test_without_measurements_the_defaults_return() -> None:
    hardware = pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,)).replace(measurements=None)
    assert (hardware.programming_noise_std, hardware.clip_conductance) == (2e-6, True)


@pytest.mark.parametrize(
    "given",
    [{}, {"programming_noise_std": 2e-6}, {"clip_conductance": True}, {"programming_noise_std": 0.0}],
)
def test_jobs_of_a_study_hold_the_same_hardware(given: dict[str, float]) -> None:
    """Defaults have no part in a job; the default beside measurements is another."""
    hardware = pp.Hardware(conductance_max=50e-6, measurements=(_TABLE,), **given)
    assert pp.Hardware.from_dict(_fields(hardware)) == hardware


def test_a_level_that_holds_less_than_the_one_below_it_is_said_to() -> None:
    """Rows that were mixed up: 25 uS hold 9 uS where 10 uS hold 10 uS; a table in order is silent."""
    targets, stds = [0.0, 10e-6, 25e-6, 50e-6], [0.1e-6] * 4
    with pytest.warns(pp.MeasurementWarning, match=r"programmed to 25.0 uS hold 9.00 uS.*less than .* to 10.0 uS"):
        Snapshot.table(targets, [0.0, 10e-6, 9e-6, 50e-6], stds)
    Snapshot.table(targets, [0.0, 9e-6, 24e-6, 49e-6], stds)


def test_the_message_of_a_time_that_was_not_given_says_so() -> None:
    levels = {"target": [0.0, 1e-4], "std": [1e-7, 1e-7]}
    measured = [{**levels, "time": 1.0}, {**levels, "time": 3600.0}]
    with pytest.raises(pp.InvalidInput, match=r"hardware.time: got 0.0.*Without a time it is 0\."):
        pp.Hardware(measurements=measured)
