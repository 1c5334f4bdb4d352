"""Recurrences: layers and cells of torch, step by step.

Their matrices are one array each. That of the inputs is read at all steps at once, at the positions of the sequence;
that of the hidden values once in every step, which makes as many nodes. Both biases are added with the first; of a GRU
the one that its reset gate multiplies stays with the second. A hidden value of zero is not read.

    LSTM   i, f, g, o = W x + U h + b,   c = σ(f) c + σ(i) tanh(g),   h = σ(o) tanh(c)
    GRU    r, u = σ(W x + U h + b),      n = tanh(W x + b + r (U h + b')),   h = (1 − u) n + u h
    RNN    h = f(W x + U h + b)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from powerplan.network.ops import Activation, Add, Concat, Multiply, Reshape, Scale, Slice
from powerplan.network.torch_import.rules.arrays import linear
from powerplan.network.torch_import.value import Refused, Value, array, value

#: hidden values, of an LSTM with those of its cells; None = zeros
_State = tuple[Value | None, ...]


@dataclass(frozen=True)
class _Weights:
    """What one direction of one layer multiplies by, and how its nodes are called."""

    inputs: Any
    hidden: Any
    input_bias: np.ndarray | None
    hidden_bias: np.ndarray | None
    projection: Any
    suffix: str

    @classmethod
    def of(cls, tensors: Sequence[Any], has_biases: bool, suffix: str) -> _Weights:
        biases = [array(x) for x in tensors[2:4]] if has_biases else [None, None]
        rest = tensors[4:] if has_biases else tensors[2:]
        return cls(tensors[0], tensors[1], biases[0], biases[1], rest[0] if rest else None, suffix)

    def name(self, part: str) -> str:
        """Of the node of a matrix."""
        return f"{part}{self.suffix}"

    def added_biases(self) -> np.ndarray | None:
        """Both biases."""
        return None if self.input_bias is None else self.input_bias + self.hidden_bias


_Step = Callable[[Value, _State, _Weights], _State]


def _lstm_step(x: Value, state: _State, weights: _Weights) -> _State:
    hidden, cell = state
    gates = _parts(_with_hidden(x, hidden, weights), 4)
    written = _times(_of(gates[0], "sigmoid"), _of(gates[2], "tanh"))
    cell = written if cell is None else _sum(_times(_of(gates[1], "sigmoid"), cell), written)
    hidden = _times(_of(gates[3], "sigmoid"), _of(cell, "tanh"))
    if weights.projection is not None:
        hidden = linear(hidden, weights.projection, name=weights.name("hr"))
    return hidden, cell


def _gru_step(x: Value, state: _State, weights: _Weights) -> _State:
    (hidden,) = state
    size = x.shape[-1] // 3
    bias = None if weights.hidden_bias is None else weights.hidden_bias[2 * size :]
    if hidden is None:
        reset, update, new = _parts(x, 3)
        if bias is not None:
            new = _sum(_scaled(_of(reset, "sigmoid"), bias, np.zeros_like(bias)), new)
    else:
        full = None if bias is None else np.concatenate([np.zeros(2 * size, bias.dtype), bias])
        passed = linear(hidden, weights.hidden, full, name=weights.name("hh"))
        (reset, update, new), (also_reset, also_update, also_new) = _parts(x, 3), _parts(passed, 3)
        reset, update = _sum(reset, also_reset), _sum(update, also_update)
        new = _sum(_times(_of(reset, "sigmoid"), also_new), new)
    update, new = _of(update, "sigmoid"), _of(new, "tanh")
    one = np.ones(size, array(weights.hidden).dtype)
    renewed = _times(_scaled(update, -one, one), new)
    return (renewed if hidden is None else _sum(_times(update, hidden), renewed),)


def _gru_bias(weights: _Weights) -> np.ndarray | None:
    """The biases added with the inputs: those of the hidden values but for the last third."""
    if weights.input_bias is None or weights.hidden_bias is None:
        return None
    with_inputs = weights.hidden_bias.copy()
    with_inputs[2 * len(with_inputs) // 3 :] = 0
    total: np.ndarray = weights.input_bias + with_inputs
    return total


def _rnn_step(kind: str, x: Value, state: _State, weights: _Weights) -> _State:
    return (_of(_with_hidden(x, state[0], weights), kind),)


@dataclass(frozen=True)
class _Kind:
    """A recurrence: its step, and the biases that are added with the inputs."""

    step: _Step
    bias: Callable[[_Weights], np.ndarray | None] = _Weights.added_biases


_LSTM = _Kind(_lstm_step)
_GRU = _Kind(_gru_step, _gru_bias)


def _layers(
    kind: _Kind,
    input: Any,
    states: Any,
    params: Any,
    has_biases: Any,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Value, ...]:
    """Values at all steps, and the last of every layer and direction for each of the states."""
    if not isinstance(params, tuple | list):
        raise Refused("packed sequences are not supported; give sequences of one length")
    if train and dropout:
        raise Refused("dropout is switched on in evaluation mode too")
    sequence = value(input)
    if sequence.merged or len(sequence.shape) != 2 or sequence.batch != (0 if batch_first else 1):
        raise Refused("its input must have a batch axis; with batch_first=True it is the first one, else the second")
    sequence, directions = replace(sequence, batch=0), 2 if bidirectional else 1
    starts = states if isinstance(states, tuple | list) else (states,)
    size, last = len(params) // (num_layers * directions), [list[Value]() for _ in starts]
    for layer in range(num_layers):
        both = []
        for direction in range(directions):
            number = layer * directions + direction
            suffix = f"_l{layer}{'_reverse' * direction}"
            weights = _Weights.of(params[number * size : (number + 1) * size], bool(has_biases), suffix)
            state = tuple(_of_layer(sequence, start, number) for start in starts)
            values, state = _direction(kind, sequence, state, weights, backwards=bool(direction))
            both.append(values)
            for kept, final in zip(last, state, strict=True):
                assert final is not None
                kept.append(final)
        sequence = both[0] if directions == 1 else both[0].apply(Concat(axis=-1), both[1], name=f"both_l{layer}")
    ends = (replace(_stacked(values, "last"), batch=1) for values in last)
    return replace(sequence, batch=0 if batch_first else 1), *ends


def _direction(
    kind: _Kind, sequence: Value, state: _State, weights: _Weights, *, backwards: bool
) -> tuple[Value, _State]:
    """Hidden values at all steps, in their order, and the state behind the last."""
    inputs = linear(sequence, weights.inputs, kind.bias(weights), name=weights.name("ih"))
    steps = range(sequence.shape[0])
    hidden: dict[int, Value] = {}
    for t in reversed(steps) if backwards else steps:
        state = kind.step(_one(inputs, t), state, weights)
        first = state[0]
        assert first is not None
        hidden[t] = first
    return _stacked([hidden[t] for t in steps], weights.name("hidden")), state


def _cell(
    kind: _Kind, input: Any, states: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Value, ...]:
    starts = states if isinstance(states, tuple | list) else (states,)
    values = [x for x in (input, *starts) if isinstance(x, Value)]
    if any(x.batch or x.merged or len(x.shape) != 1 for x in values):
        raise Refused("its inputs must be (batch, width)")
    weights = _Weights.of([w_ih, w_hh, *([] if b_ih is None else [b_ih, b_hh])], b_ih is not None, "")
    x = linear(value(input), w_ih, kind.bias(weights), name="ih")
    state = kind.step(x, tuple(s if isinstance(s, Value) else _constant(x, array(s)) for s in starts), weights)
    return tuple(value(s) for s in state)


def _of_layer(like: Value, states: Any, number: int) -> Value | None:
    """The start of one layer and direction, of (layers, batch, width)."""
    if isinstance(states, Value):
        if states.batch != 1 or states.merged:
            raise Refused("the batch axis of its state must be the second")
        return _one(replace(states, batch=0), number)
    return _constant(like, array(states)[number])


def _constant(like: Value, rows: np.ndarray) -> Value | None:
    """A start (batch, width) that does not depend on the input, None = zeros."""
    if not rows.any():
        return None
    if (rows != rows[:1]).any():
        raise Refused("its state differs between the inputs of a batch")
    return replace(like, shape=(1,), batch=0).constant(rows[0], "start")


def _with_hidden(x: Value, hidden: Value | None, weights: _Weights) -> Value:
    return x if hidden is None else _sum(x, linear(hidden, weights.hidden, name=weights.name("hh")))


def _parts(x: Value, count: int) -> list[Value]:
    """Equal parts of a vector."""
    size = x.shape[-1] // count
    return [x.apply(Slice(axis=-1, start=i * size, stop=(i + 1) * size), name="gate") for i in range(count)]


def _one(x: Value, index: int) -> Value:
    return x.apply(Slice(axis=0, start=index, stop=index + 1, keep_axis=False), name="step")


def _stacked(values: Sequence[Value], name: str) -> Value:
    """Vectors as the rows of a matrix."""
    first, *others = values
    joined = first.apply(Concat(axis=0), *others, name=name) if others else first
    return joined.apply(Reshape(shape=(len(values), first.shape[0])), name=name)


def _of(x: Value, kind: str) -> Value:
    return x.apply(Activation(kind=kind), name=kind)


def _times(x: Value, y: Value) -> Value:
    return x.apply(Multiply(), y, name="mul")


def _sum(x: Value, y: Value) -> Value:
    return x.apply(Add(), y, name="add")


def _scaled(x: Value, scale: np.ndarray, shift: np.ndarray) -> Value:
    return x.apply(Scale(scale=scale, shift=shift, axis=-1), name="scale")


_TANH, _RELU = (_Kind(partial(_rnn_step, kind)) for kind in ("tanh", "relu"))

RULES: dict[str, Any] = {
    "lstm": partial(_layers, _LSTM),
    "gru": partial(_layers, _GRU),
    "rnn_tanh": partial(_layers, _TANH),
    "rnn_relu": partial(_layers, _RELU),
    "lstm_cell": partial(_cell, _LSTM),
    "gru_cell": lambda *args: _cell(_GRU, *args)[0],
    "rnn_tanh_cell": lambda *args: _cell(_TANH, *args)[0],
    "rnn_relu_cell": lambda *args: _cell(_RELU, *args)[0],
}
