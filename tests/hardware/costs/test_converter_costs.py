"""Energy and area of converters: the survey fit against its authors' implementation, formulas by hand."""

from __future__ import annotations

import pytest
import torch

import powerplan as pp
from powerplan.hardware.costs.converters import CapacitorADC, CapacitorDAC, SurveyADC, TableConverter, as_adc

#: node [m], conversions per second, effective bits, energy [J], area [m²]: hwcomponents-adc 1.0.21 (PyPI), by
#: ADC(n_bits=, tech_node=, throughput=), get_energy() and area
AUTHORS = [
    (1.4e-08, 1e09, 4, 1.95244869379e-13, 1.37183749648e-09),
    (1.4e-08, 1e09, 6, 2.25119451013e-13, 1.43152368057e-09),
    (1.4e-08, 1e09, 8, 3.62212407309e-13, 1.65037540605e-09),
    (1.4e-08, 1e09, 11, 9.00355074797e-12, 4.31514945672e-09),
    (2.2e-08, 1e08, 4, 4.56689272805e-13, 1.8278977474e-09),
    (2.2e-08, 1e08, 6, 5.2656768244e-13, 1.9074262934e-09),
    (2.2e-08, 1e08, 8, 8.47236198426e-13, 2.19903413839e-09),
    (2.2e-08, 1e08, 11, 4.59382962526e-12, 3.64619713052e-09),
    (3.2e-08, 1e07, 4, 9.23749333095e-13, 2.15964455486e-09),
    (3.2e-08, 1e07, 6, 1.06509299528e-12, 2.25360680826e-09),
    (3.2e-08, 1e07, 8, 1.71371196977e-12, 2.59813882351e-09),
    (3.2e-08, 1e07, 11, 4.81602404121e-12, 3.53911446501e-09),
    (4.5e-08, 5e07, 4, 1.75354603256e-12, 4.90941252037e-09),
    (4.5e-08, 5e07, 6, 2.02185758546e-12, 5.12301223622e-09),
    (4.5e-08, 5e07, 8, 3.2531258404e-12, 5.90621972541e-09),
    (4.5e-08, 5e07, 11, 1.11533696285e-11, 8.53832255439e-09),
    (6.5e-08, 1e06, 4, 3.5007464086e-12, 4.28980140946e-09),
    (6.5e-08, 1e06, 6, 4.03639856015e-12, 4.4764429594e-09),
    (6.5e-08, 1e06, 8, 6.49447940973e-12, 5.16080276357e-09),
    (6.5e-08, 1e06, 11, 1.82513570099e-11, 7.02990600285e-09),
    (1.3e-07, 2e05, 4, 1.28857042125e-11, 9.4279680177e-09),
    (1.3e-07, 2e05, 6, 1.48573566489e-11, 9.83816196275e-09),
    (1.3e-07, 2e05, 8, 2.39051707608e-11, 1.13422228109e-08),
    (1.3e-07, 2e05, 11, 6.71804125339e-11, 1.54500692774e-08),
]


def test_the_survey_fit_is_that_of_its_authors() -> None:
    for node, rate, bits, energy, area in AUTHORS:
        adc = SurveyADC(node=node, rate=rate)
        assert adc.energy(bits, 1.0) == pytest.approx(energy, rel=1e-8)
        assert adc.area(bits, 1.0) == pytest.approx(area, rel=1e-8)
        noisy = SurveyADC(node=node, lost_bits=1.5, energy_factor=2.0)
        assert noisy.energy(bits + 1.5, rate) == pytest.approx(2 * energy, rel=1e-8)
        assert noisy.area(bits + 1.5, rate) == pytest.approx(area, rel=1e-8)


def test_capacitor_models_by_hand() -> None:
    adc = CapacitorADC(voltage=0.5)
    assert adc.energy(8, 1.0) == pytest.approx((800e-15 + 65536e-18) * 0.25)
    assert adc.time(8, 100) == pytest.approx(8 * (0.653 + 0.640) * 1e-9)
    assert adc.area(8, 1.0) == pytest.approx(10 ** (1.206 - 0.2952) * 256e-12)
    assert CapacitorDAC(voltage=2.0).energy(6, 1.0) == pytest.approx(6 * 50e-15 * 4)


def test_tables_are_lines_in_the_logarithm() -> None:
    table = TableConverter(bits=(4, 6, 7), energies=(1e-12, 4e-12, 6e-12))
    assert table.energy(6, 1.0) == pytest.approx(4e-12)
    assert table.energy(5, 1.0) == pytest.approx(2e-12)
    assert table.energy(9, 1.0) == pytest.approx(6e-12)
    assert as_adc(3e-12).energy(5, 1.0) == 3e-12


@pytest.mark.parametrize(
    "adc", [SurveyADC(node=3.2e-8), CapacitorADC(), TableConverter(bits=(4, 10), energies=(1e-12, 3e-12))]
)
def test_energies_have_slopes_in_bits(adc: SurveyADC | CapacitorADC | TableConverter) -> None:
    bits = torch.tensor([5.3, 8.7], dtype=torch.float64, requires_grad=True)
    energy = adc.energy(bits, 1e7)
    (slope,) = torch.autograd.grad(energy.sum(), bits)
    step = (adc.energy(bits + 1e-5, 1e7) - adc.energy(bits - 1e-5, 1e7)) / 2e-5
    assert torch.allclose(slope, step.detach(), rtol=1e-6, atol=0)
    assert bool((slope > 0).all())


@pytest.mark.parametrize(
    ("costs", "field"),
    [
        ({"adc": {"type": "survey"}}, "costs.adc.node"),
        ({"adc": {"type": "table", "bits": [4, 4], "energies": [1, 2]}}, "costs.adc.bits"),
        ({"adc": {"type": "table", "bits": [4, 5], "energies": [1, 2, 3]}}, "costs.adc.energies"),
        ({"dac": {"type": "survey", "node": 1e-8}}, "costs.dac.type"),
        ({"buffer_energy": -1}, "costs.buffer_energy"),
        ({"bufer_energy": 1}, "costs.bufer_energy"),
        ("node_33nm", "costs.preset"),
    ],
)
def test_nonsense_is_refused_by_name(costs: object, field: str) -> None:
    with pytest.raises(pp.InvalidInput) as error:
        pp.Hardware.from_dict({"costs": costs})
    assert [violation.field for violation in error.value.violations] == [f"hardware.{field}"]
