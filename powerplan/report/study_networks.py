"""The networks of a study side by side: what is known of each from the study and from its plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from powerplan.batch.results import PointResult, StudyResult
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.report.text import without_paths
from powerplan.units import grouped, shape_text, significant

#: different values of a network that are listed: batches of inputs, numbers of arrays
MOST_DIFFERENT = 3


@dataclass(frozen=True, kw_only=True)
class Networks:
    """A row for each network: its name, then a cell for each of ``columns`` (name, numbers or not)."""

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]


def networks(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]], network: Network | None) -> Networks:
    """The networks of the points, in their order; columns that are known of none are left out."""
    counts = Counter(str(point.settings.get("network", "")) for point in study.points)
    members: dict[str, list[Plan]] = {name: [] for name in counts}
    for point, plan in plans:
        members[str(point.settings.get("network", ""))].append(plan)
    digests = study.provenance.get("networks")
    sizes = study.provenance.get("network_sizes")
    rows = []
    for name in counts:
        size = sizes.get(name) if isinstance(sizes, Mapping) else None
        size = network.size if network is not None else size
        digest = digests.get(name) if isinstance(digests, Mapping) else None
        rows.append(_row(name, counts[name], members[name], size or {}, digest))
    columns = [i for i in range(len(_COLUMNS)) if any(row[i] != "–" for row in rows)]
    return Networks(
        columns=tuple(_COLUMNS[i] for i in columns),
        rows=tuple(tuple(row[i] for i in columns) for row in rows),
    )


_COLUMNS = (
    ("Network", False),
    ("Points", True),
    ("Crossbar layers", True),
    ("Weights on crossbars", True),
    ("Arrays", True),
    ("Input shape", False),
    ("Output shape", False),
    ("Calibration inputs", False),
    ("Outputs' mean square", True),
    ("SHA-256", False),
)


def _row(name: str, points: int, plans: Sequence[Plan], size: Mapping[str, Any], digest: str | None) -> list[str]:
    digest = digest or next((p.provenance["network_sha256"] for p in plans if "network_sha256" in p.provenance), None)
    return [
        without_paths(name) or "–",
        str(points),
        _different(str(len(p.prediction.layer_names)) for p in plans),
        grouped(size["weights"]) if "weights" in size else "–",
        _different(grouped(p.array_count) for p in plans if p.array_count is not None),
        shape_text(size["input_shape"]) if "input_shape" in size else "–",
        shape_text(size["output_shape"]) if "output_shape" in size else "–",
        _different(shape_text(p.provenance["inputs_shape"]) for p in plans if "inputs_shape" in p.provenance),
        _different(significant(p.prediction.signal_power) for p in plans),
        digest or "–",
    ]


def _different(texts: Iterable[str]) -> str:
    """The different ones among texts, a few of them in full."""
    different = list(dict.fromkeys(texts))
    more = len(different) - MOST_DIFFERENT
    return ", ".join(different[:MOST_DIFFERENT]) + (f" and {more} more" if more > 0 else "") or "–"
