"""The documentation site: Markdown pages (MyST), the API from docstrings. Warnings fail the build (make docs)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

from powerplan import __version__

project = "powerplan"
author = "the powerplan maintainers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = ["templates"]
source_suffix = {".md": "markdown"}

# links to headings, in pages and between them
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist", "deflist", "dollarmath"]
myst_dmath_allow_digits = False  # $5 and $6 are money

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name.rpartition(".")[2] for name in ("npt.ArrayLike", "Target", "Gain", "Progress", "StepsGiven", "Reported")
}
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of a dataclass are told in its docstring, once

#: what docutils writes amiss: the index of an accented letter, the space behind the name of a function
_AMENDED = (
    (
        re.compile(
            r"<munderover>\s*(<mi>[^<]*</mi>)\s*(<mi>[^<]*</mi>|<mrow>(?:(?!<mrow>).)*?</mrow>)\s*"
            r"(<mo (?:accent=\"true\"|stretchy=\"false\")>[_ˉˆ~^]</mo>)\s*</munderover>",
            re.DOTALL,
        ),
        r"<msub><mover accent='true'>\1\3</mover>\2</msub>",
    ),
    (re.compile(r"(<mo>&ApplyFunction;</mo>\s*)(?=<m(?!o>))"), r"\1<mspace width='0.17em'/>"),
)
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["mathml.css", "signatures.css", "versions.css", "figures.css"]
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


def _formula(translator: Any, node: Any) -> None:
    """TeX as MathML, which browsers draw without scripts or pictures (docs/decisions/reports.md)."""
    is_block = isinstance(node, nodes.math_block)
    try:
        mathml = tex2mathml(node.astext(), is_block)
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
        mathml = ""
    for pattern, better in _AMENDED:
        mathml = pattern.sub(better, mathml)
    translator.body.append(f'<div class="formula">{mathml}</div>' if is_block else mathml)
    raise nodes.SkipNode


def _parameters(found: re.Match[str]) -> str:
    """Parameters of a signature, one a line: a list, not definitions without terms."""
    items = re.sub(r"</dd>\s*<dd>", "</li><li>", found[1])
    return f'<ul class="parameters"><li>{items}</li></ul>'


#: what the theme leaves out for keyboards and screen readers: frames that scroll can be reached, headings have a level
#: pictures that follow light and dark by themselves, and maps whose colours are a scale; all others are black on white
_AS_THEY_ARE = {
    file.stem
    for file in Path(__file__).with_name("figures").rglob("*.svg")
    if "prefers-color-scheme" in file.read_text(encoding="utf-8")
} | {"arrays"}


def _plot(match: re.Match[str]) -> str:
    """An image that is turned round in the dark."""
    return match[0] if match["stem"] in _AS_THEY_ARE else f'<img class="plot" {match[1]}'


_ACCESSIBLE = (
    ("body", re.compile(r"<pre(?=[ >])"), '<pre tabindex="0"'),
    ("body", re.compile(r'<div class="(?=table-wrapper|formula)'), '<div tabindex="0" class="'),
    ("body", re.compile(r"<p>(?=<img )"), '<p tabindex="0" class="figure">'),
    ("body", re.compile(r'<img ([^>]*src="[^"]*_images/(?P<stem>[^".]+)\.)'), _plot),
    ("body", re.compile(r"<dl>\s*<dd>(<em class=\"sig-param.*?)</dd>\s*</dl>", re.DOTALL), _parameters),
    ("furo_navigation_tree", re.compile(r'role="heading"'), 'role="heading" aria-level="2"'),
)


def _accessible(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    for part, pattern, better in _ACCESSIBLE:
        if part in context:
            context[part] = pattern.sub(better, context[part])


def setup(app: Any) -> None:
    app.connect("html-page-context", _accessible, priority=900)  # after the theme
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("autodoc-process-docstring", _starred)
    app.connect("autodoc-process-signature", _plain)
