"""Random command lines and hardware files: an answer or an error in words, no traceback, no other file touched."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings, strategies as st

from powerplan import Hardware, MaxNMSE, Network, plan
from powerplan.cli import main
from powerplan.cli.exits import Exit
from powerplan.cli.quantities import JSONValue, Quantity
from powerplan.hardware.describe import described_fields

FUZZ = settings(max_examples=60, suppress_health_check=list(HealthCheck))
#: commands with an answer from files; serve and status need a server
COMMANDS = ("plan", "predict", "simulate", "frontier", "show", "presets", "explain", "export", "report")
#: what must not be drawn large: the work grows with it
COUNTS = {"--verify", "--points", "--marginal-fields", "--output-combinations", "--max-iterations"}
WORDS = """linearized diagonal covariance layer column network signal conductance voltage conductance,voltage float32
shared linear1 linear -1 relu npz csv cpu 4 64log 1uS,2uS 0.01:1:x2 0:1:0 offset tia pcm_joshi2020_fit"""
ODD = ["_", "-", "nan", "inf", "-1", "0", "1e300", "1e-320", "1e999", "☃", "a", "%", "1_000", "0x10", "--", "", " "]
FILES = ["net.npz", "x.npy", "x.csv", "y.csv", "plan.json", "hw.toml", "broken.json", "broken.toml", "empty"]
FILES += ["noise.npz", "folder", "missing.npz", "folder/missing/too", "/dev/null"]
#: more often the right file: a wrong one ends a command at once
RIGHT = {
    "--network": "net.npz",
    "--inputs": "x.npy",
    "--labels": "y.csv",
    "--hardware": "hw.toml",
    "--gains": "plan.json",
}
OUTPUTS = ("out.json", "out.npz", "out.html", "out.png", "out", "folder/out.json", "folder", "missing/out.json")


@contextmanager
def folder_of_files() -> Iterator[dict[str, str]]:
    """A folder, made the current one, with good and bad files; the digests of its files."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            rng = np.random.default_rng(0)
            network = Network.mlp([rng.normal(size=(4, 3)), rng.normal(size=(2, 4))])
            inputs = rng.normal(size=(4, 3))
            network.save("net.npz")
            np.save("x.npy", inputs)
            np.savetxt("x.csv", inputs, delimiter=",")
            np.savetxt("y.csv", np.array([0, 1, 1, 0]), fmt="%d")
            plan(network, Hardware(), inputs, MaxNMSE(0.2)).save("plan.json")
            Path("hw.toml").write_text("programming_noise_std = 1e-6\n")
            Path("broken.json").write_text('{"conductance": [1e-6, ')
            Path("broken.toml").write_text("conductance_max = \n")
            Path("empty").write_text("")
            Path("noise.npz").write_bytes(rng.bytes(300))
            os.mkdir("folder")
            yield digests()
        finally:
            os.chdir(here)


