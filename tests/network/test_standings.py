"""What the rules of ATen's operations declare of their moments is true, and the page about them has all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from powerplan.moments.rules.linearize import linearize
from powerplan.network.digital import digital
from powerplan.network.fusing import fused
from powerplan.network.node import Node
from powerplan.network.ops import DigitalLayer, Op, Shape
from powerplan.network.slopes import op_slope_explains
from powerplan.network.torch_import.rules import RULES
from powerplan.network.torch_import.standing import Standing
from powerplan.network.torch_import.value import Value

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import document_aten

_DRAWS = 20_000
#: of the Gaussian values, whose means are 0.3 to 0.6
_STD = 0.08
#: a jump within reach of the noise
_LEVEL = 0.45


class Bench:
    """Values of given shapes, and the nodes that rules make of them."""

    dtype, batch_size = torch.float64, 13

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}

    def value(self, *shape: int) -> Value:
        name = f"x{len(self.shapes)}"
        self.shapes[name] = shape
        return Value(name, shape, self)

    def add(self, op: Op, sources: tuple[str, ...], name: str) -> str:
        node = Node(name=str(len(self.nodes)), op=DigitalLayer.of(op) if op.is_crossbar else op, inputs=sources)
        self.nodes[node.name] = node
        self.shapes[node.name] = op.output_shape(tuple(self.shapes[s] for s in sources))
        return node.name


def _weight(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, int(torch.tensor(shape).prod()), dtype=torch.float64).reshape(shape)


X = Callable[..., Value]
_PLAIN = (
    "abs acos asin asinh atan atanh ceil cos cosh erf exp expm1 floor isinf isnan log log10 log1p log2 neg reciprocal "
    "relu round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc gelu elu leaky_relu hardtanh"
)
_LEVELS = "eq ge gt le lt ne fmod remainder maximum minimum pow"
_LOGICAL = "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor"


def _places(*shape: int) -> Tensor:
    return torch.zeros((13, *shape), dtype=torch.long)


#: a call of the rule of each operation of Core ATen: values by shape, then the call
_CALLS: dict[str, Callable[[X, Callable[..., Any]], Any]] = {
    **{name: lambda x, f: f(x(4)) for name in _PLAIN.split()},
    **{name: lambda x, f: f(x(4), _LEVEL) for name in _LEVELS.split()},
    **{name: lambda x, f: f(RULES["gt"](v := x(4), 0.4), RULES["lt"](v, 0.5)) for name in _LOGICAL.split()},
    **{name: lambda x, f: f(RULES["gt"](x(4), _LEVEL)) for name in ("logical_not", "bitwise_not")},
    "acosh": lambda x, f: f(RULES["add"](x(4), 1.5)),
    "clamp": lambda x, f: f(x(4), 0.4, 0.5),
    **{name: lambda x, f: f(x(4), x(4)) for name in ("add", "sub", "mul", "atan2")},
    "div": lambda x, f: f(x(4), RULES["add"](x(4), 0.5)),
    **{name: lambda x, f: f(x(3, 4), x(4, 2)) for name in ("bmm", "mm")},
    "addmm": lambda x, f: f(torch.ones(2), x(4), _weight(4, 2)),
    "convolution": lambda x, f: f(x(2, 4, 4), _weight(3, 2, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
    "where": lambda x, f: f(torch.tensor([True, False, True, False]), x(4), x(4)),
    "cat": lambda x, f: f([x(2, 4), x(3, 4)], 1),
    **{name: lambda x, f: f(x(3, 4), [1, 2]) for name in ("mean", "sum", "flip")},
    **{name: lambda x, f: f(x(6), 1) for name in ("var", "amax", "amin", "cumsum", "prod", "argmax", "argmin")},
    **{name: lambda x, f: f(x(6), 1)[0] for name in ("max", "min")},
    "std": lambda x, f: f(x(6), 1),
    **{name: lambda x, f: f(x(6), 2, [1]) for name in ("linalg_vector_norm", "norm")},
    "any": lambda x, f: f(RULES["gt"](x(6), _LEVEL), 1),
    "sort": lambda x, f: f(x(4))[0],
    "topk": lambda x, f: f(x(4), 2)[0],
    **{name: lambda x, f: f(x(4), 1, False) for name in ("_softmax", "_log_softmax")},
    "native_layer_norm": lambda x, f: f(x(6), [6], None, None, 1e-5)[0],
    "native_group_norm": lambda x, f: f(x(4, 3), None, None, 13, 4, 3, 2, 1e-5)[0],
    "_native_batch_norm_legit_no_training": lambda x, f: f(
        x(3, 2), None, None, torch.ones(3), torch.full((3,), 2.0), 0.1, 1e-5
    )[0],
    "avg_pool2d": lambda x, f: f(x(2, 4, 4), [2, 2]),
    "max_pool2d_with_indices": lambda x, f: f(x(2, 4, 4), [3, 3])[0],
    "_adaptive_avg_pool2d": lambda x, f: f(x(2, 4, 4), [2, 2]),
    "upsample_nearest2d": lambda x, f: f(x(2, 2, 2), [4, 4]),
    "upsample_bilinear2d": lambda x, f: f(x(2, 2, 2), [4, 4], False),
    "constant_pad_nd": lambda x, f: f(x(2, 4), [1, 1], 0.5),
    **{name: lambda x, f: f(x(2, 4), [2]) for name in ("adaptive_avg_pool1d", "avg_pool1d")},
    **{name: lambda x, f: f(x(2, 4, 4, 4), [2, 2, 2]) for name in ("_adaptive_avg_pool3d", "avg_pool3d")},
    "max_pool3d_with_indices": lambda x, f: f(x(2, 4, 4, 4), [2, 2, 2])[0],
    "reflection_pad1d": lambda x, f: f(x(2, 4), [1, 1]),
    **{name: lambda x, f: f(x(2, 4, 4), [1, 1, 1, 1]) for name in ("reflection_pad2d", "replication_pad2d")},
    **{name: lambda x, f: f(x(1, 2, 2, 2), [1] * 6) for name in ("reflection_pad3d", "replication_pad3d")},
    "_cdist_forward": lambda x, f: f(x(3, 2), x(4, 2), 2.0, None),
    "grid_sampler_2d": lambda x, f: f(x(2, 4, 4), x(3, 3, 2), 0, 0, False),
    "permute": lambda x, f: f(x(2, 3), [0, 2, 1]),
    "view": lambda x, f: f(x(2, 3), [13, 6]),
    "unsqueeze": lambda x, f: f(x(3), 1),
    "squeeze": lambda x, f: f(x(1, 3), 1),
    "expand": lambda x, f: f(x(1, 3), [-1, 2, -1]),
    "repeat": lambda x, f: f(x(3), [1, 2]),
    "select": lambda x, f: f(x(2, 3), 1, 1),
    "slice": lambda x, f: f(x(4), 1, 1, 3),
    "split_with_sizes": lambda x, f: f(x(4), [1, 3], 1)[1],
    "diagonal": lambda x, f: f(x(3, 3), 0, 1, 2),
    "index": lambda x, f: f(x(4), [None, torch.tensor([2, 0, 0])]),
    "index_select": lambda x, f: f(x(4), 1, torch.tensor([2, 0, 0])),
    "gather": lambda x, f: f(x(4), 1, _places(2)),
    "scatter": lambda x, f: f(x(4), 1, _places(1), 0.5),
    "select_scatter": lambda x, f: f(x(2, 3), x(3), 1, 0),
    "slice_scatter": lambda x, f: f(x(4), x(2), 1, 0, 2),
    "scatter_add": lambda x, f: f(x(4), 1, _places(2), x(2)),
    "copy": lambda x, f: f(x(4), x(4)),
    "as_strided": lambda x, f: f(x(4), [13, 2], [4, 1], 1),
}


def _moments(
    nodes: Sequence[Node], values: dict[str, Tensor], points: dict[str, tuple[Tensor, Tensor]]
) -> tuple[bool, bool]:
    """Fill in samples and moments of every node; tell whether one is at first order, and whether one jumps."""
    first_order = jumps = False
    for node in nodes:
        inputs = [points[i] for i in node.inputs]
        passed = linearize(node.op, [m for m, _ in inputs], [v for _, v in inputs])
        points[node.name] = passed.mean, passed.variance
        values[node.name] = digital(node.op, *(values[i] for i in node.inputs)).double()
        first_order |= passed.first_order
        one = getattr(node.op, "of_one_value", False)
        jumps |= passed.first_order and not one and not op_slope_explains(node.op)
    return first_order, jumps


@pytest.mark.parametrize("name", _CALLS)
def test_declarations_are_true(name: str) -> None:
    """Exact: both moments are those of samples, to 5 standard errors. What is in parts is not; others are marked."""
    bench = Bench()
    result = _CALLS[name](bench.value, RULES[name])
    sources = [key for key in bench.shapes if key not in bench.nodes]
    generator = torch.Generator().manual_seed(0)
    values, points = {}, {}
    for key in sources:
        mean = 0.3 + 0.3 * torch.rand((1, *bench.shapes[key]), generator=generator, dtype=torch.float64)
        noise = torch.randn((_DRAWS, *bench.shapes[key]), generator=generator, dtype=torch.float64)
        values[key], points[key] = mean + _STD * noise, (mean, torch.full_like(mean, _STD**2))
    first_order, jumps = _moments(fused(list(bench.nodes.values()), result.name, bench.shapes), values, points)
    mean, variance = points[result.name]
    samples = values[result.name]
    squares = (samples - samples.mean(0)) ** 2
    errors = [
        (got - drawn.mean(0)).abs() - 5 * drawn.std(0) / _DRAWS**0.5 - 1e-6
        for got, drawn in ((mean, samples), (variance, squares))
    ]
    exact = all(bool((error <= 0).all()) for error in errors)
    standing = RULES[name].standing
    assert first_order == (standing in (Standing.FIRST_ORDER, Standing.SIMULATED))
    assert jumps == (standing is Standing.SIMULATED)
    if standing in (Standing.EXACT, Standing.PARTS):
        assert exact == (standing is Standing.EXACT), errors


def test_the_page_has_every_operation_of_core_aten() -> None:
    """It is current, and the declaration of every rule of Core ATen is tried here."""
    assert document_aten.document() == Path(document_aten.__file__).parents[1].joinpath("docs/aten.md").read_text()
    untried = {name for name in document_aten.core() if name in RULES and name not in _CALLS}
    assert untried <= {"embedding"}  # of whole numbers without noise
