"""What the compensation of mean errors demands of the rest of a hardware description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerplan.checks import Checker

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware


def check_compensation(hardware: Hardware, check: Checker) -> None:
    """Note what cannot be combined with scales of columns or shifted targets, each field good by itself."""
    divided = hardware.read_out == "divider"
    for name in ("column_scale", "row_scale"):
        if divided and getattr(hardware, name) != "none":
            allowed = "'none' where read_out is 'divider': its columns are decoded side by side"
            check.fail(name, getattr(hardware, name), allowed, "Use read_out='tia', or leave it out.")
    if hardware.scales_columns and hardware.drift_compensation and hardware.drift_compensation_by == "column":
        allowed = "'conductance' or 'weight' if column_scale is given: factors of single columns are not predicted"
        check.fail("drift_compensation_by", "column", allowed, "Use drift_compensation_by='weight'.")
