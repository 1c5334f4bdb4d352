"""powerplan: how much amplification does a neural network on noisy memristor crossbars need?

The public names are loaded when first used, so that ``import powerplan`` stays fast: torch and cvxpy are
imported only by what needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerplan._version import __version__
from powerplan.lazy import loaded_when_used

if TYPE_CHECKING:
    from powerplan.batch import Study as Study, StudyResult as StudyResult
    from powerplan.batch.compare import compare as compare
    from powerplan.batch.tiles import TilePlans as TilePlans, plan_tiles as plan_tiles
    from powerplan.deployment import Export as Export, export as export
    from powerplan.errors import (
        CorruptFile as CorruptFile,
        InvalidInput as InvalidInput,
        LimitWarning as LimitWarning,
        MeasurementWarning as MeasurementWarning,
        MissingData as MissingData,
        MissingExtra as MissingExtra,
        PlausibilityWarning as PlausibilityWarning,
        PowerplanError as PowerplanError,
        PowerplanWarning as PowerplanWarning,
        RangeWarning as RangeWarning,
        SolverFailed as SolverFailed,
        UncheckedWarning as UncheckedWarning,
        UnsupportedOperation as UnsupportedOperation,
        Violation as Violation,
    )
    from powerplan.examples import Example as Example, load_example as load_example
    from powerplan.hardware import Gains as Gains, Hardware as Hardware
    from powerplan.hardware.costs.technologies import cost_presets as cost_presets
    from powerplan.hardware.costs.values import Costs as Costs
    from powerplan.hardware.measured import Measurements as Measurements, read_measurements as read_measurements
    from powerplan.hardware.presets import presets as presets
    from powerplan.hardware.wires.published import wire_presets as wire_presets, wires_of as wires_of
    from powerplan.moments import Prediction as Prediction, predict as predict
    from powerplan.moments.device_maps import DeviceMap as DeviceMap, map_devices as map_devices
    from powerplan.montecarlo import Simulation as Simulation, simulate as simulate
    from powerplan.network import Network as Network
    from powerplan.network.onnx_import import from_onnx as from_onnx
    from powerplan.network.torch_import import from_torch as from_torch
    from powerplan.planning import (
        MaxAccuracyDrop as MaxAccuracyDrop,
        MaxFlipRate as MaxFlipRate,
        MaxMSE as MaxMSE,
        MaxNMSE as MaxNMSE,
        MaxOutputMSE as MaxOutputMSE,
        MaxPower as MaxPower,
        Outcome as Outcome,
        Plan as Plan,
        Steps as Steps,
        frontier as frontier,
        plan as plan,
    )
    from powerplan.planning.explain.explain import explain as explain
    from powerplan.planning.explain.explanation import Explanation as Explanation
    from powerplan.report.comparison_plots import plot_comparison as plot_comparison
    from powerplan.report.heat_plots import plot_arrays as plot_arrays
    from powerplan.report.html import report_html as report_html, write_report as write_report
    from powerplan.report.measured_plots import plot_measurements as plot_measurements
    from powerplan.report.plots import (
        plot_frontier as plot_frontier,
        plot_plan as plot_plan,
        plot_predicted_simulated as plot_predicted_simulated,
        plot_study as plot_study,
    )

_HOMES = {
    "powerplan.batch": ("Study", "StudyResult"),
    "powerplan.batch.compare": ("compare",),
    "powerplan.batch.tiles": ("TilePlans", "plan_tiles"),
    "powerplan.errors": (
        "CorruptFile",
        "InvalidInput",
        "LimitWarning",
        "MissingData",
        "MissingExtra",
        "PlausibilityWarning",
        "PowerplanError",
        "PowerplanWarning",
        "MeasurementWarning",
        "RangeWarning",
        "UncheckedWarning",
        "SolverFailed",
        "UnsupportedOperation",
        "Violation",
    ),
    "powerplan.deployment": ("Export", "export"),
    "powerplan.examples": ("Example", "load_example"),
    "powerplan.hardware": ("Gains", "Hardware"),
    "powerplan.hardware.measured": ("Measurements", "read_measurements"),
    "powerplan.hardware.costs.technologies": ("cost_presets",),
    "powerplan.hardware.costs.values": ("Costs",),
    "powerplan.hardware.presets": ("presets",),
    "powerplan.hardware.wires.published": ("wire_presets", "wires_of"),
    "powerplan.moments.device_maps": ("DeviceMap", "map_devices"),
    "powerplan.moments": ("Prediction", "predict"),
    "powerplan.network": ("Network",),
    "powerplan.network.onnx_import": ("from_onnx",),
    "powerplan.network.torch_import": ("from_torch",),
    "powerplan.planning.explain.explain": ("explain",),
    "powerplan.planning.explain.explanation": ("Explanation",),
    "powerplan.planning": (
        "MaxAccuracyDrop",
        "MaxFlipRate",
        "MaxMSE",
        "MaxNMSE",
        "MaxOutputMSE",
        "MaxPower",
        "Outcome",
        "Plan",
        "Steps",
        "frontier",
        "plan",
    ),
    "powerplan.montecarlo": ("Simulation", "simulate"),
    "powerplan.report.comparison_plots": ("plot_comparison",),
    "powerplan.report.heat_plots": ("plot_arrays",),
    "powerplan.report.html": ("report_html", "write_report"),
    "powerplan.report.measured_plots": ("plot_measurements",),
    "powerplan.report.plots": ("plot_frontier", "plot_plan", "plot_predicted_simulated", "plot_study"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__getattr__ = loaded_when_used(__name__, _HOME_OF)

__all__ = ["__version__", *sorted(_HOME_OF)]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
