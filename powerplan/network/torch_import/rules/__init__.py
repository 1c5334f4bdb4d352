"""What ATen's operations mean as operations of a network, by their names.

A rule takes the arguments of the ATen call it stands for, in the order and with the names of its schema, with a
:class:`~powerplan.network.torch_import.value.Value` in place of every tensor that depends on the network's input, and
returns the resulting Value or Values. It raises Refused with a reason where powerplan has no such operation.
"""

from __future__ import annotations

from powerplan.network.torch_import.rules import (
    arrays,
    attention,
    einsum,
    elementwise,
    functions,
    moves,
    normalising,
    pooling,
    recurrent,
    shaping,
)
from powerplan.network.torch_import.standing import Rule

RULES: dict[str, Rule] = {
    **moves.RULES,
    **functions.RULES,
    **elementwise.RULES,
    **arrays.RULES,
    **einsum.RULES,
    **shaping.RULES,
    **pooling.RULES,
    **normalising.RULES,
    **attention.RULES,
    **recurrent.RULES,
}
