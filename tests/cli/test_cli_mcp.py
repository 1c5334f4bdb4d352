"""powerplan as tools of an assistant: asked by the SDK's own client."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters

from powerplan.cli.commands.mcp import build_server
from powerplan.cli.tools import TOOLS, command_line, command_of, with_tool_names
from powerplan.errors import InvalidInput


def ask(server: Any, tool: str, **arguments: Any) -> Any:
    """One call of a tool."""

    async def call() -> Any:
        async with Client(server) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(call())


def test_the_tools_and_their_options_are_those_of_the_commands() -> None:
    async def listed() -> Any:
        async with Client(build_server()) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert tuple(tools) == TOOLS
    options = tools["plan"].input_schema["properties"]
    assert {"max_nmse", "preset", "programming_noise_std", "output", "verify"} <= set(options)
    assert options["reads"]["enum"] == ["shared", "separate"]
    assert tools["explain"].input_schema["required"] == ["plan_file"]
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.description
        assert all(option["description"] for option in tool.input_schema["properties"].values())


def test_presets_are_told() -> None:
    answer = ask(build_server(), "presets", names=["pcm_nandakumar2019"])
    assert not answer.is_error
    assert [preset["name"] for preset in answer.structured_content["presets"]] == ["pcm_nandakumar2019"]


def test_refusals_are_answers_with_the_words_of_the_command() -> None:
    for tool, arguments, words in [
        ("plan", {"example": "iris", "max_nmse": "0"}, "max_nmse: got 0"),
        ("plan", {"nothing": 1}, "Use one of these names."),
        ("serve", {}, "presets, predict"),
    ]:
        answer = ask(build_server(), tool, **arguments)
        assert answer.is_error
        assert words in answer.content[0].text


def test_advice_names_the_arguments_of_the_tool(files: Any) -> None:
    """And does what it says."""
    problem = {"network": files.network, "inputs": files.inputs}
    server, given = build_server(), {**problem, "programming_noise_std": 1}
    doubted = ask(server, "predict", **given)
    assert doubted.is_error
    assert "If you mean it, add accept_implausible=true." in doubted.content[0].text
    assert "--" not in doubted.content[0].text
    assert not ask(server, "predict", **given, programming_noise_proportional=0, accept_implausible=True).is_error
    nothing_asked = ask(server, "plan", **problem)
    assert nothing_asked.is_error
    assert "exactly one of max_mse, max_nmse," in nothing_asked.content[0].text


def test_options_in_a_text_are_those_of_the_command() -> None:
    told = with_tool_names(command_of("plan"), "Use --batch=4, --no-clip-conductance or --no-such; a--batch -- no.")
    assert told == "Use batch=4, clip_conductance=false or --no-such; a--batch -- no."


def test_values_are_never_read_as_options() -> None:
    line = command_line(command_of("explain"), {"plan_file": "--help", "network": "--json", "analog": ["a", "b"]})
    assert line == ["--json", "--network=--json", "--analog=a", "--analog=b", "--", "--help"]
    with pytest.raises(InvalidInput, match="as_json"):
        command_line(command_of("plan"), {"as_json": True})


@pytest.mark.slow
def test_an_assistant_starts_it_and_predicts(tmp_path: Path) -> None:
    arguments = ["-m", "powerplan", "mcp"]
    server = StdioServerParameters(command=sys.executable, args=arguments, cwd=tmp_path, env=dict(os.environ))
    answer = ask(server, "predict", example="iris", batch=4, programming_noise_std="1uS")
    assert answer.structured_content["format"] == "powerplan.prediction", answer.content
    assert answer.content[0].text.splitlines()[0] == "training the iris example"  # then how long, on a slow machine
