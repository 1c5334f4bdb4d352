"""Published resistances of wires, by name."""

from __future__ import annotations

from collections.abc import Mapping

from powerplan.checks import choice
from powerplan.hardware.published import Published, PublishedValues

#: node [nm]: width of a wire [nm], resistivity at 300 K [ohm m], height over width
_WIRES = {
    130: (175, 2.20e-8, 1.6),
    90: (110, 2.52e-8, 1.6),
    65: (105, 2.68e-8, 1.7),
    45: (80, 3.31e-8, 1.7),
    32: (56, 3.70e-8, 1.8),
    22: (40, 4.03e-8, 1.9),
    14: (25, 5.08e-8, 2.0),
}
#: of a cell with a transistor: widths of a wire from device to device along a row, and along a column
_ALONG_ROW, _ALONG_COLUMN = 4, 12


def _node(nanometres: int) -> Published:
    width, resistivity, aspect = _WIRES[nanometres]
    square = resistivity / (1e-9 * width * aspect)  # of a piece as long as the wire is wide
    return Published(
        name=f"node_{nanometres}nm",
        kind=f"wires of {width} nm of {nanometres} nm CMOS: {square:.3g} ohm per square",
        fields={
            "wire_resistance_row": float(f"{_ALONG_ROW * square:.3g}"),
            "wire_resistance_column": float(f"{_ALONG_COLUMN * square:.3g}"),
        },
        citation="Param.cpp of DNN+NeuroSim before V1.4 (Peng et al., IEDM 2019, 10.1109/IEDM19573.2019.8993491)",
        caveats=(
            f"Cells of a transistor and a device, {_ALONG_ROW} widths of a wire along rows and {_ALONG_COLUMN} along "
            "columns; both numbers change as the pitch does.",
            "At 300 K; 0.451 % more per kelvin. Drivers and amplifiers are not in it.",
        ),
    )


_RASCH = Published(
    name="rasch2023",
    kind="0.35 ohm per cell along columns of 512",
    fields={"wire_resistance_column": 0.35, "array_rows": 512, "array_columns": 1024},
    citation="Rasch et al., arXiv:2302.08469 (2023); the default of aihwkit's inference presets",
    caveats=(
        "Meant for devices of up to 5 uS whose rows are driven by pulses; rows there have no resistance.",
        "512 outputs of pairs are 1024 columns.",
    ),
)

_PRESETS: Mapping[str, Published] = {wires.name: wires for wires in (*map(_node, _WIRES), _RASCH)}


def wire_presets() -> PublishedValues:
    """Published resistances of wires, with source and caveats. Print them for a readable list."""
    return PublishedValues(_PRESETS.values())


def wires_of(name: str) -> dict[str, float]:
    """The fields of a hardware that published wires set: ``pp.Hardware.preset("rram_milo2021", **pp.wires_of(name))``.

    Raises:
        InvalidInput: unknown name (with the nearest one).
    """
    return dict(_PRESETS[choice("wire preset", name, _PRESETS)].fields)
