"""Reading HTML pages in tests: strict parsing, and the facts that make a page accessible and self-contained."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib

#: attributes through which a page could load something
_LOADING = ("src", "srcset", "data", "poster", "action", "background", "xlink:href")


def parse(text: str) -> Element:
    """The tree of a page; an error of the HTML syntax fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def text_of(element: Element) -> str:
    """All text in an element, spaces made plain."""
    return " ".join("".join(element.itertext()).split())


def name_of(element: Element) -> str:
    """The tag without a namespace."""
    return str(element.tag).rpartition("}")[2]


def elements(tree: Element, *names: str) -> list[Element]:
    """Elements of these names, in the order of the page."""
    return [e for e in tree.iter() if isinstance(e.tag, str) and name_of(e) in names]


def assert_self_contained(text: str) -> None:
    """The page loads nothing: no addresses of other files, no imports, and a policy that forbids them."""
    tree = parse(text)
    for element in tree.iter():
        for name in _LOADING:
            inside = name == "src" and element.attrib.get("src", "").startswith("data:image/png;base64,")
            assert inside or name not in element.attrib, element.attrib
        href = element.attrib.get("href", "#")
        assert href.startswith("#"), href
    assert not elements(tree, "link", "iframe", "object", "embed")
    style = "".join(e.text or "" for e in elements(tree, "style"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [e for e in elements(tree, "meta") if e.attrib.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy.attrib["content"]


def assert_accessible(text: str) -> None:
    """Language, title, landmarks, headings in order, captions, scopes, alternative texts, links that lead somewhere."""
    tree = parse(text)
    html = tree if name_of(tree) == "html" else elements(tree, "html")[0]
    assert html.attrib["lang"] == "en"
    assert text_of(elements(tree, "title")[0])
    for landmark in ("header", "main", "footer", "nav"):
        assert len(elements(tree, landmark)) == 1
    levels = [int(name_of(e)[1]) for e in elements(tree, "h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels)), levels
    ids = [e.attrib["id"] for e in tree.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids)), "ids are unique"
    for link in elements(tree, "a", "use"):
        assert link.attrib["href"].removeprefix("#") in ids
    for element in tree.iter():
        for label in element.attrib.get("aria-labelledby", "").split():
            assert label in ids
    for table in elements(tree, "table"):
        assert text_of(elements(table, "caption")[0])
        assert all(th.attrib.get("scope") in ("col", "row") for th in elements(table, "th"))
    for svg in elements(tree, "svg"):
        told = svg.attrib.get("role") == "img" and svg.attrib.get("aria-label")
        assert told or svg.attrib.get("aria-hidden") == "true" or _inside_named(tree, svg)
    assert all(image.attrib.get("alt") for image in elements(tree, "img"))
    for element in tree.iter():
        if element.attrib.get("tabindex") == "0":
            assert element.attrib.get("aria-label"), "what takes the focus has a name"


def _inside_named(tree: Element, svg: Element) -> bool:
    """True if a named or hidden element holds it."""
    parents = {child: parent for parent in tree.iter() for child in parent}
    at: Element | None = svg
    while at is not None:
        if at.attrib.get("aria-hidden") == "true" or (at.attrib.get("role") == "img" and at.attrib.get("aria-label")):
            return True
        at = parents.get(at)
    return False


def visible_text(text: str) -> str:
    """What a reader sees, without styles and scripts."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script).*?</\1>", " ", text)).split())
