"""What the parts of a hardware description that say how weights are held and columns are read demand of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerplan.checks import Checker
from powerplan.hardware.input_slices import MOST_BITS

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware


def check_read_out(hardware: Hardware, check: Checker) -> None:
    """Note what the fields of mapping and read-out demand of each other, each of which is good by itself."""
    _check_slices(hardware, check)
    if hardware.feedback_tracking:
        if hardware.feedback_resistance is not None:
            allowed = "None where feedback_tracking sets it from the full-scale current"
            check.fail("feedback_resistance", hardware.feedback_resistance, allowed, "Give one of the two.")
        if hardware.adc_range is None:
            allowed = "a voltage > 0 [V] if feedback_tracking is set: the voltage at the full-scale current"
            check.fail("adc_range", None, allowed, "Give the full-scale voltage of the amplifiers.")
    if hardware.read_out == "divider":
        _check_divider(hardware, check)
    else:
        if hardware.load_conductance is not None:
            allowed = "None unless read_out is 'divider'"
            check.fail("load_conductance", hardware.load_conductance, allowed, "Set read_out='divider', or leave it.")
        fixed = hardware.feedback_resistance is not None or hardware.feedback_tracking
        if hardware.adc_range is not None and not fixed:
            allowed = "None without feedback_resistance or feedback_tracking, which define the full-scale current"
            check.fail("adc_range", hardware.adc_range, allowed, "Give feedback_resistance, or set feedback_tracking.")
    if (hardware.thermal_noise or hardware.shot_noise) and hardware.bandwidth is None:
        allowed = "a frequency > 0 [Hz] where thermal_noise or shot_noise is set"
        check.fail("bandwidth", None, allowed, "Give the noise bandwidth of the read-out, about 1/(2 read_time).")
    for converter in ("adc", "dac"):
        energy = getattr(hardware, f"{converter}_energy")
        if energy and hardware.costs is not None and getattr(hardware.costs, converter) is not None:
            allowed = f"0 if hardware.costs.{converter} gives the energy of conversions"
            check.fail(f"{converter}_energy", energy, allowed, "Give one of the two.")


def _check_slices(hardware: Hardware, check: Checker) -> None:
    if hardware.input_slice_bits is None:
        return
    if hardware.dac_bits is None or (isinstance(hardware.dac_bits, int) and hardware.dac_bits > MOST_BITS):
        allowed = f"2 to {MOST_BITS} where input_slice_bits says how many of them drive a row at a time"
        check.fail("dac_bits", hardware.dac_bits, allowed, "Give the bits of a whole input, or no input_slice_bits.")


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
        check.fail("weight_mapping", "offset", allowed, "The offset of a divider depends on the inputs.")
