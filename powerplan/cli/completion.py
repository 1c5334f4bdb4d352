"""Names that a shell completes: presets, examples, and the names that an option chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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


class WirePresetName(_Name):
    """Published wires."""

    def known(self) -> Sequence[str]:
        from powerplan.hardware.wires.published import wire_presets

        return [wires.name for wires in wire_presets()]


def completing(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes one of these names, or the last of several behind a comma."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]

    return complete
