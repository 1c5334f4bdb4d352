"""What every error source must do, whatever the read-out and however often an array is read: its variance, covariance,
what it causes in directions of the output, and its samples agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.full_scale import full_scales
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.program import program
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.sources import SOURCES, Errors, errors_of
from powerplan.moments.sources.errors import squares
from powerplan.moments.sources.sampled import Sampled
from powerplan.network import Network, Node
from powerplan.network.ops import Conv, ConvTranspose, CrossbarOp, Linear

EXACT = {"programming_noise_std": 0.0, "clip_conductance": False}
SOURCE: dict[str, dict[str, Any]] = {
    "programming": {"programming_noise_std": 2e-6, "conductance_min": 1e-6},
    "device gain": {**EXACT, "device_gain_std": 0.1, "conductance_min": 1e-6},
    "stuck": {**EXACT, "stuck_on_fraction": 0.05, "conductance_min": 1e-6},
    "read": {**EXACT, "read_noise_std": 2e-8},
    "thermal": {**EXACT, "thermal_noise": True, "bandwidth": 1e9},
    "row": {**EXACT, "input_noise_std": 5e-3},
    "row through programming": {"programming_noise_std": 2e-6, "conductance_min": 1e-6, "input_noise_std": 5e-2},
    "column gain": {**EXACT, "column_gain_std": 0.05},
}
READ_OUT: dict[str, dict[str, Any]] = {
    "amplifier": {},
    "tiles": {"array_rows": 3},
    "offset": {"weight_mapping": "offset"},
    "divider": {"read_out": "divider", "load_conductance": 1e-4, "array_rows": 4},
}
RNG = np.random.default_rng(0)


def layer(input_shape: tuple[int, ...], op: CrossbarOp) -> Network:
    return Network(nodes=(Node(name="a", op=op, inputs=("input",)),), input_shape=input_shape)


NETWORK = {
    "dense": layer((6,), Linear(weight=RNG.normal(size=(4, 6)))),
    "kernel": layer((2, 3, 3), Conv(weight=RNG.normal(size=(3, 2, 2, 2)))),
    "transposed": layer((2, 2, 2), ConvTranspose(weight=RNG.normal(size=(2, 2, 2, 2)), stride=(1, 1))),
}
DRAWS = 20_000
KINDS = {"programming", "read", "row", "column_gain"}


def arrays() -> Iterator[Any]:
    """Every source x read-out x operation, shared and unrolled where that differs."""
    for source, noise in SOURCE.items():
        for read_out, columns in READ_OUT.items():
            for operation in NETWORK:
                for mapping in ("shared",) if operation == "dense" else ("shared", "unrolled"):
                    if operation == "transposed" and read_out == "offset":
                        continue  # refused
                    fields = {**noise, **columns, "mapping": mapping}
                    yield pytest.param(operation, fields, id=f"{source}-{read_out}-{operation}-{mapping}")


ARRAYS = list(arrays())


def read(operation: str, fields: dict[str, Any], *, spread: float) -> Reading:
    """An array at gains of columns and rows, read at two inputs with a variance."""
    network, hardware = NETWORK[operation], pp.Hardware(**fields)
    (constants,) = ArrayConstants.all_of(network, hardware, torch.float64)
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(2, *network.input_shape, generator=generator, dtype=torch.float64)
    c = 2e-5 * (1 + 0.3 * torch.rand(constants.map.n_out, generator=generator, dtype=torch.float64))
    v = 0.1 * (1 + 0.3 * torch.rand(constants.map.n_in, generator=generator, dtype=torch.float64))
    (scale,) = full_scales(network, hardware, inputs.numpy())
    array = program(constants, hardware, c, v, scale)
    return Reading(array=array, mean=inputs, variance=spread * torch.ones_like(inputs))


def errors(reading: Reading) -> tuple[Errors, ...]:
    found = errors_of(reading, reading.array.whole)
    assert found
    assert {part.kind for part in found} <= KINDS
    assert sum(float(part.output_variance.sum()) for part in found) > 0
    return found


def outputs(array: ProgrammedArray) -> int:
    return int(np.prod(array.map.output_shape))


def identity(reading: Reading) -> torch.Tensor:
    """Every output of both inputs as a direction, (2, n, *shape)."""
    shape = reading.array.map.output_shape
    return (
        torch.eye(outputs(reading.array), dtype=torch.float64).reshape(1, -1, *shape).repeat(2, 1, *(1,) * len(shape))
    )


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(((found - expected).abs() <= 1e-10 * expected.abs().max()).all())


@pytest.mark.parametrize(("operation", "fields"), ARRAYS)
def test_variance_is_the_diagonal_of_the_covariance(operation: str, fields: dict[str, Any]) -> None:
    reading = read(operation, fields, spread=0.2)
    incoming = torch.diag_embed(reading.variance.flatten(1))
    for part in errors(reading):
        diagonal = part.covariance(incoming).diagonal(dim1=1, dim2=2)
        overlapping = operation == "kernel" and fields.get("read_out") == "divider"  # its nodes see inputs together
        if not overlapping or part.kind != "programming":
            assert close(diagonal.expand(2, -1), part.output_variance.flatten(1).expand(2, -1))


@pytest.mark.parametrize(("operation", "fields"), ARRAYS)
def test_all_directions_together_have_the_covariance(operation: str, fields: dict[str, Any]) -> None:
    """At exact inputs, whose spread the adjoint sweep takes as another one in every read."""
    reading = read(operation, fields, spread=0.0)
    for part in errors(reading):
        joint = part.caused([(part, identity(reading))], joint=True)
        apart = part.caused([(part, identity(reading))], joint=False)
        assert close(joint, part.covariance(None).expand_as(joint))
        assert close(apart, joint.diagonal(dim1=1, dim2=2))


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "fields"), ARRAYS)
def test_samples_have_mean_zero_and_the_covariance(operation: str, fields: dict[str, Any]) -> None:
    """Of 20 000 samples, every entry within six of its standard errors: all of the suite's by chance in 1 of 10^5 runs.

    Rare stuck devices are so many as expected: their variance is that of a Poisson process, larger by the share.
    """
    reading = read(operation, fields, spread=0.0)
    generator = torch.Generator().manual_seed(1)
    sampled = Sampled(array=reading.array, mean=reading.mean, count=DRAWS, generator=generator, common=generator)
    slack = fields.get("stuck_on_fraction", 0.0)
    for part in errors(reading):
        drawn = over_batch(reading.array.map.gather, part.samples(sampled)).flatten(2)
        assert drawn.shape == (2, DRAWS, outputs(reading.array))
        error = drawn.std(1) / DRAWS**0.5
        assert (drawn.mean(1).abs() <= 6 * error + 1e-12).all()
        expected = part.covariance(None).expand(2, -1, -1)
        scale = expected.diagonal(dim1=1, dim2=2).sqrt()
        largest = scale.unsqueeze(1) * scale.unsqueeze(2)
        # mean and mean square of the products of any two outputs, (2, n, n)
        products, squared = (values.mT @ values / DRAWS for values in (drawn, drawn.square()))
        error = (squared - products.square()).clamp_min(0).sqrt() / DRAWS**0.5
        floor = 1e-9 * largest.amax((1, 2), keepdim=True)
        assert ((products - expected).abs() <= 6 * error + slack * largest + floor).all()


@pytest.mark.parametrize(("operation", "fields"), ARRAYS)
def test_channels_add_up_to_the_whole(operation: str, fields: dict[str, Any]) -> None:
    """What is converted by itself errs independently, but for the rows that both sides of a divider share."""
    reading = read(operation, fields, spread=0.2)
    array = reading.array
    for source in SOURCES:
        whole = [part.output_variance for part in source(reading, array.whole)]
        apart = [
            part.output_variance for channel in array.read_out.channels(array) for part in source(reading, channel)
        ]
        if whole and not (fields.get("read_out") == "divider" and fields.get("input_noise_std")):
            assert close(sum(apart, torch.zeros(())), sum(whole, torch.zeros(())))


@pytest.mark.parametrize("batches", [(3, 3), (1, 3), (3, 1)])
def test_what_independent_errors_cause_is_differentiable(batches: tuple[int, int]) -> None:
    """gradcheck of Σ A² q in A and q, of every input or the same for all."""
    generator = torch.Generator().manual_seed(0)
    adjoint, variance = (
        torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((batches[0], 2, 4, 5), (batches[1], 4, 5))
    )
    expected = torch.einsum("bkij,bij->bk", adjoint**2, variance.expand(max(batches), 4, 5))
    torch.testing.assert_close(squares(adjoint, variance), expected)
    assert torch.autograd.gradcheck(squares, (adjoint, variance))
