"""No change of the code moves a number by accident: 42 predictions and plans are as they were recorded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from golden_settings import RESULTS, compute

#: other processors sum in another order; plans stop within their tolerance, where prices are known to fewer digits
PREDICTED, PLANNED, PRICED = 1e-7, 1e-5, 1e-3


@pytest.fixture(scope="module")
def now() -> dict[str, dict[str, Any]]:
    return compute()


RECORDED: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())


def test_the_settings_are_those_recorded(now: dict[str, dict[str, Any]]) -> None:
    assert list(now) == list(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_numbers_are_as_recorded(now: dict[str, dict[str, Any]], name: str) -> None:
    accuracy = PLANNED if name.startswith("plan") else PREDICTED
    for key, recorded in RECORDED[name].items():
        if isinstance(recorded, str | None):
            assert key == "digest" or now[name][key] == recorded
        else:
            got, wanted = flat(now[name][key]), flat(recorded)
            np.testing.assert_allclose(got, wanted, rtol=PRICED if key == "shadow_price" else accuracy, err_msg=key)


def flat(values: Any) -> list[float]:
    """The numbers of nested lists."""
    return [x for value in values for x in flat(value)] if isinstance(values, list) else [float(values)]
