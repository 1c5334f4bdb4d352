"""Every torch call with a rule computes what torch computes, in all its forms; those without are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from torch_modules import Call, agree, kinds, trained

import powerplan as pp
from powerplan import InvalidInput, UnsupportedOperation, from_torch
from powerplan.network import Conv

Tensor = torch.Tensor


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_convolutions(data: st.DataObject, seed: int) -> None:
    """Any axes, kernel, stride, padding, padding mode, dilation and groups, with a batch norm on either side."""
    axes, groups = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2]))
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(axes))
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
    named = data.draw(st.sampled_from(["same", "valid", None]))
    conv = kind(
        4,
        2 * groups,
        kernel,
        stride=1 if named == "same" else data.draw(st.integers(1, 2)),
        padding=named or tuple(data.draw(st.integers(0, k)) for k in kernel),
        dilation=data.draw(st.integers(1, 2)),
        groups=data.draw(st.sampled_from([groups, 2 * groups])) if groups == 2 else 1,
        bias=data.draw(st.booleans()),
        padding_mode=data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
    )
    parts: list[nn.Module] = [norm(4)] if data.draw(st.booleans()) else []
    module = trained(nn.Sequential(*parts, conv, norm(2 * groups), nn.ReLU()), seed)
    network = from_torch(module, (4, *(7,) * axes))
    agree(network, module)
    assert "pad" not in kinds(network)
    assert kinds(network).count("scale") <= len(parts)
    assert network.layer_names == (str(len(parts)),)


def test_a_norm_in_front_of_a_padded_convolution_stays() -> None:
    """Zeros of the padding are not shifted by the norm: folding it would change the border."""

    def folded(norm: nn.BatchNorm2d, **settings: Any) -> list[str]:
        module = nn.Sequential(norm, nn.Conv2d(4, 3, 3, **settings))
        network = from_torch(module, (4, 6, 6))
        agree(network, module)
        return kinds(network)

    norm = trained(nn.BatchNorm2d(4))
    assert isinstance(norm, nn.BatchNorm2d)
    assert folded(norm, padding=1) == ["scale", "conv"]
    assert folded(norm, padding=0) == ["conv"]
    assert folded(norm, padding=1, padding_mode="circular") == ["conv"]
    unshifted = trained(nn.BatchNorm2d(4))
    assert isinstance(unshifted, nn.BatchNorm2d)
    assert unshifted.running_mean is not None
    unshifted.running_mean.zero_()
    unshifted.bias.data.zero_()
    assert folded(unshifted, padding=1) == ["conv"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_transposed_convolutions(data: st.DataObject, seed: int) -> None:
    axes, groups, stride = (
        data.draw(st.integers(1, 3)),
        data.draw(st.sampled_from([1, 2])),
        data.draw(st.integers(1, 3)),
    )
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
    conv = kind(
        4,
        2 * groups,
        data.draw(st.integers(2, 3)),
        stride=stride,
        padding=data.draw(st.integers(0, 1)),
        output_padding=data.draw(st.integers(0, stride - 1)),
        groups=groups,
        bias=data.draw(st.booleans()),
    )
    module = trained(nn.Sequential(nn.Tanh(), conv, norm(2 * groups)), seed)
    network = from_torch(module, (4, *(4,) * axes))
    agree(network, module)
    assert kinds(network) == ["tanh", "conv_transpose"]


CALLS: list[tuple[tuple[int, ...], Callable[[Tensor], Any]]] = [
    # activations, and functions of one value in any spelling
    ((4,), lambda x: F.logsigmoid(x) + torch.exp(x) / (1 + x * x) + F.softplus(x, beta=2)),
    ((4,), lambda x: torch.where(x > 0, x, 0.1 * x) + torch.maximum(x, x.sin()) + x.clamp(min=-0.5)),
    ((2, 4), lambda x: 1 / (1 + x[:, 0] * x[:, 1]) + torch.atan2(x[:, 0], x[:, 1]) + x[:, 0].abs() ** x[:, 1]),
    ((4,), lambda x: x * (x.round() != 1).to(x.dtype) + (x.round() == 0).to(x.dtype)),
    ((4,), lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)),
    ((4,), lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=x.dtype))),
    ((4,), nn.PReLU()),
    ((2, 4), lambda x: F.glu(x, dim=1)),
    ((4,), nn.CELU()),
    ((4,), lambda x: x**2 + x.square() - x * x),
    ((4,), lambda x: -x / 2 + 1 - (3 - x)),
    ((2, 4), lambda x: torch.add(x, x.tanh(), alpha=2) - 0.5 * x[:, :1]),
    ((4,), lambda x: x.clamp(-1, 1) + x.clip(min=0) + torch.special.expit(x)),
    # constants that differ along any axes, or make the value larger
    ((3, 2, 4), lambda x: x * torch.arange(1.0, 4).view(3, 1, 1) + torch.arange(4.0)),
    ((3, 2, 4), lambda x: x + torch.arange(24.0).view(3, 2, 4) / 10),
    ((1, 4), lambda x: x * torch.arange(1.0, 4).view(3, 1) + torch.ones(1, 1, 4)),
    # along axes, and entries picked by constant places
    ((3, 4), lambda x: torch.cumsum(x, 1) + x.max(dim=1)[0][:, None] + x.amin((1, 2), keepdim=True)),
    ((3, 4), lambda x: x.sort(-1, descending=True).values + x.topk(2, 1).values.sum(1, keepdim=True)),
    ((3, 4), lambda x: x.var(1) + x.std((1, 2), unbiased=False)[:, None] + x.norm(dim=1) + x.norm(1, dim=1)),
    ((3, 4), lambda x: x[:, [0, 2]] + x[:, :, torch.tensor([3, 1, 1, 0])][:, :2]),
    ((3, 4), lambda x: x.gather(2, torch.tensor([[[0, 3], [1, 1], [2, 0]]]).expand(len(x), 3, 2))),
    ((3, 4), lambda x: x.unfold(1, 2, 1) + x.tril()[:, :2, :, None] + x.diagonal(dim1=1, dim2=2)[:, :2, None, None]),
    ((3, 4), lambda x: F.max_pool1d(x, 2, return_indices=True)[0] + F.interpolate(x, scale_factor=0.6)),
    ((2, 3, 4), lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact")),
    ((3, 4), lambda x: x.scatter(2, torch.zeros(13, 3, 1, dtype=torch.long)[: len(x)], 0.5)),
    # products
    ((3, 4), lambda x: x @ torch.arange(8.0, dtype=x.dtype).view(4, 2)),
    ((3, 4), lambda x: torch.arange(6.0, dtype=x.dtype).view(2, 3) @ x),
    ((3, 4), lambda x: torch.bmm(x, x.transpose(1, 2))),
    ((2, 3, 4), lambda x: x @ torch.arange(16.0, dtype=x.dtype).view(2, 4, 2)),
    ((2, 3, 4), lambda x: torch.arange(12.0, dtype=x.dtype).view(2, 2, 3) @ x),
    ((4,), lambda x: torch.addmm(torch.ones(2, dtype=x.dtype), x, torch.arange(8.0, dtype=x.dtype).view(4, 2))),
    # shapes
    ((2, 3, 4), lambda x: x.flatten(2)),
    ((2, 3, 4), lambda x: x.reshape(x.size(0), -1, 2)),
    ((2, 3, 4), lambda x: x.view(-1, 3, 4).tanh().view(x.shape[0], 2, 12)),
    ((2, 3, 4), lambda x: x.unflatten(3, (2, -1)).permute(0, 4, 1, 3, 2)),
    ((2, 3, 4), lambda x: x.movedim(1, -1).swapaxes(1, 2).mT),
    ((2, 3, 4), lambda x: x.permute(2, 0, 1, 3).mean(0)),
    ((2, 1, 4), lambda x: x.squeeze().unsqueeze(1).squeeze(1).unsqueeze(-1)),
    ((2, 1, 4), lambda x: x.expand(-1, -1, 3, -1) + x.repeat(1, 1, 3, 1)),
    ((2, 3, 4), lambda x: torch.cat([x, torch.ones(1, 2, 3, 1, dtype=x.dtype).expand(len(x), -1, -1, -1)], dim=-1)),
    ((3, 4), lambda x: torch.stack([x, x.relu(), torch.zeros_like(x)], dim=2)),
    ((3, 4), lambda x: torch.cat(x.chunk(2, dim=2)[::-1], 2) + torch.cat(x.split([1, 3], 2), 2)),
    ((3, 4), lambda x: x[:, 0] + x[:, -1] + x[..., 1:3].sum(-1)[:, :1] + x.unbind(1)[1]),
    ((3, 4), lambda x: x[:, None, ::2, 1] * x.narrow(1, 0, 2)[:, None, :, 0]),
    ((3, 4), lambda x: torch.roll(x, (1, -1), (1, 2)) + x.flip(1) + x.roll(3, 1)),
    ((2, 5, 4), lambda x: F.pad(x, (1, 2, 0, 1), value=0.5)),
    ((2, 5, 4), lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")),
    ((8, 2, 4), lambda x: F.pixel_shuffle(x, 2)),
    ((4, 2, 4), lambda x: nn.ChannelShuffle(2)(x)),
    ((2, 3, 4), lambda x: F.interpolate(x, scale_factor=2) + nn.UpsamplingBilinear2d((6, 8))(x)),
    ((2, 3, 4), lambda x: F.interpolate(x, size=(5, 2), mode="bicubic", align_corners=True)),
    ((2, 3, 4), lambda x: F.interpolate(x, scale_factor=1.3, recompute_scale_factor=True)),
    # pooling and means
    ((2, 6, 7), lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    ((2, 6, 7), lambda x: F.max_pool2d(x, (2, 3), dilation=2)),
    ((2, 6, 7), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ((2, 7), lambda x: F.avg_pool1d(x, 3, padding=1, ceil_mode=True)),
    ((2, 6, 7), lambda x: F.adaptive_avg_pool2d(x, (None, 3)) + F.adaptive_max_pool2d(x, (6, 3))),
    ((2, 3, 4), lambda x: x.mean((2, 3)) + x.sum(dim=(-1, -2)) / 5),
    ((2, 3, 4), lambda x: torch.mean(x, 1, keepdim=True)),
    # norms
    ((4, 3, 4), lambda x: F.group_norm(x, 2) + F.instance_norm(x)),
    ((3, 4), nn.RMSNorm(4)),
    ((3, 4), nn.RMSNorm((3, 4), eps=0.1, elementwise_affine=False)),
    ((3, 4), lambda x: F.rms_norm(x, (4,), torch.arange(4.0, dtype=x.dtype), 1e-3)),
    ((3, 4), lambda x: F.normalize(x, dim=-1) + F.normalize(x)),
    ((3, 2, 4), lambda x: F.normalize(x, dim=2)),
    # sums of products
    ((3, 4), lambda x: torch.einsum("bij,bkj->bik", x, x.relu())),
    (
        (3, 4),
        lambda x: F.bilinear(x, x.relu(), torch.arange(48.0, dtype=x.dtype).view(3, 4, 4), x.new_ones(3)),
    ),
    ((4,), lambda x: torch.cdist(x, torch.arange(8.0, dtype=x.dtype).view(2, 4))),
    ((3, 4), lambda x: torch.cdist(torch.arange(8.0, dtype=x.dtype).view(2, 4), x, p=1.0)),
    ((3, 4), lambda x: torch.cat([x[..., 4:], x, x.narrow(-1, 2, 0)], -1)),
    ((3, 4), lambda x: x.split([0, 3, 1], -1)[1]),
    ((3, 4), lambda x: x.softmax(-1).log()),
    ((3, 2, 4), lambda x: torch.einsum("bihd,bjhd->bhij", x, x.tanh())),
    ((3, 2, 4), lambda x: torch.einsum("b...hd,bjhd->bh...j", x, x.tanh())),
    ((3, 4), lambda x: torch.einsum("bij,jk->bik", x, torch.arange(8.0, dtype=x.dtype).view(4, 2))),
    ((3, 4), lambda x: torch.einsum("kj,b...j->b...k", torch.arange(8.0, dtype=x.dtype).view(2, 4), x)),
    ((3, 4), lambda x: torch.einsum("b i j, i j k l -> b l k", x, torch.arange(24.0, dtype=x.dtype).view(3, 4, 1, 2))),
    ((3, 4), lambda x: torch.einsum("bhi,hio->boh", x, torch.arange(24.0, dtype=x.dtype).view(3, 4, 2))),
    ((3, 4), lambda x: torch.einsum("bj,bij->bi", x[:, 0], x)),
    ((3, 4), lambda x: F.layer_norm(x, (3, 4)) + x.softmax(1) + F.log_softmax(x, dim=-1)),
    ((3, 4), nn.InstanceNorm1d(3, affine=True, track_running_stats=True).eval()),
    ((3, 4), lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3)),
    ((3, 4), lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.eye(3, dtype=torch.bool))),
    ((3, 4), lambda x: F.dropout(x, 0.5, training=False).contiguous().clone().detach().to(x.dtype)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "function"), CALLS)
def test_calls_agree_with_torch(shape: tuple[int, ...], function: Callable[[Tensor], Any]) -> None:
    module = trained(Call(function, shape))
    agree(from_torch(module, shape), module, batch=3)


def test_shape_is_known_while_reading() -> None:
    """Decisions on shapes, precision and device are taken as torch takes them."""

    def function(x: Tensor) -> Tensor:
        assert x.shape[1:] == (3, 4)
        assert (x.ndim, x.size(-1), x.device.type, x.is_floating_point()) == (3, 4, "cpu", True)
        assert isinstance(x, Tensor)
        for _ in range(x.shape[1] if x.dim() == 3 else 0):
            x = x + torch.arange(x.shape[2], device=x.device, dtype=x.dtype)
        return x

    module = trained(Call(function, (3, 4)))
    agree(from_torch(module, (3, 4)), module)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "function", "reason"),
    [
        ((3, 4), lambda x: x.permute(1, 2, 0).reshape(4, -1), "moves the batch axis"),
        ((3, 4), lambda x: x.transpose(0, 1).softmax(1), "batch axis"),
        ((3, 4), lambda x: x + torch.arange(13.0).view(13, 1, 1), "batch axis"),
        ((3, 4), lambda x: torch.cat([x, x], 0), "batch axis"),
        ((3, 4), lambda x: x.squeeze(0), "batch axis"),
        ((3, 4), lambda x: F.embedding(x.long(), torch.ones(4, 2)), "look up the network's input"),
        ((3, 4), lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1), "dropout"),
        ((3, 4), lambda x: x.data_ptr(), "control flow or numbers that depend on values"),
        ((3, 4), lambda x: x[x > 0], "must not depend on the network's input"),
        ((3, 4), lambda x: torch.linalg.qr(x).R, "linalg_qr"),
    ],
)
def test_what_is_not_supported_is_named(shape: tuple[int, ...], function: Callable[[Tensor], Any], reason: str) -> None:
    with pytest.raises(UnsupportedOperation, match=reason):
        from_torch(trained(Call(function, shape)), shape)


@pytest.mark.parametrize(
    "function", [lambda x: x[:, 0], lambda x: x[:, :1].squeeze(-1), lambda x: x.mean(1), lambda x: x[:, :1].squeeze()]
)
def test_one_number_per_input(function: Callable[[Tensor], Any]) -> None:
    """An output (B,) is (B, 1) in a network, which is planned like any other."""
    module = trained(Call(lambda x: function(x.relu()), (6,)))
    network = from_torch(module, (6,))
    x = np.random.default_rng(0).normal(size=(4, 6))
    with torch.no_grad():
        np.testing.assert_allclose(network(x)[:, 0], module(torch.tensor(x).float()).numpy(), atol=1e-5)
    plan = pp.plan(network, pp.Hardware(programming_noise_std=1e-6), x, pp.MaxNMSE(0.05))
    assert plan.prediction.nmse <= 0.05 * 1.001


def test_outputs_by_name() -> None:
    """Of several outputs one is named by its key; a single one needs no name."""
    single = trained(Call(lambda x: {"logits": x.tanh()}, (3, 4)))
    assert kinds(from_torch(single, (3, 4))) == ["linear", "tanh"]
    several = trained(Call(lambda x: {"logits": x.tanh(), "states": (x, x.relu())}, (3, 4)))
    for output, wanted in (("logits", "tanh"), ("states.1", "relu")):
        assert kinds(from_torch(several, (3, 4), output=output)) == ["linear", wanted]
    with pytest.raises(InvalidInput, match=r"output='logits'; there are logits, states\.0, states\.1"):
        from_torch(several, (3, 4))
    with pytest.raises(InvalidInput, match=r"output: got 'state'; allowed: one of 'logits', 'states\.0', 'states\.1'"):
        from_torch(several, (3, 4), output="state")
    with pytest.raises(InvalidInput, match=r"output: got 'logits'.*a single value"):
        from_torch(trained(Call(lambda x: x.tanh(), (3, 4))), (3, 4), output="logits")


class Masked(nn.Module):
    """Two arguments beside the input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, mask: Tensor, x: Tensor, factor: float = 1.0) -> Tensor:
        return self.fc(x * mask) * factor


