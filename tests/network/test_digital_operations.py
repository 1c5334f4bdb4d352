"""Digital operations and the maps of crossbar operations against torch's own modules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from powerplan.errors import InvalidInput
from powerplan.network import ops
from powerplan.network.array_maps import ArrayMap, array_map
from powerplan.network.digital import digital
from powerplan.network.ops.crossbar import CrossbarOp

RNG = np.random.default_rng(11)


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def norm(module: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Random weight and bias given to a module, as arrays."""
    with torch.no_grad():
        module.weight.copy_(torch.tensor(RNG.normal(size=module.weight.shape)))
        module.bias.copy_(torch.tensor(RNG.normal(size=module.bias.shape)))
    return module.weight.detach().numpy(), module.bias.detach().numpy()


def layer_norm() -> tuple[ops.Op, nn.Module]:
    module = nn.LayerNorm((3, 4), eps=1e-3).double()
    weight, bias = norm(module)
    return ops.LayerNorm(axes=2, weight=weight, bias=bias, epsilon=1e-3), module


def group_norm() -> tuple[ops.Op, nn.Module]:
    module = nn.GroupNorm(2, 4).double()
    weight, bias = norm(module)
    return ops.GroupNorm(groups=2, weight=weight, bias=bias), module


def rms_norm() -> tuple[ops.Op, nn.Module]:
    module = nn.RMSNorm((3, 4), eps=1e-3).double()
    weight = RNG.normal(size=(3, 4))
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
    return ops.RMSNorm(axes=2, weight=weight, epsilon=1e-3), module


