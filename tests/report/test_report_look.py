"""The style sheet: text and marks stand out in light, in dark and on paper; looks differ by more than colour."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import powerplan.report

TEMPLATES = Path(powerplan.report.__file__).parent / "templates"
CSS = (TEMPLATES / "style.css").read_text(encoding="utf-8")
MODES = {"light": 0, "dark": 1, "print": 2}


def colours(mode: str) -> dict[str, tuple[float, float, float]]:
    """The colour variables of a mode as sRGB in 0..1; a mode that sets only some starts from light."""
    blocks = re.findall(r":root\s*\{([^}]*)\}", CSS)
    assert len(blocks) == 3
    found: dict[str, tuple[float, float, float]] = {}
    for block in (blocks[0], blocks[MODES[mode]]):
        for name, value in re.findall(r"--([a-z0-9]+):\s*#([0-9a-f]{6})", block):
            found[name] = tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))  # type: ignore[assignment]
    return found


def luminance(colour: tuple[float, float, float]) -> float:
    """Relative luminance, WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """Contrast ratio, WCAG 2.2."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["text", "muted", "link", "good", "fair", "bad"])
def test_text_has_the_contrast_of_wcag_aa(mode: str, name: str) -> None:
    for ground in ("bg", "panel"):
        assert contrast(colours(mode)[name], colours(mode)[ground]) >= 4.5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [f"s{i}" for i in range(6)])
def test_marks_have_the_contrast_of_wcag_for_graphics(mode: str, name: str) -> None:
    assert contrast(colours(mode)[name], colours(mode)["bg"]) >= 3


def test_curves_differ_by_marker_and_dashes_too() -> None:
    base = (TEMPLATES / "base.html").read_text(encoding="utf-8")
    markers = re.findall(r'id="m(\d)".*? d="([^"]+)"', base)
    assert len({d for _, d in markers}) == 6
    dashes = dict(re.findall(r"\.chart \.s(\d) \.curve \{ stroke-dasharray: ([^;]+);", CSS))
    assert len(set(dashes.values())) == 5  # the first is solid
