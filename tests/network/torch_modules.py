"""Small torch modules with the structures of well-known networks, and the check that an import equals them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from powerplan.network import Activation, Network


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with parameters and running statistics as after training: none of them trivial."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        for name, tensor in part.named_buffers(recurse=False):
            if name == "running_mean":
                tensor.normal_(0, 0.3, generator=generator)
            elif name == "running_var":
                tensor.uniform_(0.5, 2.0, generator=generator)
    for parameter in module.parameters():
        if parameter.dim() == 1:  # weights and biases of norms, biases of layers
            parameter.data.uniform_(0.2, 1.2, generator=generator)
        else:
            parameter.data.normal_(0, 1.4 / np.sqrt(parameter[0].numel()), generator=generator)
    return module


def agree(network: Network, module: nn.Module, *, batch: int = 2, tolerance: float = 1e-5) -> None:
    """Assert that both compute the same on random inputs, in evaluation mode and double precision."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn((batch, *network.input_shape), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval().double()(inputs).numpy()
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(network(inputs.numpy()), wanted, atol=tolerance * np.abs(wanted).max())


def kinds(network: Network) -> list[str]:
    return [n.op.kind if isinstance(n.op, Activation) else n.op.type for n in network.nodes]


class Call(nn.Module):
    """A function of a value of some shape, behind a linear layer on its last axis."""

    def __init__(self, function: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.fc = nn.Linear(shape[-1], shape[-1])
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.fc(x))


class LeNet5(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
        )


class SmallVGG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in ((3, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(True), nn.MaxPool2d(2)]
        self.features, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(64, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))

    def forward(self, x: torch.Tensor) -> Any:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class Bottleneck(nn.Module):
    """The block of ResNet-50, with a projection on the way round it."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, bias=False), nn.BatchNorm2d(4)
        self.conv3, self.bn3 = nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(channels, 12, 1, stride=2, bias=False), nn.BatchNorm2d(12))

    def forward(self, x: torch.Tensor) -> Any:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(identity)
        return self.relu(out).mean([2, 3])


class InvertedResidual(nn.Module):
    """The block of MobileNetV3: depthwise convolution, squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 5, padding="same", groups=12), nn.BatchNorm2d(12), nn.ReLU6())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 4, 1), nn.ReLU(), nn.Conv2d(4, 12, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(12, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x: torch.Tensor) -> Any:
        wide = self.depthwise(self.expand(x))
        return x + self.project(self.squeeze(wide) * wide)


class DenseBlock(nn.Module):
    """Norm, activation, convolution on all that came before, as in DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 3 * i, 3, 3, padding=1, bias=False) for i in range(3))

    def forward(self, x: torch.Tensor) -> Any:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return F.avg_pool2d(torch.cat(features, 1), 2)


class UNet(nn.Module):
    """Down and up again, with the early values joined to the late ones."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.up_norm = nn.BatchNorm2d(4)
        self.out = nn.Conv2d(12, 2, 1)

    def forward(self, x: torch.Tensor) -> Any:
        early = F.relu(self.down1(x))
        late = F.relu(self.norm(self.down2(F.max_pool2d(early, 2))))
        upsampled = F.interpolate(late[:, :4], scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(torch.cat([early, self.up_norm(self.up(late)), upsampled], dim=1))


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values, as vision transformers write it."""

    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> Any:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class SmallViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.cls, self.position = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 17, 12))
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12), nn.Dropout(0.1))
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x)[:, 0])


class Windows(nn.Module):
    """Attention inside shifted windows, which joins the windows to the batch, as in Swin."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.size, self.attention = size, Attention()

    def forward(self, x: torch.Tensor) -> Any:
        b, h, w, c = x.shape
        s = self.size
        x = torch.roll(x, (-s // 2, -s // 2), dims=(1, 2))
        x = x.view(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        x = self.attention(x)
        x = x.view(-1, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return torch.roll(x, (s // 2, s // 2), dims=(1, 2))


class Encoder(nn.Module):
    """A two-layer transformer encoder on token indices, with learnt positions and a causal mask."""

    def __init__(self, tokens: int = 11, length: int = 6, width: int = 8, *, causal: bool = True) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(tokens, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True, activation="gelu", norm_first=not causal)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.causal = nn.Linear(width, 3), causal

    def forward(self, x: torch.Tensor) -> Any:
        length = x.shape[1]
        x = self.tokens(x) + self.positions(torch.arange(length, device=x.device))
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=x.dtype) if self.causal else None
        return self.head(self.encoder(x, mask=mask).mean(dim=1))
