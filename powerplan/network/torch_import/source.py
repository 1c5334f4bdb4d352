"""A module with what it is called with: exported and read as a network, and run for comparison."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import OutputKind
from torch.utils import _pytree as pytree

from powerplan.checks import nearest
from powerplan.errors import InvalidInput, UnsupportedOperation
from powerplan.network.folding import fold_scales, leading_to
from powerplan.network.fusing import fused
from powerplan.network.graph import Network
from powerplan.network.ops import Shape
from powerplan.network.reads import shared_arrays
from powerplan.network.refusals import NO_MODEL
from powerplan.network.torch_import.attention import separate_projections
from powerplan.network.torch_import.copying import copied, with_floats
from powerplan.network.torch_import.exporting import decomposed, exported, is_functional, precisions, unread
from powerplan.network.torch_import.keeping import keep
from powerplan.network.torch_import.reader import BATCH, Reader
from powerplan.network.torch_import.rules import RULES
from powerplan.network.torch_import.value import Value, with_axis


@dataclass(frozen=True)
class Source:
    """A module in evaluation mode, the shape of its input and what else it is called with.

    Attributes:
        module: a copy of the user's.
        shape: of one input.
        input_name: of the argument that takes the input; "" = the first.
        constants: the other arguments.
        output: key of the output; "" = the only one.
        reads: "shared" or "separate".
        keep: parts that cannot be exported are kept as they are.
    """

    module: nn.Module
    shape: Shape
    input_name: str
    constants: Mapping[str, Any]
    output: str
    reads: str = "shared"
    keep: bool = False

    @cached_property
    def dtype(self) -> torch.dtype:
        """Precision of the module."""
        return next((t.dtype for t in self.module.parameters() if t.is_floating_point()), torch.float32)

    def doubled(self) -> Source:
        """The same in double precision."""
        return replace(self, module=with_floats(copied(self.module), torch.float64))

    def network(self) -> Network:
        """The network of the module.

        Raises:
            InvalidInput, UnsupportedOperation: as :func:`powerplan.from_torch`.
        """
        separate_projections(self.module)
        refused: set[str] = set()
        while True:
            try:
                value, reader = self._read()
                break
            except UnsupportedOperation as error:
                path = getattr(error, "path", "")
                while path in refused:  # kept already, and yet refused: then what it is in
                    path = path.rpartition(".")[0]
                if not self.keep or not path:
                    raise
                refused.add(path)
                inputs = torch.randn((BATCH, *self.shape), dtype=self.dtype)
                args, kwargs = self._call(BATCH, inputs)
                try:
                    keep(self.module, path, partial(self.module, *args, **kwargs))
                except Exception as failure:  # the module's own code runs, and it fails on numbers too
                    raise error from failure
        found = fused(leading_to(value.name, reader.nodes), value.name, reader.shapes)
        arrays = shared_arrays(found, reader.weights) if self.reads == "shared" else found
        nodes, name = fold_scales(arrays, value.name)
        return Network(input_shape=self.shape, nodes=tuple(nodes), output=name if nodes else "")

    def _read(self) -> tuple[Value, Reader]:
        """The value of the output, and the reader of the program."""
        whole, first = self._exported(), None
        self._check_used(whole)
        program, kept = (whole if is_functional(whole) else None), frozenset(RULES)
        while True:
            program = program or decomposed(whole, kept)
            self._precisions.update(precisions(program))
            reader = Reader(program, self.module, self.shape, self._call(BATCH)[1], self.dtype)
            try:
                return self._chosen(program, reader.read()), reader
            except UnsupportedOperation as error:
                name = getattr(error, "operation", None)
                if name is None or (program is not whole and name not in kept):
                    raise first or error from error
                if first is None and NO_MODEL not in str(error):
                    first = error  # names the operation that the module's code does
                # no rule, or one that does not know this form of the operation: what it is made of may do
                program, kept = None, kept - {name}

    def run(self, inputs: torch.Tensor, wanted_from: str) -> np.ndarray:
        """What the module computes, as float64."""
        args, kwargs = self._call(len(inputs), inputs)
        try:
            leaves = pytree.tree_leaves(self.module(*args, **kwargs))
            result: np.ndarray = leaves[self._place].detach().double().numpy()
        except Exception as error:  # the module's own code runs
            raise InvalidInput.of("module", wanted_from, "a module that runs", f"It fails: {error}.") from error
        return result

    @cached_property
    def _places(self) -> list[int]:
        return []

    @property
    def rounds_inside(self) -> bool:
        """Whether a module in double precision computes parts in single precision; known once it was read."""
        return self.dtype == torch.float64 and bool(self._precisions & {torch.float32, torch.float16, torch.bfloat16})

    @cached_property
    def _precisions(self) -> set[torch.dtype]:
        return set()

    @property
    def _place(self) -> int:
        """Number of the output among the leaves of what the module returns."""
        return self._places[-1]

    def _exported(self) -> torch.export.ExportedProgram:
        """The module's program: for an input of numbers, or of whole ones if it looks up indices."""
        whole = torch.zeros((BATCH, *self.shape), dtype=torch.int64)
        args, kwargs = self._call(BATCH, whole.to(self.dtype))
        try:
            return exported(self.module, args, kwargs)
        except UnsupportedOperation as error:
            if not any(isinstance(part, nn.Embedding) for part in self.module.modules()):
                raise
            args, kwargs = self._call(BATCH, whole)
            try:
                return exported(self.module, args, kwargs)
            except UnsupportedOperation as other:
                raise (other if "indices" in str(error) else error) from None

    def _check_used(self, program: torch.export.ExportedProgram) -> None:
        """Refuse constants that ``forward`` takes by ``**kwargs`` and ignores: most likely a misspelt name."""
        names = list(inspect.signature(self.module.forward).parameters)
        for name in unread(program, self._call(BATCH)[1]):
            if name not in names:
                allowed = f"arguments that forward uses; it names {', '.join(names)}"
                raise InvalidInput.of("constants", name, allowed, nearest(name, names))

    def _call(self, batch: int, inputs: torch.Tensor | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments for a batch of inputs."""
        kwargs = {name: _for_batch(x, batch) for name, x in self.constants.items()}
        if inputs is None:
            return (), kwargs
        inputs = inputs.clone()
        return ((), {self.input_name: inputs, **kwargs}) if self.input_name else ((inputs,), kwargs)

    def _chosen(self, program: torch.export.ExportedProgram, flat: list[Any]) -> Value:
        """The value that is the network's output."""
        kinds = [spec.kind for spec in program.graph_signature.output_specs]
        leaves = [x for x, kind in zip(flat, kinds, strict=True) if kind == OutputKind.USER_OUTPUT]
        spec = program.call_spec.out_spec
        assert spec is not None
        result = pytree.tree_unflatten(list(range(len(leaves))), spec)
        names = [_key(path) for path, _ in pytree.tree_flatten_with_path(result)[0]]
        if self.output and self.output not in names:
            raise _unknown_output(self.output, names)
        tensors = [i for i, x in enumerate(leaves) if isinstance(x, Value | torch.Tensor)]
        place = names.index(self.output) if self.output else None
        if not self.output and len(tensors) == 1:
            place = tensors[0]
        value = None if place is None else leaves[place]
        if place is not None and isinstance(value, Value) and not (value.batch or value.merged):
            self._places.append(place)
            return with_axis(value)
        raise self._no_output(result, value, names)

    def _no_output(self, result: Any, value: Any, names: list[str]) -> InvalidInput:
        advice = "Wrap the module so that it returns one tensor."
        if isinstance(value, Value):
            what = f"a tensor of shape {value.torch_shape} (with a batch of {BATCH}) whose first axis is not the batch"
        elif value is not None:
            what = f"an output that does not depend on the input ({type(value).__name__})"
        elif isinstance(result, int):
            what = "a NoneType, not a tensor"
        else:
            size = f" of {len(names)}" if isinstance(result, tuple | list | dict) else ""
            kind = type(result).__name__
            what = f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}{size}"
            if any(names):
                advice = f"Name the output, for example output={names[0]!r}; there are {', '.join(names)}."
        return InvalidInput.of(
            "output" if self.output else "module.forward",
            what,
            "one tensor (batch, ...) that depends on the input, as output",
            advice,
        )


def _unknown_output(output: str, names: list[str]) -> InvalidInput:
    """The error for an output that there is not."""
    if not any(names):
        return InvalidInput.of("output", output, "''; the module returns a single value", "Leave it out.")
    allowed = "one of " + ", ".join(map(repr, names))
    return InvalidInput.of("output", output, allowed, nearest(str(output), names))


def _for_batch(x: Any, batch: int) -> Any:
    """A constant argument with as many rows as there are inputs; plain values stay."""
    if not isinstance(x, np.ndarray | torch.Tensor | list):
        return x
    tensor = torch.as_tensor(x)
    return tensor.expand(batch, *tensor.shape[1:]) if tensor.dim() and len(tensor) == 1 else tensor


def _key(path: Any) -> str:
    """Key of a leaf: names and numbers, with dots between them."""
    return ".".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)
