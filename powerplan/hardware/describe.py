"""What every field of the hardware means, read from its docstring: one text for help, reports and files."""

from __future__ import annotations

import re

from powerplan.hardware.hardware import Hardware


def hardware_fields() -> dict[str, tuple[str, str]]:
    """Unit and description of every field of the hardware: name -> (unit, text)."""
    text = (Hardware.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    entries = re.split(r"\n\s+(?=[a-z_]+: )", text)
    found = {}
    for entry in filter(str.strip, entries):
        name, _, description = " ".join(entry.split()).partition(": ")
        unit = re.search(r"\[(\w+)\]", description)
        found[name] = (unit[1] if unit else "", description)
    return found
