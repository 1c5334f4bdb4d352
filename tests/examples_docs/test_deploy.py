"""Descriptions of images and packages name what there is: files, extras, settings, ports and dependencies."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from powerplan import __version__
from powerplan.cli import main
from powerplan.errors import DISTRIBUTION
from powerplan_server.config import options

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CLIENT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SETTINGS = {f"POWERPLAN_SERVE_{option.name.upper()}" for option in options()}
#: what conda-forge calls packages otherwise than PyPI
_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "prometheus-client": "prometheus_client"}


def documents(file: str) -> list[Any]:
    with open(DEPLOY / file, encoding="utf-8") as text:
        return list(YAML(typ="safe").load_all(text))


def settings_in(value: Any) -> set[str]:
    """Names of settings of the server anywhere in a document, whether keys or values."""
    return set(re.findall(r"POWERPLAN_\w+", json.dumps(value)))


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and what follows them, lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def test_the_image_copies_installs_and_starts_what_there_is() -> None:
    steps = dockerfile()
    assert steps[0][0] == "FROM"
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [source for name, rest in steps if name == "COPY" for source in rest.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
    (install,) = [rest for name, rest in steps if name == "RUN"]
    for file in ("constraints.txt", "./client"):
        assert f" {file} " in install
        assert (ROOT / file).exists()
        assert file.removeprefix("./") not in ignored
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", install)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    (user,) = [rest for name, rest in steps if name == "USER"]
    assert f"--uid {user} " in install
    (start,) = [json.loads(rest) for name, rest in steps if name == "ENTRYPOINT"]
    assert start[0] in PROJECT["scripts"]
    assert start[1] in main.list_commands(None)  # type: ignore[arg-type]


def test_the_image_sets_settings_and_exposes_their_ports() -> None:
    steps = dockerfile()
    (given,) = [dict(re.findall(r"(\w+)=(\S+)", rest)) for name, rest in steps if name == "ENV"]
    assert given.keys() <= SETTINGS
    (exposed,) = [set(rest.split()) for name, rest in steps if name == "EXPOSE"]
    assert exposed == {value.rpartition(":")[2] for value in given.values() if re.search(r":\d+$", value)}
    (volume,) = [rest for name, rest in steps if name == "VOLUME"]
    assert given["POWERPLAN_SERVE_DATA_DIR"] == volume


@pytest.mark.parametrize("file", ["compose.yaml", "kubernetes.yaml"])
def test_examples_of_orchestration_use_settings_of_the_server(file: str) -> None:
    found = settings_in(documents(file))
    assert len(found) >= 3
    assert found <= SETTINGS


def test_compose_builds_the_image_with_the_secrets_it_names() -> None:
    (document,) = documents("compose.yaml")
    (service,) = document["services"].values()
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert set(service["secrets"]) == document["secrets"].keys()


def test_the_conda_recipe_has_the_dependencies_of_both_packages() -> None:
    (recipe,) = documents("conda/recipe.yaml")
    assert recipe["package"]["name"] == DISTRIBUTION
    assert recipe["context"]["version"] == __version__
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *CLIENT["dependencies"], *extras["server"], *extras["plot"]]
    least: dict[str, Requirement] = {}
    for line in needed:
        requirement = Requirement(line)
        if requirement.name != CLIENT["name"]:  # it is in the same package
            least.setdefault(_CONDA.get(requirement.name, requirement.name), requirement)
    # of two bounds on one package the tighter one is asked for
    least["grpcio"] = Requirement(next(line for line in extras["server"] if line.startswith("grpcio>")))
    expected = {f"{name} {sorted_specifier(requirement)}" for name, requirement in least.items()}
    assert set(recipe["requirements"]["run"]) == expected | {f"python {PROJECT['requires-python']}"}
    assert recipe["build"]["python"]["entry_points"] == [f"{n} = {call}" for n, call in PROJECT["scripts"].items()]
    assert (DEPLOY / "conda" / recipe["source"]["path"] / recipe["about"]["license_file"]).is_file()
    assert recipe["about"]["license"] == PROJECT["license"]


def sorted_specifier(requirement: Requirement) -> str:
    """Bounds as the recipe writes them, the lower one first."""
    return ",".join(sorted(map(str, requirement.specifier), reverse=True))
