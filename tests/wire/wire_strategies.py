"""Random engine values for the tests of the wire."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import powerplan as pp
from powerplan.hardware.aging import PowerLawDrift
from powerplan.hardware.curves import Piecewise, Power, Table
from powerplan.hardware.hardware import BIAS_MAPPINGS, COMPENSATIONS, MAPPINGS, WEIGHT_MAPPINGS
from powerplan.network import ACTIVATIONS, Activation, Flatten, Linear, Node, Scale

finite = st.floats(-1e6, 1e6, width=32)
positive = st.floats(1e-9, 1e3)


@st.composite
def networks(draw: st.DrawFn) -> pp.Network:
    """Graphs of one to four linear layers with activations, scales and a flatten between."""
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    flat = draw(st.booleans())
    shape = (widths[0],) if not flat else (1, widths[0])
    nodes: list[Node] = []

    def add(name: str, op: object) -> None:
        nodes.append(Node(name=name, op=op, inputs=(nodes[-1].name if nodes else "input",)))  # type: ignore[arg-type]

    if flat:
        add("flatten", Flatten())
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        weight = draw(hnp.arrays(dtype, (n_out, n_in), elements=finite))
        bias = draw(st.none() | hnp.arrays(dtype, (n_out,), elements=finite))
        add(f"größe {i}", Linear(weight=weight, bias=bias))
        if draw(st.booleans()):
            kind = draw(st.sampled_from(sorted(ACTIVATIONS)))
            add(f"activation {i}", Activation(kind=kind))
        if draw(st.booleans()):
            add(
                f"scale {i}", Scale(scale=np.ones(n_out), shift=draw(hnp.arrays(np.float64, (n_out,), elements=finite)))
            )
    return pp.Network(input_shape=shape, nodes=tuple(nodes))


#: device models made of parts of their own: those of every preset, and curves that no preset has
PARTS = [
    {
        name: getattr(preset.hardware, name)
        for name in ("programming_noise_curve", "measurements", "drift", "low_frequency_noise", "time")
    }
    for preset in pp.presets()
] + [
    {
        "programming_noise_curve": Piecewise(
            breaks=(0.5,),
            pieces=(Table(points=(0, 0.5), values=(1e-6, 2e-6)), Power(coefficient=1e-6, exponent=2)),
            reference=1.0,
        ),
        "drift": PowerLawDrift(exponent_mean=0.05, reference_time=1.0),  # type: ignore[arg-type]
        "measurements": [{"target": [0, 1.0], "std": [1e-6, 2e-6]}],
    }
]


@st.composite
def read_outs(draw: st.DrawFn) -> dict[str, Any]:
    """Fields that say how columns are read, in combinations that exist."""
    kind = draw(st.sampled_from(["open", "fixed", "tracking", "divider"]))
    fields: dict[str, Any] = {
        "bias_mapping": draw(st.sampled_from(BIAS_MAPPINGS)),
        "dac_bits": draw(st.none() | st.integers(2, 32)),
        "adc_bits": draw(st.none() | st.integers(2, 32)),
        "adc_headroom": draw(positive),
        "thermal_noise": draw(st.booleans()),
        "temperature": draw(positive),
        "bandwidth": draw(positive),
        "dac_energy": draw(st.floats(0, 1e-9)),
        "adc_energy": draw(st.floats(0, 1e-9)),
    }
    if kind == "divider":
        return fields | {"read_out": "divider", "load_conductance": draw(positive), "adc_range": draw(positive)}
    fields |= {
        "weight_mapping": draw(st.sampled_from(WEIGHT_MAPPINGS)),
        "shot_noise": draw(st.booleans()),
        "drift_compensation": draw(st.booleans()),
        "drift_compensation_by": draw(st.sampled_from(COMPENSATIONS)),
    }
    match kind:
        case "fixed":
            return fields | {"feedback_resistance": draw(positive), "adc_range": draw(st.none() | positive)}
        case "tracking":
            return fields | {"feedback_tracking": True, "adc_range": draw(positive)}
    return fields


@st.composite
def hardwares(draw: st.DrawFn) -> pp.Hardware:
    """Hardware with every field somewhere in its range."""
    top = draw(st.floats(1e-6, 1e-2))
    coefficients = st.lists(st.floats(-1e-5, 1e-5), min_size=1, max_size=16)
    parts = draw(st.sampled_from([{}, *PARTS]))
    return pp.Hardware(
        **parts,
        device_gain_std=draw(st.floats(0, 0.5)),
        stuck_on_fraction=draw(st.floats(0, 0.5)),
        stuck_off_fraction=draw(st.floats(0, 0.5)),
        conductance_min=draw(st.floats(0, 0.9)) * top,
        conductance_max=top,
        programming_noise_std=draw(st.floats(0, 1e-4)),
        programming_noise_proportional=draw(st.floats(0, 1)),
        programming_noise_polynomial=draw(st.none() | coefficients.map(tuple)),
        programming_noise_reference=draw(st.none() | positive),
        clip_conductance=draw(st.booleans()),
        read_noise_std=draw(st.floats(0, 1e-5)),
        input_noise_std=draw(st.floats(0, 1e-2)),
        voltage_max=draw(positive),
        read_time=draw(positive),
        array_rows=draw(st.none() | st.integers(1, 4096)),
        array_columns=draw(st.none() | st.integers(2, 4096)),
        mapping=draw(st.sampled_from(MAPPINGS)),
        column_gain_std=draw(st.floats(0, 0.5)),
        **draw(read_outs()),
    )


@st.composite
def all_gains(draw: st.DrawFn) -> pp.Gains:
    """Gains of one to five layers, some per column, and digital scales."""
    layers = draw(st.integers(1, 5))
    column = hnp.arrays(np.float64, st.integers(1, 4), elements=positive)
    scales = st.none() | st.tuples(*(column,) * layers)
    return pp.Gains(
        conductance=tuple(draw(positive | column) for _ in range(layers)),
        voltage=tuple(draw(positive) for _ in range(layers)),
        column_scale=draw(scales),
        row_scale=draw(scales),
    )


targets = st.builds(lambda kind, value: kind(value), st.sampled_from([pp.MaxMSE, pp.MaxNMSE, pp.MaxPower]), positive)
