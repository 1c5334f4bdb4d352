"""torch.einsum: matrix products of values, linear layers with constants, sums and products entry by entry.

With indices b in both operands and the result, k in both and summed over, i in the first only and j in the second
only, any number of each, the sum is a batched matrix product once the axes stand in this order,

    out_{b i j} = Σ_k x_{b i k} y_{b k j},

and with a constant y without b a linear layer. Without any k it is a product entry by entry. Several operands are
taken two by two, from the left; indices of one operand alone that the result does not have are summed over first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from powerplan.network.torch_import.rules.arrays import linear, product
from powerplan.network.torch_import.rules.elementwise import add, multiply
from powerplan.network.torch_import.rules.pooling import total
from powerplan.network.torch_import.rules.shaping import permute, reshape
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, value


def einsum(equation: Any, *operands: Any) -> Value:
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or not operands:
        raise Refused("an equation and its operands are needed")
    shapes = [x.torch_shape if isinstance(x, Value) else array(x).shape for x in operands]
    *terms, output = _indices(equation.replace(" ", ""), [len(shape) for shape in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if any(sizes.setdefault(i, n) != n for i, n in zip(term, shape, strict=True)):
            raise Refused("its operands differ in the size of an axis")
    x, indices = operands[0], terms[0]
    for number, (y, theirs) in enumerate(zip(operands[1:], terms[1:], strict=True), start=2):
        needed = {*output, *(i for term in terms[number:] for i in term)}
        x, indices = _multiplied(
            *_summed(x, indices, {*needed, *theirs}), *_summed(y, theirs, {*needed, *indices}), needed, sizes
        )
    return value(_ordered(*_summed(x, indices, set(output)), output))


def _summed(x: Any, indices: list[str], kept: set[str]) -> tuple[Any, list[str]]:
    """An operand summed over the axes that nothing else needs."""
    dims = [axis for axis, i in enumerate(indices) if i not in kept]
    if dims:
        x = total(x, dims) if isinstance(x, Value) else array(x).sum(tuple(dims))
    return x, [i for i in indices if i in kept]


def _multiplied(
    x: Any, first: list[str], y: Any, second: list[str], needed: set[str], sizes: dict[str, int]
) -> tuple[Any, list[str]]:
    """The product of two operands with these indices, summed over what is not needed, and its indices."""
    if not isinstance(x, Value):
        x, first, y, second = y, second, x, first
    both = [i for i in first if i in second and i in needed]
    summed = [i for i in first if i in second and i not in needed]
    mine = [i for i in first if i not in second]
    theirs = [i for i in second if i not in first]
    order = both + mine + theirs
    if not isinstance(x, Value):
        return np.einsum(f"{''.join(first)},{''.join(second)}->{''.join(order)}", array(x), array(y)), order
    if x.merged or first[x.batch] not in needed:
        raise Refused("it works along the batch axis")
    if not summed:
        left = _spread(_ordered(x, first, both + mine), [i in first for i in order])
        return multiply(left, _spread(_ordered(y, second, both + theirs), [i in second for i in order])), order
    depth, width = _count(summed, sizes), _count(theirs, sizes)
    if not both and not isinstance(y, Value):
        rows = reshape(_ordered(x, first, mine + summed), *(sizes[i] for i in mine), depth)
        matrix = _ordered(y, second, theirs + summed).reshape(width, depth)
        return reshape(linear(rows, matrix), *(sizes[i] for i in order)), order
    if not isinstance(y, Value):
        batch = first[x.batch]
        both = [batch, *(i for i in both if i != batch)]
        mine = [i for i in mine if i != batch]
    lead = [sizes[i] for i in both]
    left = reshape(_ordered(x, first, both + mine + summed), *lead, _count(mine, sizes), depth)
    inner = both + summed + theirs
    if isinstance(y, Value):
        right = reshape(_ordered(y, second, inner), *lead, depth, width)
    else:
        own = [sizes[i] if i in second else 1 for i in both]
        matrices = _ordered(y, second, [i for i in inner if i in second]).reshape(*own, depth, width)
        right = left.constant(left.place(matrices))
    order = both + mine + theirs
    return reshape(product(left, right), *(sizes[i] for i in order)), order


def _indices(equation: str, axes: Sequence[int]) -> list[list[str]]:
    """Indices of the operands and of the result, with letters of their own for an ellipsis."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(axes):
        raise Refused(f"{equation!r} is not one of {len(axes)} operands")
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


def _ordered(x: Any, indices: Sequence[str], wanted: Sequence[str]) -> Any:
    """An operand whose axes have these indices, with them in another order."""
    order = [list(indices).index(i) for i in wanted]
    if not isinstance(x, Value):
        return array(x).transpose(order)
    return x if list(indices) == list(wanted) else permute(x, order)


def _spread(x: Any, there: Sequence[bool]) -> Any:
    """An operand with axes of size 1 where it has none."""
    if not isinstance(x, Value):
        return x.reshape([x.shape[sum(there[:i])] if own else 1 for i, own in enumerate(there)])
    sizes = iter(x.torch_shape)
    return reshape(x, *(next(sizes) if own else 1 for own in there))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Value:
    """A linear layer of the first input whose outputs are multiplied by the second."""
    result = einsum("...i,oij,...j->...o", input1, weight, input2)
    return result if bias is None else add(result, bias)


RULES: dict[str, Rule] = declared(Standing.EXACT, {"einsum": einsum, "bilinear": bilinear})
