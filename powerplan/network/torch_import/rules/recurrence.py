"""Recurrences, step by step.

Their matrices are one array each. That of the inputs is read at all steps at once, at the positions of the sequence;
that of the hidden values once in every step, which makes as many nodes. Both biases are added with the first; of a GRU
the one that its reset gate multiplies stays with the second. A hidden value of zero is not read.

    LSTM   i, f, g, o = W x + U h + b,   c = σ(f) c + σ(i) tanh(g),   h = σ(o) tanh(c)
    GRU    r, u = σ(W x + U h + b),      n = tanh(W x + b + r (U h + b')),   h = (1 − u) n + u h
    RNN    h = f(W x + U h + b)

ONNX has some more: other functions than σ and tanh, an LSTM whose gates see its cells, p c beside U h, and a GRU that
resets first, n = tanh(W x + U (r h) + b); that U is an array of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from powerplan.network.ops import Add, Concat, Multiply, Reshape, Scale, Slice
from powerplan.network.torch_import.rules.arrays import linear
from powerplan.network.torch_import.value import Refused, Value, array

#: hidden values, of an LSTM with those of its cells; None = zeros
State = tuple[Value | None, ...]
#: what an activation makes of a value
Bend = Callable[[Value], Value]


@dataclass(frozen=True)
class Weights:
    """What one direction of one layer multiplies by, and how its nodes are called.

    Attributes:
        inputs, hidden: matrices (gates · width, ...), the gates in torch's order.
        input_bias, hidden_bias: (gates · width,).
        projection: matrix of the hidden values of an LSTM.
        peepholes: (3, width) of the input, output and forget gates of an LSTM.
        suffix: of the nodes' names.
    """

    inputs: Any
    hidden: Any
    input_bias: np.ndarray | None
    hidden_bias: np.ndarray | None
    projection: Any = None
    peepholes: np.ndarray | None = None
    suffix: str = ""

    @classmethod
    def of(cls, tensors: Sequence[Any], has_biases: bool, suffix: str) -> Weights:
        biases = [array(x) for x in tensors[2:4]] if has_biases else [None, None]
        rest = tensors[4:] if has_biases else tensors[2:]
        return cls(tensors[0], tensors[1], biases[0], biases[1], rest[0] if rest else None, suffix=suffix)

    def name(self, part: str) -> str:
        """Of the node of a matrix."""
        return f"{part}{self.suffix}"

    def added_biases(self) -> np.ndarray | None:
        """Both biases."""
        return None if self.input_bias is None else self.input_bias + self.hidden_bias


Step = Callable[[Value, State, Weights], State]


def lstm_step(functions: tuple[Bend, Bend, Bend], x: Value, state: State, weights: Weights) -> State:
    """Functions of the gates, of what is written to the cells and of what is read from them."""
    gate, write, read = functions
    hidden, cell = state
    inputs, forget, new, output = _parts(_with_hidden(x, hidden, weights), 4)
    peepholes = weights.peepholes
    if peepholes is not None and cell is not None:
        inputs, forget = _sum(inputs, _scaled(cell, peepholes[0])), _sum(forget, _scaled(cell, peepholes[2]))
    written = _times(gate(inputs), write(new))
    cell = written if cell is None else _sum(_times(gate(forget), cell), written)
    output = output if peepholes is None else _sum(output, _scaled(cell, peepholes[1]))
    hidden = _times(gate(output), read(cell))
    if weights.projection is not None:
        hidden = linear(hidden, weights.projection, name=weights.name("hr"))
    return hidden, cell


def gru_step(functions: tuple[Bend, Bend], x: Value, state: State, weights: Weights) -> State:
    """Functions of the gates and of the new values."""
    gate, bend = functions
    (hidden,) = state
    size = x.shape[-1] // 3
    bias = None if weights.hidden_bias is None else weights.hidden_bias[2 * size :]
    reset, update, new = _parts(x, 3)
    if hidden is not None:
        full = None if bias is None else np.concatenate([np.zeros(2 * size, bias.dtype), bias])
        passed = linear(hidden, weights.hidden, full, name=weights.name("hh"))
        also_reset, also_update, also_new = _parts(passed, 3)
        reset, update = _sum(reset, also_reset), _sum(update, also_update)
        new = _sum(_times(gate(reset), also_new), new)
    elif bias is not None:
        new = _sum(_scaled(gate(reset), bias), new)
    return (_renewed(gate(update), bend(new), hidden),)


def gru_step_reset_first(functions: tuple[Bend, Bend], x: Value, state: State, weights: Weights) -> State:
    """Likewise, of a GRU that resets the hidden values before they are multiplied."""
    gate, bend = functions
    (hidden,) = state
    reset, update, new = _parts(x, 3)
    if hidden is not None:
        gates, of_new = np.split(array(weights.hidden), [2 * x.shape[-1] // 3])
        also_reset, also_update = _parts(linear(hidden, gates, name=weights.name("hh")), 2)
        reset, update = _sum(reset, also_reset), _sum(update, also_update)
        new = _sum(new, linear(_times(gate(reset), hidden), of_new, name=weights.name("hh_new")))
    return (_renewed(gate(update), bend(new), hidden),)


def _renewed(update: Value, new: Value, hidden: Value | None) -> Value:
    """(1 − u) n + u h."""
    one = np.ones(1)
    renewed = _times(_scaled(update, -one, one), new)
    return renewed if hidden is None else _sum(_times(update, hidden), renewed)


def gru_bias(weights: Weights) -> np.ndarray | None:
    """The biases added with the inputs: those of the hidden values but for the last third."""
    if weights.input_bias is None or weights.hidden_bias is None:
        return None
    with_inputs = weights.hidden_bias.copy()
    with_inputs[2 * len(with_inputs) // 3 :] = 0
    total: np.ndarray = weights.input_bias + with_inputs
    return total


def rnn_step(functions: tuple[Bend], x: Value, state: State, weights: Weights) -> State:
    return (functions[0](_with_hidden(x, state[0], weights)),)


@dataclass(frozen=True)
class Kind:
    """A recurrence: its step, and the biases that are added with the inputs."""

    step: Step
    bias: Callable[[Weights], np.ndarray | None] = Weights.added_biases


def run(kind: Kind, sequence: Value, state: State, weights: Weights, *, backwards: bool) -> tuple[Value, State]:
    """Hidden values at all steps, in their order, and the state behind the last."""
    inputs = linear(sequence, weights.inputs, kind.bias(weights), name=weights.name("ih"))
    steps = range(sequence.shape[0])
    hidden: dict[int, Value] = {}
    for t in reversed(steps) if backwards else steps:
        state = kind.step(one_of(inputs, t), state, weights)
        first = state[0]
        assert first is not None
        hidden[t] = first
    return stacked([hidden[t] for t in steps], weights.name("hidden")), state


def start_of(like: Value, states: Any, number: int) -> Value | None:
    """The start of one layer and direction, of (layers, batch, width)."""
    if isinstance(states, Value):
        if states.batch != 1 or states.merged:
            raise Refused("the batch axis of its state must be the second")
        return one_of(replace(states, batch=0), number)
    return constant_start(like, array(states)[number])


def constant_start(like: Value, rows: np.ndarray) -> Value | None:
    """A start (batch, width) that does not depend on the input, None = zeros."""
    if not rows.any():
        return None
    if (rows != rows[:1]).any():
        raise Refused("its state differs between the inputs of a batch")
    return replace(like, shape=(1,), batch=0).constant(rows[0], "start")


def _with_hidden(x: Value, hidden: Value | None, weights: Weights) -> Value:
    return x if hidden is None else _sum(x, linear(hidden, weights.hidden, name=weights.name("hh")))


def _parts(x: Value, count: int) -> list[Value]:
    """Equal parts of a vector."""
    size = x.shape[-1] // count
    return [x.apply(Slice(axis=-1, start=i * size, stop=(i + 1) * size), name="gate") for i in range(count)]


def one_of(x: Value, index: int) -> Value:
    return x.apply(Slice(axis=0, start=index, stop=index + 1, keep_axis=False), name="step")


def stacked(values: Sequence[Value], name: str) -> Value:
    """Vectors as the rows of a matrix."""
    first, *others = values
    joined = first.apply(Concat(axis=0), *others, name=name) if others else first
    return joined.apply(Reshape(shape=(len(values), first.shape[0])), name=name)


def _times(x: Value, y: Value) -> Value:
    return x.apply(Multiply(), y, name="mul")


def _sum(x: Value, y: Value) -> Value:
    return x.apply(Add(), y, name="add")


def _scaled(x: Value, scale: np.ndarray, shift: np.ndarray | None = None) -> Value:
    return x.apply(Scale(scale=scale, shift=np.zeros_like(scale) if shift is None else shift, axis=-1), name="scale")
