"""Shared test settings: reproducible hypothesis, one thread per process, the example networks, the MNIST files."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import signal
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket, socketpair
from typing import Any

# The suite runs in as many processes as there are cores: more threads would only fight each other.
# numpy and torch read these when they are imported.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Servers of the tests are on this machine; the proxy of a developer's environment would not find them.
for _name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    os.environ.pop(_name, None)

# A suite started in the background ignores Ctrl-C, and so would the programs whose Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from powerplan.examples import Example, example, load_example  # noqa: E402
from powerplan.network import Network  # noqa: E402

settings.register_profile("powerplan", derandomize=True, deadline=None)
settings.register_profile("quick", settings.get_profile("powerplan"), max_examples=30)
settings.load_profile("powerplan")

_ROOT = Path(__file__).resolve().parents[1]
_IMAGES, _LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


#: folders that start servers, workers and programs, plan many times or run documents, with their quick files
_SLOW_FOLDERS: dict[str, tuple[str, ...]] = {
    "batch": ("test_server_answers", "test_study_file", "test_study_ledger"),
    "cli": ("test_cli_bad_input", "test_cli_exits", "test_cli_plausibility", "test_cli_presets", "test_cli_quantities"),
    "client": ("test_addresses", "test_plain_values", "test_proxies"),
    "examples_docs": ("test_architecture", "test_benchmark_report", "test_decisions", "test_troubleshooting"),
    "golden": (),
    "planning": ("test_curvature", "test_plan_file", "test_plausible_calls", "test_policy"),
    "report": (
        *("test_report_cards", "test_report_charts", "test_report_device_names", "test_report_html"),
        *("test_report_look", "test_report_study_layers", "test_report_tables", "test_report_text"),
        "test_report_units",
    ),
    "server": ("test_cache", "test_config"),
    "service": (),
}
#: and in the other folders files that train networks, import for a second, or solve circuits
_SLOW_FILES = ("examples/test_examples.py", "moments/array/test_wires.py", "network/test_torchvision_import.py")


def _is_slow(file: Path) -> bool:
    inside = file.relative_to(_ROOT / "tests")
    folder = inside.parts[0]
    slow_folder = folder in _SLOW_FOLDERS and file.stem not in _SLOW_FOLDERS[folder]
    return slow_folder or inside.as_posix() in _SLOW_FILES


def _is_quick(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "not slow")


def pytest_configure(config: pytest.Config) -> None:
    """A quick run draws fewer examples, where a test does not say how many."""
    if _is_quick(config):
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of a quick run, slow files are not even imported: that takes seconds in each process."""
    is_test = collection_path.name.startswith("test_")
    return True if is_test and _is_quick(config) and _is_slow(collection_path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each process begins with its part of the suite in order, and takes from another's when it is done.

    The tests of a file stay together, so that servers and plans they share are made once.
    """
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None  # the default of -n


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _write_idx(path: Path, array: np.ndarray) -> bytes:
    """Write unsigned bytes in idx format (gzip if the name ends in .gz); returns the bytes of the file."""
    content = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.write_bytes(content)
    return content


def _write_synthetic_mnist(folder: Path, count: int = 1500, seed: int = 0) -> None:
    """Ten blurred random templates with noise, in the files and the format of the MNIST test set."""
    rng = np.random.default_rng(seed)
    templates = np.kron(rng.uniform(0, 255, (10, 7, 7)), np.ones((4, 4)))
    labels = rng.integers(0, 10, count)
    images = np.clip(templates[labels] + rng.normal(0, 40, (count, 28, 28)), 0, 255)
    sums = []
    for name, array in ((_IMAGES, images), (_LABELS, labels)):
        content = _write_idx(folder / f"{name}.gz", array)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}.gz\n")
    (folder / "SHA256SUMS").write_text("".join(sums))


@pytest.fixture(scope="session")
def write_idx() -> Callable[[Path, np.ndarray], bytes]:
    return _write_idx


@pytest.fixture(scope="session")
def write_synthetic_mnist() -> Callable[..., None]:
    return _write_synthetic_mnist


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to name in POWERPLAN_DATA: the real MNIST test images if they are near, else synthetic ones."""
    named = os.environ.get("POWERPLAN_DATA")
    near = [_ROOT / "data", _ROOT.parent / "data", _ROOT.parent / "shared" / "data"]
    for folder in [Path(named)] if named else near:
        for place in (folder / "mnist", folder):
            if any((place / (_IMAGES + suffix)).is_file() for suffix in ("", ".gz")):
                return folder
    folder = tmp_path_factory.mktemp("synthetic_mnist")
    _write_synthetic_mnist(folder)
    return folder


@pytest.fixture(scope="session")
def network_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run's trained networks, shared by its processes."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "networks"


@pytest.fixture(scope="session", autouse=True)
def trained_once(network_cache: Path) -> Iterator[Callable[..., Network]]:
    """An example that no cache is named for, as those of commands and pages, is trained once for the whole run.

    The value is what trains it anew.
    """
    trained = example._trained

    def kept(name: str, recipe: Any, data: Any, seed: int, cache: Any) -> Network:
        return trained(name, recipe, data, seed, network_cache if cache is None else cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example, "_trained", kept)
        yield trained


@pytest.fixture(scope="session")
def iris_example() -> Example:
    return load_example("iris")


@pytest.fixture(scope="session")
def digits_example() -> Example:
    return load_example("digits")


@pytest.fixture(scope="session")
def mnist_example(mnist_folder: Path) -> Iterator[Example]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POWERPLAN_DATA", str(mnist_folder))
        yield load_example("mnist")


@pytest.fixture(scope="session")
def two_layers() -> Network:
    """6-4-2 with a ReLU between and weights from a seed."""
    import torch

    from powerplan import from_torch

    generator = torch.Generator().manual_seed(0)
    first, second = torch.nn.Linear(6, 4), torch.nn.Linear(4, 2)
    for layer in (first, second):
        torch.nn.init.normal_(layer.weight, generator=generator)
    return from_torch(torch.nn.Sequential(first, torch.nn.ReLU(), second), (6,))


class _Serving:
    """What a study's worker process is to its parent, as a thread of this process: starting one takes no seconds."""

    def __init__(self, connection: socket, folder: Path) -> None:
        self._thread = threading.Thread(target=self._serve, args=(connection, folder), daemon=True)
        self._thread.start()

    def _serve(self, connection: socket, folder: Path) -> None:
        from powerplan.batch.executors.child import answer_requests
        from powerplan.jobs.frames import Kind, frame, receive

        answer = answer_requests(folder)
        with contextlib.suppress(EOFError, ConnectionError), contextlib.closing(connection):
            connection.sendall(frame(Kind.READY))
            while True:
                request = receive(connection)[1]
                connection.sendall(answer(request, lambda plan: connection.sendall(frame(Kind.PROGRESS, plan))))

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def kill(self) -> None:
        """Nothing: the thread ends when its connection is closed."""

    def wait(self, timeout: float) -> int:
        return 0


@pytest.fixture(scope="module")
def workers_in_threads() -> Iterator[None]:
    """Workers of studies are threads, one of which plans at a time: for tests that are not about processes."""
    from powerplan.batch.executors.local import LocalWorker
    from powerplan.batch.work import Planner

    def launch(worker: LocalWorker) -> None:
        ours, theirs = socketpair()
        worker._errors = tempfile.TemporaryFile()  # noqa: SIM115
        worker._process = _Serving(theirs, worker._folder)  # type: ignore[assignment]
        worker._connection = ours

    run, one_at_a_time = Planner.run, threading.Lock()

    def alone(*arguments: Any) -> None:
        with one_at_a_time:
            run(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalWorker, "_launch", launch)
        patched.setattr(Planner, "run", alone)
        yield
