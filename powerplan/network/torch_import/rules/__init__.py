"""What torch's functions and tensor methods mean as operations of a network, by their names.

A rule takes the arguments of the torch call it stands for, in the same order and with the same names, with a
:class:`~powerplan.network.torch_import.value.Value` in place of every tensor that depends on the network's input, and
returns the resulting Value or Values. It raises Refused with a reason where powerplan has no such operation.
Modules need no rules of their own: their ``forward`` is run, and calls these functions.
"""

from __future__ import annotations

from typing import Any

from powerplan.network.torch_import.rules import (
    arrays,
    attention,
    einsum,
    elementwise,
    normalising,
    pooling,
    recurrent,
    shaping,
)

RULES: dict[str, Any] = {
    **elementwise.RULES,
    **arrays.RULES,
    **einsum.RULES,
    **shaping.RULES,
    **pooling.RULES,
    **normalising.RULES,
    **attention.RULES,
    **recurrent.RULES,
}
