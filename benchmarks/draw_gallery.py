"""Draw the figures of docs/gallery.md in docs/figures/gallery, by running the page.

python -m benchmarks.draw_gallery
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"

if __name__ == "__main__":
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    folder = DOCS / "figures" / "gallery"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(block, names)
