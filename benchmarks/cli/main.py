"""The `bench` command and its error border: one sentence, the right exit code, a traceback only with --debug."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Annotated, TextIO

import typer

from benchmarks.cli import (
    compare,
    data,
    detect,
    doctor,
    export,
    init,
    leaderboard,
    listing,
    new,
    quality,
    report,
    reproduce,
    run,
    score,
    serve,
    show,
    speed,
)
from benchmarks.cli.streams import keep_streams
from benchmarks.protocol import PROTOCOL_VERSION
from forge.errors import BenchError, BenchWarning
from forge.files import explain_os_error
from forge.registry import allow_files

INTERRUPTED = 130
app = typer.Typer(
    name="bench",
    help="Train face generators, train forgery detectors, and measure honestly how well forged faces are told "
    "from real ones.\n\nStart with: bench run --generator dcgan --detector xception",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its renderer alone takes longer to import than the help may take
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Any command takes --debug to show tracebacks.",
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("init", epilog=init.EXAMPLES)(init.init)
app.command("new", epilog=new.EXAMPLES)(new.new)
app.command("list")(listing.list_names)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.add_typer(data.app, name="data")
app.add_typer(detect.app, name="detect", help="Score photos with a trained detector; import published weights.")
app.command("quality", epilog=quality.EXAMPLES)(quality.quality)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.leaderboard)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("score", epilog=score.EXAMPLES)(score.score)
app.add_typer(export.app, name="export", help="Give others what they need to be compared.")
app.command("reproduce", epilog=reproduce.EXAMPLES)(reproduce.reproduce)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("doctor")(doctor.doctor)
app.command("speed")(speed.speed)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

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
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        _run()


def _run() -> None:
    debug = "--debug" in sys.argv or bool(os.environ.get("BENCH_DEBUG"))
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    allow_files(sys.argv[1:], anew=True)
    keep_streams()
    try:
        app()
    except (SystemExit, KeyboardInterrupt) as stop:
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:  # which Typer makes of Ctrl-C, if it sees it
            raise
        print("stopped; the same command continues where it was", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MemoryError:
        _fail(BenchError("the memory is too small for this; ask for fewer or smaller images"), debug)
    except BenchError as error:
        _fail(error, debug)
    except OSError as error:
        _fail(explain_os_error(error), debug)
    except Exception as error:  # noqa: BLE001 - the last border: whatever it is, people get one sentence
        _fail(BenchError(f"this should not happen: {type(error).__name__}: {error}; --debug shows where"), debug)


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
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
