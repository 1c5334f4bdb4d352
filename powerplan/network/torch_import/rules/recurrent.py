"""Recurrent layers and cells of torch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from powerplan.network.ops import Activation, Concat
from powerplan.network.torch_import.rules.arrays import linear
from powerplan.network.torch_import.rules.recurrence import (
    Bend,
    Kind,
    Weights,
    constant_start,
    gru_bias,
    gru_step,
    lstm_step,
    rnn_step,
    run,
    stacked,
    start_of,
)
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, value


def _bend(kind: str) -> Bend:
    return lambda x: x.apply(Activation(kind=kind), name=kind)


_SIGMOID, _BENT = _bend("sigmoid"), _bend("tanh")
_LSTM = Kind(partial(lstm_step, (_SIGMOID, _BENT, _BENT)))
_GRU = Kind(partial(gru_step, (_SIGMOID, _BENT)), gru_bias)
_TANH, _RELU = Kind(partial(rnn_step, (_BENT,))), Kind(partial(rnn_step, (_bend("relu"),)))


def _layers(
    kind: Kind,
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
            weights = Weights.of(params[number * size : (number + 1) * size], bool(has_biases), suffix)
            state = tuple(start_of(sequence, start, number) for start in starts)
            values, state = run(kind, sequence, state, weights, backwards=bool(direction))
            both.append(values)
            for kept, final in zip(last, state, strict=True):
                assert final is not None
                kept.append(final)
        sequence = both[0] if directions == 1 else both[0].apply(Concat(axis=-1), both[1], name=f"both_l{layer}")
    ends = (replace(stacked(values, "last"), batch=1) for values in last)
    return replace(sequence, batch=0 if batch_first else 1), *ends


def _cell(
    kind: Kind, input: Any, states: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Value, ...]:
    starts = states if isinstance(states, tuple | list) else (states,)
    values = [x for x in (input, *starts) if isinstance(x, Value)]
    if any(x.batch or x.merged or len(x.shape) != 1 for x in values):
        raise Refused("its inputs must be (batch, width)")
    weights = Weights.of([w_ih, w_hh, *([] if b_ih is None else [b_ih, b_hh])], b_ih is not None, "")
    x = linear(value(input), w_ih, kind.bias(weights), name="ih")
    state = kind.step(x, tuple(s if isinstance(s, Value) else constant_start(x, array(s)) for s in starts), weights)
    return tuple(value(s) for s in state)


RULES: dict[str, Rule] = declared(
    Standing.PARTS,
    {
        "lstm": partial(_layers, _LSTM),
        "gru": partial(_layers, _GRU),
        "rnn_tanh": partial(_layers, _TANH),
        "rnn_relu": partial(_layers, _RELU),
        "lstm_cell": partial(_cell, _LSTM),
        "gru_cell": lambda *args: _cell(_GRU, *args)[0],
        "rnn_tanh_cell": lambda *args: _cell(_TANH, *args)[0],
        "rnn_relu_cell": lambda *args: _cell(_RELU, *args)[0],
    },
)
