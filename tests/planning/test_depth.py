"""A plan is few calls deep, so that a traceback and a reader can follow it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan import planning

HOME = str(Path(planning.__file__).parent)
NOISY = {"programming_noise_std": 1e-6}


def depth_of(call: Any) -> tuple[int, str]:
    """The most functions of planning that were under way at once, and which; comprehensions are none."""
    deepest: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal deepest
        if event != "call" or not frame.f_code.co_filename.startswith(HOME):
            return
        names, caller = [], frame
        while caller is not None:
            code = caller.f_code
            if code.co_filename.startswith(HOME) and not code.co_name.startswith("<"):
                names.append(f"{Path(code.co_filename).stem}.{code.co_name}")
            caller = caller.f_back  # type: ignore[assignment]
        if len(names) > len(deepest):
            deepest = names[::-1]

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    return len(deepest), " > ".join(deepest)


@pytest.mark.parametrize(
    ("most", "hardware", "options"),
    [
        (13, NOISY, {}),
        (13, {**NOISY, "stuck_off_fraction": 0.01}, {}),
        (16, NOISY, {"granularity": "column"}),
        (15, {**NOISY, "adc_bits": 6}, {}),
        (16, NOISY, {"conductance_steps": pp.Steps.over_range(6)}),
    ],
    ids=["layers", "error samples", "columns", "converters", "steps"],
)
def test_a_plan_is_few_calls_deep(most: int, hardware: dict[str, Any], options: dict[str, Any]) -> None:
    network = small_network(0, (4, 5, 3))
    inputs = np.random.default_rng(0).uniform(0, 1, (4, 4))
    depth, functions = depth_of(lambda: pp.plan(network, pp.Hardware(**hardware), inputs, pp.MaxNMSE(0.1), **options))
    assert 5 < depth <= most, functions
