"""``powerplan doctor``: what is installed, and whether it works."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from powerplan._version import __version__
from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.exits import Exit
from powerplan.cli.output import document, write_json
from powerplan.cli.server import server_options
from powerplan.errors import DISTRIBUTION, PowerplanError, install_command

#: packages that are always there, and those of optional parts by the extra that installs them
_NEEDED = ("numpy", "scipy", "torch", "cvxpy", "clarabel", "click")
_OPTIONAL = {
    "plot": "matplotlib",
    "server": "grpcio",
    "http": "connectrpc",
    "cluster": "psycopg",
    "mcp": "mcp",
    "examples": "scikit-learn",
    "onnx": "onnx",
    "torchvision": "torchvision",
    "yaml": "ruamel.yaml",
    "parquet": "pyarrow",
    "otel": "opentelemetry-sdk",
    "aihwkit": "aihwkit",
    "ray": "ray",
}
#: of the self-test: standard errors that simulation and prediction may differ by, and the residual of an optimum
_ERRORS, _RESIDUAL, _DRAWS = 5.0, 1e-6, 400


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was looked at: "ok", "absent" (an optional part), or "wrong", with what to do."""

    name: str
    state: str
    text: str


@click.command("doctor", cls=Command, short_help="What is installed, and whether it works.")
@server_options()
@opt.output_options
@click.pass_obj
def command(chat: Chat, /, as_json: bool, **options: Any) -> None:
    """Versions, threads, optional packages, data, the server given by --server, and a self-test of about a second.

    The self-test plans, predicts and simulates a small network and compares the results. The exit code is 1 if anything
    is wrong. Include the output when you report a bug.
    """
    findings = [*_versions(), *_parts(), _data()]
    if options["server"] is not None:
        findings.append(_server(options))
    findings.append(_self_test())
    if as_json:
        write_json(document("doctor", findings=findings))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = {"ok": "ok    ", "absent": "-     ", "wrong": "WRONG "}[finding.state]
            click.echo(f"{mark} {finding.name:<{width}}  {finding.text}")
    if any(finding.state == "wrong" for finding in findings):
        chat.error("doctor: something is wrong, see above.")
        click.get_current_context().exit(int(Exit.INTERNAL))


def _versions() -> list[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
    gpu = f"; {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "; no GPU that it can use"
    return [
        Finding(name="powerplan", state="ok", text=f"{__version__}, {Path(__file__).parents[2]}"),
        Finding(name="Python", state="ok", text=f"{platform.python_version()}, {sys.executable}"),
        Finding(name="machine", state="ok", text=f"{platform.platform()}, {cores} processors to use"),
        Finding(
            name="torch build",
            state="ok",
            text=f"{build}{gpu}; {torch.get_num_threads()} threads of {cores} processors",
        ),
        *(Finding(name=name, state="ok", text=version(name)) for name in _NEEDED),
        *_namesakes(),
    ]


def _namesakes() -> list[Finding]:
    """Another project's package, whose files of the same name replace these or go with them when it is uninstalled."""
    try:
        text = f"the package powerplan {version('powerplan')} has files of the same names as {DISTRIBUTION}: "
    except PackageNotFoundError:
        return []
    text += f"pip uninstall powerplan, then pip install --force-reinstall --no-deps {DISTRIBUTION}"
    return [Finding(name="namesake", state="wrong", text=text)]


def _parts() -> list[Finding]:
    parts = []
    for extra, package in _OPTIONAL.items():
        try:
            parts.append(Finding(name=f"[{extra}]", state="ok", text=f"{package} {version(package)}"))
        except PackageNotFoundError:
            text = f"{package} is not installed: {install_command(extra)}"
            parts.append(Finding(name=f"[{extra}]", state="absent", text=text))
    return parts


def _data() -> Finding:
    from powerplan.examples.data import DATA_VARIABLE, IMAGES

    folder = os.environ.get(DATA_VARIABLE)
    if folder is None:
        text = f"not named: set {DATA_VARIABLE} to the folder of the MNIST test files, for the mnist examples"
        return Finding(name="MNIST", state="absent", text=text)
    files = list(Path(folder).rglob(f"{IMAGES}*"))
    if not files:
        return Finding(name="MNIST", state="wrong", text=f"{DATA_VARIABLE} names {folder}, which has no {IMAGES}")
    return Finding(name="MNIST", state="ok", text=str(files[0].parent))


def _server(options: dict[str, Any]) -> Finding:
    from powerplan.remote import connect, errors

    address, begun = options["server"], time.perf_counter()
    try:
        with connect(**options) as client, errors():
            info = client.server_info(timeout=10.0)
    except PowerplanError as error:
        return Finding(name="server", state="wrong", text=" ".join(str(error).split()))
    milliseconds = 1e3 * (time.perf_counter() - begun)
    text = f"{address}, version {info.server_version}, answered in {milliseconds:.0f} ms"
    if info.server_version != __version__:
        text += f"; this is {__version__}"
    return Finding(name="server", state="ok", text=text)


def _self_test() -> Finding:
    """A plan of a small network: certified, and as simulated."""
    import numpy as np

    import powerplan as pp

    random = np.random.default_rng(0)
    weights, inputs = [random.normal(size=(16, 12)), random.normal(size=(4, 16))], random.normal(size=(16, 12))
    network = pp.Network.mlp(weights, [np.zeros(16), np.zeros(4)])
    begun = time.perf_counter()
    try:
        plan = pp.plan(network, pp.Hardware(programming_noise_std=1e-6), inputs, pp.MaxNMSE(0.02), verify_draws=_DRAWS)
    except Exception as error:  # whatever it is, it is what is looked for
        return Finding(name="self-test", state="wrong", text=f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - begun
    check, certificate = plan.verification, plan.certificate
    assert check is not None
    off = (check.mse - plan.mse) / check.mse_standard_error
    residual = np.inf if certificate is None else certificate.kkt_residual
    text = (
        f"a plan in {seconds:.2f} s: {plan.termination.outcome.value}, KKT residual {residual:.0e}, "
        f"simulated MSE {off:+.1f} standard errors from the prediction"
    )
    good = plan.termination.outcome is pp.Outcome.OPTIMAL and residual < _RESIDUAL and abs(off) < _ERRORS
    return Finding(name="self-test", state="ok" if good else "wrong", text=text)
