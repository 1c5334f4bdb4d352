"""The built-in examples train well, fast and reproducibly, and say what they need."""

from __future__ import annotations

import builtins
import hashlib
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from powerplan import CorruptFile, InvalidInput, MissingData, MissingExtra
from powerplan.examples import Example, example_names, load_example
from powerplan.examples.idx import read_idx
from powerplan.network import Network


@pytest.fixture(autouse=True)
def _trained_anew(trained_once: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of the training."""
    monkeypatch.setattr("powerplan.examples.example._trained", trained_once)


def check_consistent(example: Example, widths: str, batch: int) -> None:
    """Arrays fit each other and the network, and the stated accuracy is the network's."""
    assert repr(example.network).startswith(f"Network({widths},")
    assert example.inputs.shape == (batch, *example.network.input_shape)
    assert example.labels.shape == (batch,)
    assert len(example.test_inputs) == len(example.test_labels)
    for array in (example.inputs, example.labels, example.test_inputs, example.test_labels):
        assert not array.flags.writeable
    found = example.network(example.test_inputs).argmax(axis=1)
    assert example.test_accuracy == np.mean(found == example.test_labels)
    held_out = {row.tobytes() for row in example.test_inputs}
    # Iris holds the same flower twice; images must not be in both sets at all.
    assert sum(row.tobytes() in held_out for row in example.inputs) <= (1 if example.name == "iris" else 0)


def test_iris(iris_example: Example) -> None:
    check_consistent(iris_example, "4-16-3", 32)
    assert iris_example.test_accuracy > 0.93
    assert iris_example.train_accuracy > 0.95


def test_digits(digits_example: Example) -> None:
    check_consistent(digits_example, "64-32-32-10", 64)
    assert digits_example.test_accuracy > 0.96
    assert digits_example.inputs.min() == 0
    assert digits_example.inputs.max() == 1


def test_mnist(mnist_example: Example) -> None:
    check_consistent(mnist_example, "784-256-256-128-64-10", 64)
    assert mnist_example.test_accuracy > 0.95
    assert len(mnist_example.test_inputs) in (2000, 300)  # of the real 10 000 images, or of the synthetic ones


@pytest.mark.parametrize(("name", "layers", "joins"), [("mnist_cnn", 5, 0), ("mnist_resnet", 9, 3)])
def test_convolutional_examples(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    write_synthetic_mnist: Callable[..., None],
    name: str,
    layers: int,
    joins: int,
) -> None:
    """They learn, batch norm is folded, and the same seed gives the same network, the global generator untouched."""
    write_synthetic_mnist(tmp_path, count=600)
    monkeypatch.setenv("POWERPLAN_DATA", str(tmp_path))
    before = torch.get_rng_state()
    example = load_example(name)
    assert torch.equal(before, torch.get_rng_state())
    assert example.inputs.shape == (16, 1, 28, 28)
    assert example.test_accuracy > 0.9
    assert len(example.network.crossbars) == layers
    types = [node.op.type for node in example.network.nodes]
    assert types.count("add") == joins
    assert "scale" not in types
    assert load_example(name).network.digest == example.network.digest
    assert load_example(name, seed=1).network.digest != example.network.digest


def test_same_seed_same_network(iris_example: Example) -> None:
    """The digest depends on the seed alone: not on the global generator, and it leaves that as it was."""
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = load_example("iris")
    assert torch.equal(before, torch.get_rng_state())
    assert again.network.digest == iris_example.network.digest
    np.testing.assert_array_equal(again.inputs, iris_example.inputs)
    assert load_example("iris", seed=1).network.digest != iris_example.network.digest


def test_threads_do_not_change_the_network(digits_example: Example) -> None:
    """Training uses one thread and gives the caller's number back; it takes seconds (about 1.5 on one core)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    start = time.process_time()
    try:
        again = load_example("digits")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert time.process_time() - start < 10
    assert again.network.digest == digits_example.network.digest


def test_training_works_where_gradients_are_off(iris_example: Example) -> None:
    with torch.no_grad():
        assert load_example("iris").network.digest == iris_example.network.digest


def test_cache(tmp_path: Path, iris_example: Example) -> None:
    """The second run reads the file; a damaged one is replaced; another seed has its own."""
    assert load_example("iris", cache=tmp_path / "new").network.digest == iris_example.network.digest
    (file,) = (tmp_path / "new").iterdir()
    stamp, content = file.stat().st_mtime_ns, file.read_bytes()
    assert load_example("iris", cache=tmp_path / "new").network.digest == iris_example.network.digest
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(content[:100])
    assert load_example("iris", cache=tmp_path / "new").network.digest == iris_example.network.digest
    assert file.read_bytes() == content
    load_example("iris", seed=1, cache=tmp_path / "new")
    assert len(list((tmp_path / "new").iterdir())) == 2
    with pytest.raises(InvalidInput, match="cache"):
        load_example("iris", cache=file)


def test_names_and_seeds() -> None:
    assert example_names() == ("iris", "digits", "mnist", "mnist_cnn", "mnist_resnet")
    with pytest.raises(InvalidInput, match="Did you mean 'digits'"):
        load_example("digit")
    for seed in (-1, 2**32, 1.5, True, None, "0"):
        with pytest.raises(InvalidInput, match="seed"):
            load_example("iris", seed=seed)  # type: ignore[arg-type]


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package impossible to import."""
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_missing_sklearn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sklearn")
    for name in ("iris", "digits"):
        with pytest.raises(MissingExtra, match=r"pip install 'powerplan-crossbar\[examples\]'"):
            load_example(name)


def test_missing_mnist_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POWERPLAN_DATA", raising=False)
    with pytest.raises(MissingData, match="POWERPLAN_DATA"):
        load_example("mnist")
    monkeypatch.setenv("POWERPLAN_DATA", str(tmp_path))

    def missing(submodule: str) -> None:
        raise ImportError("No module named 'torchvision'")

    monkeypatch.setattr("powerplan.examples.data.import_torchvision", missing)
    with pytest.raises(MissingData, match="install torchvision"):
        load_example("mnist")


def test_mnist_is_downloaded_into_the_named_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_synthetic_mnist: Callable[..., None]
) -> None:
    """With torchvision the folder fills itself; a failed download is reported as missing data."""

    def fail(root: str, train: bool, download: bool) -> None:
        raise RuntimeError("no network")

    def fetch(root: str, train: bool, download: bool) -> None:
        folder = Path(root) / "MNIST" / "raw"  # where torchvision leaves its files
        folder.mkdir(parents=True)
        write_synthetic_mnist(folder, count=150)

    datasets = types.ModuleType("torchvision.datasets")
    package = types.ModuleType("torchvision")
    monkeypatch.setattr(package, "datasets", datasets, raising=False)
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    monkeypatch.setenv("POWERPLAN_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "MNIST", fail, raising=False)
    with pytest.raises(MissingData, match="no network"):
        load_example("mnist")
    monkeypatch.setattr(datasets, "MNIST", fetch)
    assert load_example("mnist").test_inputs.shape == (30, 784)


def test_damaged_mnist_files_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    write_idx: Callable[[Path, np.ndarray], bytes],
    write_synthetic_mnist: Callable[..., None],
) -> None:
    """The folder's own SHA256SUMS are believed, else the published ones; content that does not fit is refused."""
    (tmp_path / "mnist").mkdir()
    write_synthetic_mnist(tmp_path / "mnist", count=20)
    monkeypatch.setenv("POWERPLAN_DATA", str(tmp_path))
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + b"x")
    with pytest.raises(CorruptFile, match="SHA-256"):
        load_example("mnist")
    labels.write_bytes(content)
    (tmp_path / "mnist" / "SHA256SUMS").unlink()
    with pytest.raises(CorruptFile, match="167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b"):
        load_example("mnist")
    write_synthetic_mnist(tmp_path / "mnist", count=20)
    content = write_idx(labels, np.zeros(19))
    with (tmp_path / "mnist" / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(content).hexdigest()}  {labels.name}\n")
    with pytest.raises(CorruptFile, match="as many labels"):
        load_example("mnist")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_round_trip(tmp_path: Path, suffix: str, write_idx: Callable[[Path, np.ndarray], bytes]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    path = tmp_path / f"a{suffix}"
    write_idx(path, array)
    found = read_idx(path, 3)
    np.testing.assert_array_equal(found, array)
    assert not found.flags.writeable


def test_idx_refuses_what_is_not_idx(tmp_path: Path, write_idx: Callable[[Path, np.ndarray], bytes]) -> None:
    """Every truncation, more bytes than declared, another magic, absurd sizes, damaged gzip, no file."""
    path, packed = tmp_path / "a", tmp_path / "b.gz"
    content, compressed = write_idx(path, np.ones((3, 4))), write_idx(packed, np.ones((3, 4)))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptFile):
            read_idx(path, 2)
    for length in range(len(compressed)):
        packed.write_bytes(compressed[:length])
        with pytest.raises(CorruptFile):
            read_idx(packed, 2)
    for bad in (content + b"x", b"\0\0\x0d\x02" + content[4:], content[:4] + b"\xff" * 8, content[:4] + bytes(8)):
        path.write_bytes(bad)
        with pytest.raises(CorruptFile):
            read_idx(path, 2)
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match="magic 00000801"):
        read_idx(path, 1)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_idx(tmp_path / "none", 1)
