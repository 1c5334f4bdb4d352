"""Write what type checkers see of the settings: keywords of plan, frontier, predict, simulate, and of the client.

    python scripts/generate_keywords.py            write them
    python scripts/generate_keywords.py --check    exit 1 if what is committed is not what would be written

Names, types and words are those of the tables (powerplan.settings). The client has no engine to read them from.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from powerplan.moments.settings import PredictionSettings
from powerplan.montecarlo.settings import SimulationSettings
from powerplan.planning.settings import PlanSettings
from powerplan.settings import Setting, table

ROOT = Path(__file__).resolve().parent.parent
_WIDTH = 120
#: what the client calls a setting of the engine, and the type of its own that it takes
_CLIENT_NAMES = {"deadline": "time_limit"}
_CLIENT_TYPES = {
    "Sequence[Hardware]": "Sequence[Any]",
    "StepsGiven": "Steps | Sequence[Steps | None] | None",
}
#: settings that a server chooses itself
_ENGINE_ONLY = ("device",)
#: settings of simulations that are no options of the client's: what the answer holds is asked for in its own way
_NOT_SIMULATED = (*_ENGINE_ONLY, "dtype", "memory_limit", "layer_moments")

_PREDICTION = table(PredictionSettings)
_PLAN = tuple(row for row in table(PlanSettings) if row not in _PREDICTION)
_SIMULATION = tuple(row for row in table(SimulationSettings) if row.name not in _NOT_SIMULATED)
_HEADER = '"""{what} Written by scripts/generate_keywords.py. Do not edit."""\n\nfrom __future__ import annotations\n\n'


def generate() -> dict[str, str]:
    """Content of every generated file by its path."""
    what = "Keywords of {}, as type checkers see them."
    return {
        "powerplan/moments/keywords.py": _HEADER.format(what=what.format("predictions"))
        + "from typing import TypedDict\n"
        + _keywords("PredictionOptions(TypedDict", ":class:`~.settings.PredictionSettings`", _PREDICTION),
        "powerplan/planning/keywords.py": _HEADER.format(what=what.format("plans"))
        + "from collections.abc import Sequence\n\nimport numpy.typing as npt\n\n"
        + "from powerplan.hardware import Hardware\nfrom powerplan.hardware.gains import Gain\n"
        + "from powerplan.hardware.steps import StepsGiven\nfrom powerplan.moments.keywords import PredictionOptions\n"
        + _keywords("PlanOptions(PredictionOptions", ":class:`~.settings.PlanSettings`", _PLAN),
        "powerplan/montecarlo/keywords.py": _HEADER.format(what=what.format("simulations"))
        + "from typing import TypedDict\n"
        + _keywords("SimulationOptions(TypedDict", ":class:`~.settings.SimulationSettings`", table(SimulationSettings)),
        "client/powerplan_client/keywords.py": _HEADER.format(what="Options of calls that predict and plan.")
        + "from collections.abc import Sequence\nfrom typing import Any, TypedDict\n\nimport numpy.typing as npt\n\n"
        + "from powerplan_client.shared import Gain, Steps\n"
        + _client("PredictionKeywords(TypedDict", "How predictions are made.", _PREDICTION)
        + _client("PlanKeywords(PredictionKeywords", "How plans are made.", _PLAN)
        + _client("SimulationKeywords(TypedDict", "How simulations are made.", _SIMULATION),
    }


def _keywords(declaration: str, of: str, rows: Iterable[Setting]) -> str:
    fields = "".join(f"    {row.name}: {row.annotation}\n" for row in rows)
    return f'\n\nclass {declaration}, total=False):\n    """The settings of {of}."""\n\n{fields}'


def _client(declaration: str, title: str, rows: Iterable[Setting]) -> str:
    own = [row for row in rows if row.name not in _ENGINE_ONLY]
    names = [_CLIENT_NAMES.get(row.name, row.name) for row in own]
    texts = [
        textwrap.fill(
            f"{name}: {row.reference}",
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, row in zip(names, own, strict=True)
    ]
    words = "\n".join(texts)
    fields = "".join(
        f"    {name}: {_CLIENT_TYPES.get(row.annotation, row.annotation)}\n"
        for name, row in zip(names, own, strict=True)
    )
    return f'\n\nclass {declaration}, total=False):\n    """{title}\n\n{words}\n    """\n\n{fields}'


def write_or_check(script: str, what: str | None, wanted: Mapping[str, str]) -> int:
    """The task of a script that writes files: write them, or with --check compare those committed; its exit status."""
    parser = argparse.ArgumentParser(description=(what or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    if not parser.parse_args().check:
        for name, text in wanted.items():
            (ROOT / name).write_text(text)
        return 0
    stale = [name for name, text in wanted.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if stale:
        print(f"out of date: {', '.join(stale)}. Run: python scripts/{Path(script).name}", file=sys.stderr)
    return 1 if stale else 0


def main() -> int:
    """Write the files, or check those committed."""
    return write_or_check(__file__, __doc__, generate())


if __name__ == "__main__":
    sys.exit(main())
