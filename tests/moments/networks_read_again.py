"""Networks whose arrays are read by several nodes, and the same on arrays of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import powerplan as pp
from powerplan.network import Activation, Add, Concat, Linear, Node, Op, Reshape, Scale, Slice


def weights(rng: np.random.Generator, n_out: int, n_in: int, scale: float = 1.0) -> np.ndarray:
    return scale * rng.normal(size=(n_out, n_in)) / n_in**0.5


def node(name: str, op: Op, *inputs: str, array: str | None = None) -> Node:
    return Node(name=name, op=op, inputs=inputs, array=array)


def part(start: int, stop: int | None = None, *, axis: int = 0) -> Slice:
    """Some entries along an axis, or one of them without the axis."""
    last = start + 1 if stop is None else stop
    return Slice(axis=axis, start=start, stop=last, keep_axis=stop is not None)


def siamese(widths: Sequence[int] = (8, 14, 3)) -> pp.Network:
    """f(left) - f(right) of two halves of the input, f two layers with tanh between."""
    rng = np.random.default_rng(3)
    first = Linear(weight=weights(rng, widths[1], widths[0]), bias=0.1 * rng.normal(size=widths[1]))
    second = Linear(weight=weights(rng, widths[2], widths[1]))
    nodes = []
    for i, branch in enumerate(("left", "right")):
        nodes += [
            node(branch, part(i * widths[0], (i + 1) * widths[0]), "input"),
            node(f"{branch}.first", first, branch, array="first"),
            node(f"{branch}.tanh", Activation(kind="tanh"), f"{branch}.first"),
            node(f"{branch}.second", second, f"{branch}.tanh", array="second"),
        ]
    minus = Scale(scale=np.full(1, -1.0), shift=np.zeros(1))
    nodes += [node("minus", minus, "right.second"), node("difference", Add(), "left.second", "minus")]
    return pp.Network(input_shape=(2 * widths[0],), nodes=tuple(nodes))


def close_pairs(network: pp.Network, count: int, apart: float = 0.1) -> np.ndarray:
    """Inputs of a Siamese network whose halves are nearly equal."""
    rng = np.random.default_rng(4)
    half = network.input_shape[0] // 2
    left, other = rng.normal(size=(2, count, half))
    return np.concatenate([left, left + apart * other], 1)


def recurrent(steps: int = 5, width: int = 12) -> pp.Network:
    """h = tanh(W x + U h) over the steps of a (steps, 4) input, and a layer behind the last."""
    rng = np.random.default_rng(5)
    inner = Linear(weight=weights(rng, width, 4), bias=0.1 * rng.normal(size=width))
    hidden, head = Linear(weight=weights(rng, width, width, 0.9)), Linear(weight=weights(rng, 3, width))
    nodes = [
        node("x0", part(0), "input"),
        node("in0", inner, "x0", array="in"),
        node("h0", Activation(kind="tanh"), "in0"),
    ]
    for t in range(1, steps):
        nodes += [
            node(f"x{t}", part(t), "input"),
            node(f"in{t}", inner, f"x{t}", array="in"),
            node(f"hidden{t}", hidden, f"h{t - 1}", array="hidden"),
            node(f"sum{t}", Add(), f"in{t}", f"hidden{t}"),
            node(f"h{t}", Activation(kind="tanh"), f"sum{t}"),
        ]
    return pp.Network(input_shape=(steps, 4), nodes=(*nodes, node("head", head, f"h{steps - 1}")))


def kernel(*, unrolled: bool, positions: int = 3) -> pp.Network:
    """Two layers applied at every position of a (positions, 5) input and a dense one: each one node, or one for every
    position."""
    rng = np.random.default_rng(6)
    first = Linear(weight=weights(rng, 6, 5), bias=0.1 * rng.normal(size=6))
    second, head = Linear(weight=weights(rng, 4, 6)), Linear(weight=weights(rng, 2, 4 * positions))
    if not unrolled:
        nodes = [
            node("first", first, "input"),
            node("relu", Activation(kind="relu"), "first"),
            node("second", second, "relu"),
            node("flat", Reshape(shape=(4 * positions,)), "second"),
        ]
    else:
        nodes = [
            n
            for p in range(positions)
            for n in (
                node(f"x{p}", part(p), "input"),
                node(f"first{p}", first, f"x{p}", array="first"),
                node(f"relu{p}", Activation(kind="relu"), f"first{p}"),
                node(f"second{p}", second, f"relu{p}", array="second"),
            )
        ]
        nodes.append(node("flat", Concat(axis=0), *(f"second{p}" for p in range(positions))))
    return pp.Network(input_shape=(positions, 5), nodes=(*nodes, node("head", head, "flat")))


def apart(network: pp.Network) -> pp.Network:
    """The same with an array of its own for every read."""
    return replace(network, nodes=tuple(replace(n, array=None) for n in network.nodes))
