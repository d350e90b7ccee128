"""A verb with subverbs, one of which need not be named: `bench detect RUN IMAGES…` beside `bench detect import …`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

UNNAMED = "-"  # the command that is meant where none is named; no run, generator or detector can have this name


class Unnamed(TyperCommand):
    """The command that need not be named: called and shown by the name of its group."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """A context in the place of the group's own."""
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)


class WithDefault(TyperGroup):
    """A group whose first word is either one of its commands or the first argument of the unnamed one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's or click's own context
        """Put the unnamed command first where none is named."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [UNNAMED, *args])

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - as above
        """The help of the unnamed command, and the other commands below it."""
        command = self.commands[UNNAMED]
        with command.make_context(UNNAMED, [], parent=ctx, resilient_parsing=True) as inner:
            command.format_usage(inner, formatter)
            command.format_help_text(inner, formatter)
            command.format_options(inner, formatter)
        self.format_commands(ctx, formatter)
        self.format_epilog(ctx, formatter)
