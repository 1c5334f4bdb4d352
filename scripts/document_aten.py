"""Write docs/aten.md: how well the moments of every operation of Core ATen are known, as its rule declares.

python scripts/document_aten.py            write it
python scripts/document_aten.py --check    exit 1 if what is committed is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from generate_keywords import write_or_check

from powerplan.network.torch_import.reader import LIKE, SAME
from powerplan.network.torch_import.rules import RULES
from powerplan.network.torch_import.rules.refused import REFUSED
from powerplan.network.torch_import.standing import Standing

_HEAD = """# Operations of torch

How accurately powerplan predicts each operation of torch, for users who import [torch modules](networks.md#from-torch):
these are read from the ATen operations that `torch.export` produces. `make proto` writes this page from the rules of
the operations; tests compare it with random samples. For independent Gaussian arguments an operation is

- **exact**: mean and variance of every entry of its result are exact (functions of one value by quadrature);
- **in parts**: composed of exact operations, the result of each taken as Gaussian and independent;
- **first order**: linearised at the mean, and listed in `prediction.first_order`;
- **simulated only**: discontinuous. Behind a crossbar, predictions and plans refuse it; `simulate` is exact;
- **refused** by the import;
- **constant**: it does not depend on values of the network, and is computed once.

In a network, error samples correct slopes and correlations of operations that are in parts or first order
([mathematics](mathematics.md#error-samples)). Constant arguments do not count as values: products with them are linear.

## Core ATen

| operation | moments | |
| --- | --- | --- |
"""
_REST = """
## Others

Operations outside Core ATen are imported whole if they have a rule; otherwise they are decomposed into those above.

| moments | operations |
| --- | --- |
"""


def core() -> dict[str, Any]:
    """Core ATen: an overload of every operation, by name."""
    names: dict[str, Any] = {}
    schemas = {schema.name for schema in torch._C._jit_get_all_schemas()}  # dir() knows those that were called
    for name in sorted(schema.removeprefix("aten::") for schema in schemas if schema.startswith("aten::")):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            if torch.Tag.core in getattr(packet, overload).tags:
                names.setdefault(name, getattr(packet, overload))
    return names


def row(name: str, operation: Any) -> tuple[str, str]:
    """Standing and note of an operation of Core ATen."""
    if name in RULES:
        return RULES[name].standing.value, RULES[name].note
    if name in REFUSED:
        return "refused", REFUSED[name]
    if name in SAME:
        return Standing.EXACT.value, "only how a value is stored changes"
    if torch.Tag.nondeterministic_seeded in operation.tags:
        return "refused", "it is random"
    reads = any("Tensor" in str(argument.type) for argument in operation._schema.arguments)
    if name in LIKE or name.startswith("sym_") or not reads:
        return "constant", ""
    raise LookupError(f"{name} of Core ATen has neither a rule nor a reason in rules/refused.py")


def document() -> str:
    """The page as Markdown."""
    operations = core()
    lines = ["| `{}` | {} | {} |\n".format(name, *row(name, operations[name])) for name in sorted(operations)]
    return _HEAD + "".join(lines) + _REST + "".join(_others(set(operations)))


def _others(known: set[str]) -> Iterator[str]:
    for standing in Standing:
        names = sorted(name for name, rule in RULES.items() if rule.standing is standing and name not in known)
        if names:
            yield f"| {standing.value} | {', '.join(f'`{name}`' for name in names)} |\n"


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, __doc__, {"docs/aten.md": document()}))
