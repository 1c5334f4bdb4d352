"""Draw docs/figures/crossbar.svg, service.svg, study.svg and wires.svg, the diagrams of the README and of the pages.

python -m benchmarks.draw_diagrams
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from benchmarks.drawing import FIGURES, Drawing


def crossbar() -> Drawing:
    """Device, array, layer, network, and the two gains."""
    d = Drawing(980, 380, "From a device to an array, a layer and a network; the voltage gain and the conductance gain")
    d.text(95, 28, "device", "head")
    d.path("M95 60V95M95 165V200")
    d.rectangle(79, 95, 32, 70, round=4)
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
        for j in range(4):
            d.circle(left + j * step, y, 7, "two")
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


def wires() -> Drawing:
    """The circuit of an array whose wires, drivers and amplifiers have resistances."""
    d = Drawing(
        900, 470, "An array with resistive wires: drivers on the left, devices at the crossings, amplifiers below"
    )
    lefts, tops = (230, 370, 510, 650), (70, 170, 270)
    for i, y in enumerate(tops):
        d.circle(40, y, 14, "wire")
        d.text(40, y + 5, f"V{chr(0x2081 + i)}", "small")
        d.path(f"M54 {y}H74M110 {y}H150", "drive")
        d.path(resistor(74, y, along=True))
        d.path(resistor(150, y, along=True) + f"M186 {y}H{lefts[0]}", "drive")
        for x, following in pairwise(lefts):
            d.path(f"M{x} {y}H{x + 52}{resistor(x + 52, y, along=True)}M{x + 88} {y}H{following}", "drive")
        for x in lefts:
            d.path(f"M{x} {y}l9 12m16 20l9 12M{x + 4} {y + 15}l10 -7l16 20l-10 8Z", "device")
            d.circle(x, y, 3.5, "one")
            d.circle(x + 34, y + 44, 3.5, "two")
    for j, x in enumerate(x + 34 for x in lefts):
        for y in (y + 44 for y in tops):
            d.path(
                f"M{x} {y}v8{resistor(x, y + 8, along=False)}M{x} {y + 44}v{56 if y + 44 < tops[-1] + 44 else 10}",
                "sum",
            )
        d.path(resistor(x, 368, along=False))
        d.path(f"M{x} 404v8M{x - 16} 412h32l-16 26Z")
        d.text(x, 459, f"I{chr(0x2081 + j)}", "small")
    d.path("M96 42L94 60")
    d.text(56, 36, "driver_resistance", "small", "start")
    d.path("M174 26L169 60", "drive")
    d.text(160, 20, "wire_resistance_row", "one", "start")
    d.text(214, 102, "G₁₁", "three", "end")
    d.text(698, 146, "wire_resistance_column", "two", "start")
    d.text(702, 391, "sense_resistance", "small", "start")
    d.text(708, 428, "amplifiers, at 0 V", "small", "start")
    return d


def resistor(x: float, y: float, *, along: bool) -> str:
    """A zigzag of 36 that begins at a place and goes right, or down."""
    steps = ((4, -6), (7, 12), (7, -12), (7, 12), (7, -12), (4, 6))
    return f"M{x} {y}" + "".join(f"l{a} {b}" if along else f"l{b} {a}" for a, b in steps)


#: draws a diagram named like itself
Draw = Callable[[], Drawing]
DIAGRAMS: tuple[Draw, ...] = (crossbar, service, study, wires)

if __name__ == "__main__":
    for draw in DIAGRAMS:
        draw().write(FIGURES / f"{draw.__name__}.svg")
