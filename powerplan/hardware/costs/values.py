"""What a chip's components take, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from powerplan.checks import Checker, choice, unknown_keys
from powerplan.errors import InvalidInput
from powerplan.hardware.costs.converters import ADC, DAC, as_adc, as_dac
from powerplan.hardware.costs.technologies import COST_TECHNOLOGIES
from powerplan.hardware.describe import PARTS, in_si
from powerplan.hardware.fields import Part, check_fields, takes
from powerplan.hardware.plain import to_plain
from powerplan.reading.text import read_toml
from powerplan.settings import Flag, Number, Whole

_ENERGY, _POWER = Number(at_least=0, unit="J"), Number(at_least=0, unit="W")
_AREA, _TIME = Number(at_least=0, unit="m2"), Number(at_least=0, unit="s")
_MAX_BYTES = 1_000_000
#: names of the energy of a conversion elsewhere, by the field that it is here
_CONVERSIONS = {"adc_energy": "adc", "dac_energy": "dac"}


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What components around the arrays take, in SI units; what is left at its default is not counted.

    The currents of devices and feedback resistors count with every costs. One of the hardware's fields ``adc_energy``
    and ``dac_energy`` counts as the converters' energy where no model is given here.

    Attributes:
        adc: converters of columns: a model, a mapping of its fields, or the energy of a conversion [J].
        dac: converters of rows, in the same way; a number is the energy of a conversion [J].
        row_capacitance: of a row's wire and gates, per device on it [F], >= 0; charged once in a read.
        row_voltage: to which it is charged [V], > 0.
        amplifier_power: bias of the amplifier of one column pair while the array is read [W], >= 0.
        sample_hold_energy: of holding one value until it is converted [J], >= 0; None = nothing holds it, and where
            columns share an ADC the array is read until the last is converted.
        shift_add_energy: digital addition of one converted value to its partial sum [J], >= 0.
        output_energy: scale, bias and activation function of one output [J], >= 0.
        buffer_energy: of one bit read from or written to a buffer, or moved between layers [J], >= 0.
        value_bits: bits of a value in buffers, 1 to 64; inputs have dac_bits where there are any.
        leakage_power: of one array with all around it, at any time [W], >= 0.
        digital_time: of digital work after the conversions of a read [s], >= 0.
        pipelined: layers work on different inputs at once, so that the slowest layer sets the rate.
        device_area: of one device [m2], >= 0.
        amplifier_area: of the amplifier, and of sample and hold, of one column pair [m2], >= 0.
        array_area: of what every array has beside, such as drivers, buffers and control [m2], >= 0.

    Raises:
        InvalidInput: listing every violated field.
    """

    adc: ADC | None = takes(Part(as_adc))
    dac: DAC | None = takes(Part(as_dac))
    row_capacitance: float = takes(Number(at_least=0, unit="F"), 0.0)
    row_voltage: float = takes(Number(above=0, unit="V"), 1.0)
    amplifier_power: float = takes(_POWER, 0.0)
    sample_hold_energy: float | None = takes(_ENERGY)
    shift_add_energy: float = takes(_ENERGY, 0.0)
    output_energy: float = takes(_ENERGY, 0.0)
    buffer_energy: float = takes(_ENERGY, 0.0)
    value_bits: int = takes(Whole(at_least=1, at_most=64), 8)
    leakage_power: float = takes(_POWER, 0.0)
    digital_time: float = takes(_TIME, 0.0)
    pipelined: bool = takes(Flag(), False)
    device_area: float = takes(_AREA, 0.0)
    amplifier_area: float = takes(_AREA, 0.0)
    array_area: float = takes(_AREA, 0.0)

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        check.done()

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Costs:
        """Published numbers (see :func:`powerplan.cost_presets`), with some fields changed.

        Raises:
            InvalidInput: unknown name (with the nearest one), unknown fields, values out of range.
        """
        technology = COST_TECHNOLOGIES[choice("preset", name, COST_TECHNOLOGIES)]
        return cls.from_dict({**technology.fields, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Costs:
        """Build from plain values; "preset" names published numbers that stand in for what is not given.

        Raises:
            InvalidInput: unknown keys (with the nearest valid name), values out of range.
        """
        if not isinstance(values, Mapping):
            raise InvalidInput.of("costs", values, "a mapping of field names to values", "Give a dict.")
        given, check = dict(values), Checker()
        for name, own in _CONVERSIONS.items():
            if name in given:
                allowed = f"{own!r}, the energy of a conversion or a table with a type"
                check.fail(name, given.pop(name), allowed, f'Write {own} instead, as in {own} = "1pJ".')
        check.done()
        preset = given.pop("preset", None)
        if preset is not None:
            return cls.preset(preset, **given)
        unknown_keys(check, given, [f.name for f in fields(cls)])
        numbers = in_si(check, given, cls)
        check.done()
        return cls(**numbers)

    @classmethod
    def from_toml(cls, path: str | Path, **changes: Any) -> Costs:
        """Read a TOML file: the fields at top level, or in a table ``[costs]``; ``changes`` win over the file.

        Raises:
            InvalidInput: the file cannot be read or parsed, unknown keys, values out of range.
        """
        values = read_toml("costs file", path, most_bytes=_MAX_BYTES)
        table = values.get("costs")
        values = table if isinstance(table, dict) and len(values) == 1 else values
        return cls.from_dict({**values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """All fields that are not None, as plain values (for JSON and TOML)."""
        plain: dict[str, Any] = to_plain(self)
        return plain


PARTS["Costs"] = {"": Costs}


def as_costs(value: Any) -> Costs:
    """Costs: themselves, a mapping of their fields, or the name of published ones."""
    if isinstance(value, Costs):
        return value
    return Costs.preset(value) if isinstance(value, str) else Costs.from_dict(value)