def digests() -> dict[str, str]:
    """Of every file below the current folder."""
    files = (file for file in Path().rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def quantities(kind: Quantity) -> st.SearchStrategy[str]:
    """Numbers with and without units, right and wrong ones."""
    usual = st.builds(
        lambda number, prefix, unit: f"{number:.3g}{prefix}{unit}",
        st.floats(0, 1000, allow_nan=False),
        st.sampled_from(["", "n", "u", "m", "k"]),
        st.sampled_from([kind.unit, kind.unit, "", "%", "S", "V", " s"]),
    )
    one = usual | st.floats(1e-9, 1).map(repr) | st.sampled_from(ODD)
    return st.lists(one, min_size=1, max_size=3).map(",".join) if kind.many else one


def curves() -> st.SearchStrategy[Any]:
    """Parts of a device's description, most of them almost right."""
    number = st.floats(-1e-5, 1e-4) | st.sampled_from([0, 1, True, None, "1uS", float("nan"), 1e400])
    curve = st.fixed_dictionaries(
        {"type": st.sampled_from(["polynomial", "table", "power", "saturating", "logarithm", "piecewise", "x", 3])},
        optional={
            "coefficients": st.lists(number, max_size=3), "points": st.lists(number, max_size=3),
            "values": st.lists(number, max_size=3), "exponent": number, "scale": number, "amplitude": number,
            "slope": number, "offset": number, "low": number, "high": number,
        },
    )  # fmt: skip
    return st.recursive(number | curve, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


def values(option: click.Option) -> st.SearchStrategy[str]:
    """Texts for an option, by what it takes."""
    flag = option.opts[0]
    if flag in ("--output", "--plot"):
        return st.sampled_from(OUTPUTS)
    if flag in COUNTS:
        return st.integers(-1, 12).map(str) | st.sampled_from(["x", "1.5", "", "nan"])
    if option.metavar is not None and "FILE" in option.metavar:
        right = RIGHT.get(flag)
        return st.sampled_from(FILES if right is None else [*FILES, *[right] * 3 * len(FILES)])
    if isinstance(option.type, Quantity):
        return quantities(option.type)
    if isinstance(option.type, JSONValue):
        return curves().map(json.dumps) | st.sampled_from(ODD)
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
        return st.integers(-2, 40).map(str) | st.sampled_from(ODD)
    return st.sampled_from([*WORDS.split(), *ODD])


#: options without which a command does nothing, and what they usually are
NEEDED = {
    "plan": {"--network": "net.npz", "--inputs": "x.npy", "--max-nmse": "20%", "--deadline": "3"},
    "frontier": {"--network": "net.npz", "--inputs": "x.npy", "--max-nmse": "20%,30%", "--deadline": "3"},
    "predict": {"--network": "net.npz", "--inputs": "x.npy"},
    "simulate": {"--network": "net.npz", "--inputs": "x.npy", "--draws": "20"},
    "explain": {"--network": "net.npz", "--inputs": "x.npy", "--deadline": "3"},
    "export": {"--network": "net.npz", "--output": "out.npz"},
    "report": {"--output": "out.html"},
}
#: these bound the work, and are not drawn
BOUNDING = ("--deadline", "--draws")
#: these need a server, or train a network
LEFT_OUT = ("--server", "--example")


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with what it needs (now and then not), and a few options of its own with random values."""
    name = draw(st.sampled_from(COMMANDS))
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = [p for p in command.params if isinstance(p, click.Option) and not p.opts[0].startswith(LEFT_OUT)]
    drawn = draw(st.lists(st.sampled_from(options), max_size=4))
    needed = NEEDED.get(name, {})
    words = [name]
    for option in options:
        flag = option.opts[0]
        if option in drawn and (option.is_flag or option.count):
            words.append(draw(st.sampled_from([*option.opts, *option.secondary_opts])))
        elif option in drawn and flag not in BOUNDING:
            words += [flag, draw(values(option))]
        elif flag in needed and (flag in BOUNDING or draw(st.integers(0, 19)) != 7):
            words += [flag, needed[flag]]
    for argument in (p for p in command.params if isinstance(p, click.Argument)):
        right = "pcm_joshi2020_fit" if name == "presets" else "plan.json"
        file = st.sampled_from([right] * 40 + FILES + ODD)
        words += draw(st.lists(file, min_size=name != "presets", max_size=2 if argument.nargs == -1 else 1))
    return words


def believable(answer: dict[str, Any], said: str) -> None:
    """No number beyond the plausible without a word: 100 times the signal, a kilowatt."""
    assert (answer.get("nmse") or 0) <= 100, said
    assert (answer.get("power") or 0) <= 1e3, said


def in_words(result: Result, words: list[str]) -> None:
    """The command ended as documented: no traceback, and every failure says why."""
    said = f"{words}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    assert result.exit_code in set(Exit) - {Exit.INTERNAL, Exit.INTERRUPTED}, said
    assert "Traceback" not in result.output, said
    assert "internal error" not in result.output, said
    if result.exit_code == Exit.BAD_INPUT:
        assert "error: " in result.stderr, said
        assert result.stdout == "", said
    if result.exit_code == Exit.OK and "--json" in words and result.stdout:
        answer = json.loads(result.stdout)
        if isinstance(answer, dict) and "--accept-implausible" not in words:
            believable(answer.get("prediction", answer), said)


@pytest.mark.slow
def test_random_command_lines() -> None:
    with folder_of_files() as before:

        @FUZZ
        @given(command_lines())
        def each(words: list[str]) -> None:
            in_words(CliRunner().invoke(main, words), words)
            named = {w for flag, w in pairwise(words) if flag in ("--output", "--plot")}
            after = digests()
            changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            foreign = {c for c in changed if not any(c == n or c.startswith(f"{n}/") for n in named)}
            assert not foreign, (words, foreign)
            for name in changed - before.keys():
                Path(name).unlink()

        each()


def hardware_text(values: dict[str, Any]) -> str:
    """TOML of fields whose values are numbers, texts, lists and tables."""

    def literal(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {literal(v)}" for k, v in value.items() if v is not None) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(literal(v) for v in value if v is not None) + "]"
        return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)

    return "".join(f"{name} = {literal(value)}\n" for name, value in values.items() if value is not None)


@pytest.mark.slow
def test_random_hardware_files() -> None:
    odd = st.floats() | st.sampled_from([0, 1, -1, 2**70, True, "50uS", "200 mV", "1h", "x", ""]) | curves()
    near = st.floats(1e-2, 1e2) | st.just(1)  # times the default: a device that could be meant

    @st.composite
    def described(draw: st.DrawFn) -> dict[str, Any]:
        names = draw(
            st.lists(st.sampled_from([*described_fields(Hardware), "conductance_mx"]), max_size=3, unique=True)
        )
        defaults = {f.name: f.default for f in fields(Hardware)}
        drawn = {}
        for name in names:
            default = defaults.get(name)
            usual = isinstance(default, float) and draw(st.integers(0, 4))
            kept = isinstance(default, str | bool | int) and draw(st.integers(0, 2))
            drawn[name] = draw(near) * (default or 1e-6) if usual else default if kept else draw(odd)
        return drawn

    text = st.one_of(*[described().map(hardware_text)] * 9, st.text(max_size=40))
    with folder_of_files() as before:

        @FUZZ
        @given(text, st.sampled_from(["", "\ufeff", "[hardware]\n"]), st.sampled_from(["predict", "plan"]))
        def each(toml: str, start: str, name: str) -> None:
            Path("random.toml").write_text(start + toml, encoding="utf-8", errors="replace")
            words = [name, "--network", "net.npz", "--inputs", "x.npy", "--hardware", "random.toml", "--json"]
            words += ["--max-nmse", "20%", "--deadline", "3"] if name == "plan" else []
            in_words(CliRunner().invoke(main, words), [*words, toml])
            Path("random.toml").unlink()
            assert digests() == before

        each()
