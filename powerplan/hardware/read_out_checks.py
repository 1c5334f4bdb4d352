"""Checks of the parts of a hardware description that say how weights are held and how columns are read."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING

from powerplan.checks import Checker

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware

#: how a weight is held: in the difference of two devices, or in one device above an offset
WEIGHT_MAPPINGS = ("differential", "offset")
#: where biases are added
BIAS_MAPPINGS = ("digital", "row")
#: what a column ends in: a transimpedance amplifier, or a passive load
READ_OUTS = ("tia", "divider")

_LEAST_BITS, _MOST_BITS = 2, 32
_HOTTEST = 1e4


def check_read_out(hardware: Hardware, check: Checker) -> None:
    """Note every violation in the mapping of weights and the read-out."""
    check.choice("weight_mapping", hardware.weight_mapping, WEIGHT_MAPPINGS)
    check.choice("bias_mapping", hardware.bias_mapping, BIAS_MAPPINGS)
    check.choice("read_out", hardware.read_out, READ_OUTS)
    for name in ("feedback_tracking", "thermal_noise", "shot_noise"):
        check.flag(name, getattr(hardware, name))
    for name, unit in (
        ("feedback_resistance", "ohm"),
        ("load_conductance", "S"),
        ("adc_range", "V"),
        ("bandwidth", "Hz"),
    ):
        value = getattr(hardware, name)
        if value is not None:
            check.number(name, value, above=0, unit=unit)
    check.number("adc_headroom", hardware.adc_headroom, above=0)
    check.number("temperature", hardware.temperature, above=0, at_most=_HOTTEST, unit="K")
    check.number("dac_energy", hardware.dac_energy, at_least=0, unit="J")
    check.number("adc_energy", hardware.adc_energy, at_least=0, unit="J")
    for name in ("dac_bits", "adc_bits"):
        check_count(hardware, check, name, _LEAST_BITS, _MOST_BITS, "Give the number of bits.")
    if not check.violations:
        _check_together(hardware, check)


def check_count(hardware: Hardware, check: Checker, name: str, least: int, most: int, advice: str) -> None:
    """Note a violation unless a field is None or a whole number in a range; becomes a plain integer."""
    value = getattr(hardware, name)
    if value is None:
        return
    number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    if not least <= number <= most or not number.is_integer():
        check.fail(name, value, f"a whole number from {least} to {most}, or None", advice)
    else:
        object.__setattr__(hardware, name, int(number))


def _check_together(hardware: Hardware, check: Checker) -> None:
    """What fields demand of each other."""
    if hardware.feedback_tracking:
        if hardware.feedback_resistance is not None:
            allowed = "None where feedback_tracking sets it from the full-scale current"
            check.fail("feedback_resistance", hardware.feedback_resistance, allowed, "Give one of the two.")
        if hardware.adc_range is None:
            allowed = "a voltage > 0 [V] where feedback_tracking is set: what the full-scale current becomes"
            check.fail("adc_range", None, allowed, "Give the full-scale voltage of the amplifiers.")
    if hardware.read_out == "divider":
        _check_divider(hardware, check)
    else:
        if hardware.load_conductance is not None:
            allowed = "None unless read_out is 'divider'"
            check.fail("load_conductance", hardware.load_conductance, allowed, "Set read_out='divider', or leave it.")
        fixed = hardware.feedback_resistance is not None or hardware.feedback_tracking
        if hardware.adc_range is not None and not fixed:
            allowed = "None unless feedback_resistance or feedback_tracking says which current it stands for"
            check.fail("adc_range", hardware.adc_range, allowed, "Give feedback_resistance, or set feedback_tracking.")
    if (hardware.thermal_noise or hardware.shot_noise) and hardware.bandwidth is None:
        allowed = "a frequency > 0 [Hz] where thermal_noise or shot_noise is set"
        check.fail("bandwidth", None, allowed, "Give the noise bandwidth of the read-out, about 1/(2 read_time).")


def _check_divider(hardware: Hardware, check: Checker) -> None:
    if hardware.load_conductance is None:
        allowed = "a conductance > 0 [S] where read_out is 'divider'"
        check.fail("load_conductance", None, allowed, "Give the load of a column.")
    if hardware.adc_bits is not None and hardware.adc_range is None:
        allowed = "a voltage > 0 [V] where read_out is 'divider' and adc_bits is given"
        check.fail("adc_range", None, allowed, "Give the range of the converters.")
    if hardware.feedback_resistance is not None or hardware.feedback_tracking:
        name = "feedback_tracking" if hardware.feedback_tracking else "feedback_resistance"
        check.fail(name, getattr(hardware, name), "not with read_out='divider': it has no amplifier", "Leave it out.")
    if hardware.shot_noise:
        check.fail("shot_noise", True, "False where read_out is 'divider'", "Use thermal_noise.")
    if hardware.drift_compensation:
        advice = "Leave it out: a divider's voltage falls less than its currents would."
        check.fail("drift_compensation", True, "False where read_out is 'divider'", advice)
    if hardware.weight_mapping == "offset":
        allowed = "'differential' where read_out is 'divider'"
        check.fail("weight_mapping", "offset", allowed, "A divider's offset is not known: it depends on the inputs.")
