"""``powerplan mcp``: powerplan as tools of an assistant, by the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from powerplan._version import __version__
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.tools import TOOLS, command_of, run, schema
from powerplan.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

_INSTRUCTIONS = """powerplan plans the gains of neural networks on noisy memristor crossbars. Numbers may be text with a
unit ("1uS", "1%"). Files are read and written in the folder where the server was started; every call is a separate
process with the user's permissions. To explain a plan, write it to a file first, with the option output of plan."""


@click.command("mcp", cls=Command, short_help="Tools for assistants, over the Model Context Protocol.")
@click.pass_obj
def command(chat: Chat, /) -> None:
    """Offer plan, predict, simulate, explain and presets as tools, over the Model Context Protocol on stdin and stdout.

    An assistant starts this command by itself; it works in the folder it is started in, with the user's permissions.
    Tools take the options of the commands and return their JSON document.

    \b
    powerplan mcp
    """
    try:
        import mcp  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "mcp", "mcp", "Offering tools") from error
    import asyncio

    asyncio.run(_serve())


async def _serve() -> None:
    from mcp.server.stdio import stdio_server

    server = build_server()
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def build_server() -> Server:
    """The server with its tools."""
    from mcp import types
    from mcp.server.lowlevel import Server

    async def listed(context: object, request: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools = []
        for name in TOOLS:
            command = command_of(name)
            words = (command.help or "").partition("\b")[0].strip()
            tools.append(types.Tool(name=name, description=words, input_schema=schema(command)))
        return types.ListToolsResult(tools=tools)

    async def called(context: object, request: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            outcome = await run(request.name, request.arguments or {})
        except InvalidInput as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        notes: list[types.ContentBlock] = [types.TextContent(text=outcome.notes)] if outcome.notes else []
        return types.CallToolResult(
            content=notes, structured_content=outcome.document, is_error=outcome.document is None
        )

    return Server(
        "powerplan", version=__version__, instructions=_INSTRUCTIONS, on_list_tools=listed, on_call_tool=called
    )
