"""Plans: least power for a target error, or least error for a power budget."""

from typing import TYPE_CHECKING

from powerplan.hardware.steps import Steps
from powerplan.lazy import loaded_when_used
from powerplan.planning.outcome import (
    BitGap,
    Certificate,
    ConstraintPrice,
    Corner,
    DiscreteGap,
    FloorPart,
    LimitPrice,
    Outcome,
    Remedy,
    ShadowPrices,
    Termination,
    Verification,
)
from powerplan.planning.plan_value import Plan
from powerplan.planning.settings import GRANULARITIES
from powerplan.planning.targets import (
    TARGETS,
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxNMSE,
    MaxOutputMSE,
    MaxPower,
    Target,
    target_name,
)

if TYPE_CHECKING:
    from powerplan.planning.planner import frontier, plan
else:
    __getattr__ = loaded_when_used(__name__, dict.fromkeys(("frontier", "plan"), "powerplan.planning.planner"))

__all__ = [
    "GRANULARITIES",
    "TARGETS",
    "Certificate",
    "ConstraintPrice",
    "Corner",
    "BitGap",
    "DiscreteGap",
    "LimitPrice",
    "MaxAccuracyDrop",
    "MaxFlipRate",
    "MaxMSE",
    "MaxNMSE",
    "MaxOutputMSE",
    "MaxPower",
    "Outcome",
    "Plan",
    "ShadowPrices",
    "Steps",
    "Target",
    "FloorPart",
    "Remedy",
    "Termination",
    "Verification",
    "frontier",
    "plan",
    "target_name",
]
