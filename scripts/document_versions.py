"""Build the documentation of several versions into one folder, which is opened from a disk as well as from a server.

    python scripts/document_versions.py FOLDER [REVISION...]

REVISIONs are tags or branches of this repository, by default all tags v0.1.0, v0.2.0, ... are taken. The files as they
are now are the version "development". Every version is built by its own docs/conf.py, from its own docstrings, into a
folder named like it; its pages link to all the others. index.html leads to the newest tag.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: what the files are called that no tag names
NOW = "development"
_TO = """<!DOCTYPE html>
<meta charset="utf-8">
<title>powerplan</title>
<meta http-equiv="refresh" content="0; url={0}">
<a href="{0}">powerplan</a>
"""


def tags(repository: Path) -> list[str]:
    """Tags of releases, the newest first."""
    said = subprocess.run(["git", "tag", "--list"], cwd=repository, capture_output=True, text=True, check=True).stdout
    released = [tag for tag in said.split() if re.fullmatch(r"v\d+(\.\d+)*", tag)]
    return sorted(released, key=lambda tag: [int(part) for part in tag[1:].split(".")], reverse=True)


def build(source: Path, target: Path, version: str, versions: list[str]) -> None:
    """The site of one version; raises CalledProcessError where Sphinx fails."""
    paths = os.pathsep.join(str(source / part) for part in ("", "server", "client"))
    shown = ["-A", f"this_version={version}", "-A", f"versions={' '.join(versions)}"]
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", *shown, str(source / "docs"), str(target)]
    subprocess.run(command, cwd=source, env={**os.environ, "PYTHONPATH": paths}, check=True)


def main(folder: Path, revisions: list[str], repository: Path = ROOT) -> None:
    """Build all of them, and the page that leads to the newest."""
    names = {revision.removeprefix("v"): revision for revision in revisions or tags(repository)}
    versions = [*names, NOW]
    for version in versions:
        target = folder / version
        if version == NOW:
            build(repository, target, version, versions)
            continue
        with tempfile.TemporaryDirectory() as name:
            archive = ["git", "archive", "--format=tar", names[version]]
            files = subprocess.run(archive, cwd=repository, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(files)) as tar:
                safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4
                tar.extractall(name, **safely)
            build(Path(name), target, version, versions)
        print(target / "index.html", flush=True)
    (folder / "index.html").write_text(_TO.format(f"{versions[0]}/index.html"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
