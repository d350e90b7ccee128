"""The `bench` command and its error border: one sentence, the right exit code, a traceback only with --debug."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from benchmarks.cli.groups import LazyCommand
from benchmarks.cli.streams import keep_streams
from benchmarks.protocol import PROTOCOL_VERSION
from forge.core.errors import BenchError, BenchWarning, InputError, quoted
from forge.core.files import explain_os_error
from forge.core.registry import allow_files

INTERRUPTED = 130  # 128 + SIGINT, as shells count

# command: (module:attribute, summary for the list of commands), imported when it is called
COMMANDS = {
    "run": ("benchmarks.cli.commands.run:run", "Train, forge, detect, score and write a report."),
    "init": ("benchmarks.cli.commands.init:init", "Write a commented starter suite."),
    "new": ("benchmarks.cli.commands.new:new", "Write a working generator, detector or attack."),
    "list": ("benchmarks.cli.commands.listing:list_names", "List generators, detectors, metrics, suites, runs, …"),
    "show": ("benchmarks.cli.commands.show:show", "Show settings, results, or faces of a trained generator."),
    "data": ("benchmarks.cli.commands.data:app", "Prepare, show, verify, export faces; list test sets."),
    "detect": (
        "benchmarks.cli.commands.detect:app",
        "Score photos with a detector; export it; import weights.",
    ),
    "tamper": ("benchmarks.cli.commands.tamper:tamper", "Alter own photos, with the mask of each."),
    "attack": ("benchmarks.cli.commands.attack:attack", "Change own images so that a detector errs."),
    "translate": ("benchmarks.cli.commands.translate:translate", "Translate photos with a trained translator."),
    "quality": ("benchmarks.cli.commands.quality:quality", "Measure forged faces against real ones."),
    "report": ("benchmarks.cli.commands.report:report", "Write the report of a finished run again."),
    "leaderboard": ("benchmarks.cli.commands.leaderboard:leaderboard", "Rank the detectors of a run or suite."),
    "compare": ("benchmarks.cli.commands.compare:compare", "Test two detectors against each other."),
    "cite": ("benchmarks.cli.commands.cite:cite", "Print methods and BibTeX of a run."),
    "review": ("benchmarks.cli.commands.review:review", "Answer what a reviewer asks of a table."),
    "export": ("benchmarks.cli.commands.export:app", "Export test images for detectors that run elsewhere."),
    "submit": ("benchmarks.cli.commands.submit:submit", "Rank a detector from scores computed elsewhere."),
    "reproduce": ("benchmarks.cli.commands.reproduce:reproduce", "Compute a published table again and compare it."),
    "zoo": ("benchmarks.cli.commands.zoo:app", "Publish generators and detectors as zoo:NAME; add others."),
    "store": ("benchmarks.cli.commands.store:app", "Show, clean, export, import or verify stored results."),
    "serve": ("benchmarks.cli.commands.serve:serve", "Show reports in a browser and try detectors on photos."),
    "doctor": ("benchmarks.cli.commands.doctor:doctor", "Check versions, devices, precision and disk space."),
    "speed": ("benchmarks.cli.commands.speed:speed", "Measure speed on this machine."),
}


class _Bench(TyperGroup):
    """The program's group: its commands are imported one by one."""

    # typer makes the group; its commands are added to it
    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**attributes)
        self.commands.update({name: LazyCommand(name, *where) for name, where in COMMANDS.items()})


app = typer.Typer(
    name="bench",
    cls=_Bench,
    help="Train face generators, train forgery detectors, and measure honestly how well forged faces are told "
    # `no_args_is_help`: the program alone prints its help.
    "from real ones.\n\nStart with: bench run --generator dcgan --detector xception",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks are printed by `_fail` alone
    rich_markup_mode=None,  # its renderer alone takes longer to import than the help may take
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Any command takes --debug to show tracebacks.",
)


def _print_version(asked_for: bool) -> None:
    if asked_for:
        try:
            number = version("deepfake-bench")
        except PackageNotFoundError:
            number = "of an unpacked tree"
        print(f"bench {number}, protocol {PROTOCOL_VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Accept options of the program itself; commands have their own."""


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 a stage failed, 2 bad input, 130 interrupted."""
    with warnings.catch_warnings():  # undone at the end: a process may call this several times
        warnings.showwarning = _show_warning
        _run()


def _run() -> None:
    # Taken out before Typer sees it, so that it may stand anywhere on the line.
    debug = "--debug" in sys.argv or bool(os.environ.get("BENCH_DEBUG"))
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    # Only files that this command line names may be imported as code; what a process allowed before is forgotten.
    allow_files(sys.argv[1:], anew=True)
    keep_streams()
    try:
        sys.exit(app(standalone_mode=False) or 0)  # not standalone: Typer would print errors and end the process itself
    except (SystemExit, KeyboardInterrupt) as stop:
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:  # which Typer makes of Ctrl-C, if it sees it
            raise
        print("stopped; the same command continues where it was", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except TyperException as error:
        if "\n" in error.format_message():  # the help of a group without a command
            print(error.format_message(), file=sys.stderr)
            sys.exit(InputError.exit_code)
        _fail(_usage_error(error), debug)
    except MemoryError:
        _fail(BenchError("the memory is too small for this; ask for fewer or smaller images"), debug)
    except BenchError as error:
        _fail(error, debug)
    except OSError as error:
        _fail(explain_os_error(error), debug)
    except Exception as error:  # noqa: BLE001 - the last border: whatever it is, people get one sentence
        _fail(BenchError(f"this should not happen: {type(error).__name__}: {error}; --debug shows where"), debug)


def _usage_error(error: TyperException) -> BenchError:
    """Return what Typer says of a wrong command line as a sentence with the value and the command's help."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    errors: Any = getattr(error.__cause__ or error.__context__, "errors", None)  # of pydantic, which know the value
    value = f" (it is {quoted(errors()[0]['input'])})" if errors else ""
    command = context.command_path if context else "bench"
    return InputError(f"{message[:1].lower()}{message[1:]}{value}; `{command} --help` says what it takes")


_show_any = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of the bench as one line; those of libraries as Python does."""
    if issubclass(category, BenchWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        _show_any(message, category, filename, lineno, file, line)


def _fail(error: BenchError, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)  # standard error: output stays what a script parses
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
