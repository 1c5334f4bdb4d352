"""Recurrent layers of ONNX: LSTM, GRU and RNN.

Their gates stand in other orders than torch's: i, o, f, c for an LSTM, u, r, n for a GRU. Every direction has matrices
(gates · width, inputs) and (gates · width, width), a row of both biases, and starts with hidden values of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from powerplan.checks import Checker
from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules import elementwise
from powerplan.network.ops import Concat, Reshape
from powerplan.network.torch_import.rules.recurrence import (
    Bend,
    Kind,
    Weights,
    gru_bias,
    gru_step,
    gru_step_reset_first,
    lstm_step,
    rnn_step,
    run,
    stacked,
    start_of,
)
from powerplan.network.torch_import.value import Refused, Value, array, value


@dataclass(frozen=True)
class _Layer:
    """An operator: its gates in the order of torch's, its usual functions, and what makes it a recurrence of them."""

    gates: tuple[int, ...]
    functions: tuple[str, ...]
    kind: Callable[[Call, tuple[Bend, ...]], Kind]

    def ordered(self, rows: np.ndarray) -> np.ndarray:
        """Rows (gates · width, ...) with the gates in the order of torch."""
        parts = np.split(rows, len(self.gates))
        return np.concatenate([parts[i] for i in self.gates])


def _gru(call: Call, functions: tuple[Bend, ...]) -> Kind:
    gate, bend = functions
    if call.get("linear_before_reset", 0):
        return Kind(partial(gru_step, (gate, bend)), gru_bias)
    return Kind(partial(gru_step_reset_first, (gate, bend)))


def _lstm(call: Call, functions: tuple[Bend, ...]) -> Kind:
    call.only("input_forget", 0)
    gate, write, read = functions
    return Kind(partial(lstm_step, (gate, write, read)))


def _rnn(call: Call, functions: tuple[Bend, ...]) -> Kind:
    return Kind(partial(rnn_step, (functions[0],)))


_LAYERS = {
    "LSTM": _Layer((0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh"), _lstm),
    "GRU": _Layer((1, 0, 2), ("Sigmoid", "Tanh"), _gru),
    "RNN": _Layer((0,), ("Tanh",), _rnn),
}
#: activations, and the parameters they have, with the names and defaults of the operators'
_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"), ()),
    **dict.fromkeys(("LeakyRelu", "Elu", "ThresholdedRelu"), ("alpha",)),
    "HardSigmoid": ("alpha", "beta"),
}
_DIRECTIONS: Mapping[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}


def recurrent(
    call: Call,
    x: Any,
    inputs: Any,
    hidden: Any,
    biases: Any = None,
    lengths: Any = None,
    start: Any = None,
    cells: Any = None,
    peepholes: Any = None,
) -> tuple[Value, ...]:
    """Hidden values (length, directions, batch, width) of all steps, and the last of every state; see ONNX."""
    layer = _LAYERS[call.op_type]
    directions = _DIRECTIONS[call.get("direction", "forward")]
    batch_first = bool(call.get("layout", 0))
    call.only("clip", None)
    sequence = value(x)
    if sequence.merged or len(sequence.shape) != 2 or sequence.batch != (0 if batch_first else 1):
        raise Refused("its input must be (length, batch, width), or (batch, length, width) with layout=1")
    _check_lengths(lengths, sequence.shape[0])
    sizes = len(directions), len(layer.gates), sequence.shape[-1], call.get("hidden_size")
    _check_sizes(*sizes, W=inputs, R=hidden, B=biases, P=peepholes)
    sequence = replace(sequence, batch=0)
    starts = [_by_direction(s, batch_first) for s in ((start, cells) if call.op_type == "LSTM" else (start,))]
    values, functions = list[Value](), _functions(call, layer)
    last: list[list[Value]] = [[] for _ in starts]
    for number, backwards in enumerate(directions):
        rows = [array(inputs)[number], array(hidden)[number]]
        rows += [] if biases is None else np.split(array(biases)[number], 2)
        weights = replace(
            Weights.of([layer.ordered(r) for r in rows], biases is not None, "_reverse" if backwards else ""),
            peepholes=None if peepholes is None else array(peepholes)[number].reshape(3, -1),
        )
        count = len(layer.functions)
        kind = layer.kind(call, tuple(functions[number * count : (number + 1) * count]))
        state = tuple(None if s is None else start_of(sequence, s, number) for s in starts)
        every, state = run(kind, sequence, state, weights, backwards=backwards)
        values.append(every)
        for kept, final in zip(last, state, strict=True):
            kept.append(value(final))
    both = values[0] if len(values) == 1 else values[0].apply(Concat(axis=-1), values[1], name="both")
    length, width = values[0].shape
    whole = both.apply(Reshape(shape=(length, len(values), width)), batch=0 if batch_first else 2, name="values")
    return whole, *(replace(stacked(rows, "last"), batch=0 if batch_first else 1) for rows in last)


def _check_sizes(directions: int, gates: int, inputs: int, width: int | None, **weights: Any) -> None:
    """Refuse weights that do not fit the input, the number of gates or each other."""
    arrays = {name: array(weight) for name, weight in weights.items() if weight is not None}
    width = width or (arrays["R"].shape[-1] if arrays["R"].ndim else 1)
    rows = gates * width
    wanted = {
        "W": ((directions, rows, inputs), f"(directions, {gates} · hidden size, width of the input)"),
        "R": ((directions, rows, width), f"(directions, {gates} · hidden size, hidden size)"),
        "B": ((directions, 2 * rows), f"(directions, {2 * gates} · hidden size)"),
        "P": ((directions, 3 * width), "(directions, 3 · hidden size)"),
    }
    check = Checker()
    for name, weight in arrays.items():
        shape, words = wanted[name]
        if weight.shape != shape:
            allowed = f"an array of shape {shape}: {words}"
            check.fail(name, f"shape {weight.shape}", allowed, "Export the model again: a runtime refuses this weight.")
    check.done()


def _check_lengths(lengths: Any, length: int) -> None:
    if isinstance(lengths, Value):
        raise Refused("the lengths of its sequences depend on the network's input")
    if lengths is not None and (array(lengths) != length).any():
        raise Refused(f"its sequences are shorter than its input, {length} steps")


def _by_direction(start: Any, batch_first: bool) -> Any:
    """A start as (directions, batch, width)."""
    if start is None or not batch_first:
        return start
    if not isinstance(start, Value):
        return array(start).swapaxes(0, 1)
    return replace(start.leading(), batch=1)


def _functions(call: Call, layer: _Layer) -> list[Bend]:
    """The activations of one direction after the other."""
    names = call.get("activations") or layer.functions * len(_DIRECTIONS[call.get("direction", "forward")])
    given = {name: iter(call.get(f"activation_{name}") or ()) for name in ("alpha", "beta")}
    functions: list[Bend] = []
    for name in names:
        operator = next((known for known in _FUNCTIONS if known.lower() == name.lower()), None)
        if operator is None:
            raise Refused(f"the activation {name!r} is not supported, only {', '.join(_FUNCTIONS)}")
        numbers = {parameter: next(given[parameter], None) for parameter in _FUNCTIONS[operator]}
        chosen = {parameter: x for parameter, x in numbers.items() if x is not None}
        own = Call(op_type=operator, attributes=chosen, opset=call.opset)
        functions.append(partial(elementwise.RULES[operator], own))
    return functions


RULES: dict[str, Rule] = dict.fromkeys(_LAYERS, recurrent)
