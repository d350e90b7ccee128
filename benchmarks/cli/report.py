"""`bench report`: the page of a finished run, written again, opened, or as PDF."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.chromium import print_pdf
from benchmarks.report.digests import SUMS, write_sums
from benchmarks.report.index_page import write_index
from benchmarks.report.results_file import PACKED
from benchmarks.report.run_report import RunReport, latest
from benchmarks.report.score_archive import RECORD
from benchmarks.report.score_layout import FILES
from benchmarks.workflow import rerender
from benchmarks.workflow.publication import publish_scores
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.compute import Compute, choose_device
from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.sources import resolve

if TYPE_CHECKING:
    from benchmarks.workflow.stage import Context

FORMATS = ("html", "pdf")
MOST_MB = 4.0  # of scores in a report: a clone has them twice, in its history and in its files


def report(
    run: str | None,
    show: bool,
    from_scores: bool,
    digests: bool,
    publish: bool,
    limit: float | None,
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
    if limit is not None and not publish:
        raise InputError(f"--limit {limit:g} is of --publish; give both, or neither")
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
    if publish:
        _publish(finished, 1e6 * (MOST_MB if limit is None else limit))
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


def _publish(report: RunReport, most_bytes: float) -> None:
    published = publish_scores(report, most_bytes)
    if (tables := report.folder / PACKED).is_file():
        print(f"{tables}: {tables.stat().st_size:,} bytes, tables of results.json")
    size = f"{published.rows:,} rows, {published.bytes:,} bytes ({published.bytes / max(1, published.rows):.2f} a row)"
    if published.archive is None:
        print(f"{report.folder / FILES}: {published.files} files, {size}")
        return
    print(f"{published.archive}: {size}")
    print(f"SHA-256 {published.sha256}, in {report.folder / RECORD}")
    print("attach the archive to the release; whoever has it beside the report, or names it, reads the scores:")
    print(f"  bench reproduce {report.name} --fetch {published.archive.name}")


def _context(device: str, store: Path) -> Context:

    compute = Compute(choose_device(device))
    # of the kinds of source, the one that needs no files
    return Context(resolve("rendered"), compute, 1, silent)  # a report reads no source of photos


def _pdf(folder: Path) -> Path:
    target = folder / "report.pdf"
    print_pdf(folder / "index.html", target)
    return target
