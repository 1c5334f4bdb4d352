"""Networks and inputs of a study file, read and stored by content; runs in a worker, since a file may be hostile."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.batch.blobs import Blobs
from powerplan.errors import InvalidInput
from powerplan.examples import Example, load_example
from powerplan.reading.arrays import read_array, read_arrays
from powerplan.reading.labels import classes
from powerplan.reading.networks import load_network

#: folder of trained examples inside a study's folder
_EXAMPLES = "examples"


def read_network(definition: Mapping[str, Any], base: Path, blobs: Blobs) -> dict[str, Any]:
    """The network of a definition: {"network": SHA-256, "digest": of its content, "size": as :attr:`Network.size`}.

    Raises:
        InvalidInput: it cannot be read; the message says why.
    """
    example = "example" in definition
    network = _example(definition, blobs).network if example else load_network(base / definition["file"])
    if definition.get("reads") == "separate":
        network = network.with_separate_reads()
    if "analog" in definition or "digital" in definition:
        network = network.with_analog(definition.get("analog"), definition.get("digital"))
    if "weight_slices" in definition:
        shared = definition.get("shared_converters", False)
        network = network.with_weight_slices(definition["weight_slices"], shared_converters=shared)
    buffer = io.BytesIO()
    network.save(buffer)
    return {"network": blobs.put(buffer.getvalue()), "digest": network.digest, "size": network.size}


def read_inputs(definition: Mapping[str, Any], base: Path, blobs: Blobs) -> dict[str, Any]:
    """The inputs of a definition: {"inputs": SHA-256, "labels": SHA-256 or None, "count": B}.

    Raises:
        InvalidInput: they cannot be read.
    """
    labels: np.ndarray | None
    if "example" in definition:
        example = _example(definition, blobs)
        inputs, labels = example.inputs, example.labels
    else:
        arrays = read_arrays("inputs", str(base / definition["file"]))
        labels = arrays.pop("labels", None)
        if len(arrays) != 1 and "inputs" not in arrays:
            raise InvalidInput.of("inputs", sorted(arrays), "an array named 'inputs'", "Rename it in the file.")
        inputs = arrays["inputs"] if "inputs" in arrays else next(iter(arrays.values()))
    if "labels" in definition:
        labels = read_array("labels", str(base / definition["labels"]))
    if labels is not None:
        labels = classes(labels, len(inputs))
    batch = definition.get("batch", len(inputs))
    return {
        "inputs": blobs.put_array(inputs[:batch]),
        "labels": None if labels is None else blobs.put_array(labels[:batch]),
        "count": min(batch, len(inputs)),
    }


def _example(definition: Mapping[str, Any], blobs: Blobs) -> Example:
    return load_example(definition["example"], seed=definition.get("seed", 0), cache=blobs.folder.parent / _EXAMPLES)
