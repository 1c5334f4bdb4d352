"""Draw the figures of docs/gallery.md in docs/figures/gallery and that of the README, by running what stands there.

python -m benchmarks.draw_gallery
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: by folder of figures: the page, and the heading that its code stands below ("" is the whole page)
PAGES = {"docs/figures": ("README.md", "## In five lines"), "docs/figures/gallery": ("docs/gallery.md", "")}


def draw(page: str, heading: str) -> None:
    """Run the Python below a heading of a page, which writes its figures into the current folder."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0] if heading else text
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", part, re.DOTALL | re.MULTILINE):
        exec(block, names)


if __name__ == "__main__":
    for folder, (page, heading) in PAGES.items():
        (ROOT / folder).mkdir(exist_ok=True)
        os.chdir(ROOT / folder)
        draw(page, heading)
