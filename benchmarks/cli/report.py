"""`bench report`: the page of a finished run, written again, opened, or as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import completion, options

if TYPE_CHECKING:
    from benchmarks.workflow.stage import Context

EXAMPLES = """\b
Examples:
  bench report                             # of the run that ended last
  bench report faces64-quick --open
  bench report faces64-quick --from-scores # every number computed again from scores.parquet
  bench report faces64-quick --format pdf
  bench report faces64-quick --section my.py:MySection
"""
FORMATS = ("html", "pdf")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def report(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Finished run or suite. [default: the last one]", autocompletion=completion.runs, show_default=False
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    from_scores: Annotated[
        bool, typer.Option("--from-scores", help="Compute every number again from scores.parquet; needs no store.")
    ] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Only write SHA256SUMS anew: accept the files as they are.")
    ] = False,
    format: Annotated[str, typer.Option("--format", help="html, or pdf (needs Chromium).")] = "html",  # noqa: A002
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    section: Annotated[
        str | None,
        typer.Option("--section", help="Additional sections of the page, comma-separated; or path/to/file.py:Class."),
    ] = None,
    plugin: options.Plugin = None,
) -> None:
    """Write the report of a finished run again, with this version's pages."""
    from benchmarks.report.run_report import RunReport, latest
    from benchmarks.workflow import rerender
    from forge.errors import InputError, UnknownNameError

    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    finished = RunReport.open(run, reports, checked=from_scores) if run else latest(reports)
    folder = finished.folder
    if digests:
        from benchmarks.report.digests import SUMS, write_sums

        write_sums(folder)
        print(folder / SUMS)
        return
    sections = [name.strip() for name in (section or "").split(",") if name.strip()]
    if from_scores:
        rerender.from_scores(RunReport(folder), sections)
    else:
        from benchmarks.workflow.store import Store

        try:
            rerender.from_store(finished, Store(store), lambda: _context(device, store), sections)
        except InputError as error:
            if format == "html" and not show:
                raise
            print(f"the page stays as it is: {error}")
    if format == "pdf":
        print(_pdf(folder))
    else:
        print(folder / "index.html")
    if show:
        import webbrowser

        target = folder / ("report.pdf" if format == "pdf" else "index.html")
        if not webbrowser.open(target.resolve().as_uri()):
            raise InputError(f"no browser was found to open {target}; open it by hand")


def _context(device: str, store: Path) -> Context:
    from benchmarks.workflow.stage import Context
    from forge.compute import Compute, choose_device
    from forge.faces.sources import resolve
    from forge.progress import silent

    compute = Compute(choose_device(device))
    return Context(resolve("rendered"), compute, 1, silent)  # a report reads no source of photos


def _pdf(folder: Path) -> Path:
    """Print the page with Chromium."""
    import shutil
    import subprocess
    import tempfile

    from forge.errors import BenchError, InputError

    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise InputError("--format pdf prints with Chromium, which is not installed here; try apt install chromium")
    target = folder / "report.pdf"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--no-pdf-header-footer", f"--print-to-pdf={target}", (folder / "index.html").resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not target.is_file():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(f"{browser} could not print {folder / 'index.html'}: {said}")
    return target
