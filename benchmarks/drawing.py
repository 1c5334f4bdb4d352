"""Diagrams as SVG whose colours follow the page, light or dark."""

from __future__ import annotations

from pathlib import Path

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
<title id="title">{title}</title>
<style>
svg {{ --text: #1c2128; --line: #57606a; --fill: #eef3f8; --one: #0b62a8; --two: #b3420f; --three: #74489a; }}
@media (prefers-color-scheme: dark) {{
  svg {{ --text: #e6edf3; --line: #a3adb8; --fill: #1d2a37; --one: #6cb6ff; --two: #ff9b63; --three: #c79bee; }}
}}
text {{ font: 15px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--text); }}
.head {{ font-weight: 600; font-size: 16px; }} .small {{ font-size: 13px; fill: var(--line); }}
.one {{ fill: var(--one); }} .two {{ fill: var(--two); }} .three {{ fill: var(--three); }}
.box {{ fill: var(--fill); stroke: var(--line); stroke-width: 1.2; }}
.wire {{ fill: none; stroke: var(--line); stroke-width: 1.6; }}
.drive {{ fill: none; stroke: var(--one); stroke-width: 2; }}
.sum {{ fill: none; stroke: var(--two); stroke-width: 2; }}
.device {{ fill: var(--fill); stroke: var(--three); stroke-width: 2; }}
.arrow {{ fill: none; stroke: var(--line); stroke-width: 1.8; marker-end: url(#tip); }}
#tip path {{ fill: var(--line); }}{styles}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 Z"/></marker></defs>
"""


class Drawing:
    """An SVG that grows by boxes, arrows and words; places are of its view box."""

    def __init__(self, width: int, height: int, title: str, styles: str = "") -> None:
        self.parts = [_HEAD.format(width=width, height=height, title=title, styles=styles)]

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "middle") -> None:
        self.parts.append(f'<text class="{look}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>')

    def path(self, way: str, look: str = "wire") -> None:
        self.parts.append(f'<path class="{look}" d="{way}"/>')

    def rectangle(self, x: float, y: float, width: float, height: float, look: str = "box", round: float = 7) -> None:
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round:g}"'
        self.parts.append(f'<rect class="{look}" {place}/>')

    def circle(self, x: float, y: float, radius: float, look: str) -> None:
        self.parts.append(f'<circle class="{look}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>')

    def box(self, x: float, y: float, width: float, height: float, head: str, *lines: str) -> None:
        """A rectangle with a heading and smaller lines in its middle."""
        self.rectangle(x, y, width, height)
        first = y + height / 2 + 5 - 9.5 * len(lines)
        self.text(x + width / 2, first, head, "head")
        for i, line in enumerate(lines):
            self.text(x + width / 2, first + 19 * (i + 1), line, "small")

    def write(self, file: Path) -> None:
        file.write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")
