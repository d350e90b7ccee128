"""Commands that are imported when they are called, and groups that have a command without a name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec

import typer
from typer.core import TyperCommand, TyperGroup

P = ParamSpec("P")
# begins with a dash, which `safe_name` strips from names
UNNAMED = "-"  # the command that is meant where none is named; no run, generator or detector can have this name


def implemented_in(
    module: str, *, first: Callable[[], None] | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a function that only declares options and arguments call the function of its name in another module.

    Args:
        module: imported at the call, so that help and completion do not wait for what a verb needs.
        first: called before this import, for what libraries read when they are loaded.
    """

    def decorate(declaration: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(declaration)
        # wraps the signature too, from which Typer makes the options
        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            if first is not None:
                first()
            getattr(import_module(module), declaration.__name__)(*args, **kwargs)

        call.implementation = module  # type: ignore[attr-defined]
        return call

    return decorate


class LazyCommand(TyperCommand):
    """A command that is imported when it is called or completed; a list of commands needs its summary alone.

    Args:
        name: as it is called.
        target: "module:attribute", a function with the module's EXAMPLES as its epilog, or a Typer app.
        summary: one line for the list of commands.
    """

    def __init__(self, name: str, target: str, summary: str) -> None:
        # `short_help` serves the list of all commands, so that listing them imports none.
        super().__init__(name, callback=None, short_help=summary, rich_markup_mode=None)
        self.target = target

    def load(self) -> Any:  # noqa: ANN401 - a command or a group of typer's own click
        """Import the command."""
        module_name, _, attribute = self.target.partition(":")
        module = import_module(module_name)
        implementation = getattr(module, attribute)
        # A Typer app is a group (data, detect, export); a function becomes a command with the examples of its module.
        if isinstance(implementation, typer.Typer):
            return typer.main.get_command(implementation)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(self.name, epilog=getattr(module, "EXAMPLES", None))(implementation)
        return typer.main.get_command(app)

    # click makes the context, then invokes the command of that context: the imported one, with its options.
    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """Make a context of the imported command, which is then the one that runs."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class Unnamed(TyperCommand):
    """The command that need not be named: called and shown by the name of its group."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """A context in the place of the group's own."""
        # The context of the group is skipped, so that usage reads "bench detect RUN" and not "bench detect - RUN".
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)


class WithDefault(TyperGroup):
    """A group whose first word is either one of its commands or the first argument of the unnamed one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's or click's own context
        """Put the unnamed command first where none is named."""
        # A run called like a command would be taken for it; its path can be given instead.
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [UNNAMED, *args])

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - as above
        """The help of the unnamed command, and the other commands below it."""
        command = self.commands[UNNAMED]
        # `resilient_parsing`: help needs no arguments
        with command.make_context(UNNAMED, [], parent=ctx, resilient_parsing=True) as inner:
            command.format_usage(inner, formatter)
            command.format_help_text(inner, formatter)
            command.format_options(inner, formatter)
        self.format_commands(ctx, formatter)
        self.format_epilog(ctx, formatter)
