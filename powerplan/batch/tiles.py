"""Sizes of arrays side by side: what smaller arrays save in drops of wires, and what they cost in converters."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.batch.compare import JOINED, compare
from powerplan.batch.results import PointResult, StudyResult
from powerplan.checks import choice
from powerplan.errors import InvalidInput
from powerplan.hardware.hardware import Hardware
from powerplan.network.graph import Network
from powerplan.planning.targets import Target
from powerplan.shown import view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from powerplan.planning.plan_value import Plan

#: sizes that are planned over unless others are asked for
SIZES = (64, 128, 256, 512, 1024)
#: the fields that have the size of an array
FIELDS = ("array_rows", "array_columns")


@dataclass(frozen=True, kw_only=True)
class TileSize:
    """A size of the arrays, and the plan with it.

    Attributes:
        rows, columns: of devices, of one array.
        plan: the plan; None where there is none, as of a number of columns that pairs do not fit in.
        reason: why the target is not met; empty if it is.
        feasible: whether it is met.
        power: of one inference [W]; energy: of one inference [J], with what the components around the arrays take if
            the hardware has ``costs``. None where the target is not met.
        nmse: predicted; of a target out of reach the least there is. None without a plan.
        array_count: number of arrays; conversions: values read from columns and converted in one inference, both of
            all layers. None without a plan.
    """

    rows: int
    columns: int
    plan: Plan | None = field(repr=False)
    reason: str
    feasible: bool
    power: float | None
    energy: float | None
    nmse: float | None
    array_count: int | None
    conversions: int | None

    @classmethod
    def of(cls, point: PointResult) -> TileSize:
        """That of a point of a study over sizes."""
        plan, reason = point.plan, point.failure.message if point.failure else ""
        feasible = plan is not None and plan.meets_target
        if plan is not None and not feasible:
            reason = plan.termination.message
        rows, columns = (int(point.settings["override"][name]) for name in FIELDS)
        return cls(
            rows=rows,
            columns=columns,
            plan=plan,
            reason=reason,
            feasible=feasible,
            power=plan.power if plan is not None and feasible else None,
            energy=(plan.costs.energy if plan.costs else plan.energy) if plan is not None and feasible else None,
            nmse=None if plan is None else plan.nmse,
            array_count=None if plan is None else plan.array_count,
            conversions=None if plan is None else plan.conversions,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TilePlans(StudyResult):
    """Plans over sizes of arrays: a study with a point for each, in the order asked for."""

    @property
    def sizes(self) -> tuple[TileSize, ...]:
        """Every size with what it takes, or why it cannot meet the target."""
        return tuple(map(TileSize.of, self.points))

    def best(self, by: str = "power") -> TileSize | None:
        """The size of least ``"power"`` or ``"energy"`` of those that meet the target; None if none does."""
        choice("by", by, ("power", "energy"))
        return min((size for size in self.sizes if size.feasible), key=lambda size: getattr(size, by), default=None)

    def plot(self, file: str | os.PathLike[str] | None = None, *, title: str = "") -> Figure:
        """Power, energy, arrays and conversions against the size (matplotlib, extra ``plot``).

        Args:
            file: also write it: .png, .svg or .pdf.
            title: what was planned.
        """
        figure: Figure = view("plot_tiles")(self, title=title, file=file)
        return figure


def plan_tiles(
    network: Network,
    hardware: Hardware | str,
    inputs: np.ndarray,
    target: Target,
    *,
    sizes: Sequence[int | tuple[int, int]] = SIZES,
    progress: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> TilePlans:
    """Plan the same network for the same target on arrays of several sizes.

    Args:
        network, inputs, settings: as for :func:`powerplan.plan`.
        hardware: whose own array size does not count, or the name of a preset.
        target: one.
        sizes: of the arrays, in devices: a number for both sides, or (rows, columns).
        progress: called with the name of what is planned, and the fraction done.

    Returns:
        a plan for each size, or the reason why there is none. ``table()`` shows them, ``plot`` draws them, ``sizes``
        has their numbers and ``best("power")`` the least.

    Raises:
        InvalidInput: no sizes, one that is no array's, one twice; and as :func:`powerplan.compare`.
    """
    pairs = [_pair(size) for size in sizes] if isinstance(sizes, Sequence) and not isinstance(sizes, str) else []
    if not pairs or len(set(pairs)) < len(pairs):
        raise InvalidInput.of("sizes", sizes, "different numbers >= 1, or (rows, columns)", "Give each size once.")
    name = "hardware" if isinstance(hardware, Hardware) else hardware
    result = compare(
        network, {name: hardware}, inputs, target, sweep={JOINED.join(FIELDS): pairs}, progress=progress, **settings
    )
    return TilePlans(**{f.name: getattr(result, f.name) for f in fields(StudyResult)})


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns."""
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in pair):
        raise InvalidInput.of("sizes", size, "numbers >= 1, or (rows, columns) of such", "Correct this size.")
    return int(pair[0]), int(pair[1])
