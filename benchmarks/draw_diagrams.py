"""Draw docs/figures/crossbar.svg, service.svg and study.svg, the diagrams of the README and of the pages.

    python -m benchmarks.draw_diagrams

Colours follow the page, light or dark.
"""

from __future__ import annotations

from pathlib import Path

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
<title id="title">{title}</title>
<style>
svg {{ --text: #1c2128; --line: #57606a; --fill: #eef3f8; --one: #0b62a8; --two: #b3420f; }}
@media (prefers-color-scheme: dark) {{
  svg {{ --text: #e6edf3; --line: #a3adb8; --fill: #1d2a37; --one: #6cb6ff; --two: #ff9b63; }}
}}
text {{ font: 15px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--text); }}
.head {{ font-weight: 600; font-size: 16px; }} .small {{ font-size: 13px; fill: var(--line); }}
.one {{ fill: var(--one); }} .two {{ fill: var(--two); }}
.box {{ fill: var(--fill); stroke: var(--line); stroke-width: 1.2; }}
.wire {{ fill: none; stroke: var(--line); stroke-width: 1.6; }}
.drive {{ fill: none; stroke: var(--one); stroke-width: 2; }}
.sum {{ fill: none; stroke: var(--two); stroke-width: 2; }}
.arrow {{ fill: none; stroke: var(--line); stroke-width: 1.8; marker-end: url(#tip); }}
#tip path {{ fill: var(--line); }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 Z"/></marker></defs>
"""


class Drawing:
    """An SVG that grows by boxes, arrows and words; places are of its view box."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [_HEAD.format(width=width, height=height, title=title)]

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "middle") -> None:
        self.parts.append(f'<text class="{look}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>')

    def path(self, way: str, look: str = "wire") -> None:
        self.parts.append(f'<path class="{look}" d="{way}"/>')

    def box(self, x: float, y: float, width: float, height: float, head: str, *lines: str) -> None:
        self.parts.append(f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>')
        first = y + height / 2 + 5 - 9.5 * len(lines)
        self.text(x + width / 2, first, head, "head")
        for i, line in enumerate(lines):
            self.text(x + width / 2, first + 19 * (i + 1), line, "small")

    def write(self, name: str) -> None:
        (FIGURES / name).write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")


def crossbar() -> Drawing:
    """Device, array, layer, network, and the two gains."""
    d = Drawing(980, 380, "From a device to an array, a layer and a network; the voltage gain and the conductance gain")
    d.text(95, 28, "device", "head")
    d.path("M95 60V95M95 165V200")
    d.parts.append('<rect class="box" x="79" y="95" width="32" height="70" rx="4"/>')
    d.path("M70 178L122 82", "sum")
    d.text(95, 228, "G = G_min + c |w|", "two")
    d.text(95, 252, "conductance gain c:", "small")
    d.text(95, 270, "siemens per unit of weight", "small")
    d.text(95, 300, "programmed with noise", "small")
    d.path("M182 130H216", "arrow")
    d.text(385, 28, "array", "head")
    left, top, step = 320, 78, 46
    for i in range(4):
        y = top + i * step
        d.path(f"M{left - 26} {y}H{left + 4 * step - 20}", "drive")
        d.text(left - 34, y + 5, f"v x{chr(0x2081 + i)}", "one", "end")
        x = left + i * step
        d.path(f"M{x} {top - 22}V{top + 4 * step - 4}", "sum")
        d.parts += [f'<circle class="two" cx="{left + j * step}" cy="{y}" r="7"/>' for j in range(4)]
    bottom = top + 4 * step - 4
    for j in range(4):
        x = left + j * step
        d.path(f"M{x - 11} {bottom}H{x + 11}L{x} {bottom + 22}Z", "box")
    d.text(left + 1.5 * step, bottom + 46, "currents I = Σ G v x: amplifiers, converters", "small")
    d.text(left + 1.5 * step, bottom + 66, "voltage gain v: volts per unit of activation", "small")
    d.path("M520 170H556", "arrow")
    d.text(640, 28, "layer", "head")
    d.box(566, 84, 150, 60, "y = I / (c v) + b", "scaled back digitally")
    d.path("M641 144V176", "arrow")
    d.box(566, 176, 150, 60, "activation", "ReLU, pooling, ...")
    d.text(641, 264, "programming noise in y: ∝ 1 / c", "two")
    d.text(641, 286, "power of devices: ∝ c v²", "one")
    d.path("M724 170H760", "arrow")
    d.text(865, 28, "network", "head")
    for i, name in enumerate(("layer 1: c₁, v₁", "layer 2: c₂, v₂", "layer 3: c₃, v₃")):
        d.box(780, 62 + 76 * i, 170, 50, name)
        d.path(f"M865 {112 + 76 * i}V{138 + 76 * i}", "arrow")
    d.text(865, 306, "outputs with an error", "small")
    d.text(490, 368, "Which gains meet a target error at least power?", "head")
    return d


def service() -> Drawing:
    """Clients, the server's parts, and what outlives a restart."""
    d = Drawing(
        820, 345, "Clients ask a server; it admits, queues and plans in worker processes, and keeps networks and jobs"
    )
    for i, (head, line) in enumerate(
        (
            ("Python client", "powerplan_client"),
            ("command line", "powerplan plan --server"),
            ("any language", "gRPC, or HTTP and JSON"),
        )
    ):
        d.box(20, 30 + 92 * i, 220, 66, head, line)
        d.path(f"M240 {63 + 92 * i}L330 {120 + 35 * i}", "arrow")
    d.text(285, 52, "TLS, tokens", "small")
    d.box(330, 90, 190, 130, "powerplan serve", "who asks, how large,", "whose turn it is", "answers and progress")
    for i in range(3):
        d.box(640, 30 + 70 * i, 150, 52, f"worker {i + 1}", "a process")
        d.path(f"M520 {130 + 25 * i}L640 {56 + 70 * i}", "arrow")
    d.text(582, 60, "one plan each", "small")
    d.box(330, 252, 190, 60, "data folder", "jobs, networks by SHA-256")
    d.path("M425 220V252", "arrow")
    d.text(425, 332, "a restarted server goes on with its jobs", "small")
    d.box(640, 246, 150, 52, "metrics", "Prometheus")
    d.path("M520 205L640 262", "arrow")
    return d


def study() -> Drawing:
    """From the file of a study to its table and report."""
    d = Drawing(980, 250, "A study: one file, points, workers, a ledger of plans, a table and a report")
    d.box(20, 80, 170, 90, "study.toml", "networks × hardware", "× targets × settings")
    d.path("M190 125H240", "arrow")
    d.box(240, 80, 150, 90, "points", "equal ones", "are planned once")
    d.path("M390 140L440 180", "arrow")
    d.box(440, 20, 220, 66, "workers", "cores, servers, Ray")
    d.box(440, 164, 220, 66, "ledger", "every plan, whole or not at all")
    d.path("M520 86V164", "arrow")
    d.path("M560 164V86", "arrow")
    d.text(570, 130, "what is left", "small", "start")
    d.path("M660 200H720", "arrow")
    d.box(720, 110, 230, 50, "table", ".csv, .parquet, .json")
    d.box(720, 180, 230, 50, "report.html", "power against error, by setting")
    d.path("M660 186L720 140", "arrow")
    d.text(720, 60, "Stopped? Run it again: it goes on.", "small", "start")
    return d


if __name__ == "__main__":
    for draw in (crossbar, service, study):
        draw().write(f"{draw.__name__}.svg")
