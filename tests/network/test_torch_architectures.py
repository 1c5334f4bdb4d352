"""The structures of real networks, in small: what is imported computes what the module computes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import (
    Bottleneck,
    DenseBlock,
    Encoder,
    InvertedResidual,
    LeNet5,
    SmallVGG,
    SmallViT,
    UNet,
    Windows,
    agree,
    kinds,
    trained,
)

import powerplan as pp
from powerplan import from_torch
from powerplan.network import Network


@pytest.mark.parametrize(
    ("build", "shape", "crossbars"),
    [
        (LeNet5, (1, 28, 28), 5),
        (SmallVGG, (3, 16, 16), 5),
        (Bottleneck, (6, 8, 8), 4),
        (InvertedResidual, (3, 8, 8), 5),
        (DenseBlock, (3, 8, 8), 4),
        (UNet, (1, 8, 8), 4),
        (SmallViT, (3, 16, 16), 6),
        (Windows, (8, 8, 12), 2),
    ],
)
def test_architectures_agree_with_torch(
    build: Callable[[], nn.Module], shape: tuple[int, ...], crossbars: int, tmp_path: object
) -> None:
    module = trained(build())
    network = from_torch(module, shape)
    agree(network, module)
    assert len(network.crossbars) == crossbars


@pytest.mark.parametrize("build", [LeNet5, Bottleneck, InvertedResidual, UNet, SmallViT])
def test_imported_networks_go_through_files(build: Callable[[], nn.Module], tmp_path: object) -> None:
    """Every operation that an import makes is rebuilt from a file, bit for bit."""
    shape = {LeNet5: (1, 28, 28), Bottleneck: (6, 8, 8), UNet: (1, 8, 8), SmallViT: (3, 16, 16)}.get(build, (3, 8, 8))
    network = from_torch(trained(build()), shape)
    network.save(f"{tmp_path}/network.npz")
    again = Network.load(f"{tmp_path}/network.npz")
    inputs = np.random.default_rng(0).standard_normal((2, *shape))
    assert again.digest == network.digest
    np.testing.assert_array_equal(again(inputs), network(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("causal", [True, False])
def test_transformer_encoder_on_token_indices(causal: bool) -> None:
    """Embeddings look up the input, projections are crossbars, a causal mask is a constant."""
    module = trained(Encoder(causal=causal))
    network = from_torch(module, (6,))
    tokens = torch.randint(0, 11, (4, 6), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval().double()(tokens).numpy()
    np.testing.assert_allclose(network(tokens.numpy()), wanted, atol=1e-5 * np.abs(wanted).max())
    first = "encoder.layers.0."
    assert network.layer_names[:6] == tuple(
        first + name
        for name in (
            *(f"self_attn.{projection}_proj" for projection in ("q", "k", "v", "out")),
            *("linear1", "linear2"),
        )
    )
    count = Counter(kinds(network))
    assert count["linear"] == 13
    assert count["matmul"] == 4
    assert count["softmax"] == 2


@pytest.mark.slow
def test_norms_behind_convolutions_vanish_and_others_stay_digital() -> None:
    """A batch norm goes into the convolution it follows; one in front of an activation or padding stays."""
    assert "scale" not in kinds(from_torch(trained(SmallVGG()), (3, 16, 16)))
    assert "scale" not in kinds(from_torch(trained(Bottleneck()), (6, 8, 8)))
    assert kinds(from_torch(trained(DenseBlock()), (3, 8, 8))).count("scale") == 3


def test_attention_with_cross_inputs_padding_mask_and_weights() -> None:
    """Queries, keys and values may differ; constant masks of both kinds and the attention's weights are followed."""

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
            self.register_buffer("padding", torch.tensor([[False, False, True, False, False]]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.zeros(5, 5).to(x.dtype).masked_fill(torch.eye(5, dtype=torch.bool), float("-inf"))
            padding = torch.zeros(x.shape[0], 5, dtype=x.dtype).masked_fill(self.padding, float("-inf"))
            out, weights = self.attention(x, x[..., :6], x[..., 2:6], key_padding_mask=padding, attn_mask=mask)
            return torch.cat([out, weights], dim=2)

    module = trained(Cross())
    agree(from_torch(module, (5, 8)), module)


def test_modules_used_twice_and_inputs_used_twice() -> None:
    """Both uses read one array; the input may be read by several nodes."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.conv(torch.relu(self.conv(x))) * x
            return self.fc(x.flatten(1))

    module = trained(Twice())
    network = from_torch(module, (2, 4, 4))
    agree(network, module)
    assert network.layer_names == ("conv", "fc")
    assert network.read_names == ("conv", "conv_1", "fc")


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_sequences_with_the_batch_in_the_middle(batch_axis: int) -> None:
    """Transformers that put the length first are the same network as those that put the batch first."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_axis == 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.transpose(0, batch_axis)).transpose(0, batch_axis)

    module = trained(Model())
    network = from_torch(module, (5, 8))
    agree(network, module)
    assert len(network.crossbars) == 6


@pytest.mark.slow
def test_decoder_with_learnt_queries() -> None:
    """Attention from learnt queries to the input: what does not depend on the input is a constant."""

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Parameter(torch.zeros(1, 3, 8))
            self.layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.queries.expand(x.shape[0], -1, -1), x)

    module = trained(Decoder())
    network = from_torch(module, (5, 8))
    agree(network, module)
    # the queries attend to each other before they see the input: that part is computed once, while reading
    assert [name for name in network.layer_names if "self_attn" in name] == []
    # nor do their projections: they are the same for every input
    assert [name for name in network.layer_names if "q_proj" in name] == []
    assert len(network.crossbars) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "shape"), [(InvertedResidual, (3, 6, 6)), (UNet, (1, 6, 6)), (SmallViT, (3, 16, 16)), (Encoder, (6,))]
)
def test_imported_networks_are_predicted_as_simulated(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """Gates, joins, transposed convolutions, class tokens and attention, within 2 % and 4 standard errors."""
    network = from_torch(trained(build()), shape)
    hardware = pp.Hardware(programming_noise_std=0.4e-6, clip_conductance=False)
    gains = pp.Gains.uniform(network, hardware, conductance=15e-6, voltage=0.02)
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 11, (2, 6)).astype(float) if build is Encoder else rng.standard_normal((2, *shape))
    predicted = pp.predict(network, hardware, gains, inputs, output_combinations=0)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=300, seed=0)
    assert predicted.mse == pytest.approx(simulated.mse, abs=4 * simulated.mse_standard_error + 0.02 * simulated.mse)
