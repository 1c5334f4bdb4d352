"""Classes of inputs."""

from __future__ import annotations

import numpy as np

from powerplan.errors import InvalidInput


def classes(labels: object, count: int) -> np.ndarray:
    """Classes of so many inputs, (count,) int64; a table holds 3 as 3.0 and a column as (count, 1).

    Raises:
        InvalidInput: not as many, or not integers >= 0.
    """
    array = np.asarray(labels)
    flat = array.reshape(-1) if array.ndim == 2 and 1 in array.shape else array
    allowed = f"{count} integer classes >= 0, one per input"
    if flat.dtype.kind not in "iuf" or flat.shape != (count,):
        raise InvalidInput.of("labels", labels, allowed, "Give one class per input.")
    wrong = np.flatnonzero((flat != np.round(flat)) | (flat < 0))
    if wrong.size:
        first = int(wrong[0])
        raise InvalidInput.of("labels", f"{flat[first]:g} for input {first}", allowed, "Classes are counted from 0.")
    return flat.astype(np.int64)
