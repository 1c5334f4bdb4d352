"""Measurements of devices: read from tables, brought to levels, made hardware.

:mod:`.columns` says what a column of a table is, :mod:`.table` reads one, :mod:`.levels` makes mean and spread of what
was programmed alike, :mod:`.measured` puts curves through them, :mod:`.measurements`
tells them in words and makes hardware.

Why: docs/decisions/devices.md [0430].
"""

from powerplan.hardware.measured.measurements import Measurements, read_measurements

__all__ = ["Measurements", "read_measurements"]
