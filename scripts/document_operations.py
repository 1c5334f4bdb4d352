"""Write docs/operations.md, the operations of networks on the wire and in files, from their classes.

python scripts/document_operations.py            write it
python scripts/document_operations.py --check    exit 1 if what is committed is not what would be written
"""

from __future__ import annotations

import sys

from generate_keywords import write_or_check

from powerplan.network.ops.described import Description, descriptions

_HEAD = """# Operations of networks

The operations that a `NetworkNode` of the [wire](wire.md#networknode) may have, for programs that build networks
without Python. `make proto` writes this page from the classes of the operations; `GetServerInfo` returns the same for
the server called.

- Values have no batch axis: a network's `input_shape`, axes and shapes are those of one input. Axes count
  from 0, negative ones from the end. Arrays are in row-major order; layers over images have channels first, (C,
  *spatial).
- An attribute goes into the map `attributes` with the type given in the table: text as `text_value`, whole
  numbers as `integer_value`, numbers as `number_value` (also accepted for whole numbers), lists
  as `list_value`, maps as `map_value`. A default of `null` may be sent as `null_value`. A tensor goes into the map
  `tensors`, as float32 or float64; whole numbers also as int32 or int64.
- Weights are (outputs, inputs) as in torch: `linear` computes W x + b. A padding pair is (before, after) along
  one axis; a list of pairs begins with the first spatial axis, whereas torch's `pad` begins with the last.
- Names that are not in the table of an operation are refused.
"""


def document() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *(line for operation in descriptions() for line in _section(operation))])


def _section(operation: Description) -> list[str]:
    fewest, most = operation.fewest_inputs, operation.most_inputs
    reads = f"{fewest} or more inputs" if most is None else f"{fewest} input{'s' * (fewest != 1)}"
    place = "on crossbars" if operation.is_crossbar else "digital"
    lines = [f"## {operation.type}", "", f"{_text(operation.text)} ({reads}; {place})", ""]
    if operation.parts:
        lines += ["| name | value | default | |", "| --- | --- | --- | --- |"]
        for part in operation.parts:
            default = "required" if part.default is None else f"`{part.default}`"
            lines.append(f"| `{part.name}` | {part.form} | {default} | {_text(part.text)} |")
        lines.append("")
    if operation.kinds:
        lines += ["| kind | parameters |", "| --- | --- |"]
        for name, numbers in sorted(operation.kinds.items()):
            lines.append(f"| `{name}` | {', '.join(f'`{key}` = {value:g}' for key, value in numbers.items())} |")
        lines.append("")
    return lines


def _text(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, __doc__, {"docs/operations.md": document()}))
