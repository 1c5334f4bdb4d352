"""Pages in Chromium, where it is installed, and what axe-core finds wrong for keyboards and screen readers."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "/usr/lib/chromium/chromium"))), ""
)
#: the newest axe-core, where ``npm install --no-save axe-core`` has put it, else that of the extra ``dev``
_NEWEST = Path(__file__).resolve().parents[1] / "node_modules/axe-core/axe.min.js"
DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Chromium on a page, without a network and with a profile of its own."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--enable-logging=stderr", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def with_script(page: Path, script: str, width: int = 1200, *options: str) -> str:
    """The page after a script of the test ran in it, as text."""
    copy = page.with_name("copy.html")
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>")
    copy.write_text(text, encoding="utf-8")
    return browse(copy, "--dump-dom", f"--window-size={width},900", *options).stdout


def serious(page: Path, *options: str) -> list[str]:
    """Impact and rule of every violation that axe-core calls serious or critical."""
    package = find_spec("axe_core_python")
    assert _NEWEST.exists() or (package and package.origin), "axe-core is not installed: the extra dev has it"
    file = _NEWEST if _NEWEST.exists() else Path(package.origin).with_name("axe.min.js")
    run = """addEventListener("load", () => axe.run({resultTypes: ["violations"]}).then(r => {
        document.title = "found " + r.violations.map(v => v.impact + " " + v.id).join(", ") + ".";
    }));"""
    script = file.read_text(encoding="utf-8") + "</script><script>" + run
    text = with_script(page, script, 1200, "--virtual-time-budget=60000", *options)
    title = re.search(r"<title>found (.*?)\.</title>", text)
    assert title is not None
    return re.findall(r"(?:serious|critical) [\w-]+", title[1])


def in_frame(page: Path, script: str, width: int, *options: str) -> str:
    """What the function body ``script`` returns in a page that is exactly so wide: windows are 500 px at least."""
    copy, frame = page.with_name("copy.html"), page.with_name("frame.html")
    run = f"addEventListener('load', () => parent.postMessage((() => {{{script}}})(), '*'));"
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{run}</script></body>")
    copy.write_text(text, encoding="utf-8")
    style = f"border: 0; width: {width}px; height: 900px"
    listen = "addEventListener('message', e => { document.title = 'said ' + e.data + '.'; });"
    frame.write_text(
        f'<!DOCTYPE html><script>{listen}</script><iframe src="copy.html" style="{style}"></iframe>', encoding="utf-8"
    )
    said = re.search(r"<title>said (.*?)\.</title>", browse(frame, "--dump-dom", *options).stdout, re.DOTALL)
    assert said is not None
    return said[1]


#: what lies beyond its frame: parts of the page, words of a drawing, ticks over the label beside them
_OVERFLOWS = """
  var wrong = [], page = document.documentElement.clientWidth;
  var say = (what, e) => wrong.push(what + " " + e.tagName + ": " + e.textContent.trim().slice(0, 40));
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  document.querySelectorAll(".answer > div, dd, dt, figure, figcaption, li, p, h1, h2, h3, h4, .notes, summary")
    .forEach(e => {
      var box = e.getBoundingClientRect();
      if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth) { say("cut", e); }
      if (box.right > page + 1 && !e.closest(".scroll")) { say("beyond the page", e); }
    });
  document.querySelectorAll("table").forEach(e => {
    if (!e.closest(".scroll") && e.getBoundingClientRect().right > page + 1) { say("beyond the page", e); }
  });
  document.querySelectorAll(".scroll").forEach(e => {
    if (e.getBoundingClientRect().right > page + 1) { say("beyond the page", e); }
  });
  document.querySelectorAll("svg[role=img]").forEach(svg => {
    var box = svg.getBoundingClientRect();
    if (getComputedStyle(svg).overflow !== "visible" || svg.classList.contains("chart")) {
      svg.querySelectorAll("text").forEach(t => {
        var own = t.getBoundingClientRect();
        if (!own.width) { return; }
        if (own.left < box.left - 1 || own.right > box.right + 1) { say("outside its drawing", t); }
      });
    }
    var label = svg.querySelector("text[transform]");
    if (label) {
      var edge = label.getBoundingClientRect().right;
      svg.querySelectorAll("text[text-anchor=end]").forEach(t => {
        if (t.getBoundingClientRect().left < edge) { say("over the axis' label", t); }
      });
    }
  });
  return Array.from(new Set(wrong)).join("; ");
"""


def overflows(page: Path, width: int, *options: str) -> str:
    """What of a page of this width lies beyond the page, a card, or a drawing; "" if nothing does."""
    return in_frame(page, _OVERFLOWS, width, *options)


def is_too_wide(page: Path, width: int) -> bool:
    """Whether a page, beside what scrolls in its own frame, is wider than its window."""
    script = "document.title = document.documentElement.scrollWidth + ' ' + innerWidth;"
    measured = re.search(r"<title>(\d+) (\d+)</title>", with_script(page, script, width))
    assert measured is not None
    return int(measured[1]) > int(measured[2])
