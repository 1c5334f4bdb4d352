"""Arrays from .npy, .npz and .csv files, without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.reading.foreign import foreign_kind
from powerplan.reading.tables import read_table


def read_arrays(field: str, path: str) -> dict[str, np.ndarray]:
    """The arrays of a file by name; a file of one array gives it the name ``field``.

    Raises:
        InvalidInput: no such file, unknown suffix.
        CorruptFile: truncated, damaged, or objects instead of numbers.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".npy", ".npz", ".csv") and not Path(path).is_file():
        raise InvalidInput.of(field, path, "an existing file", "Check the path.")
    if suffix not in (".npy", ".npz", ".csv"):
        foreign = foreign_kind(path) if Path(path).is_file() else None
        advice = f"It is {foreign[0]}: convert it" if foreign else "Convert it"
        raise InvalidInput.of(field, path, "a .npy, .npz or .csv file", f"{advice}, for example with numpy.save.")
    if suffix == ".csv":
        return {field: read_table(field, path)}
    try:
        with open(path, "rb") as file:  # numpy leaves a damaged archive open if it opened it itself
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {field: loaded}
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptFile.of(
            field, path, f"a readable {suffix} file of numbers", f"It cannot be read: {reason}."
        ) from error


def read_array(field: str, path: str) -> np.ndarray:
    """The only array of a file, or the one named ``field``."""
    arrays = read_arrays(field, path)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if field not in arrays:
        raise InvalidInput.of(field, sorted(arrays), f"an array named {field!r}", f"Rename it in {path}.")
    return arrays[field]