PAIRS = {
    "relu6": (ops.Activation(kind="hard_tanh", parameters={"low": 0.0, "high": 6.0}), nn.ReLU6(), (3,)),
    "hard_swish": (ops.Activation(kind="hard_swish"), nn.Hardswish(), (3,)),
    "hard_sigmoid": (ops.Activation(kind="hard_sigmoid"), nn.Hardsigmoid(), (3,)),
    "elu": (ops.Activation(kind="elu", parameters={"alpha": 0.7}), nn.ELU(0.7), (3,)),
    "selu": (ops.Activation(kind="selu"), nn.SELU(), (3,)),
    "mish": (ops.Activation(kind="mish"), nn.Mish(), (3,)),
    "softsign": (ops.Activation(kind="softsign"), nn.Softsign(), (3,)),
    "max_pool": (
        ops.MaxPool(kernel=(3, 2), stride=(2, 1), padding=(1, 0)),
        nn.MaxPool2d((3, 2), (2, 1), (1, 0)),
        (2, 5, 4),
    ),
    "max_pool_dilated": (
        ops.MaxPool(kernel=(2,), stride=(1,), dilation=(2,), ceil_mode=True),
        nn.MaxPool1d(2, 1, dilation=2, ceil_mode=True),
        (2, 6),
    ),
    "max_pool_3d": (ops.MaxPool(kernel=(2, 2, 2)), nn.MaxPool3d(2), (1, 4, 2, 2)),
    "average_pool": (
        ops.AveragePool(kernel=(3, 3), stride=(2, 2), padding=(1, 1), ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (2, 6, 5),
    ),
    "adaptive_average": (ops.AdaptiveAveragePool(size=(3, 2)), nn.AdaptiveAvgPool2d((3, 2)), (2, 5, 5)),
    "adaptive_max": (ops.AdaptiveMaxPool(size=(3, 2)), nn.AdaptiveMaxPool2d((3, 2)), (2, 5, 5)),
    "upsample": (ops.Upsample(size=(6, 4), mode="bilinear"), nn.Upsample((6, 4), mode="bilinear"), (2, 3, 3)),
    "upsample_nearest": (ops.Upsample(size=(5,)), nn.Upsample(5), (2, 3)),
    "softmax": (ops.Softmax(axis=0), nn.Softmax(dim=1), (4, 3)),
    "log_softmax": (ops.Softmax(axis=-1, logarithm=True), nn.LogSoftmax(dim=-1), (4, 3)),
    "layer_norm": (*layer_norm(), (2, 3, 4)),
    "group_norm": (*group_norm(), (4, 3)),
    "rms_norm": (*rms_norm(), (2, 3, 4)),
    "pad": (ops.Pad(padding=((1, 2), (0, 1)), mode="reflect"), nn.ReflectionPad2d((0, 1, 1, 2)), (2, 4, 3)),
    "pad_constant": (ops.Pad(padding=((1, 2), (0, 1)), value=2.5), nn.ConstantPad2d((0, 1, 1, 2), 2.5), (2, 4, 3)),
    "flatten": (ops.Flatten(), nn.Flatten(), (2, 4, 3)),
    "reshape": (ops.Reshape(shape=(4, -1)), nn.Unflatten(1, (4, 3)), (12,)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_digital_operations_are_those_of_torch(name: str) -> None:
    """The value, and the shape that the operation says it has."""
    op, module, shape = PAIRS[name]
    x = values(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(digital(op, x), module(x), rtol=1e-12, atol=1e-12)
    assert digital(op, x).shape[1:] == op.output_shape((shape,))


def test_operations_on_several_values() -> None:
    """Shapes broadcast from the right, behind the batch axis; constants have batch 1."""
    x, y = values(3, 4, 2), values(3, 2, seed=1)
    torch.testing.assert_close(digital(ops.Add(), x, y), x + y[:, None])
    torch.testing.assert_close(digital(ops.Add(), x, y, x), 2 * x + y[:, None])
    torch.testing.assert_close(digital(ops.Multiply(), y, x), x * y[:, None])
    torch.testing.assert_close(digital(ops.Add(), x[:1], x), x[:1] + x)
    left, right = values(3, 2, 5, 4), values(3, 4, 6, seed=1)
    torch.testing.assert_close(digital(ops.MatMul(), left, right), left @ right[:, None])
    joined = digital(ops.Concat(axis=-2), x, x[:1, :1])
    assert joined.shape == (3, 5, 2)
    torch.testing.assert_close(joined[2, 4], x[0, 0])
    taken = digital(ops.Slice(axis=0, start=1, stop=4, step=2), x)
    torch.testing.assert_close(taken, x[:, 1:4:2])
    torch.testing.assert_close(digital(ops.Slice(axis=1, start=1, stop=2, keep_axis=False), x), x[:, :, 1])
    torch.testing.assert_close(digital(ops.Permute(axes=(1, 0)), x), x.mT)
    torch.testing.assert_close(digital(ops.Mean(axes=(-1,)), x), x.mean(-1))
    torch.testing.assert_close(digital(ops.Mean(axes=(0, 1), keep_axes=True), x), x.mean((1, 2), keepdim=True))
    assert digital(ops.Constant(value=np.ones((2, 3)))).shape == (1, 2, 3)


def test_embedding_reads_rows_and_refuses_others() -> None:
    table = RNG.normal(size=(5, 3))
    op = ops.Embedding(weight=table)
    found = digital(op, torch.tensor([[0.0, 4.0]], dtype=torch.float64))
    np.testing.assert_array_equal(found[0], table[[0, 4]])
    for bad in (5.0, -1.0, 0.5, float("nan")):
        with pytest.raises(InvalidInput, match="whole numbers from 0 to 4"):
            digital(op, torch.tensor([[bad]], dtype=torch.float64))


def conv(
    *weight: int, input_shape: tuple[int, ...], mode: str = "zeros", **options: object
) -> tuple[ops.Conv, nn.Module, tuple[int, ...]]:
    """A convolution and torch's module with the same symmetric padding."""
    array = RNG.normal(size=weight)
    groups = int(options.get("groups", 1))  # type: ignore[call-overload]
    axes = len(weight) - 2
    padding = options.pop("padding", (0,) * axes)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    module = kind(
        weight[1] * groups, weight[0], weight[2:], bias=False, padding=padding, padding_mode=mode, **options
    ).double()  # type: ignore[arg-type]
    with torch.no_grad():
        module.weight.copy_(torch.tensor(array))
    op = ops.Conv(weight=array, padding=tuple((p, p) for p in padding), padding_mode=mode, **options)  # type: ignore[arg-type,attr-defined]
    return op, module, input_shape


def transposed(
    *weight: int, input_shape: tuple[int, ...], **options: object
) -> tuple[ops.Op, nn.Module, tuple[int, ...]]:
    """A transposed convolution and torch's module; ``padding`` and ``output_padding`` per axis as torch's."""
    array = RNG.normal(size=weight)
    groups = int(options.get("groups", 1))  # type: ignore[call-overload]
    axes = len(weight) - 2
    padding, extra = (options.pop(key, (0,) * axes) for key in ("padding", "output_padding"))
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1]
    module = kind(
        weight[0], weight[1] * groups, weight[2:], bias=False, padding=padding, output_padding=extra, **options
    ).double()  # type: ignore[arg-type]
    with torch.no_grad():
        module.weight.copy_(torch.tensor(array))
    cut = tuple((p, p - e) for p, e in zip(padding, extra, strict=True))  # type: ignore[call-overload]
    return ops.ConvTranspose(weight=array, padding=cut, **options), module, input_shape  # type: ignore[arg-type]


def linear(n_out: int, n_in: int, *lead: int) -> tuple[ops.Op, nn.Module, tuple[int, ...]]:
    module = nn.Linear(n_in, n_out, bias=False).double()
    return ops.Linear(weight=module.weight.detach().numpy()), module, (*lead, n_in)


MAPS = {
    "linear": linear(3, 4),
    "linear_tokens": linear(3, 4, 2, 5),
    "conv1d": conv(4, 3, 3, input_shape=(3, 7), stride=(2,), padding=(1,)),
    "conv2d": conv(4, 3, 3, 2, input_shape=(3, 6, 5), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "conv3d": conv(2, 2, 2, 1, 2, input_shape=(2, 3, 2, 4)),
    "depthwise": conv(6, 1, 3, 3, input_shape=(3, 5, 5), groups=3, padding=(1, 1)),
    "grouped": conv(4, 3, 3, input_shape=(6, 7), groups=2),
    "reflect": conv(2, 3, 3, 3, input_shape=(3, 4, 5), padding=(1, 2), mode="reflect"),
    "replicate": conv(2, 3, 3, input_shape=(3, 4), padding=(2,), mode="replicate"),
    "circular": conv(2, 3, 3, 3, input_shape=(3, 4, 5), padding=(1, 1), mode="circular", stride=(1, 2)),
    "unread_edge": conv(2, 1, 2, 2, input_shape=(1, 5, 6), stride=(2, 3)),
    "transposed1d": transposed(3, 2, 3, input_shape=(3, 4), stride=(2,), padding=(1,), output_padding=(1,)),
    "transposed2d": transposed(4, 2, 3, 2, input_shape=(4, 3, 4), stride=(2, 1), groups=2, padding=(0, 1)),
    "transposed_dilated": transposed(2, 3, 2, 2, input_shape=(2, 3, 3), dilation=(2, 1)),
}
MAP = pytest.mark.parametrize("name", MAPS)


def made(name: str) -> tuple[ArrayMap, CrossbarOp, nn.Module, torch.Tensor, torch.Tensor]:
    op, module, shape = MAPS[name]
    assert isinstance(op, CrossbarOp)
    return array_map(op, shape), op, module, values(3, *shape), torch.tensor(op.matrix)


@MAP
def test_apply_is_torch(name: str) -> None:
    maps, op, module, x, weight = made(name)
    with torch.no_grad():
        expected = module(x)
    torch.testing.assert_close(maps.apply(x, weight), expected, rtol=1e-12, atol=1e-12)
    assert maps.output_shape == tuple(expected.shape[1:])
    assert weight.shape == (maps.n_out, maps.n_in) == (op.n_out, op.n_in)


@MAP
def test_pull_is_the_transpose_of_apply(name: str) -> None:
    maps, _, _, x, weight = made(name)
    adjoint = values(3, *maps.output_shape, seed=4)
    left = (adjoint * maps.apply(x, weight)).flatten(1).sum(1)
    right = (maps.pull(adjoint, weight) * x).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@MAP
def test_patches_times_matrices_are_the_columns(name: str) -> None:
    """gather(X Wᵀ) = apply, and ``gather`` is the transpose of ``columns``."""
    maps, _, _, x, weight = made(name)
    patches = maps.patches(x)
    assert patches.shape == (3, maps.groups, maps.positions, maps.n_in)
    read = patches @ maps.matrices(weight).mT
    torch.testing.assert_close(maps.gather(read), maps.apply(x, weight), rtol=1e-11, atol=1e-12)
    adjoint = values(3, *maps.output_shape, seed=4)
    columns = maps.columns(adjoint)
    assert columns.shape == read.shape
    left = (adjoint * maps.gather(read)).flatten(1).sum(1)
    torch.testing.assert_close(left, (columns * read).flatten(1).sum(1), rtol=1e-11, atol=1e-11)


@MAP
def test_maps_are_differentiable(name: str) -> None:
    """In values and in matrices, forwards and backwards: the derivative of a linear map is the map."""
    maps, _, _, x, weight = made(name)
    x, weight = x[:1].requires_grad_(), weight.clone().requires_grad_()
    adjoint = values(1, *maps.output_shape, seed=4)
    by_x, by_weight = torch.autograd.grad((maps.apply(x, weight) * adjoint).sum(), (x, weight))
    torch.testing.assert_close(by_x, maps.pull(adjoint, weight.detach()), rtol=1e-11, atol=1e-12)
    columns, patches = maps.columns(adjoint), maps.patches(x.detach())
    expected = (columns.mT @ patches).reshape(weight.shape)
    torch.testing.assert_close(by_weight, expected, rtol=1e-11, atol=1e-11)
    (again,) = torch.autograd.grad((maps.pull(adjoint, weight) * x.detach()).sum(), weight)
    torch.testing.assert_close(again, expected, rtol=1e-11, atol=1e-11)


def test_bias_is_per_channel() -> None:
    """Behind a convolution along the first axis, behind a linear layer along the last."""
    for name, view in (("conv2d", (-1, 1, 1)), ("linear_tokens", (-1,)), ("transposed1d", (-1, 1))):
        maps, _, _, x, weight = made(name)
        value = maps.apply(x, weight)
        bias = torch.arange(1.0, (value.shape[1] if view != (-1,) else value.shape[-1]) + 1, dtype=torch.float64)
        torch.testing.assert_close(maps.add_bias(value, bias), value + bias.view(view))
        assert maps.add_bias(value, None) is value


def test_functional_forms_agree() -> None:
    """Asymmetric padding is padding and then a convolution without."""
    weight = RNG.normal(size=(2, 3, 3, 3))
    op = ops.Conv(weight=weight, padding=((0, 1), (2, 1)))
    x = values(2, 3, 4, 5)
    maps = array_map(op, (3, 4, 5))
    expected = F.conv2d(F.pad(x, (2, 1, 0, 1)), torch.tensor(weight))
    torch.testing.assert_close(maps.apply(x, torch.tensor(op.matrix)), expected, rtol=1e-12, atol=1e-12)
    adjoint = values(2, *maps.output_shape, seed=3)
    pulled = maps.pull(adjoint, torch.tensor(op.matrix))
    torch.testing.assert_close((pulled * x).sum(), (adjoint * expected).sum(), rtol=1e-11, atol=1e-11)


def test_programs_of_aten_operations() -> None:
    """Steps, parts of results, inputs as indices and conditions; plain values rebuild it; errors name what is wrong."""
    value, other = {"value": 0}, {"value": 1}
    op = ops.Function(
        steps=(
            ("sort", (value, 1), {"descending": True}),
            ("gather", ({"step": 0, "part": 0}, 1, {"value": 1, "as": "index"}), {}),
            ("where", ({"value": 1, "as": "truth"}, {"step": 1}, 2.0), {}),
        ),
        inputs=((4,), (4,)),
        shape=(4,),
        label="picked",
    )
    x, index = values(3, 4), torch.tensor([[0.0, 1.0, 3.0, 3.0]]).double()
    picked = x.sort(1, descending=True).values.gather(1, index.long().expand(3, 4))
    expected = torch.where(index != 0, picked, torch.tensor(2.0).double())
    again = ops.build_op(op.type, json.loads(json.dumps(op.attributes())), {})
    for each in (op, again):
        torch.testing.assert_close(digital(each, x, index), expected)
    assert not op.pointwise
    with pytest.raises(InvalidInput, match="ATen operation that computes"):
        ops.Function(steps=(("set_", (value,), {}),), inputs=((4,),), shape=(4,))
    for arguments in ((other,), ({"step": 0},), (float("inf"),), ({"value": 0, "as": "text"},)):
        with pytest.raises(InvalidInput, match=r"function\.steps\[0\]"):
            ops.Function(steps=(("exp", arguments, {}),), inputs=((4,),), shape=(4,))
    wrong = ops.Function(steps=(("cumsum", (value, 1), {}),), inputs=((4,),), shape=(5,))
    with pytest.raises(InvalidInput, match=r"function\.shape"):
        digital(wrong, x)
