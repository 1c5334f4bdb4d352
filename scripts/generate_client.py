"""Write what the client shares with the engine, which it stands without, and its asyncio face.

    python scripts/generate_client.py            write the files
    python scripts/generate_client.py --check    exit 1 if what is committed is not what would be written

Values have the fields and the words of the engine's, without checks and methods; arrays are read by the same code; the
asyncio client is the blocking one with ``async`` and ``await``.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from generate_keywords import ROOT, write_or_check

from powerplan.hardware import Gains, Hardware
from powerplan.hardware.steps import Steps
from powerplan.hardware.tiling import LayerArrays
from powerplan.moments.prediction import ArrayDrop, LayerMoments, Prediction
from powerplan.montecarlo import simulation
from powerplan.planning import outcome
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import TARGETS

_NAME = "Written by scripts/generate_client.py. Do not edit."
_CLIENT = Path("client/powerplan_client")
_NONE = "{} | None = None"


@dataclass(frozen=True, kw_only=True)
class Value:
    """A class of the engine as the client has it.

    Attributes:
        kind: the engine's class.
        summary: first paragraph of the docstring, where it is another one here.
        optional: fields that the client has only if they were asked for.
        annotations: of fields that are of another type here.
        more: further fields with their words; ``name: type = default``.
        properties: those of the engine that it keeps.
        ended: lines of the docstring after the fields.
    """

    kind: type
    summary: str = ""
    optional: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    properties: tuple[str, ...] = ()
    ended: str = ""


_INFO = {"info: CallInfo | None = None": "of the call, in the answer to one."}
_ANSWER = {
    "accuracy: float | None = None": "expected classification accuracy, if labels were given and the outputs' "
    "covariance is known.",
    "accuracy_standard_error: float | None = None": "of it.",
    "accuracy_input_standard_error: float | None = None": "of it over inputs: as one of all inputs that there may be.",
    "ideal_accuracy: float | None = None": "of the ideal network on the same inputs, if labels were given.",
    "gains: Gains | None = None": "of every crossbar layer, in the answer to a call.",
    **_INFO,
}
_LARGE = "Moments of outputs and layers, and what is said of every draw, are there only if they were asked for."
_CURVES = (
    'A curve is a number (a constant) or a mapping: {"type": "polynomial", "coefficients": [...], "reference": '
    'siemens}; drift is {"type": "power_law", "exponent_mean": curve, ...} or {"type": "log_time", ...}; a snapshot '
    'is {"time", "mean": curve, "std": curve}, or {"time", "target", "mean", "std"} with lists of measured '
    "conductances [S]. The server's documentation lists the types."
)
_PARTS = {
    "Curve": "float | Mapping[str, Any]",
    "Costs": "str | Mapping[str, Any]",
    "Drift": "Mapping[str, Any]",
    "LowFrequencyNoise": "Mapping[str, Any]",
    "tuple[Snapshot, ...]": "Sequence[Mapping[str, Any]]",
}


def _hardware() -> Value:
    """Every field may be left out: the server then takes its default, or the preset's value."""
    types = {f.name: str(f.type).removesuffix(" | None") for f in fields(Hardware)}
    return Value(
        kind=Hardware,
        summary="A crossbar technology in SI units; None = the server's default for that field.",
        annotations={name: _NONE.format(_PARTS.get(kind, kind)) for name, kind in types.items()},
        more={
            "preset: str | None = None": "name of a published technology whose values stand in for every field that is "
            "None; without one those are at the server's default."
        },
        ended=_CURVES,
    )


