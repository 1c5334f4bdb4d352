"""Free text of a report loses the folders of a machine and nothing else."""

from __future__ import annotations

import pytest

from powerplan.report.text import typeset, value_text, without_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Read /home/bob/nets/a.npz; then", "Read a.npz; then"),
        ("(/data/nets)", "(nets)"),
        ("file=/unknown/a.npz", "file=a.npz"),
        ("at /a/b/c.", "at c."),
        ("in /home/bob/", "in bob"),
        ("see file:///home/bob/x", "see x"),
        ("see file:///C:/Users/bob/x.npz", "see x.npz"),
        ("from ../../home/bob/x", "from x"),
        ("from ~/nets/a.npz and ~bob/b.npz", "from a.npz and b.npz"),
        ("got '/data/my nets/a.npz'; expected", "got 'a.npz'; expected"),
        ('got "C:\\My nets\\a.npz"', 'got "a.npz"'),
        ("got 'C:\\\\Users\\\\me\\\\a.npz'", "got 'a.npz'"),
        ("C:\\Users\\me\\x.npy and D:/nets/y.npy", "x.npy and y.npy"),
        ("on \\\\srv\\share\\f", "on f"),
        ("'/home/a/x' or '/home/b/y'", "'x' or 'y'"),
    ],
)
def test_paths_are_cut_to_their_last_part(text: str, shown: str) -> None:
    assert without_paths(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "<b>failures</b> and <br/>",
        "/hot/cold ratio",
        "the '/hot/cold ratio'",
        "1/2 done, see a/b and a/b/c",
        "https://example.org/a/b/c.html",
        "s3://bucket/a/b/c",
        "iris/layer/max_nmse=0.01",
        "nJ/op, ~10/20 per s, and/or, 3 / 4 / 5",
        "a\\b",
        "net: 4:/8",
        "it's at 10 °C: 5 of 7",
    ],
)
def test_other_text_with_slashes_stays(text: str) -> None:
    assert without_paths(text) == text


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphens() -> None:
    assert typeset("-3.2 % (-0.5), from -.1") == "−3.2 % (−0.5), from −.1"
    assert value_text([-2, -0.5]) == "−2, −0.5"
    assert typeset("net-1, 1e-09, 2026-01-02, pcm--3") == "net-1, 1e-09, 2026-01-02, pcm--3"
