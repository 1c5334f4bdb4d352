"""The data of the examples: where it comes from and how it is scaled."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.errors import CorruptFile, MissingData, MissingExtra, install_command
from powerplan.examples.idx import read_idx
from powerplan.examples.vision import import_torchvision

#: environment variable that names the data folder
DATA_VARIABLE = "POWERPLAN_DATA"
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
#: SHA-256 of the published files, used where the folder has no SHA256SUMS of its own
_KNOWN_SUMS = {
    f"{IMAGES}.gz": "167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b",
    f"{LABELS}.gz": "fc607395669ec21321ea83e4b82c0544b7e8e63ff5b34337c06bc0a17cc0da3c",
    IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, kw_only=True)
class Data:
    """A labelled data set, split: inputs (N, *input_shape) float32, labels (N,) int64."""

    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray


def iris(seed: int) -> Data:
    """Fisher's Iris: 120 flowers to train, 30 held out; features standardised by the training set."""
    bunch = _sklearn_datasets().load_iris()
    data = _split(np.asarray(bunch.data, np.float64), bunch.target, test=30, seed=seed)
    mean, std = data.train_inputs.mean(axis=0), data.train_inputs.std(axis=0)
    return Data(
        train_inputs=((data.train_inputs - mean) / std).astype(np.float32),
        train_labels=data.train_labels,
        test_inputs=((data.test_inputs - mean) / std).astype(np.float32),
        test_labels=data.test_labels,
    )


def digits(seed: int) -> Data:
    """8x8 digits with pixels in [0, 1]: 1437 to train, 360 held out."""
    bunch = _sklearn_datasets().load_digits()
    return _split(np.asarray(bunch.data / 16, np.float32), bunch.target, test=360, seed=seed)


def mnist(seed: int) -> Data:
    """The MNIST test images with pixels in [0, 1], flattened: four fifths (8 000) to train, the rest held out.

    Raises:
        MissingData: the files are not there and cannot be fetched.
        CorruptFile: their SHA-256 or their content is wrong.
    """
    images_path, labels_path = _mnist_files()
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape != (len(labels), 28, 28) or len(labels) < 100 or labels.max() > 9:
        raise CorruptFile.of(
            "mnist files",
            f"images {images.shape}, {len(labels)} labels up to {labels.max()}",
            "at least 100 images of 28x28 pixels and as many labels from 0 to 9",
            f"Fetch {IMAGES}.gz and {LABELS}.gz again.",
        )
    inputs = images.reshape(len(images), -1).astype(np.float32) / 255
    return _split(inputs, labels, test=len(images) // 5, seed=seed)


def mnist_images(seed: int) -> Data:
    """:func:`mnist` as images (N, 1, 28, 28)."""
    data = mnist(seed)
    return replace(
        data,
        train_inputs=data.train_inputs.reshape(-1, 1, 28, 28),
        test_inputs=data.test_inputs.reshape(-1, 1, 28, 28),
    )


def _split(inputs: np.ndarray, labels: np.ndarray, *, test: int, seed: int) -> Data:
    """A random split in which every class has (within one) the same share of both sets."""
    shuffled = np.random.default_rng(seed).permutation(len(inputs))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Evenly spaced ranks within the list sorted by class are a stratified sample.
    held_out = np.zeros(len(inputs), bool)
    held_out[np.arange(test) * len(inputs) // test] = True
    order = np.concatenate([by_class[held_out], by_class[~held_out]])
    inputs, labels = inputs[order], np.asarray(labels, np.int64)[order]
    return Data(
        train_inputs=inputs[test:], train_labels=labels[test:], test_inputs=inputs[:test], test_labels=labels[:test]
    )


def _sklearn_datasets() -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtra("scikit-learn", "examples", "the iris and digits examples") from error
    return datasets


def _mnist_files() -> tuple[Path, Path]:
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        raise MissingData(
            f"The mnist examples need {IMAGES}.gz and {LABELS}.gz. Put them in a folder and name it in the environment "
            f"variable {DATA_VARIABLE}; if torchvision is installed they are downloaded into that folder. "
            "The iris and digits examples need no files."
        )
    root = Path(named)
    folder = _find(root)
    if folder is None:
        _download(root)
        folder = _find(root)
    if folder is None:
        raise MissingData(f"The download into {root} did not bring {IMAGES}. Put it and {LABELS} there by hand.")
    for path in folder:
        _check_sum(path)
    return folder


def _find(root: Path) -> tuple[Path, Path] | None:
    """The two files in the folder itself, in its ``mnist`` folder, or where torchvision puts them."""
    for folder in (root / "mnist", root, root / "MNIST" / "raw"):
        pair = [
            next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None) for name in (IMAGES, LABELS)
        ]
        if pair[0] is not None and pair[1] is not None:
            return pair[0], pair[1]
    return None


def _check_sum(path: Path) -> None:
    sums = dict(_KNOWN_SUMS)
    listing = path.with_name("SHA256SUMS")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            value, _, name = line.partition(" ")
            sums[name.strip().lstrip("*")] = value.lower()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sums[path.name]:
        raise CorruptFile.of(
            "mnist file",
            f"{path} with SHA-256 {digest}",
            f"SHA-256 {sums[path.name]}",
            "The file is damaged; fetch it again.",
        )


def _download(root: Path) -> None:
    datasets = _torchvision_datasets(root)
    try:
        datasets.MNIST(str(root), train=False, download=True)
    except (RuntimeError, OSError) as error:
        raise MissingData(
            f"{root} holds no {IMAGES}[.gz] and {LABELS}[.gz], and torchvision could not download them: {error}. "
            "Fetch them by hand and put them there."
        ) from error


def _torchvision_datasets(root: Path) -> Any:
    try:
        return import_torchvision("datasets")
    except ImportError as error:
        raise MissingData(
            f"{root} (from {DATA_VARIABLE}) holds no {IMAGES}[.gz] and {LABELS}[.gz]. Put them there, "
            f"or install torchvision, which downloads them: {install_command('torchvision')}"
        ) from error