_VALUES = (
    _hardware(),
    Value(kind=Gains),
    Value(kind=Steps, annotations={"values": "Sequence[float] | np.ndarray"}),
    *(Value(kind=kind, annotations={"labels": "Sequence[int] | np.ndarray"}) for kind in TARGETS.values()),
    Value(kind=LayerMoments),
    Value(kind=ArrayDrop),
    Value(
        kind=Prediction,
        more={"nmse_standard_error: float = 0.0": "", **_ANSWER},
        ended=_LARGE,
    ),
    Value(
        kind=simulation.Simulation,
        optional=("mse_by_draw", "worst_mse_by_draw", "ideal_output", "output_mean", "output_covariance", "classes"),
        more={"chips: Chips | None = None": "errors of single chips: every draw is one.", **_ANSWER},
        properties=("mse_confidence_interval", "nmse_confidence_interval", "power_confidence_interval"),
        ended=_LARGE,
    ),
    Value(kind=outcome.Remedy),
    Value(kind=outcome.FloorPart),
    Value(kind=outcome.Termination, more={'advice: str = ""': "what the outcome means and what to do next."}),
    Value(kind=outcome.Certificate),
    Value(kind=outcome.DiscreteGap),
    Value(kind=outcome.BitGap),
    Value(kind=outcome.LimitPrice),
    Value(kind=outcome.ConstraintPrice),
    Value(kind=outcome.ShadowPrices),
    Value(kind=outcome.Verification),
    Value(kind=outcome.Corner),
    Value(kind=LayerArrays, properties=("arrays",)),
    Value(
        kind=Plan,
        more={
            "saving: float | None": "1 − power / baseline_power (with a power budget: 1 − error / baseline_mse).",
            **_INFO,
        },
        properties=("array_count", "conversions", "power", "energy", "costs", "mse", "nmse"),
    ),
)


def generate() -> dict[str, str]:
    """Content of every generated file by its path."""
    written = {
        str(_CLIENT / "arrays.py"): _copied("powerplan/arrays.py"),
        str(_CLIENT / "spread.py"): _spread(_copied("powerplan/spread.py")),
        str(_CLIENT / "per_input.py"): _per_input(_copied("powerplan/per_input.py")),
        str(_CLIENT / "cost_breakdown.py"): _copied("powerplan/hardware/costs/breakdown.py"),
        str(_CLIENT / "shared.py"): _shared(),
        str(_CLIENT / "aio.py"): _asyncio((ROOT / _CLIENT / "client.py").read_text()),
    }
    return {path: _for_old_interpreters(text) for path, text in written.items()}


def _for_old_interpreters(text: str) -> str:
    """In the words of Python 3.9, which the client runs on."""
    text = re.sub(
        r"isinstance\(([^()]+(?:\([^()]*\))?[^()]*), ([\w.]+(?: \| [\w.]+)+)\)",
        lambda found: f"isinstance({found[1]}, ({found[2].replace(' | ', ', ')}))",
        text,
    )
    text = text.replace(", strict=True)", ")")
    missing = [name for name in ("Self", "dataclass") if re.search(rf"^from \w+ import .*\b{name}\b", text, re.M)]
    if missing and "powerplan_client.compat" not in text:
        text = re.sub(r"^from dataclasses import dataclass\n(?:\n(?=\nimport|import))?", "", text, flags=re.M)
        text = re.sub(r"^(from \w+ import .*), (?:dataclass|Self)\b", r"\1", text, flags=re.M)
        head, numpy, rest = text.partition("import numpy as np\n\n")
        end = "" if rest.startswith("from") else "\n"
        text = f"{head}{numpy}from powerplan_client.compat import {', '.join(missing)}\n{end}{rest}"
    return text


def _copied(path: str) -> str:
    text = (ROOT / path).read_text()
    return text.replace("Written here, copied to the client by scripts/generate_client.py.", _NAME)


def _spread(text: str) -> str:
    """With the errors of the client."""
    return _replaced(
        text,
        ("from powerplan.errors import InvalidInput", "from powerplan_client.values import wrong"),
        ("InvalidInput.of(field, value, allowed, advice)", 'wrong(field, value, f"{allowed}. {advice}")'),
        ("InvalidInput:", "InvalidRequest:"),
    )


def _per_input(text: str) -> str:
    """Likewise."""
    return _replaced(text, ("powerplan.spread", "powerplan_client.spread"), ("InvalidInput:", "InvalidRequest:"))


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        if before not in text:
            raise ValueError(f"what is copied does not say {before!r} any more")
        text = text.replace(before, after)
    return text


_MODULE = '''"""Values that client and engine share, from hardware to plans. {name}"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Union

import numpy as np

from powerplan_client.call_info import CallInfo
from powerplan_client.compat import dataclass
from powerplan_client.cost_breakdown import CostBreakdown
from powerplan_client.per_input import Inputs
from powerplan_client.spread import Chips

Gain = Union[float, np.ndarray]


{classes}


Target = Union[{targets}]
'''


