"""The documentation site: Markdown pages (MyST), the API from docstrings. Warnings fail the build (make docs)."""

from __future__ import annotations

import re
from typing import Any

from powerplan import __version__

project = "powerplan"
author = "the powerplan maintainers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

# links to headings, in pages and between them
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist", "deflist"]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name.rpartition(".")[2] for name in ("npt.ArrayLike", "Target", "Gain", "Progress", "StepsGiven", "Reported")
}
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of a dataclass are told in its docstring, once

html_theme = "furo"
html_title = f"powerplan {release}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def _starred(_app: Any, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """A shape such as (B, *input_shape) is not the start of emphasis."""
    lines[:] = [re.sub(r"(?<=, )\*(?=\w+\))", r"\*", line) for line in lines]


def _plain(
    _app: Any, _what: str, _name: str, _obj: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Aliases of types by their names also inside of unions."""
    alias = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return signature and alias.sub(r"\1", signature), returns and alias.sub(r"\1", returns)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _starred)
    app.connect("autodoc-process-signature", _plain)
