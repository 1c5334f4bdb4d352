"""What the moment rule of every digital operation must do: one suite, run over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from powerplan.moments.rules import Linearized, linearize
from powerplan.moments.rules.jacobian import at_the_mean
from powerplan.network import ops
from powerplan.network.digital import digital

RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """An operation, the shapes of its inputs (without batch), and how its rule is compared.

    ``std`` of the inputs; ``bias`` in standard deviations of the output and ``spread`` relative to its variance:
    what the rule may be off beyond the error of the simulation. ``indices``: inputs are indices.
    """

    op: ops.Op
    shapes: tuple[tuple[int, ...], ...]
    std: float = 0.7
    bias: float = 0.0
    spread: float = 0.0
    same: bool = False
    indices: bool = False


def exact(op: ops.Op, *shapes: tuple[int, ...], **options: bool) -> Case:
    return Case(op, shapes, **options)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


CASES = {
    **{f"activation_{kind}": exact(ops.Activation(kind=kind), (2, 3)) for kind in ops.ACTIVATIONS},
    "scale_channels": exact(ops.Scale(scale=normal(3), shift=normal(3)), (3, 2, 2)),
    "scale_last_axis": exact(ops.Scale(scale=normal(2), shift=normal(2), axis=-1), (3, 2)),
    "scale_broadcast": exact(ops.Scale(scale=normal(3, 1), shift=normal(3, 1)), (3, 2)),
    "add": exact(ops.Add(), (3, 2), (3, 2)),
    "add_three_broadcast": exact(ops.Add(), (2,), (3, 1, 2), (4, 1)),
    "add_same": exact(ops.Add(), (3, 2), (3, 2), same=True),
    "slice_sum": exact(ops.SliceSum(), (3, 2), (3, 2)),
    "multiply": exact(ops.Multiply(), (3, 2), (3, 2)),
    "multiply_broadcast": exact(ops.Multiply(), (3, 2, 2), (3, 1, 1)),
    "multiply_fewer_axes": exact(ops.Multiply(), (2,), (3, 2)),
    "multiply_same": exact(ops.Multiply(), (3, 2), (3, 2), same=True),
    "matmul": exact(ops.MatMul(), (3, 4), (4, 2)),
    "matmul_heads": exact(ops.MatMul(), (2, 3, 4), (2, 4, 5)),
    "matmul_broadcast": exact(ops.MatMul(), (3, 4), (2, 4, 5)),
    "matmul_same": exact(ops.MatMul(), (3, 3), (3, 3), same=True),
    "digital_linear": exact(ops.DigitalLayer.of(ops.Linear(weight=normal(3, 4), bias=normal(3))), (2, 4)),
    "digital_conv": exact(ops.DigitalLayer.of(ops.Conv(weight=normal(2, 3, 3), padding=((1, 1),))), (3, 5)),
    "flatten": exact(ops.Flatten(), (2, 3, 2)),
    "flatten_flat": exact(ops.Flatten(), (4,)),
    "reshape": exact(ops.Reshape(shape=(3, -1)), (2, 3, 2)),
    "permute": exact(ops.Permute(axes=(2, 0, 1)), (2, 3, 4)),
    "concat": exact(ops.Concat(axis=0), (2, 3), (1, 3), (3, 3)),
    "concat_last": exact(ops.Concat(axis=-1), (2, 3), (2, 1)),
    "slice": exact(ops.Slice(axis=-1, start=1, stop=6, step=2), (2, 6)),
    "slice_drop": exact(ops.Slice(axis=0, start=1, stop=2, keep_axis=False), (3, 2)),
    "take": exact(ops.Take(indices=np.array([5.0, 0, 3, 3, 1, 0]), shape=(2, 3)), (2, 3)),
    "pad": exact(ops.Pad(padding=((1, 0), (0, 2)), value=1.5), (2, 3, 3)),
    "pad_reflect": exact(ops.Pad(padding=((1, 2),), mode="reflect"), (2, 4)),
    "pad_replicate": exact(ops.Pad(padding=((1, 2), (0, 1)), mode="replicate"), (2, 3, 3)),
    "pad_circular": exact(ops.Pad(padding=((1, 2),), mode="circular"), (2, 4)),
    "upsample_nearest": exact(ops.Upsample(size=(5, 4)), (2, 3, 2)),
    "upsample_linear": exact(ops.Upsample(size=(7,), mode="linear"), (2, 3)),
    "upsample_bilinear": exact(ops.Upsample(size=(5, 4), mode="bilinear"), (2, 3, 2)),
    "upsample_bilinear_corners": exact(ops.Upsample(size=(5, 4), mode="bilinear", align_corners=True), (2, 3, 2)),
    "upsample_bicubic": exact(ops.Upsample(size=(6, 5), mode="bicubic"), (1, 4, 5)),
    "upsample_trilinear": exact(ops.Upsample(size=(3, 4, 3), mode="trilinear"), (1, 2, 2, 2)),
    "upsample_down": exact(ops.Upsample(size=(2, 3), mode="bilinear"), (1, 5, 4)),
    "function": exact(
        ops.Function(steps=(("cumsum", ({"value": 0}, 1), {}),), inputs=((3, 4),), shape=(3, 4), label="cumsum"), (3, 4)
    ),
    "function_smooth": Case(
        ops.Function(
            steps=(("sin", ({"value": 0},), {}), ("mul", ({"step": 0}, {"value": 1}), {})),
            inputs=((2, 3), (3,)),
            shape=(2, 3),
        ),
        ((2, 3), (3,)),
        std=0.02,
        bias=0.05,
        spread=0.1,
    ),
    "embedding": exact(ops.Embedding(weight=normal(5, 3)), (4,), indices=True),
    "average_pool": exact(ops.AveragePool(kernel=(2, 2)), (2, 4, 4)),
    "average_pool_1d": exact(ops.AveragePool(kernel=(3,), stride=(2,), padding=(1,)), (2, 6)),
    "average_pool_padded": exact(ops.AveragePool(kernel=(3, 2), stride=(2, 1), padding=(1, 1)), (1, 5, 4)),
    "average_pool_valid_count": exact(
        ops.AveragePool(kernel=(3, 3), stride=(2, 2), padding=(1, 1), count_include_pad=False), (1, 5, 4)
    ),
    "average_pool_ceil": exact(
        ops.AveragePool(kernel=(3, 2), stride=(2, 2), padding=(1, 0), ceil_mode=True), (1, 6, 5)
    ),
    "average_pool_3d": exact(ops.AveragePool(kernel=(2, 2, 2)), (1, 2, 4, 2)),
    "adaptive_average": exact(ops.AdaptiveAveragePool(size=(3, 2)), (2, 5, 4)),
    "global_average": exact(ops.AdaptiveAveragePool(size=(1, 1)), (2, 3, 3)),
    "adaptive_average_1d": exact(ops.AdaptiveAveragePool(size=(7,)), (2, 5)),
    "mean": exact(ops.Mean(axes=(1, -1)), (2, 3, 4)),
    "mean_keep": exact(ops.Mean(axes=(0,), keep_axes=True), (3, 2)),
    "max_pool": Case(ops.MaxPool(kernel=(2, 2)), ((2, 4, 4),), bias=0.02, spread=0.05),
    "max_pool_overlapping": Case(
        ops.MaxPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), ((2, 5, 6),), bias=0.04, spread=0.1
    ),
    "max_pool_dilated": Case(ops.MaxPool(kernel=(2,), stride=(1,), dilation=(2,)), ((2, 6),)),
    "max_pool_ceil": Case(
        ops.MaxPool(kernel=(2, 3), stride=(2, 2), ceil_mode=True), ((1, 5, 4),), bias=0.04, spread=0.1
    ),
    "max_pool_one": Case(ops.MaxPool(kernel=(1, 1), stride=(2, 2)), ((1, 4, 4),)),
    "max_pool_3d": Case(ops.MaxPool(kernel=(2, 1, 2)), ((1, 2, 2, 4),), bias=0.02, spread=0.05),
    "adaptive_max": Case(ops.AdaptiveMaxPool(size=(2, 3)), ((1, 5, 4),), bias=0.04, spread=0.1),
    "global_max": Case(ops.AdaptiveMaxPool(size=(1,)), ((2, 7),), bias=0.04, spread=0.1),
    "layer_norm": Case(ops.LayerNorm(weight=normal(12), bias=normal(12)), ((3, 12),), std=0.05, bias=0.05, spread=0.02),
    "layer_norm_axes": Case(ops.LayerNorm(axes=2), ((2, 3, 4),), std=0.05, bias=0.05, spread=0.02),
    "rms_norm": Case(ops.RMSNorm(weight=normal(12), bias=normal(12)), ((3, 12),), std=0.05, bias=0.05, spread=0.02),
    "rms_norm_axes": Case(ops.RMSNorm(axes=2), ((2, 3, 4),), std=0.05, bias=0.05, spread=0.02),
    "group_norm": Case(
        ops.GroupNorm(groups=2, weight=normal(4), bias=normal(4)), ((4, 3, 2),), std=0.05, bias=0.05, spread=0.02
    ),
    "instance_norm": Case(ops.GroupNorm(groups=2), ((2, 9),), std=0.05, bias=0.05, spread=0.02),
    "softmax": Case(ops.Softmax(), ((2, 5),), std=0.03, bias=0.03, spread=0.02),
    "softmax_first_axis": Case(ops.Softmax(axis=0), ((4, 2),), std=0.03, bias=0.03, spread=0.02),
    "softmax_of_one": Case(ops.Softmax(), ((2, 1),)),
    "log_softmax": Case(ops.Softmax(logarithm=True), ((2, 5),), std=0.03, bias=0.03, spread=0.02),
}
CASE = pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))


def inputs(
    case: Case, rows: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Means and variances (rows, *shape); the very same tensor twice where the case says so."""
    rng = np.random.default_rng(seed)
    means, variances = [], []
    for shape in case.shapes:
        if case.indices:
            means.append(torch.tensor(rng.integers(0, 5, (rows, *shape)), dtype=dtype))
            variances.append(torch.zeros_like(means[-1]))
            continue
        means.append(torch.tensor(rng.normal(size=(rows, *shape)), dtype=dtype))
        spread = (case.std * rng.uniform(0.5, 1.0, (rows, *shape))) ** 2
        variances.append(torch.tensor(spread, dtype=dtype))
    if case.same:
        means, variances = [means[0]] * 2, [variances[0]] * 2
    return means, variances


