"""Published wires: the numbers of the source once more, and that any hardware can have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import powerplan as pp

PAGE = Path(__file__).resolve().parents[3] / "docs" / "wires.md"


def test_wires_of_a_node_are_resistivity_times_length_over_section() -> None:
    width, height = 40e-9, 1.9 * 40e-9  # 22 nm
    per_metre = 4.03e-8 / (width * height)
    wires = pp.wires_of("node_22nm")
    assert wires["wire_resistance_row"] == pytest.approx(per_metre * 4 * width, rel=5e-3)
    assert wires["wire_resistance_column"] == pytest.approx(per_metre * 12 * width, rel=5e-3)


def test_the_page_has_all_of_them() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE))
    for wires in pp.wire_presets():
        row, column = (wires.fields.get(f"wire_resistance_{name}", 0.0) for name in ("row", "column"))
        assert listed[wires.name].startswith(f"{row:g}, {column:g}")


@pytest.mark.parametrize("name", pp.wire_presets().names)
def test_hardware_can_have_them(name: str) -> None:
    fields = {"array_rows": 64, "array_columns": 64, **pp.wires_of(name)}
    assert pp.Hardware.preset("rram_milo2021", **fields).has_wires


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(pp.InvalidInput, match="Did you mean 'node_22nm'"):
        pp.wires_of("node_22n")
