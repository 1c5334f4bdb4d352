"""Training of the example networks: Adam on the cross-entropy, the same bits for the same seed.

One thread and an own random generator: neither the number of cores nor the caller's seeds change the result,
and the caller's generators and thread count are left as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional as F

from powerplan.examples.convolutional import build
from powerplan.examples.data import Data
from powerplan.examples.recipe import Recipe
from powerplan.network import Network
from powerplan.network.torch_import import from_torch

#: inputs whose float64 values are held at a time when the accuracy is taken
_ROWS = 500


def train(recipe: Recipe, data: Data, seed: int) -> Network:
    """A ReLU network of the recipe's structure and widths fitted to the training set, float32 weights."""
    generator = torch.Generator().manual_seed(seed)
    with _one_thread(), torch.enable_grad():
        if recipe.structure == "mlp":
            weights, biases = _initial(recipe.widths, generator)
            _fit(lambda x: _forward(weights, biases, x), [*weights, *biases], recipe, data, generator)
            return Network.mlp(
                [w.detach().numpy() for w in weights], [b.detach().numpy() for b in biases], activation="relu"
            )
        module = build(recipe, generator).train()
        _fit(module, list(module.parameters()), recipe, data, generator)
    return from_torch(module, data.train_inputs.shape[1:])


def _fit(
    forward: Callable[[torch.Tensor], torch.Tensor],
    parameters: list[torch.Tensor],
    recipe: Recipe,
    data: Data,
    generator: torch.Generator,
) -> None:
    """Change the parameters in place, the order of the images by the generator."""
    inputs, labels = torch.tensor(data.train_inputs), torch.tensor(data.train_labels)
    steps = recipe.epochs * math.ceil(len(inputs) / recipe.batch)
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    for _ in range(recipe.epochs):
        for rows in torch.split(torch.randperm(len(inputs), generator=generator), recipe.batch):
            optimizer.zero_grad()
            F.cross_entropy(forward(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def accuracy(network: Network, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of inputs (N, *input_shape) whose largest output is the label (N,)."""
    hits = [
        network(inputs[low : low + _ROWS]).argmax(axis=1) == labels[low : low + _ROWS]
        for low in range(0, len(inputs), _ROWS)
    ]
    return float(np.mean(np.concatenate(hits)))


def _initial(widths: tuple[int, ...], generator: torch.Generator) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """He's initialisation: weights N(0, 2/n_in), zero biases."""
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [torch.randn(pair, generator=generator) * math.sqrt(2 / pair[1]) for pair in pairs]
    return [w.requires_grad_() for w in weights], [torch.zeros(n_out, requires_grad=True) for n_out, _ in pairs]


def _forward(weights: list[torch.Tensor], biases: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = F.relu(F.linear(x, weight, bias))
    return F.linear(x, weights[-1], biases[-1])


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
