"""The structures of the convolutional examples, for images of one channel."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from powerplan.examples.recipe import Recipe


def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
    """The untrained module: He's initialisation from the generator, the global generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        module = _STRUCTURES[recipe.structure](*recipe.widths)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, 0, math.sqrt(2 / part.weight[0].numel()), generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


def _cnn(first: int, second: int, hidden: int, last: int, classes: int) -> nn.Module:
    """LeNet-5 with ReLU and max pooling, for images of 28 x 28."""
    layers = {
        "conv1": nn.Conv2d(1, first, 5, padding=2),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, 5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(25 * second, hidden),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(hidden, last),
        "relu4": nn.ReLU(),
        "fc3": nn.Linear(last, classes),
    }
    return nn.Sequential(OrderedDict(layers))


def _resnet(stem: int, *widths: int) -> nn.Module:
    """A convolution of stride 2, residual blocks (stride 2 where the width changes), global average pooling."""
    *blocks, classes = widths
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, stem, 3, stride=2, padding=1, bias=False),
        "norm": nn.BatchNorm2d(stem),
        "relu": nn.ReLU(),
    }
    for i, (before, width) in enumerate(zip((stem, *blocks), blocks, strict=False)):
        layers[f"block{i + 1}"] = Residual(before, width)
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(blocks[-1], classes)}
    return nn.Sequential(OrderedDict(layers))


class Residual(nn.Module):
    """Two 3 x 3 convolutions, and the input added: as it is, or by a 1 x 1 convolution where the width changes."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        stride = 1 if n_in == n_out else 2
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.around = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))
        )

    def forward(self, x: torch.Tensor) -> Any:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.around(x))


_STRUCTURES: dict[str, Callable[..., nn.Module]] = {"cnn": _cnn, "resnet": _resnet}
