"""Descriptions of operations on the wire."""

from __future__ import annotations

from powerplan.network.ops.described import Description
from powerplan_client._generated import v1 as pb


def operation_to_proto(operation: Description) -> pb.SupportedOperation:
    """The message of an operation."""
    parts = [
        pb.OperationPart(
            name=part.name,
            is_tensor=part.form == "tensor",
            form=part.form,
            required=part.default is None,
            default_json=part.default or "",
            description=part.text,
        )
        for part in operation.parts
    ]
    kinds = [pb.OperationKind(name=name, parameters=numbers) for name, numbers in sorted(operation.kinds.items())]
    return pb.SupportedOperation(
        type=operation.type,
        is_crossbar=operation.is_crossbar,
        kinds=sorted(operation.kinds),
        description=operation.text,
        min_inputs=operation.fewest_inputs,
        max_inputs=operation.most_inputs or 0,
        parts=parts,
        kind_parameters=kinds,
    )
