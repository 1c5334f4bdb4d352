"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from powerplan.errors import InvalidInput


def write_text(field: str, file: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text; an existing file is replaced only when the new one is complete.

    Args:
        field: what the file is called in an error.

    Raises:
        InvalidInput: the file cannot be written.
    """
    path = Path(file)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InvalidInput.of(
            field, str(path), "a path that can be written", f"It cannot be written: {error.strerror}."
        ) from error
