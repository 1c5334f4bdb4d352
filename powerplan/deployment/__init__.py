"""From a plan to something that can be programmed: tiles of target conductances, read-out settings, files.

Why: docs/decisions/house.md [0132].
"""

from powerplan.deployment.export import Export, export
from powerplan.deployment.exported_layer import ExportedLayer
from powerplan.deployment.tiles import Tile

__all__ = ["Export", "ExportedLayer", "Tile", "export"]
