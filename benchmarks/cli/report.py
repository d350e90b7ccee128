"""`bench report`: the page of a finished run, written again, opened, or as PDF."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.chromium import print_pdf
from benchmarks.report.digests import SUMS, write_sums
from benchmarks.report.index_page import write_index
from benchmarks.report.run_report import RunReport, latest
from benchmarks.workflow import rerender
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.compute import Compute, choose_device
from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.sources import resolve

if TYPE_CHECKING:
    from benchmarks.workflow.stage import Context

FORMATS = ("html", "pdf")


def report(
    run: str | None,
    show: bool,
    from_scores: bool,
    digests: bool,
    index: bool,
    form: str,
    store: Path,
    reports: Path,
    device: str,
    section: str | None,
    plugin: list[str] | None,
) -> None:
    """Write the report of a finished run again, with this version's pages."""
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    if index:
        if run:
            raise InputError(f"--index is of the folder {reports}/ and takes no run; leave {run} out")
        print(write_index(reports))
        return
    # Only --from-scores needs data files that match their digests: it computes from them. `rerender` checks
    # results.json.
    finished = RunReport.open(run, reports, checked=from_scores) if run else latest(reports)
    folder = finished.folder
    # The files as they are: after a deliberate change the list and the files agree again.
    if digests:
        write_sums(folder)
        print(folder / SUMS)
        return
    sections = [name.strip() for name in (section or "").split(",") if name.strip()]
    if from_scores:  # opened anew, with its own checks
        rerender.from_scores(RunReport(folder), sections)
    else:
        try:
            # a function: choosing a device imports torch, which a store without the run need not wait for
            rerender.from_store(finished, Store(store), lambda: _context(device, store), sections)
        except InputError as error:
            # Without the store the page cannot be written again, but it can still be opened and printed.
            if form == "html" and not show:
                raise
            print(f"the page stays as it is: {error}")
    if form == "pdf":
        print(_pdf(folder))
    else:
        print(folder / "index.html")
    if show:
        target = folder / ("report.pdf" if form == "pdf" else "index.html")
        if not webbrowser.open(target.resolve().as_uri()):
            raise InputError(f"no browser was found to open {target}; open it by hand")


def _context(device: str, store: Path) -> Context:

    compute = Compute(choose_device(device))
    # of the kinds of source, the one that needs no files
    return Context(resolve("rendered"), compute, 1, silent)  # a report reads no source of photos


def _pdf(folder: Path) -> Path:
    target = folder / "report.pdf"
    print_pdf(folder / "index.html", target)
    return target