def tangents(
    case: Case, rows: int, count: int, seed: int = 5, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.normal(size=(rows, count, *shape)), dtype=dtype) for shape in case.shapes]


def rule(case: Case, means: list[torch.Tensor], variances: list[torch.Tensor]) -> Linearized:
    return linearize(case.op, means, variances)


def test_every_digital_operation_has_a_case() -> None:
    tested = {type(case.op) for case in CASES.values()} | {ops.Constant}
    assert tested == {op for op in ops.operations().values() if not op.is_crossbar}


@pytest.mark.slow
@CASE
def test_moments_against_simulation(case: Case) -> None:
    """Mean and variance for independent Gaussian inputs: 40 000 draws, five standard errors."""
    means, variances = inputs(case, rows=1)
    found = rule(case, means, variances)
    generator = torch.Generator().manual_seed(1)
    draws = 40_000
    noisy = [
        m + v.sqrt() * torch.randn(draws, *m.shape[1:], generator=generator, dtype=torch.float64)
        for m, v in zip(means, variances, strict=True)
    ]
    if case.same:
        noisy = [noisy[0]] * 2
    values = digital(case.op, *noisy)
    mean, variance = values.mean(0), values.var(0)
    fourth = ((values - mean) ** 4).mean(0)
    spread_error = 5 * ((fourth - variance**2).clamp(min=0) / draws).sqrt()
    off = (found.mean[0] - mean).abs()
    assert (off <= 5 * (variance / draws).sqrt() + case.bias * variance.sqrt() + 1e-12).all(), off.max()
    off = (found.variance[0] - variance).abs()
    assert (off <= spread_error + case.spread * variance + 1e-12).all(), (off / variance).max()


