"""Published costs by name, each with its source and what to know of it."""

from __future__ import annotations

from collections.abc import Mapping

from powerplan.hardware.published import Published, PublishedValues

#: energies of digital work in 45 nm at 0.9 V (Horowitz, ISSCC 2014): a 32-bit addition, an 8-bit product [J]; a bit
#: read from 8 kB of SRAM, 10 pJ for 64
_ADDITION, _PRODUCT, _BIT = 0.1e-12, 0.2e-12, 10e-12 / 64
_SUPPLIES = {130: 1.2, 65: 1.0, 45: 0.9, 32: 0.9, 22: 0.8, 14: 0.8}


def _node(nanometres: int) -> Published:
    """The best published ADCs of a node, and digital work of 45 nm scaled by capacitance and supply."""
    volts, size = _SUPPLIES[nanometres], 1e-9 * nanometres
    scale = nanometres / 45 * (volts / 0.9) ** 2
    return Published(
        name=f"node_{nanometres}nm",
        kind=f"generic {nanometres} nm CMOS",
        fields={
            "adc": {"type": "survey", "node": size},
            "dac": {"type": "capacitor", "voltage": volts},
            # wires of 0.2 fF/um along cells of 10 features, gates of 1 fF/um that are two features wide
            "row_capacitance": 0.2e-9 * 10 * size + 1e-9 * 2 * size,
            "row_voltage": volts,
            "shift_add_energy": _ADDITION * scale,
            "output_energy": (_PRODUCT + _ADDITION) * scale,
            "buffer_energy": _BIT * scale,
        },
        citation="ADC: Andrulis et al., arXiv:2404.06553; DAC: arXiv:2405.14978; digital work and SRAM: Horowitz, "
        "ISSCC 2014, 10.1109/ISSCC.2014.6757323",
        caveats=(
            f"Digital energies are those of 45 nm and 0.9 V times {scale:.3g}: node and square of the supply, "
            f"{volts:g} V.",
            "ADCs are the best published; energy_factor of the model makes them ordinary ones.",
            "Bias of amplifiers and leakage depend on the design and are not in it.",
        ),
    )


_ISAAC = Published(
    name="isaac_32nm",
    kind="the components of ISAAC, 32 nm",
    fields={
        "adc": {
            "type": "table",
            "bits": (4, 5, 6, 7, 8, 9, 10),
            "energies": (0.79e-12, 0.99e-12, 1.20e-12, 1.42e-12, 1.67e-12, 1.969e-12, 2.379e-12),
            "areas": (361e-12, 477e-12, 627e-12, 845e-12, 1200e-12, 1828e-12, 3002e-12),
            "conversion_time": 1 / 1.28e9,
        },
        "dac": {"type": "number", "energy_per_conversion": 0.4167e-12, "converter_area": 1.66e-13},
        "sample_hold_energy": 1e-15,
        "shift_add_energy": 0.021e-12,
        "output_energy": 0.22e-12,
        "buffer_energy": 20.45e-12 / 256 + 0.054e-12,
        "value_bits": 16,
        "device_area": 1.53e-15,
        "amplifier_area": 3.9e-14,
    },
    citation="Shafiee et al., ISCA 2016, 10.1109/ISCA.2016.12, table I; energies per action and ADCs of other widths: "
    "hwcomponents-library (PyPI)",
    caveats=("A DAC's energy is that of one bit: ISAAC reads inputs bit by bit.",),
)

COST_TECHNOLOGIES: Mapping[str, Published] = {
    technology.name: technology for technology in (*map(_node, _SUPPLIES), _ISAAC)
}


def cost_presets() -> PublishedValues:
    """All published costs, with source and caveats. Print them for a readable list."""
    return PublishedValues(COST_TECHNOLOGIES.values())
