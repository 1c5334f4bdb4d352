"""Imports go one way between modules too, not only between packages."""

from __future__ import annotations

import grimp
import numpy as np
from scipy.sparse.csgraph import connected_components


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checking aside."""
    graph = grimp.build_graph(
        "powerplan", "powerplan_server", "powerplan_client", exclude_type_checking_imports=True, cache_dir=None
    )
    modules = sorted(graph.modules)
    imports = np.array(
        [np.isin(modules, list(graph.find_modules_directly_imported_by(importer))) for importer in modules]
    )
    count, circle_of = connected_components(imports, connection="strong")
    circles = [sorted(np.array(modules)[circle_of == circle]) for circle in range(count)]
    assert [circle for circle in circles if len(circle) > 1] == []
