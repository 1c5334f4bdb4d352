"""Names that a shell completes: presets and examples."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem


class _Name(click.ParamType):
    """One of some names; a wrong one is refused where it is used, with the nearest."""

    name = "text"

    def known(self) -> Sequence[str]:
        """All names; loads what it takes to know them only now."""
        raise NotImplementedError

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.known() if name.startswith(incomplete)]


class PresetName(_Name):
    """A published technology."""

    def known(self) -> Sequence[str]:
        from powerplan.hardware.technologies import TECHNOLOGIES

        return list(TECHNOLOGIES)


class ExampleName(_Name):
    """A built-in example."""

    def known(self) -> Sequence[str]:
        from powerplan.examples import example_names

        return list(example_names())
