"""Whether what a page shows of an output is what was printed."""

from __future__ import annotations

import re

#: a number that is not a part of a name; with a unit of what the machine at hand decides, it may be any
_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_GROUPED = r"\d{1,3}(?:,\d{3})+"
_OF_THE_MACHINE = re.compile(rf"(?:{_NUMBER}|{_GROUPED}) (?:ms|s|min|h|MiB)\b")
_TOKEN = re.compile(rf"({_NUMBER})")
#: numbers of these lines are rounding or places of inputs: they are compared by their words
_VARIES = re.compile(r"^\s*(?:worst inputs|outcome|certificate|planned)\b|KKT residual|\.\.\.")
#: relative difference of numbers: another processor trains a network that differs in the third digit
TOLERANCE = 0.03
GAP = "..."


def is_shown(shown: str, printed: str) -> bool:
    """Whether what is shown is among what was printed, ``...`` standing for anything between. Spaces and line breaks do
    not count."""
    said, at = _tokens(printed), 0
    for part in re.split(rf"(?<!\S){re.escape(GAP)}(?!\S)", shown):
        wanted = _tokens(part)
        found = next((i for i in range(at, len(said) - len(wanted) + 1) if _agree(wanted, said[i:])), None)
        if found is None:
            return False
        at = found + len(wanted)
    return True


def _agree(wanted: list[tuple[str, bool]], said: list[tuple[str, bool]]) -> bool:
    return all(_same(a, b, free) for (a, free), (b, _) in zip(wanted, said, strict=False))


def _same(shown: str, printed: str, free: bool) -> bool:
    if not (_TOKEN.fullmatch(shown) and _TOKEN.fullmatch(printed)):
        return shown == printed
    a, b = float(shown), float(printed)
    last = 10.0 ** -len(shown.partition("e")[0].partition(".")[2]) if "." in shown else 0.0
    return free or abs(a - b) <= max(TOLERANCE * abs(b), 1.01 * last)


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Words and numbers, and which numbers may be any."""
    found: list[tuple[str, bool]] = []
    varies = False
    for line in text.splitlines():
        # lines that go on are indented
        varies = bool(_VARIES.search(line)) or (varies and line.startswith("    "))
        line = _OF_THE_MACHINE.sub("TIME", line)
        for piece in _TOKEN.split(line):
            found += [(word, varies) for word in re.findall(r"[^\s,;()]+|[,;()]", piece)]
    return [(re.sub("-{2,}", "--", word), free) for word, free in found]
