"""What devices that serve several positions cause is the same by gradients and by products of positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from powerplan.moments.sources import shared


@pytest.mark.parametrize("uniform", [False, True])
def test_few_positions_need_no_gradient(uniform: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variances, their derivatives, and covariances of three directions at five positions of two groups."""
    generator = torch.Generator().manual_seed(0)
    adjoint, rows, variance = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 3, 2, 5, 7), (4, 2, 5, 6), (2, 7, 1 if uniform else 6))
    )
    arguments = tuple(value.detach().requires_grad_() for value in (adjoint, rows, variance.square()))
    upstream = [torch.randn(4, *of, generator=generator, dtype=torch.float64) for of in ((3,), (3, 3))]

    def caused(entry_cost: int) -> tuple[Tensor, ...]:
        monkeypatch.setattr(shared, "_ENTRY_COST", entry_cost)
        both = [shared.shared_variance(*arguments), shared.shared_covariance(*arguments)]
        backwards = (torch.autograd.grad(*one) for one in zip(both, (arguments, arguments), upstream, strict=True))
        return (*both, *(part for parts in backwards for part in parts))

    for by_gradients, by_positions in zip(caused(0), caused(100), strict=True):
        torch.testing.assert_close(by_positions, by_gradients)
