"""Functions of one value, gathered while a module is read: what is computed of a value entry by entry is one program.

A chain such as ``x.abs().sqrt()`` or ``x / (1 + x.abs())`` becomes one :class:`Function` of the value that it starts
from, usually the output of a layer: that is nearly Gaussian, and what lies between is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from powerplan.network.node import INPUT
from powerplan.network.ops import Activation, Function, Multiply, Op, Scale
from powerplan.network.torch_import.value import Refused, Value, array

Step = tuple[str, tuple[Any, ...], Mapping[str, Any]]

_VALUE = {"value": 0}
#: most steps of a program
_MOST = 64
#: activations by their name in ATen, and their parameters in its order
_ATEN: dict[str, tuple[str, tuple[str, ...]]] = {
    **{kind: (kind, ()) for kind in ("relu", "tanh", "sigmoid", "silu", "mish", "selu", "gelu")},
    "leaky_relu": ("leaky_relu", ("negative_slope",)),
    "hard_tanh": ("hardtanh", ("low", "high")),
    "hard_sigmoid": ("hardsigmoid", ()),
    "hard_swish": ("hardswish", ()),
    "elu": ("elu", ("alpha",)),
}


def applied(name: str, *arguments: Any, **keywords: Any) -> Value:
    """The value of one ATen operation, entry by entry, on values that are functions of one; else Refused.

    Args:
        arguments, keywords: of the operation, values and constant numbers.
    """
    operands = {x.name: x for x in arguments if isinstance(x, Value)}
    if not operands:
        raise Refused("the argument that depends on the network's input is in an unexpected place")
    base, programs = _common(list(operands.values()))
    steps: list[Step] = []
    references: dict[str, Mapping[str, int]] = {}
    for key, program in programs.items():
        references[key] = _VALUE if not program else {"step": len(steps) + len(program) - 1}
        steps += [_moved(step, len(steps)) for step in program]
    plain = tuple(references[x.name] if isinstance(x, Value) else _number(x) for x in arguments)
    steps.append((name, plain, {key: _number(x) for key, x in keywords.items()}))
    return base.apply(Function(steps=tuple(steps), inputs=(base.shape,), shape=base.shape, label=_label(steps)))


def are_of_one_value(*operands: Any) -> bool:
    """True for values that are functions of one, not all of them straight lines."""
    if not all(isinstance(x, Value) for x in operands):
        return False
    try:
        _, programs = _common(operands)
    except Refused:
        return False
    return any(name not in ("add", "mul") for program in programs.values() for name, _, _ in program)


def _common(operands: Any) -> tuple[Value, dict[str, tuple[Step, ...]]]:
    """The farthest value that all operands are functions of, and the program of each."""
    chains = {x.name: dict(_chain(x)) for x in operands}
    layouts = {(x.shape, x.batch, x.merged) for x in operands}
    first = next(iter(chains.values()))
    shared = [name for name in first if all(name in chain for chain in chains.values())]
    if not shared or len(layouts) > 1:
        raise Refused("its inputs are not functions of one value, entry by entry")
    return replace(operands[0], name=shared[-1]), {key: chain[shared[-1]] for key, chain in chains.items()}


def _chain(x: Value) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Values that x is a function of, the nearest (itself) first, with the program that makes x of each."""
    name = x.name
    program: tuple[Step, ...] = ()
    yield name, program
    while name != INPUT:
        node = x.builder.nodes[name]
        steps = _steps(node.op)
        if isinstance(node.op, Multiply) and len(set(node.inputs)) == 1:
            steps = (("mul", (_VALUE, _VALUE), {}),)
        if steps is None or len(steps) + len(program) >= _MOST:
            return
        behind = [_moved(step, len(steps), {"step": len(steps) - 1}) for step in program]
        program = (*steps, *behind)
        name = node.inputs[0]
        yield name, program


def _steps(op: Op) -> tuple[Step, ...] | None:
    """An operation as a program of one value; None if it is none."""
    match op:
        case Function() if op.of_one_value:
            return op.steps
        case Activation() if op.kind in _ATEN:
            name, parameters = _ATEN[op.kind]
            return ((name, (_VALUE, *((op.parameters or {})[p] for p in parameters)), {}),)
        case Activation(kind="softplus"):
            return (("softplus", (_VALUE, 1.0, 40.0), {}),)
        case Activation(kind="gelu_tanh"):
            return (("gelu", (_VALUE,), {"approximate": "tanh"}),)
        case Scale() if op.scale.size == 1 and op.scale.ndim == 1:
            factor, offset = float(op.scale[0]), float(op.shift[0])
            return ("mul", (_VALUE, factor), {}), ("add", ({"step": 0}, offset), {})
        case _:
            return None


def _moved(step: Step, by: int, value: Mapping[str, int] | None = None) -> Step:
    """A step behind ``by`` others, with another reference for the value."""

    def moved(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {"step": x["step"] + by} if "step" in x else value or x
        return x

    name, arguments, keywords = step
    return name, tuple(moved(x) for x in arguments), {key: moved(x) for key, x in keywords.items()}


def _number(x: Any) -> Any:
    if x is None or isinstance(x, bool | int | float | str):
        return x
    numbers = np.unique(array(x))
    if len(numbers) != 1:
        raise Refused("constants that differ from entry to entry are supported as factors and offsets only")
    return numbers[0].item()


def _label(steps: list[Step]) -> str:
    return " ".join(name for name, _, _ in steps[-6:])
