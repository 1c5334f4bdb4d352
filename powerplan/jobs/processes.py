"""Whether a process that left its name in a file still lives, on this machine or another."""

from __future__ import annotations

import os
import socket
import time
from functools import lru_cache
from pathlib import Path

#: seconds between two signs of life, and after how many without one a process of another machine counts as dead
HEARTBEAT, SILENCE = 5.0, 30.0


def lives(place: str, pid: int, born: str, heartbeat: float) -> bool:
    """Whether a process lives: on this machine it exists, on another its heart has beaten lately.

    Args:
        place, pid, born: as :func:`this_place`, ``os.getpid`` and :func:`birth` gave them to the process.
        heartbeat: its last sign of life [s since the epoch].
    """
    if place and place == this_place():
        return bool(born) and birth(pid) == born
    return time.time() - heartbeat < SILENCE


@lru_cache(maxsize=1)
def this_place() -> str:
    """This machine since it was started, and its space of process ids; "" where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot} {space}"


def birth(pid: int) -> str:
    """When a process began, in ticks since the machine was started; "" if it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
