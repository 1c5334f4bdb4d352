"""torch.einsum of two operands: a matrix product of two values, or a linear layer with a constant.

With indices b in both operands and the result, k in both and summed over, i in the first only and j in the second
only, any number of each, the sum is a batched matrix product once the axes stand in this order,

    out_{b i j} = Σ_k x_{b i k} y_{b k j},

and with a constant y without b a linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

from powerplan.network.torch_import.rules.arrays import linear, product
from powerplan.network.torch_import.rules.shaping import permute, reshape
from powerplan.network.torch_import.value import Refused, Value, array, value


def einsum(equation: Any, *operands: Any) -> Value:
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2:
        raise Refused("only an equation and two operands are known")
    shapes = [x.torch_shape if isinstance(x, Value) else array(x).shape for x in operands]
    first, second, output = _indices(equation.replace(" ", ""), [len(shape) for shape in shapes])
    sizes = dict(zip(first + second, (*shapes[0], *shapes[1]), strict=True))
    if any(sizes[i] != n for i, n in zip(first, shapes[0], strict=True)):
        raise Refused("its operands differ in the size of an axis")
    if not isinstance(operands[0], Value):
        operands, first, second = operands[::-1], second, first
    return _multiplied(value(operands[0]), operands[1], (first, second, output), sizes)


def _multiplied(x: Value, y: Any, indices: tuple[list[str], list[str], list[str]], sizes: dict[str, int]) -> Value:
    """The sum over what is not in the result; ``indices`` of x, y and the result, and their sizes."""
    first, second, output = indices
    batch = first[x.batch]
    if x.merged or batch not in output:
        raise Refused("it works along the batch axis")
    both = [i for i in first if i in second and i in output]
    summed = [i for i in first if i in second and i not in output]
    mine = [i for i in first if i in output and i not in second]
    theirs = [i for i in second if i in output and i not in first]
    if not summed:
        raise Refused("no index of both operands is summed over")
    if len(both + mine + summed) < len(first) or len(both + theirs + summed) < len(second):
        raise Refused("it sums over an index of one operand alone")
    depth, width = _count(summed, sizes), _count(theirs, sizes)
    if not both and not isinstance(y, Value):
        rows = reshape(_ordered(x, first, mine + summed), *(sizes[i] for i in mine), depth)
        matrix = array(y).transpose([second.index(i) for i in theirs + summed]).reshape(width, depth)
        result, order = linear(rows, matrix), mine + theirs
    else:
        if not isinstance(y, Value):
            both = [batch, *(i for i in both if i != batch)]
            mine = [i for i in mine if i != batch]
        lead = [sizes[i] for i in both]
        left = reshape(_ordered(x, first, both + mine + summed), *lead, _count(mine, sizes), depth)
        inner = both + summed + theirs
        if isinstance(y, Value):
            right = reshape(_ordered(y, second, inner), *lead, depth, width)
        else:
            axes = [second.index(i) for i in inner if i in second]
            own = [sizes[i] if i in second else 1 for i in both]
            right = left.constant(left.place(array(y).transpose(axes).reshape(*own, depth, width)))
        result, order = product(left, right), both + mine + theirs
    return _ordered(reshape(result, *(sizes[i] for i in order)), order, output)


def _indices(equation: str, axes: Sequence[int]) -> list[list[str]]:
    """Indices of the two operands and of the result, with letters of their own for an ellipsis."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2:
        raise Refused("only two operands are known")
    spare = [letter for letter in ascii_letters if letter not in equation]
    hidden = [n - len(term.replace("...", "")) if "..." in term else 0 for term, n in zip(terms, axes, strict=True)]
    ellipsis = "".join(spare[: max(hidden)])

    def expanded(term: str, count: int) -> list[str]:
        return list(term.replace("...", ellipsis[len(ellipsis) - count :]))

    indices = [expanded(term, count) for term, count in zip(terms, hidden, strict=True)]
    if any(len(term) != n or len(set(term)) != n for term, n in zip(indices, axes, strict=True)):
        raise Refused(f"{equation!r} does not name every axis of its operands once")
    if not arrow:
        once = sorted(i for i in {*left} - {*",."} if left.count(i) == 1)
        right = ("..." if ellipsis else "") + "".join(once)
    return [*indices, expanded(right, len(ellipsis))]


def _count(indices: Sequence[str], sizes: dict[str, int]) -> int:
    return math.prod(sizes[i] for i in indices)


def _ordered(x: Value, indices: Sequence[str], wanted: Sequence[str]) -> Value:
    """A value whose axes have these indices, with them in another order."""
    return x if list(indices) == list(wanted) else permute(x, [list(indices).index(i) for i in wanted])


RULES: dict[str, Any] = {"einsum": einsum}
