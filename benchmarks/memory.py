"""How much memory a process holds, and how much a call needs (Linux).

Counted is anonymous memory, resident or swapped out. Resident memory as a whole moves by itself: pages of files come
and go as the machine likes.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

_INTERVAL = 0.002  # s


def held_memory(pid: int) -> int:
    """Anonymous memory of a process [bytes]; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def peak_memory(function: Callable[[], object]) -> int:
    """Bytes by which a call raises the memory held, looked at every 2 ms, in a forked process.

    Memory that the allocator kept from earlier calls is given back first: the call would use it unseen.
    """
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def child() -> None:
        there.recv()
        function()
        there.send(None)

    process = context.Process(target=child)
    process.start()
    assert process.pid is not None
    before = peak = held_memory(process.pid)
    here.send(None)
    while not here.poll(_INTERVAL) and process.is_alive():
        peak = max(peak, held_memory(process.pid))
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"the measured call ended with exit code {process.exitcode}")
    return peak - before
