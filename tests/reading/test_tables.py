"""Tables of numbers: every row counts, or an error names line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from powerplan import InvalidInput
from powerplan.reading.labels import classes
from powerplan.reading.tables import read_table

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
BROKEN = ["", "NA", "n/a", "null", "nan", "inf", "-inf", "1e999", "x", "1_000", "0x10", "1+2j", "12,5", "1.2.3", "?"]


def table(folder: Path, text: str, encoding: str = "utf-8") -> np.ndarray:
    (folder / "x.csv").write_bytes(text.encode(encoding))
    return read_table("inputs", folder / "x.csv")


@ONE_FOLDER
@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=FINITE),
    st.sampled_from([",", ";", "\t", " ", ", "]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "# made by hand\n", "\n\n", "names"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_is_read(
    tmp_path: Path, values: np.ndarray, separator: str, end: str, head: str, encoding: str
) -> None:
    if head == "names":
        head = separator.join(f"col{i}" for i in range(values.shape[1])) + end
    rows = end.join(separator.join(map(repr, row.tolist())) for row in values)
    np.testing.assert_array_equal(table(tmp_path, head + rows + end, encoding), values)


@ONE_FOLDER
@given(st.integers(1, 4), st.integers(2, 4), st.data(), st.sampled_from(BROKEN))
def test_a_broken_cell_is_an_error_with_line_and_column(
    tmp_path: Path, rows: int, columns: int, data: st.DataObject, broken: str
) -> None:
    """Also in the first row: a header is a row of names."""
    cells = [[f"{i + j}.5" for j in range(columns)] for i in range(rows)]
    i, j = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    cells[i][j] = f'"{broken}"' if "," in broken else broken
    with pytest.raises(InvalidInput, match=rf"x\.csv, line {i + 1}, column {j + 1}: "):
        table(tmp_path, "\n".join(",".join(row) for row in cells))


@pytest.mark.parametrize(
    "cell",
    [
        *[
            "0x1",
            "1+2j",
            "(1+2j)",
            "1.O",
            "1d5",
            "1%",
            "1uS",
            "$1",
            "1_000",
            "2024-01-31",
            "\N{MINUS SIGN}1",
            "1.#QNAN",
        ],
        *["\N{FULLWIDTH DIGIT ONE}", "NaN", "inf", "<NA>", "NaT", "nil", "True", "#N/A", "#DIV/0!", "#REF!", "#NAME?"],
    ],
)
def test_a_row_of_no_numbers_is_not_lost(tmp_path: Path, cell: str) -> None:
    """Such a row was taken for a header where it was the first, or for a comment."""
    with pytest.raises(InvalidInput, match=r"x\.csv, line 1, column 1: "):
        table(tmp_path, f"{cell},{cell}\n1,2\n")
    with pytest.raises(InvalidInput, match=r"x\.csv, line 2, column 1: "):
        table(tmp_path, f"1.5\n{cell}\n2.5\n")


@pytest.mark.parametrize(
    "header", ["a,b", '"a","b"', "_x,n1", "\N{GREEK CAPITAL LETTER DELTA}I,Ca", "nanometres,infrared"]
)
def test_names_are_a_header_and_other_lines_with_a_hash_are_comments(tmp_path: Path, header: str) -> None:
    np.testing.assert_array_equal(table(tmp_path, f"# x y\n{header}\n#1,2\n1,2\n"), [[1, 2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,1,2\n5.1,3.5,1.4\n", "column numbers"),
        (",0,1\n0,5.1,3.5\n", "line 1, column 1: .*missing"),
        ("sepal,petal\n5.1;3.5\n", "line 2, column 1"),
        ("1,2\n3\n", "line 2: 1 cells"),
        ("1,2,\n3,4,\n", "line 1, column 3: .*missing"),
        ("1,5;2,5\n", "decimals with a point"),
        ("", "no rows"),
        ("a,b\n", "header and no rows"),
        ("# only a comment\n", "no rows"),
        ("1,2\0\n", "NUL bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        table(tmp_path, text)


def test_other_encodings_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"caf\xe9\n1\n")
    with pytest.raises(InvalidInput, match="text in UTF-8"):
        read_table("inputs", tmp_path / "x.csv")


def test_column_numbers_with_names_above_them_are_data(tmp_path: Path) -> None:
    np.testing.assert_array_equal(table(tmp_path, "a,b\n0,1\n2,3\n"), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(table(tmp_path, "0,1\n"), [[0, 1]])  # nothing below it


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, 1.0, 2.0], [[0], [1], [2]], np.array([0, 1, 2], np.uint8)])
def test_classes(labels: object) -> None:
    np.testing.assert_array_equal(classes(labels, 3), [0, 1, 2])


@pytest.mark.parametrize(
    "labels", [[0, 1], [0, 1, 1.5], [0, 1, -1], ["a", "b", "c"], [[0, 1, 2]] * 3, [True, False, True], [0, 1, np.nan]]
)
def test_what_is_no_class_is_refused(labels: object) -> None:
    with pytest.raises(InvalidInput, match="3 integer classes >= 0"):
        classes(labels, 3)
