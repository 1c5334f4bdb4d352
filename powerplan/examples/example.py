"""The example networks by name: data, recipe, training and what comes out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from powerplan._version import __version__
from powerplan.checks import choice, frozen_array
from powerplan.errors import CorruptFile, InvalidInput
from powerplan.examples import data as sources
from powerplan.examples.data import Data
from powerplan.examples.recipe import Recipe
from powerplan.network import Network

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A trained network with data to plan for and data to judge by. Arrays are read-only.

    Attributes:
        name: its name.
        description: one sentence about the data and the network.
        network: the trained network, ReLU, float32 weights.
        inputs: calibration batch (B, *input_shape), drawn from the training set.
        labels: classes of ``inputs``, (B,).
        test_inputs: held-out inputs (N, *input_shape).
        test_labels: their classes, (N,).
        train_accuracy: fraction of the training set classified rightly without noise.
        test_accuracy: the same of the held-out set.
    """

    name: str
    description: str
    network: Network
    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    train_accuracy: float
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class _Source:
    description: str
    data: Callable[[int], Data]
    calibration: int
    recipe: Recipe


_SOURCES = {
    "iris": _Source(
        description="Fisher's Iris flowers, 3 species from 4 standardised measurements; 4-16-3, ReLU.",
        data=sources.iris,
        calibration=32,
        recipe=Recipe(widths=(4, 16, 3), epochs=60, batch=20, learning_rate=0.02, weight_decay=0.3),
    ),
    "digits": _Source(
        description="8x8 handwritten digits, 10 classes; 64-32-32-10, ReLU.",
        data=sources.digits,
        calibration=64,
        recipe=Recipe(widths=(64, 32, 32, 10), epochs=40, batch=32, learning_rate=0.01, weight_decay=0.01),
    ),
    "mnist": _Source(
        description="28x28 handwritten digits (the MNIST test images), 10 classes; 784-256-256-128-64-10, ReLU.",
        data=sources.mnist,
        calibration=64,
        recipe=Recipe(widths=(784, 256, 256, 128, 64, 10), epochs=12, batch=64, learning_rate=2e-3, weight_decay=0.05),
    ),
    "mnist_cnn": _Source(
        description="28x28 handwritten digits (the MNIST test images), 10 classes; LeNet-5 with ReLU and max pooling.",
        data=sources.mnist_images,
        calibration=16,
        recipe=Recipe(
            structure="cnn", widths=(6, 16, 120, 84, 10), epochs=8, batch=64, learning_rate=4e-3, weight_decay=0.05
        ),
    ),
    "mnist_resnet": _Source(
        description="28x28 handwritten digits (the MNIST test images), 10 classes; residual network: a convolution, "
        "three blocks of 16, 32 and 32 channels, global average pooling, ReLU.",
        data=sources.mnist_images,
        calibration=16,
        recipe=Recipe(
            structure="resnet", widths=(16, 16, 32, 32, 10), epochs=5, batch=64, learning_rate=1e-2, weight_decay=0.05
        ),
    ),
}


def example_names() -> tuple[str, ...]:
    """Names of the built-in examples."""
    return tuple(_SOURCES)


def load_example(name: str, *, seed: int = 0, cache: str | os.PathLike[str] | None = None) -> Example:
    """Train a built-in example, or read it from a cache.

    Args:
        name: one of :func:`example_names`.
        seed: of the split, the initial weights, the order of training and the calibration batch; 0 to 2^32 - 1.
            The same seed gives the same bits on the same machine and libraries.
        cache: folder in which trained networks are kept between runs; None = train again. A damaged file in it
            is replaced.

    Raises:
        InvalidInput: unknown name, seed out of range, cache not a usable folder.
        MissingExtra: scikit-learn is not installed (iris, digits).
        MissingData: the MNIST files are not at hand (the mnist examples); the message says where to put them.
        CorruptFile: the MNIST files are damaged.
    """
    source = _SOURCES[choice("example", name, _SOURCES)]
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InvalidInput.of("seed", seed, "an integer from 0 to 2^32 - 1", "Give a small integer, for example 0.")
    data = source.data(int(seed))
    network = _trained(name, source.recipe, data, int(seed), cache)
    from powerplan.examples.training import accuracy

    # The seed of the batch differs from that of the split, so that the two draws are unrelated.
    rows = np.random.default_rng([int(seed), 1]).choice(len(data.train_inputs), source.calibration, replace=False)
    return Example(
        name=name,
        description=source.description,
        network=network,
        inputs=frozen_array(data.train_inputs[rows]),
        labels=frozen_array(data.train_labels[rows]),
        test_inputs=frozen_array(data.test_inputs),
        test_labels=frozen_array(data.test_labels),
        train_accuracy=accuracy(network, data.train_inputs, data.train_labels),
        test_accuracy=accuracy(network, data.test_inputs, data.test_labels),
    )


def _trained(name: str, recipe: Recipe, data: Data, seed: int, cache: str | os.PathLike[str] | None) -> Network:
    from powerplan.examples.training import train

    if cache is None:
        return train(recipe, data, seed)
    path = Path(cache) / f"{name}-{_key(recipe, data, seed)}.npz"
    try:
        Path(cache).mkdir(parents=True, exist_ok=True)
        if path.is_file():
            return Network.load(path)
    except CorruptFile as error:
        logger.warning("training %s again, its cached network is damaged: %s", name, error)
    except OSError as error:
        raise InvalidInput.of("cache", str(cache), "a folder that can be written", f"{error.strerror}.") from error
    network = train(recipe, data, seed)
    network.save(path)
    return network


def _key(recipe: Recipe, data: Data, seed: int) -> str:
    """Name of all that decides the trained weights: recipe, data, seed, versions."""
    import torch

    sha = hashlib.sha256(json.dumps([asdict(recipe), seed, __version__, torch.__version__]).encode())
    sha.update(data.train_inputs.tobytes())
    sha.update(data.train_labels.tobytes())
    return sha.hexdigest()[:16]