def _shared() -> str:
    """The classes of values, with what they need."""
    classes = [_outcome(outcome.Outcome), *map(_class, _VALUES), inspect.getsource(simulation._interval).strip()]
    targets = ", ".join(kind.__name__ for kind in TARGETS.values())
    return _MODULE.format(name=_NAME, classes="\n\n\n".join(classes), targets=targets)


def _outcome(kind: type[enum.Enum]) -> str:
    members = "".join(f"    {each.name} = {each.value!r}\n" for each in kind).replace("'", '"')
    return f'class {kind.__name__}(enum.Enum):\n    """How planning ended."""\n\n{members}'.strip()


def _class(value: Value) -> str:
    engine = value.kind.__dataclass_params__
    keywords = all(f.kw_only for f in fields(value.kind))
    flags = "frozen=True" + ", kw_only=True" * keywords + ", eq=False" * (not engine.eq)
    own = [_field(f, value) for f in fields(value.kind)]
    parts = [_docstring(value), "\n".join(f"    {line}" for line in [*own, *value.more])]
    parts += [_property(value.kind, name) for name in value.properties]
    return f"@dataclass({flags})\nclass {value.kind.__name__}:\n" + "\n\n".join(parts)


def _field(f: Field, value: Value) -> str:
    if f.name in value.annotations:
        return f"{f.name}: {value.annotations[f.name]}"
    if f.name in value.optional:
        return f"{f.name}: {_NONE.format(str(f.type).removesuffix(' | None'))}"
    if f.default is not MISSING:
        default = f'"{f.default}"' if isinstance(f.default, str) else repr(f.default)
        return f"{f.name}: {f.type} = {default}"
    return f"{f.name}: {f.type}" + " = field(default_factory=dict)" * (f.default_factory is dict)


def _docstring(value: Value) -> str:
    """The engine's words without what its checks raise, and those of the further fields."""
    text = inspect.cleandoc(value.kind.__doc__ or "").partition("\n\nRaises:")[0]
    summary, *rest = text.split("\n\n")
    text = "\n\n".join([value.summary or summary, *rest])
    for declaration, words in value.more.items():
        if words:
            text += "\n" + _filled(f"{declaration.partition(':')[0]}: {words}", "    ")
    if value.ended:
        text += "\n\n" + _filled(value.ended, "")
    if "\n" in text:
        text += "\n"
    return textwrap.indent(f'"""{text}"""', "    ")


def _filled(text: str, indent: str) -> str:
    after = indent and indent * 2
    return textwrap.fill(text, 116, initial_indent=indent, subsequent_indent=after, break_on_hyphens=False)


def _property(kind: type, name: str) -> str:
    return inspect.getsource(getattr(kind, name).fget).rstrip()


#: what the asyncio client says instead of the blocking one, in this order
_ASYNCHRONOUS = (
    ('"""The blocking client."""', f'"""The asyncio client. {_NAME}"""'),
    ("Callable, Iterable, Iterator, Sequence", "AsyncIterator, Callable, Iterable, Sequence"),
    (
        "each returning when it is done. Safe to share between threads.",
        "as coroutines and asynchronous iterators, within one event loop.",
    ),
    (" Iterator[", " AsyncIterator["),
    ("class PlannerClient(BlockingDriver)", "class AsyncPlannerClient(AsyncDriver)"),
    ("import BlockingDriver", "import AsyncDriver"),
    ("import GrpcTransport", "import AsyncGrpcTransport, LocalThreads"),
    ("_start(GrpcTransport(", "_start(AsyncGrpcTransport("),
    ("_start(local_transport()", "_start(LocalThreads()"),
    ("from powerplan_client.engine import local_transport\n", ""),
    ("self._run(", "await self._run("),
)


def _asyncio(blocking: str) -> str:
    text = blocking
    for before, after in _ASYNCHRONOUS:
        if before not in text:
            raise ValueError(f"client.py does not say {before!r} any more")
        text = text.replace(before, after)
    methods = re.split(r"(?=\n    def )", text)
    return "".join(part.replace("    def ", "    async def ", 1) if "await" in part else part for part in methods)


def main() -> int:
    """Write the files, or check those committed."""
    return write_or_check(__file__, __doc__, generate())


if __name__ == "__main__":
    sys.exit(main())