@CASE
def test_zero_variance_is_the_function_itself(case: Case) -> None:
    means, variances = inputs(case)
    found = rule(case, means, [torch.zeros_like(v) for v in variances])
    np.testing.assert_allclose(found.mean, digital(case.op, *means), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.variance, 0, atol=1e-25)
    assert found.residual is None or float(found.residual.abs().max()) <= 1e-25


@CASE
def test_pull_is_the_transpose_of_push(case: Case) -> None:
    """<a, push(p)> = Σ <pull(a), p>, with adjoints and perturbations of every input or of the whole batch."""
    means, variances = inputs(case)
    found = rule(case, means, variances)
    for rows in (3, 1):
        directions = tangents(case, rows, 4)
        pushed = found.push(*directions)
        assert pushed.shape[1:] == (4, *found.mean.shape[1:])
        adjoint = torch.tensor(np.random.default_rng(2).normal(size=(rows, 4, *found.mean.shape[1:])))
        pulled = found.pull(adjoint)
        assert len(pulled) == len(case.shapes)
        for a, shape in zip(pulled, case.shapes, strict=True):
            assert a.shape[1:] == (4, *shape)
            assert a.shape[0] in (rows, 3)
        left = (adjoint * pushed).flatten(2).sum(-1).expand(3, 4)
        right = sum((a * p).flatten(2).sum(-1).expand(3, 4) for a, p in zip(pulled, directions, strict=True))
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-10)


