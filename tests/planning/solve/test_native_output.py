"""What native code prints does not reach standard output."""

from __future__ import annotations

import os

import pytest

from powerplan.planning.solve.native_output import stdout_to_stderr


def test_native_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Written to the file descriptor, as C does; afterwards all is as before, also after an error."""
    print("before")
    with stdout_to_stderr():
        os.write(1, b"native\n")
    with pytest.raises(RuntimeError, match="inside"), stdout_to_stderr():
        raise RuntimeError("inside")
    print("after")
    found = capfd.readouterr()
    assert found.out.split() == ["before", "after"]
    assert found.err == "native\n"
