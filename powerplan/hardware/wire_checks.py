"""What the resistances of wires demand of the rest of a hardware description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerplan.checks import Checker

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware


def check_wires(hardware: Hardware, check: Checker) -> None:
    """Note what cannot be combined with wires, each field good by itself."""
    if hardware.pair_layout != "interleaved" and hardware.weight_mapping != "differential":
        allowed = "'interleaved' where weight_mapping is 'offset': there are no pairs"
        check.fail("pair_layout", hardware.pair_layout, allowed, "Leave it out.")
    if not hardware.has_wires:
        return
    for name in ("array_rows", "array_columns"):
        if getattr(hardware, name) is None:
            allowed = "a number where wires have a resistance: their drop depends on how long they are"
            check.fail(name, None, allowed, f"Give the size of the arrays, such as {name}=128.")
    if hardware.read_out == "divider":
        allowed = "'tia' if wires have a resistance: wires with passive loads are not modelled"
        check.fail("read_out", "divider", allowed, "Use read_out='tia', or leave the resistances at 0.")
    if hardware.shot_noise:
        allowed = "False where wires have a resistance"
        check.fail("shot_noise", True, allowed, "Use thermal_noise, or leave the resistances at 0.")