@CASE
def test_push_is_the_derivative_of_the_mean(case: Case) -> None:
    """In the means, for moderate noise: exactly if the mean is exact (Stein), else to first order at no noise."""
    means, variances = inputs(case)
    if case.indices:
        assert (rule(case, means, variances).push(*tangents(case, 3, 2)) == 0).all()
        return
    if case.bias or case.spread or rule(case, means, variances).first_order:
        variances = [1e-14 * v for v in variances]
    found = rule(case, means, variances)
    (*directions,) = (t[:, 0] for t in tangents(case, 3, 1))
    if case.same:
        directions = [directions[0]] * 2
    step = 1e-5

    def shifted(sign: int) -> torch.Tensor:
        moved = [m + sign * step * d for m, d in zip(means, directions, strict=True)]
        return rule(case, [moved[0]] * 2 if case.same else moved, variances).mean

    slope = (shifted(1) - shifted(-1)) / (2 * step)
    np.testing.assert_allclose(found.push(*(d.unsqueeze(1) for d in directions))[:, 0], slope, rtol=1e-5, atol=1e-6)


@CASE
def test_variance_is_linear_part_plus_residual(case: Case) -> None:
    """Var = J diag(v) Jᵀ + residual, with J from ``pull``: what adjoints add up to is the variance of the rule."""
    means, variances = inputs(case, rows=2)
    if case.indices:
        return
    found = rule(case, means, variances)
    outputs = found.mean[0].numel()
    adjoint = torch.eye(outputs, dtype=torch.float64).reshape(1, outputs, *found.mean.shape[1:])
    pulled = list(found.pull(adjoint))
    if case.same:
        pulled, variances = [pulled[0] + pulled[1]], variances[:1]
    linear = sum((a**2 * v.unsqueeze(1)).flatten(2).sum(-1) for a, v in zip(pulled, variances, strict=True))
    rest = 0 if found.residual is None else found.residual.expand_as(found.mean).flatten(1)
    total = found.variance.expand_as(found.mean).flatten(1)
    if "Pool" in type(case.op).__name__ and "Max" in type(case.op).__name__:
        # entries shared by pairs of intermediate maxima: their covariance is carried by J, not by the marginals
        assert (linear + rest - total).abs().max() <= 0.3 * total.max()
    else:
        np.testing.assert_allclose(linear + rest, total, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@CASE
def test_derivatives(case: Case) -> None:
    """gradcheck of mean, variance, residual, pull and push in means, variances, adjoints and perturbations."""
    means, variances = inputs(case, rows=1)
    if case.indices:
        return
    directions = tangents(case, 1, 1)
    count = len(means)
    adjoint = torch.tensor(np.random.default_rng(3).normal(size=(1, 1, *rule(case, means, variances).mean.shape[1:])))

    def values(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        m, v = list(arguments[:count]), list(arguments[count : 2 * count])
        if case.same:
            m, v = [m[0]] * 2, [v[0]] * 2
        found = rule(case, m, v)
        given, *perturbations = arguments[2 * count :]
        still = 0 * sum(a.sum() for a in arguments)
        results = [found.mean, found.variance, *found.pull(given), found.push(*perturbations)]
        if found.residual is not None:
            results.append(found.residual)
        # one number each keeps the check quick; weights tell entries apart
        return tuple((r * torch.linspace(1, 2, r.numel(), dtype=r.dtype).view(r.shape)).sum() + still for r in results)

    arguments = [a.clone().requires_grad_() for a in (*means, *variances, adjoint, *directions)]
    assert torch.autograd.gradcheck(values, arguments, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@CASE
def test_no_nan_at_extremes(case: Case, dtype: torch.dtype) -> None:
    """Ties, no noise, tiny and huge noise, large means: finite values and derivatives of the right precision."""
    if case.indices:
        return
    means, _ = inputs(case, rows=1, dtype=dtype)
    for size in (0.0, 1.0, 1e3):
        for variance in (0.0, 1e-40, 1e-12, 1e2):
            m = [(size * x).requires_grad_() for x in means]
            v = [torch.full_like(x, variance, requires_grad=True) for x in means]
            if case.same:
                m, v = [m[0]] * 2, [v[0]] * 2
            found = rule(case, m, v)
            directions = tangents(case, 1, 2, dtype=dtype)
            results = [found.mean, found.variance, found.push(*directions), *found.pull(found.mean.unsqueeze(1))]
            assert all(r.dtype == dtype for r in results)
            assert all(r.isfinite().all() for r in results)
            assert (found.variance >= 0).all()
            total = sum(r.sum() for r in results)
            if total.requires_grad:
                gradients = torch.autograd.grad(total, [*m, *v], allow_unused=True, materialize_grads=True)
                assert all(g.isfinite().all() for g in gradients)


@CASE
def test_float32_agrees(case: Case) -> None:
    """Single precision gives the moments to a few of its roundings."""
    double = rule(case, *inputs(case))
    single = rule(case, *inputs(case, dtype=torch.float32))
    size = float(double.mean.abs().max())
    np.testing.assert_allclose(single.mean, double.mean, rtol=1e-5, atol=2e-6 * max(size, 1))
    np.testing.assert_allclose(single.variance, double.variance, rtol=1e-4, atol=1e-5 * float(double.variance.max()))


@pytest.mark.parametrize("case", [c for c in CASES.values() if len(c.shapes) > 1 and not c.same])
def test_constants_have_batch_one(case: Case) -> None:
    """A second input with batch 1 and no variance is the same as that input repeated."""
    means, variances = inputs(case)
    single = [means[0], *(m[:1] for m in means[1:])], [variances[0], *(0 * v[:1] for v in variances[1:])]
    spread = [[x.expand(3, *x.shape[1:]).clone() for x in part] for part in single]
    short, long = rule(case, *single), rule(case, *spread)
    np.testing.assert_allclose(short.mean, long.mean, rtol=1e-14)
    np.testing.assert_allclose(short.variance.expand_as(long.variance), long.variance, rtol=1e-12, atol=1e-15)
    directions = tangents(case, 3, 2)
    np.testing.assert_allclose(short.push(*directions), long.push(*directions), rtol=1e-13, atol=1e-14)
    still = [directions[0], *(d[:1] for d in directions[1:])]
    assert short.push(*still).shape == (3, 2, *short.mean.shape[1:])
    adjoint = torch.ones(1, 2, *short.mean.shape[1:], dtype=torch.float64)
    for a, b, shape in zip(short.pull(adjoint), long.pull(adjoint), case.shapes, strict=True):
        assert a.shape[1:] == (2, *shape)
        np.testing.assert_allclose(a.expand(3, *a.shape[1:]), b.expand(3, *b.shape[1:]), rtol=1e-13, atol=1e-14)


def test_a_constant() -> None:
    """Its value, no variance, nothing to pull or to push."""
    found = linearize(ops.Constant(value=np.arange(6.0).reshape(2, 3)), [], [])
    np.testing.assert_array_equal(found.mean[0], np.arange(6.0).reshape(2, 3))
    assert (found.variance == 0).all()
    assert found.pull(torch.ones(1, 2, 2, 3)) == ()
    assert found.push().shape == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (ops.Softmax(), (2, 5)),
        (ops.LayerNorm(epsilon=1e-3), (3, 4)),
        (ops.RMSNorm(epsilon=1e-3), (3, 4)),
        (ops.Softmax(), (4, 40)),
    ],
)
def test_an_operation_without_a_rule(op: ops.Op, shape: tuple[int, ...]) -> None:
    """Automatic differentiation gives what the closed Jacobians give; variances exactly, or within 40 % if random."""
    means, variances = inputs(Case(op, (shape,)))
    variances = [1e-6 * v for v in variances]
    found, closed = at_the_mean(op, means, variances), linearize(op, means, variances)
    np.testing.assert_allclose(found.mean, closed.mean, atol=1e-5)
    few = np.prod(shape) <= 64
    np.testing.assert_allclose(found.variance.sum(), closed.variance.sum(), rtol=1e-4 if few else 0.4)
    if few:
        np.testing.assert_allclose(found.variance, closed.variance, rtol=1e-4, atol=1e-12)
    (direction,) = tangents(Case(op, (shape,)), 1, 2)
    np.testing.assert_allclose(found.push(direction), closed.push(direction), rtol=1e-4, atol=1e-5)
    adjoint = torch.tensor(np.random.default_rng(2).normal(size=(1, 2, *shape)))
    np.testing.assert_allclose(found.pull(adjoint)[0], closed.pull(adjoint)[0], rtol=1e-4, atol=1e-5)
    assert found.first_order
