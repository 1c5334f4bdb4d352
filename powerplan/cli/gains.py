"""What ``predict`` and ``simulate`` share: gains from a file or options, and the hardware they are for."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli.case import Case, make_gains, read_case, read_gains_file, read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.options import take_hardware
from powerplan.hardware import Gains, Hardware
from powerplan.network.weight_slices import check_sliced


def gains_and_hardware(chat: Chat, options: dict[str, Any]) -> tuple[Case, Hardware, Gains]:
    """The case, the hardware (a plan's own unless another is given) and gains that fit both.

    Raises:
        click.UsageError: gains given twice.
        InvalidInput: files or values that cannot be used.
    """
    changes = take_hardware(options)
    hardware_file = options.pop("hardware_file")
    gains_file, conductance, voltage = (options.pop(name) for name in ("gains_file", "conductance", "voltage"))
    if gains_file is not None and (conductance or voltage):
        raise click.UsageError("gains: give either --gains FILE or --conductance and --voltage, not both.")
    gains, plan = read_gains_file(gains_file)
    hardware = read_hardware(hardware_file, changes, None if plan is None else plan.hardware)
    case = read_case(chat, **options)
    if gains is None:
        return case, hardware, make_gains(case, hardware, conductance=conductance, voltage=voltage)
    if plan is not None:
        check_sliced(case.network, plan.prediction.layer_names)
    gains.check(case.network, hardware)
    planned_for = None if plan is None else plan.provenance.get("network_sha256")
    if planned_for is not None and planned_for != case.network.digest:
        chat.note(f"warning: {gains_file} was planned for another network (SHA-256 {planned_for[:12]}...)")
    return case, hardware, gains
