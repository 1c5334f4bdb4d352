"""Draw docs/figures/architecture.svg: the rooms of powerplan, and the way of a plan through them.

python -m benchmarks.draw_architecture
"""

from __future__ import annotations

from benchmarks.drawing import FIGURES, Drawing

#: white words on rooms of their own colours, which light and dark pages show alike
_STYLES = """
text { fill: #fff; }
.room { font-size: 17px; font-weight: 600; } .says { font-size: 13px; }
.part { font-size: 13px; font-weight: 600; } .does { font-size: 11px; }
.chip { fill: #fff; fill-opacity: 0.16; }
.door { fill: #56606e; } .planning { fill: #1b6a86; } .moments { fill: #74489a; } .allocation { fill: #25724f; }
.montecarlo { fill: #a04c22; } .hardware { fill: #7d6114; } .network { fill: #3a5ba6; } .ground { fill: #5f656e; }
.stop { fill: #f4b942; stroke: #fff; stroke-width: 1.5; }
.number { font-size: 12.5px; font-weight: 700; fill: #222; }"""
#: place and size, the name of the room, what it says, its colour where that is not its name's
_ROOMS = (
    (16, 10, 220, 62, "cli", "commands, options, tables", "door"),
    (252, 10, 220, 62, "client, server", "calls, wire, workers, jobs", "door"),
    (488, 10, 220, 62, "batch", "study, ledger, executors", "door"),
    (724, 10, 220, 62, "Python", "pp.plan, pp.frontier", "door"),
    (16, 130, 692, 150, "planning", "gains from a target: a problem, a descent, a proof", "planning"),
    (724, 130, 220, 68, "report", "pages, figures, cards, tables", "door"),
    (724, 212, 220, 68, "deployment", "tiles to program, aihwkit", "door"),
    (16, 336, 460, 180, "moments", "error and power, predicted from mean and variance", "moments"),
    (492, 336, 216, 180, "allocation", "geometric programs", "allocation"),
    (724, 336, 220, 180, "montecarlo", "error and power, simulated", "montecarlo"),
    (16, 556, 928, 72, "hardware", "what a device holds, how it is read", "hardware"),
    (16, 644, 928, 72, "network", "a graph of operations", "network"),
    (16, 732, 928, 72, "ground", "read, check, write, run; refuse by name", "ground"),
)
#: places of the first, how far the next is to the right and below, width and columns; parts and what they do
_PARTS = (
    (
        (30, 194, 111.6, 0, 104, 6),
        "settings: one table; session: ready once; problem: θ, terms, bounds; solve: descent, steps; "
        "verify: calibrate; explain: prices, advice",
    ),
    (
        (30, 398, 146, 56, 136, 3),
        "array: weights, power; sources: of errors; conversion: DAC, ADC; rules: one per operation; "
        "walks: forward, reverse; samples: what is not Gaussian",
    ),
    ((506, 398, 0, 56, 188, 1), "solvers: formula, KKT, conic; certificate: optimal? from the point alone"),
    ((738, 398, 0, 56, 192, 1), "streams: a generator per draw; forward: knows nothing of moments"),
)
#: a row of names without words, from its height
_NAMES = {
    579: "devices, curves, technologies, tiling, converters, gains",
    667: "graph, ops, array maps, torch, onnx, storage",
    755: "reading, jobs, checks, files, arrays, shown, errors",
}
_DOORS_TO_PLANNING = "M126 74V102M362 74V102M598 74V102M834 74V96Q834 102 828 102H600"
_WAYS = (
    "M600 102H88Q82 102 82 108V125",
    "M300 240V330",
    "M318 336V246",
    "M411 240C411 294 560 284 590 330",
    "M523 240C523 304 820 284 834 330",
    "M708 164H718",
    "M708 246H718",
)
#: where a plan passes, in its order
_STOPS = ((126, 102), (126, 200), (237, 200), (349, 200), (460, 352), (460, 200), (692, 352), (572, 200), (928, 144))


def architecture() -> Drawing:
    """Rooms, the upper ones built on the lower ones; arrows of a plan, numbered as the page tells it."""
    title = "The rooms of powerplan, the upper ones built on the lower ones, and the way of a plan through them, 1 to 9"
    d = Drawing(960, 816, title, _STYLES)
    for x, y, width, height, name, says, look in _ROOMS:
        d.rectangle(x, y, width, height, look, 8)
        d.text(x + 14, y + 25, name, "room", "start")
        d.text(x + 14, y + 45, says, "says", "start")
    for (x, y, right, below, width, columns), parts in _PARTS:
        for i, part in enumerate(parts.split("; ")):
            name, does = part.split(": ")
            left, top = x + right * (i % columns), y + below * (i // columns)
            d.rectangle(left, top, width, 46, "chip", 5)
            d.text(left + width / 2, top + 18, name, "part")
            d.text(left + width / 2, top + 36, does, "does")
    for y, names in _NAMES.items():
        x = 330
        for name in names.split(", "):
            width = 16 + 7 * len(name)
            d.rectangle(x, y, width, 26, "chip", 5)
            d.text(x + width / 2, y + 18, name, "part")
            x += width + 9
    d.path(_DOORS_TO_PLANNING)
    for way in _WAYS:
        d.path(way, "arrow")
    for i, (x, y) in enumerate(_STOPS):
        d.circle(x, y, 11, "stop")
        d.text(x, y + 4.5, str(i + 1), "number")
    return d


if __name__ == "__main__":
    architecture().write(FIGURES / "architecture.svg")
