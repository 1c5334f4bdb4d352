"""What torch's modules, functions and tensor methods mean as operations of a network.

A rule takes the arguments of the torch call it stands for, in the same order and with the same names, with a
:class:`Value` in place of the tensor that depends on the network's input, and returns the resulting Value.
It raises :class:`Refused` with a reason where powerplan has no such operation.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from powerplan.network.ops import Activation, Flatten, Linear, Op, Scale, Shape


class Refused(Exception):
    """A call that no operation of powerplan stands for; the message says why."""


class Batch:
    """The batch size, unknown while a module is read."""

    def __repr__(self) -> str:
        return "batch size"


BATCH = Batch()


@dataclass(frozen=True)
class Value:
    """A tensor (batch, *shape) that depends on the network's input: the value of a node of the network."""

    name: str
    shape: Shape
    add: Callable[[Op, Value], Value]

    def apply(self, op: Op) -> Value:
        """The value of a new node that applies an operation to this one."""
        return self.add(op, self)

    @property
    def size(self) -> tuple[Any, ...]:
        """Shape with the batch axis."""
        return (BATCH, *self.shape)


Rule = Callable[..., Any]


def _value(x: object) -> Value:
    if not isinstance(x, Value):
        raise Refused("the argument that depends on the network's input is in an unexpected place")
    return x


def _constant(x: object) -> np.ndarray:
    if isinstance(x, Value | Batch):
        raise Refused("only one argument may depend on the network's input")
    if isinstance(x, torch.Tensor):
        halved = x.dtype in (torch.float16, torch.bfloat16)
        return np.asarray((x.float() if halved else x).numpy(force=True))
    return np.asarray(x)


def _activation(kind: str) -> Rule:
    def rule(input: Any, inplace: bool = False) -> Value:
        return _value(input).apply(Activation(kind=kind))

    return rule


def _leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return _value(input).apply(Activation(kind="leaky_relu", parameters={"negative_slope": negative_slope}))


def _softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if beta != 1 or threshold < 20:
        raise Refused(f"softplus is supported with beta=1 and threshold >= 20, not beta={beta}, threshold={threshold}")
    return _value(input).apply(Activation(kind="softplus"))


def _gelu(input: Any, approximate: str = "none") -> Value:
    return _value(input).apply(Activation(kind="gelu_tanh" if approximate == "tanh" else "gelu"))


def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    return _value(input).apply(Activation(kind="hard_tanh", parameters={"low": min_val, "high": max_val}))


def _relu6(input: Any, inplace: bool = False) -> Value:
    return _hardtanh(input, 0.0, 6.0)


def _clamp(input: Any, min: Any = None, max: Any = None) -> Value:
    if isinstance(min, int | float) and isinstance(max, int | float):
        return _hardtanh(input, min, max)
    if isinstance(min, int | float) and min == 0 and max is None:
        return _value(input).apply(Activation(kind="relu"))
    raise Refused("clamp is supported with two numbers as bounds, or with min=0 alone")


def _same(input: Any, *args: Any, **kwargs: Any) -> Value:
    """What changes layout, type or the autograd graph, but no value."""
    return _value(input)


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training and p > 0:
        raise Refused("dropout is switched on in evaluation mode too; pass training=self.training")
    return _value(input)


def _linear(input: Any, weight: Any, bias: Any = None) -> Value:
    return _value(input).apply(
        Linear(weight=_constant(weight), bias=None if bias is None else np.atleast_1d(_constant(bias)))
    )


def _matmul(input: Any, other: Any) -> Value:
    return _linear(input, _constant(other).T)


def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Value:
    weight = alpha * _constant(mat2).T
    return _linear(mat1, weight, np.broadcast_to(beta * _constant(input), weight.shape[:1]))


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Value:
    if training or running_mean is None or running_var is None:
        raise Refused("a batch norm without running statistics depends on the whole batch")
    mean, variance = _constant(running_mean).astype(np.float64), _constant(running_var).astype(np.float64)
    scale = (1.0 if weight is None else _constant(weight).astype(np.float64)) / np.sqrt(variance + eps)
    shift = (0.0 if bias is None else _constant(bias).astype(np.float64)) - mean * scale
    return _value(input).apply(Scale(scale=scale, shift=shift))


def _scaled(x: Value, scale: object, shift: object) -> Value:
    """scale · x + shift for constants that differ at most along the first axis of x."""
    columns = []
    for constant in (scale, shift):
        array = _constant(constant)
        try:
            full = np.broadcast_to(array, (1, *x.shape))[0].reshape(x.shape[0], -1)
        except ValueError as error:
            raise Refused(f"a constant of shape {array.shape} does not fit a value of shape {x.shape}") from error
        if not (full == full[:, :1]).all():
            raise Refused("a constant factor or offset may differ along the first axis (channels) only")
        columns.append(full[:, 0].astype(np.float64))
    return x.apply(Scale(scale=columns[0], shift=columns[1]))


def _add(input: Any, other: Any, *, alpha: float = 1) -> Value:
    if isinstance(input, Value):
        return _scaled(input, 1.0, alpha * _constant(other))
    return _scaled(_value(other), alpha, _constant(input))


def _subtract(input: Any, other: Any, *, alpha: float = 1) -> Value:
    return _add(input, other, alpha=-alpha)


def _multiply(input: Any, other: Any) -> Value:
    if isinstance(input, Value):
        return _scaled(input, _constant(other), 0.0)
    return _scaled(_value(other), _constant(input), 0.0)


def _divide(input: Any, other: Any) -> Value:
    return _scaled(_value(input), 1.0 / _constant(other).astype(np.float64), 0.0)


