"""Keywords of predictions, as type checkers see them. Written by scripts/generate_keywords.py. Do not edit."""

from __future__ import annotations

from typing import TypedDict


class PredictionOptions(TypedDict, total=False):
    """The settings of :class:`~.settings.PredictionSettings`."""

    method: str
    dtype: str
    device: str
    output_combinations: int | None
    marginal_fields: int | None
    sampling_error: float
    chip_spread: bool
    seed: int
    memory_limit: int
