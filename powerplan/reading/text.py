"""Text files of any editor: UTF-8 with or without a byte order mark, or UTF-16 with one."""

from __future__ import annotations

import codecs
import json
import tomllib
from pathlib import Path
from typing import Any

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.reading.foreign import foreign_kind


def read_text(field: str, path: str | Path, *, most_bytes: int | None = None) -> str:
    """The text of a file, without its byte order mark.

    Args:
        field: what the file is called in an error.
        most_bytes: a larger file is refused.

    Raises:
        InvalidInput: no such file, or not readable.
        CorruptFile: too large, or not text in UTF-8 (or UTF-16 with a byte order mark).
    """
    return decoded(field, path, read_bytes(field, path, most_bytes=most_bytes))


def read_bytes(field: str, path: str | Path, *, most_bytes: int | None = None) -> bytes:
    """The content of a file.

    Raises:
        InvalidInput: no such file, or not readable.
        CorruptFile: too large.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(-1 if most_bytes is None else most_bytes + 1)
    except FileNotFoundError as error:
        raise InvalidInput.of(
            field, str(path), "an existing file", f"It cannot be read: {error.strerror}. Check the path."
        ) from error
    except OSError as error:
        raise InvalidInput.of(
            field, str(path), "a file that can be read", f"It cannot be read: {error.strerror}."
        ) from error
    if most_bytes is not None and len(content) > most_bytes:
        raise CorruptFile.of(field, str(path), f"at most {most_bytes} bytes", "Give a smaller file.")
    return content


def decoded(field: str, path: str | Path, content: bytes) -> str:
    """The text that the content of a file is.

    Raises:
        InvalidInput: the file is of another, known kind.
        CorruptFile: not text in UTF-8 (or UTF-16 with a byte order mark).
    """
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        foreign = foreign_kind(path)
        if foreign is not None:
            raise InvalidInput.of(field, str(path), "a text file", f"It is {foreign[0]}.") from error
        raise CorruptFile.of(
            field,
            str(path),
            "text in UTF-8",
            f"Its bytes are not all UTF-8 (not byte {error.start}): save it as UTF-8.",
        ) from error
    if "\0" in text:
        raise CorruptFile.of(field, str(path), "text", "It holds NUL bytes, as binary files do: give a text file.")
    return text


def read_toml(field: str, path: str | Path, *, most_bytes: int | None = None) -> dict[str, Any]:
    """The values in a TOML file.

    Raises:
        InvalidInput, CorruptFile: as :func:`read_text`, or not TOML.
    """
    text = read_text(field, path, most_bytes=most_bytes)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, absurd numbers or nesting
        reason = " ".join(str(error).split())
        raise CorruptFile.of(field, str(path), "valid TOML", f"It does not parse: {reason}.") from error


def read_json(field: str, path: str | Path, *, most_bytes: int | None = None) -> Any:
    """The value in a JSON file.

    Raises:
        InvalidInput, CorruptFile: as :func:`read_text`, or not JSON.
    """
    text = read_text(field, path, most_bytes=most_bytes)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFile.of(field, str(path), "complete JSON", f"It does not parse: {error}.") from error