def _negate(input: Any) -> Value:
    return _scaled(_value(input), -1.0, 0.0)


def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Value:
    x = _value(input)
    axes = len(x.size)
    if start_dim not in (1, 1 - axes) or end_dim not in (-1, axes - 1):
        raise Refused("flatten is supported over all axes but the batch: start_dim=1, end_dim=-1")
    return x if len(x.shape) == 1 else x.apply(Flatten())


def _reshape(input: Any, *shape: Any) -> Value:
    x = _value(input)
    wanted = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else list(shape)
    total = math.prod(x.shape)
    if wanted and wanted[0] == -1 and wanted.count(-1) == 1:
        wanted[0] = BATCH
    if not wanted or wanted[0] is not BATCH or not all(isinstance(n, int) for n in wanted[1:]):
        raise Refused("a reshape must keep the batch axis, as in x.reshape(x.shape[0], -1)")
    known = math.prod(n for n in wanted[1:] if n != -1)
    target = tuple(total // max(known, 1) if n == -1 else n for n in wanted[1:])
    if target == x.shape:
        return x
    if target != (total,):
        raise Refused(f"a reshape from {x.shape} to {target}: only flattening to ({total},) is supported")
    return x.apply(Flatten())


def _size(input: Any, dim: int | None = None) -> Any:
    return _value(input).size if dim is None else _value(input).size[dim]


def _getattr(input: Any, name: str) -> Any:
    x = _value(input)
    match name:
        case "shape":
            return x.size
        case "ndim":
            return len(x.size)
        case _:
            raise Refused(f"the attribute {name!r} of a tensor is not supported")


def _getitem(input: Any, index: Any) -> Any:
    if isinstance(input, Value):
        raise Refused("indexing of values is not supported")
    return input[index]


_BY_NAME: dict[str, Rule] = {
    **{name: _activation(name) for name in ("relu", "tanh", "sigmoid", "silu")},
    **{f"{name}_": _activation(name) for name in ("relu", "tanh", "sigmoid")},
    "expit": _activation("sigmoid"),
    "leaky_relu": _leaky_relu,
    "softplus": _softplus,
    "gelu": _gelu,
    "hardtanh": _hardtanh,
    "relu6": _relu6,
    "clamp": _clamp,
    "clip": _clamp,
    "dropout": _dropout,
    "alpha_dropout": _dropout,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
    "add": _add,
    "sub": _subtract,
    "subtract": _subtract,
    "mul": _multiply,
    "multiply": _multiply,
    "div": _divide,
    "divide": _divide,
    "neg": _negate,
    "flatten": _flatten,
    "reshape": _reshape,
    "view": _reshape,
    "size": _size,
    "dim": lambda input: len(_value(input).size),
    **dict.fromkeys(("contiguous", "clone", "detach", "float", "double", "to"), _same),
}

#: torch has functions of these names too, with other arguments
_ONLY_FUNCTIONAL = ("batch_norm", "dropout", "alpha_dropout")

#: rules by tensor method
METHODS: dict[str, Rule] = {name: rule for name, rule in _BY_NAME.items() if hasattr(torch.Tensor, name)}

#: rules by function: the same names in torch and torch.nn.functional, and Python's operators
FUNCTIONS: dict[Any, Rule] = {
    **{
        getattr(home, name): rule
        for home in (torch, F, torch.special)
        for name, rule in _BY_NAME.items()
        if hasattr(home, name) and name not in _ONLY_FUNCTIONAL
    },
    F.batch_norm: _batch_norm,
    F.dropout: _dropout,
    F.alpha_dropout: _dropout,
    operator.add: _add,
    operator.sub: _subtract,
    operator.mul: _multiply,
    operator.truediv: _divide,
    operator.neg: _negate,
    operator.matmul: _matmul,
    operator.getitem: _getitem,
    getattr: _getattr,
}

#: rules by module class: (module, value) -> value
MODULES: dict[type[nn.Module], Callable[[Any, Value], Value]] = {
    nn.Linear: lambda m, x: _linear(x, m.weight, m.bias),
    nn.ReLU: lambda m, x: _activation("relu")(x),
    nn.LeakyReLU: lambda m, x: _leaky_relu(x, m.negative_slope),
    nn.Tanh: lambda m, x: _activation("tanh")(x),
    nn.Sigmoid: lambda m, x: _activation("sigmoid")(x),
    nn.Softplus: lambda m, x: _softplus(x, m.beta, m.threshold),
    nn.GELU: lambda m, x: _gelu(x, m.approximate),
    nn.SiLU: lambda m, x: _activation("silu")(x),
    nn.Hardtanh: lambda m, x: _hardtanh(x, m.min_val, m.max_val),
    nn.ReLU6: lambda m, x: _relu6(x),
    nn.Identity: lambda m, x: x,
    nn.Flatten: lambda m, x: _flatten(x, m.start_dim, m.end_dim),
    **{kind: lambda m, x: x for kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)},
    **{
        kind: lambda m, x: _batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, eps=m.eps)
        for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    },
}


def module_rule(module: nn.Module) -> Callable[[Any, Value], Value] | None:
    """The rule for a module: that of its class, or of the class whose ``forward`` it inherits unchanged."""
    exact = MODULES.get(type(module))
    if exact is not None:
        return exact
    for kind, rule in MODULES.items():
        inherited = kind.forward is type(module).forward
        if isinstance(module, kind) and inherited:
            return rule
    return None


def supported() -> str:
    """All that can be imported, for error messages."""
    modules = ", ".join(sorted(kind.__name__ for kind in MODULES))
    return f"the modules {modules}; the functions and methods {', '.join(sorted(_BY_NAME))}; + - * / @ with constants"
