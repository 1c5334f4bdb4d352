"""Convolutions as maps of arrays agree with torch, also where most of a kernel reads padding only."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from powerplan.network.array_maps import ConvMap
from powerplan.network.ops import Conv

_KERNELS = list(itertools.product((1, 2, 3, 5), (1, 2), (0, 1, 2), (1, 2)))


@pytest.mark.parametrize("size", [1, 2, 3, 9])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_convolution_is_that_of_torch(size, groups):
    rng = np.random.default_rng(0)
    for kernel, stride, padding, dilation in _KERNELS:
        if size + 2 * padding <= dilation * (kernel - 1):
            continue
        weight = rng.normal(size=(4, 4 // groups, kernel, kernel))
        steps = {"stride": (stride,) * 2, "dilation": (dilation,) * 2, "groups": groups}
        op = Conv(weight=weight, padding=((padding, padding),) * 2, **steps)
        map, matrix = ConvMap(op, (4, size, size)), torch.as_tensor(weight).reshape(4, -1)
        x = torch.as_tensor(rng.normal(size=(3, 4, size, size))).requires_grad_()
        expected = F.conv2d(x, torch.as_tensor(weight), padding=padding, **steps)
        adjoint = torch.as_tensor(rng.normal(size=expected.shape))
        (pulled,) = torch.autograd.grad((expected * adjoint).sum(), x)
        torch.testing.assert_close(map.apply(x, matrix), expected)
        torch.testing.assert_close(map.pull(adjoint, matrix), pulled)
        torch.testing.assert_close(map.gather(map.patches(x) @ map.matrices(matrix).mT), expected)
