"""What all commands have in common: an option of one value is given once at most."""

from __future__ import annotations

from copy import copy

import click

#: what to do instead of giving these options twice
_INSTEAD = dict.fromkeys(("--hardware", "--preset"), " To set technologies side by side: powerplan compare.")


class Command(click.Command):
    """A command that refuses a second value of an option that takes one, where the last would win silently."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._check_once(ctx, args)
        return super().parse_args(ctx, args)

    def _check_once(self, ctx: click.Context, args: list[str]) -> None:
        *_, given = self.make_parser(ctx).parse_args(list(args))
        for option in given:
            if isinstance(option, click.Option) and takes_one(option) and given.count(option) > 1:
                flag = max(option.opts, key=len)
                values = " and ".join(map(str, self._values(ctx, args, option)))
                raise click.UsageError(f"{flag}: got {values}; give one.{_INSTEAD.get(flag, '')}", ctx)

    def _values(self, ctx: click.Context, args: list[str], option: click.Option) -> list[str]:
        """All values of an option."""
        repeated = copy(option)
        repeated.multiple = True
        parser = self.make_parser(ctx)
        repeated.add_to_parser(parser, ctx)
        values, *_ = parser.parse_args(list(args))
        return list(values[option.name])


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def takes_one(option: click.Option) -> bool:
    """Whether an option takes one value: no flag, no count, not repeatable."""
    return not (option.is_flag or option.count or option.multiple)
