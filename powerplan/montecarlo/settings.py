"""How simulations are made: the table of their settings."""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.settings import SEED, Choice, Number, Settings, Unchecked, Whole, setting


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationSettings(Settings):
    """How simulations are made; how to add a setting is told in :mod:`powerplan.settings`."""

    draws: int = setting(
        Whole(at_least=1, at_most=10_000_000),  # every draw's error and classes are kept
        2000,
        "How often every array is programmed anew; with a relative standard error, at most.",
    )
    seed: int = SEED
    relative_standard_error: float | None = setting(
        Number(above=0),
        None,
        "Stop once the standard error of the MSE is below this fraction of it.",
        more="Looked at after every 128 draws.",
        otherwise="make all draws",
    )
    yield_width: float | None = setting(
        Number(above=0, at_most=1),
        None,
        "Stop once the 95 % confidence interval of the yield at ``yield_at`` is at most this wide (0.02: two points).",
        more="Looked at after every 128 draws; with ``relative_standard_error`` once both are met.",
        otherwise="make all draws",
    )
    yield_at: float | None = setting(
        Number(above=0),
        None,
        "The bound on the NMSE of a chip whose yield is known to this width.",
        otherwise="the median chip's NMSE, whose yield needs most draws",
    )
    dtype: str = setting(
        Choice(("float32", "float64")),
        "float32",
        "Precision of the arithmetic.",
        more="It changes rounding only; the ideal output is always float64.",
    )
    device: str = setting(
        Unchecked(),
        "cpu",
        "Where torch calculates: cpu, cuda or cuda:<index>.",
        more="It changes the random numbers.",
    )
    memory_limit: int = setting(
        Whole(at_least=1, at_most=2**50, unit="B"),
        256 << 20,
        "Bytes for draws run at a time.",
        more="At least one draw is run at a time, whatever it takes; the requested results come on top.",
    )
    wires: str = setting(
        Choice(("exact", "fast")),
        "exact",
        "How arrays with resistive wires are solved: exact, to rounding errors; or fast, by closed forms, exact "
        "for the mean devices and to first order in the deviation of a draw from them.",
        more="Without resistance of wires both are the same. Exact takes about 0.1 s for every array of 128 rows and "
        "columns in every draw.",
    )
    layer_moments: str = setting(
        Choice(("none", "variance", "covariance")),
        "none",
        "Moments of the decoded output of every crossbar layer that fill ``Simulation.layers``.",
    )
