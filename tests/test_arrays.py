"""Arrays of any library are converted or refused by name: no mask, unit or gradient is dropped without a word."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

import powerplan as pp
import powerplan_client as pc
from powerplan import arrays
from powerplan_client import arrays as client_arrays

BOTH = pytest.mark.parametrize("module", [arrays, client_arrays], ids=["engine", "client"])
ONE_TWO = [1.0, 2.0]
MASKED = np.ma.masked_array(ONE_TWO, mask=[False, True])


class Foreign:
    """An array of another library, which numpy reads by ``__array__``."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(ONE_TWO, dtype)


class Unwilling:
    """An array of a library that does not hand its numbers out, as on a GPU."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("implicit conversion is not allowed")


class Quantity(np.ndarray):
    """An array with a unit, as astropy, pint and unyt have."""

    unit = "uS"


def object_array(*entries: Any) -> np.ndarray:
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array


def foreign_dtype(name: str) -> np.ndarray:
    import ml_dtypes

    return np.array(ONE_TWO, getattr(ml_dtypes, name))


@BOTH
@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda: nn.Parameter(torch.tensor(ONE_TWO)), "float32"),
        (lambda: torch.tensor(ONE_TWO, requires_grad=True) * 1, "float32"),
        (lambda: torch.tensor(ONE_TWO, dtype=torch.float64), "float64"),
        (lambda: torch.tensor(ONE_TWO, dtype=torch.bfloat16), "float32"),
        (lambda: torch.tensor(ONE_TWO).to(torch.float8_e4m3fn), "float32"),
        (lambda: torch.tensor(ONE_TWO).half(), "float16"),
        (lambda: torch.tensor([1, 9, 2, 9])[::2], "int64"),
        (lambda: torch.tensor([1 - 1j, 1 - 2j]).conj().imag, "float32"),  # torch has not yet changed the sign
        (lambda: [torch.tensor(1.0), nn.Parameter(torch.tensor(2.0))], "float32"),
        (lambda: np.ma.masked_array(ONE_TWO), "float64"),
        (lambda: np.ma.masked_array(ONE_TWO, mask=[False, False]), "float64"),
        (lambda: object_array(1, 2.0), "float64"),
        (lambda: [Fraction(1), Decimal(2)], "float64"),
        (lambda: np.array(ONE_TWO, ">f4"), ">f4"),
        (lambda: np.array(ONE_TWO, "g"), np.dtype("g").name),
        (lambda: foreign_dtype("bfloat16"), "float32"),
        (lambda: foreign_dtype("float8_e5m2"), "float32"),
        (lambda: range(1, 3), "int64"),
        (Foreign, "float64"),
    ],
)
def test_numbers_are_taken_from_every_kind_of_array(module: Any, make: Callable[[], Any], dtype: str) -> None:
    array = module.plain_array(make())
    assert type(array) is np.ndarray
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array.astype(np.float64), ONE_TWO)


@BOTH
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: MASKED, "a masked array, 1 of its 2 entries masked"),
        (lambda: [[0.0, 0.0], MASKED], r"entry \[1\]: a masked array"),
        (lambda: [1.0, np.ma.masked], r"entry \[1\]: a masked array"),
        (lambda: object_array(torch.ones(2), MASKED), r"entry \[1\]: a masked array"),
        (lambda: np.ones(2).view(Quantity), "a Quantity, which has a unit"),
        (lambda: torch.eye(2).to_sparse(), "layout torch.sparse_coo"),
        (lambda: sparse.eye_array(3), "a sparse"),
        (lambda: torch.ones(2, device="meta"), "without data"),
        (lambda: nn.LazyLinear(2).weight, "not initialised"),
        (lambda: torch.ones(2, dtype=torch.complex64), "complex numbers, complex64"),
        (lambda: [1j], r"entry \[0\]: complex"),
        (lambda: [[1.0, 2.0], [3.0, None]], r"entry \[1\]\[1\]: None"),
        (lambda: object_array(1.0, None), r"entry \[1\]: None"),
        (lambda: [[1.0, 2.0], [3.0]], r"a ragged list, entries of shapes \(1,\), \(2,\)"),
        (lambda: ["1.0"], r"entry \[0\]: text, '1.0'"),
        (lambda: np.array(["1.0"]), "text, <U3"),
        (lambda: np.array(["2020"], "M8[Y]"), "dates"),
        (lambda: np.zeros(2, [("a", "f4")]), "a structured array"),
        (lambda: nn.Linear(2, 2), "a Linear"),
        (lambda: iter([1.0]), "a list_iterator"),
        (lambda: {"a": 1}, "a dict"),
        (lambda: [10**400], "int too large"),
        (lambda: None, "None"),
        (Unwilling, "implicit conversion is not allowed"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_with_the_reason(
    module: Any, make: Callable[[], Any], reason: str
) -> None:
    with pytest.raises(module.NotNumbers, match=reason) as caught:
        module.plain_array(make())
    assert caught.value.advice.endswith(".")


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(arrays.NotNumbers, match="nested deeper"):
        arrays.plain_array(endless)


WEIGHTS = [np.eye(2), np.ones((2, 2)) / 2]
NETWORK = pp.Network.mlp(WEIGHTS)
INPUTS = np.array([[1.0, 0.5], [0.2, 0.8]])
HARDWARE = pp.Hardware()
GAINS = pp.Gains.full_range(NETWORK, HARDWARE, INPUTS)


def plan(**options: Any) -> pp.Plan:
    return pp.plan(NETWORK, HARDWARE, INPUTS, pp.MaxNMSE(0.1), **options)


def snapshot(mean: Any) -> pp.Hardware:
    return pp.Hardware(measurements=[{"time": 0.0, "target": [0.0, 1e-4], "mean": mean, "std": [1e-6, 1e-6]}])


#: where arrays enter the engine: the field, an array that fits it, and the call
ENGINE: dict[str, tuple[list[float], Callable[[Any], Any]]] = {
    "weights[1]": ([1.0, 0.5], lambda x: pp.Network.mlp([WEIGHTS[0], [x, x]])),
    "biases[0]": ([0.1, 0.2], lambda x: pp.Network.mlp(WEIGHTS, [x, None])),
    "scale.scale": ([0.1, 0.2], lambda x: pp.network.Scale(scale=x, shift=np.zeros(2))),
    "inputs": ([0.1, 0.2], lambda x: NETWORK([x])),
    "gains.conductance[0]": ([1e-6, 1e-6], lambda x: pp.Gains(conductance=[x, 1e-6], voltage=[1.0, 1.0])),
    "gains.voltage[0]": ([0.1, 0.1], lambda x: pp.Gains(conductance=[1e-6, 1e-6], voltage=x)),
    "gains.voltage[1]": ([0.1, 0.1], lambda x: plan(optimize="conductance", voltage=[0.1, x])),
    "output_weights": ([1.0, 2.0], lambda x: plan(output_weights=x)),
    "steps.values": ([0.1, 0.2], lambda x: pp.Steps(values=x)),
    "labels": ([1.0, 0.0], lambda x: pp.predict(NETWORK, HARDWARE, GAINS, INPUTS).accuracy(x)),
    "target.labels": ([1.0, 0.0], lambda x: pp.MaxAccuracyDrop(0.1, x)),
    "hardware.programming_noise_polynomial": ([1e-6, 0.0], lambda x: pp.Hardware(programming_noise_polynomial=x)),
    "hardware.measurements[0].mean.values": ([0.0, 1e-4], snapshot),
}


@pytest.mark.parametrize("field", ENGINE)
def test_every_array_of_the_engine_may_be_a_parameter_and_none_may_be_masked(field: str) -> None:
    good, call = ENGINE[field]
    call(nn.Parameter(torch.tensor(good, dtype=torch.float64)))
    with pytest.raises(pp.InvalidInput, match="masked") as caught:
        call(np.ma.masked_array(good, mask=[False, True]))
    assert caught.value.violations[0].field.startswith(field.removesuffix("[0]") if "voltage[0]" in field else field)


CLIENT: dict[str, tuple[list[float], Callable[[pc.PlannerClient, Any], Any]]] = {
    "weights[1]": ([1.0, 0.5], lambda c, x: pc.Network.mlp([WEIGHTS[0], [x, x]])),
    "biases[0]": ([0.1, 0.2], lambda c, x: pc.Network.mlp(WEIGHTS, [x, None])),
    "inputs": ([0.1, 0.2], lambda c, x: c.plan(WEIGHTS, None, [x], pc.MaxNMSE(0.1))),
    "gains.conductance[0]": (
        [1e-6, 1e-6],
        lambda c, x: c.predict(WEIGHTS, None, pc.Gains(conductance=(x, 1e-6), voltage=(1.0, 1.0)), INPUTS),
    ),
    "labels": ([1.0, 0.0], lambda c, x: c.predict(WEIGHTS, None, None, INPUTS, labels=x)),
    "target.labels": (
        [1.0, 0.0],
        lambda c, x: c.plan(WEIGHTS, None, INPUTS, pc.MaxAccuracyDrop(0.1, x), validate_only=True),
    ),
    "output_weights": ([1.0, 2.0], lambda c, x: c.plan(WEIGHTS, None, INPUTS, pc.MaxNMSE(0.1), output_weights=x)),
    "conductance_steps.values": (
        [1e-6, 1e-5],
        lambda c, x: c.plan(WEIGHTS, None, INPUTS, pc.MaxNMSE(0.1), conductance_steps=pc.Steps(values=x)),
    ),
    "hardware.programming_noise_polynomial": (
        [1e-6, 0.0],
        lambda c, x: c.plan(WEIGHTS, pc.Hardware(programming_noise_polynomial=x), INPUTS, pc.MaxNMSE(0.1)),
    ),
    "profile.power_coefficients": (
        [1.0, 1.0],
        lambda c, x: c.plan_profile(
            pc.Profile(power_coefficients=[x], power_exponents=[1.0, 2.0], mse_coefficients=[[1.0]], mse_exponents=[2]),
            pc.MaxMSE(0.1),
        ),
    ),
}


@pytest.mark.parametrize("field", CLIENT)
def test_every_array_of_the_client_may_be_a_parameter_and_none_may_be_masked(field: str) -> None:
    good, call = CLIENT[field]
    with pc.PlannerClient.local() as client:
        call(client, nn.Parameter(torch.tensor(good, dtype=torch.float64)))
        with pytest.raises(pc.InvalidRequest, match="masked") as caught:
            call(client, np.ma.masked_array(good, mask=[False, True]))
    assert caught.value.violations[0].field == field


def test_tensors_plan_as_the_arrays_they_hold() -> None:
    """Half precision too: the numbers are the same, so is the plan."""
    half = [torch.tensor(w, dtype=torch.bfloat16) for w in WEIGHTS]
    assert pp.Network.mlp([nn.Parameter(w) for w in half]).digest == pp.Network.mlp([w.float() for w in half]).digest
    inputs = torch.tensor(INPUTS, requires_grad=True)
    assert pp.plan(NETWORK, HARDWARE, inputs, pp.MaxNMSE(0.1)).power == plan().power


def test_one_hot_labels_are_told_from_classes() -> None:
    with pytest.raises(pp.InvalidInput, match="argmax"):
        pp.MaxAccuracyDrop(0.1, np.eye(3))