class Chosen(Masked):
    """A constant is looked up for every input of the batch, which an export does not try."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return self.fc(x * mask[torch.arange(len(x))])


def test_constants_that_fail_are_named() -> None:
    with pytest.raises(UnsupportedOperation, match=r"(?s)IndexError.*constants: got mask of shape \(2, 4\)"):
        from_torch(trained(Chosen()), (4,), constants={"mask": torch.ones(2, 4)})


def test_arguments_by_name() -> None:
    """The input is named where it is not the first; the others are constants, one row or a plain number."""
    module, x = trained(Masked()), np.random.default_rng(0).normal(size=(2, 4))
    mask = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    network = from_torch(module, (4,), input_name="x", constants={"mask": mask, "factor": 0.5})
    with torch.no_grad():
        np.testing.assert_allclose(network(x), module(mask, torch.tensor(x).float(), 0.5).numpy(), atol=1e-6)
    for arguments, message in (
        ({"input_name": "tokens", "constants": {"mask": mask}}, "input_name: .*'tokens'.*mask, x, factor"),
        ({"input_name": "x", "constants": {"mask": mask, "scale": 2}}, "constants: .*'scale'"),
        ({"input_name": "x", "constants": {"mask": mask, "x": mask}}, "constants: .*'x'"),
        ({"input_name": "x"}, "mask"),
        (
            {"input_name": "x", "constants": {"mask": torch.ones(2, 4), "factor": 1.0}},
            r"(?s)It fails.*constants: got mask of shape \(2, 4\), factor=1\.0; .*\(1, \.\.\.\)",
        ),
        ({"input_name": "x", "constants": {"mask": np.ones((1, 3))}}, r"constants: got mask of shape \(1, 3\)"),
    ):
        with pytest.raises(InvalidInput, match=message):
            from_torch(module, (4,), **arguments)  # type: ignore[arg-type]


def test_outputs_that_are_not_one_tensor() -> None:
    for function, what in (
        (lambda x: [x, x], "list of 2"),
        (lambda x: None, "NoneType"),
        (lambda x: x.permute(1, 0, 2), "first axis is not the batch"),
    ):
        with pytest.raises(InvalidInput, match=what):
            from_torch(Call(function, (3, 4)), (3, 4))


def test_convolutions_take_over_the_padding_in_front_of_them() -> None:
    """torch pads by a call of its own for other modes than zeros; a crossbar reads the padded rows all the same."""
    module = trained(nn.Sequential(nn.ReflectionPad2d((1, 2, 0, 1)), nn.Conv2d(2, 3, 3)))
    network = from_torch(module, (2, 6, 6))
    agree(network, module)
    (node,) = network.nodes
    assert isinstance(node.op, Conv)
    assert node.op.padding == ((0, 1), (1, 2))
    assert node.op.padding_mode == "reflect"


class Gated(nn.Module):
    """A block of today's transformers: an RMS norm, normalised queries and keys, attention by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.head = nn.RMSNorm(8), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        scores = torch.einsum("bid,bjd->bij", F.normalize(q, dim=-1), F.normalize(k, dim=-1))
        return self.head(F.rms_norm(torch.einsum("bij,bjd->bid", (4 * scores).softmax(-1), v), (8,)).mean(1))


@pytest.mark.slow
def test_norms_and_sums_of_products_are_predicted() -> None:
    """MSE within 2 % of the simulation, beyond its chance, at NMSE 2 %, the norms named as first-order."""
    network = from_torch(trained(Gated()).double(), (5, 8))
    hardware = pp.Hardware(programming_noise_std=4e-6)
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    gains = pp.Gains.full_range(network, hardware, x)
    predicted = pp.predict(network, hardware, gains, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=2000, seed=1, dtype="float32")
    assert predicted.mse == pytest.approx(simulated.mse, abs=4 * simulated.mse_standard_error + 0.02 * simulated.mse)
    assert 0.01 < predicted.nmse < 0.1, predicted.nmse
    assert {node.op.type for node in network.nodes if node.name in predicted.first_order} == {"rms_norm", "softmax"}
