"""The closed form against exact solutions, and its derivatives."""

import pytest
import torch

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.closed_form import Attenuation
from powerplan.hardware.wires.ladder import solve
from powerplan.hardware.wires.lines import Lines

#: resistance per cell [ohm] of 128 x 128 devices of up to 50 uS, and what is wrong of what the drop takes off, at most
CASES = [(0.05, 0.0001), (0.5, 0.0008), (1.5, 0.002), (5.0, 0.005)]


def pairs(rows: int, columns: int, *, seed: int = 0) -> torch.Tensor:
    """Interleaved differential pairs of weights, one device of each idle."""
    weight = torch.randn(rows, columns // 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    sides = torch.stack([weight.clamp(min=0), (-weight).clamp(min=0)], -1).flatten(-2)
    return 50e-6 * sides / sides.max()


@pytest.mark.parametrize("both_ends", [False, True])
@pytest.mark.parametrize(("ohm", "most"), CASES)
def test_the_mean_matrix_is_right_to_a_small_part_of_the_drop(ohm, most, both_ends):
    g = pairs(128, 128)
    wires = Wires(row=ohm, column=ohm, driver=ohm, sense=ohm, both_ends=both_ends)
    exact, closed = solve(g, wires), Attenuation.of(g, wires)
    drop = (g - exact.transfer).norm()
    assert (closed.transfer - exact.transfer).norm() < most * drop
    assert (closed.first_order - exact.transfer).norm() < 15 * most * drop


@pytest.mark.parametrize(("ohm", "most"), CASES)
def test_power_and_what_amplifiers_see(ohm, most):
    g = pairs(128, 128)
    wires = Wires(row=ohm, column=ohm)
    exact, closed = solve(g, wires), Attenuation.of(g, wires)
    voltages = torch.rand(128, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    moment = voltages @ voltages.mT
    power, ideal = (exact.drivers * moment).sum(), (g.sum(1) * moment.diagonal()).sum()
    assert abs((closed.drivers * moment).sum() - power) < 3 * most * (ideal - power)
    assert (closed.amplifiers - exact.amplifiers).norm() < most * (g.sum(0) - exact.amplifiers).norm()


@pytest.mark.parametrize("both_ends", [False, True])
def test_derivatives(both_ends):
    g = (1e-3 * torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    current = torch.ones(2, 5, dtype=torch.float64, requires_grad=True)

    def voltages(loads: torch.Tensor, into: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lines = Lines.of(1e-3 * loads, 30.0, 70.0, both_ends=both_ends)
        return lines.drive, lines.solve(into)

    loads = (1e3 * g.detach()).requires_grad_()
    assert torch.autograd.gradcheck(voltages, (loads, current))


def test_derivatives_of_the_mean_matrix():
    loads = torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wires = Wires(row=20.0, column=30.0, driver=50.0)
    assert torch.autograd.gradcheck(lambda g: 1e3 * Attenuation.of(1e-3 * g, wires).transfer, (loads,))


def test_wires_of_almost_no_resistance_are_ideal():
    g = pairs(16, 16)
    for wires in (Wires(), Wires(row=1e-13, column=1e-13)):
        torch.testing.assert_close(Attenuation.of(g, wires).transfer, g, rtol=1e-12, atol=1e-30)
        torch.testing.assert_close(solve(g, wires).transfer, g, rtol=1e-12, atol=1e-30)
