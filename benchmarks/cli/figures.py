"""`bench export figures`: the figures of a report for a paper."""

from __future__ import annotations

import fnmatch
import re
import tempfile
from pathlib import Path

from benchmarks.cli.chromium import print_pdf
from benchmarks.report.run_report import RunReport
from forge.core.errors import BenchError, InputError, UnknownNameError, quoted
from forge.core.files import write_text

FORMATS = ("pdf", "svg")
_WIDTHS = (20.0, 1000.0)  # mm
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)" width="[\d.]+" height="[\d.]+"')
_DARK = re.compile(r"@media \(prefers-color-scheme:dark\)\{:root\{[^}]*\}\}\n?")


def figures(run: str, out: Path, names: str | None, form: str, width: float, reports: Path) -> None:
    """Write the figures of a report for a paper: on white, at the width of a column."""
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    if not _WIDTHS[0] <= width <= _WIDTHS[1]:
        raise InputError(f"--width {width:g} must be {_WIDTHS[0]:g} to {_WIDTHS[1]:g} mm; a column has about 84")
    chosen = _chosen(RunReport.open(run, reports), names)
    out.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        target = out / f"{file.stem}.{form}"
        drawing, height = for_paper(file.read_text(), width)
        if form == "svg":
            write_text(target, drawing)
        else:
            with tempfile.TemporaryDirectory() as folder:
                page = Path(folder) / "figure.html"
                write_text(page, _page(drawing, width, height))
                print_pdf(page, target)
        print(target)


def for_paper(svg: str, width: float) -> tuple[str, float]:
    """Return a figure in light colours whatever the reader's theme, and its height in mm.

    Args:
        svg: a figure of a report.
        width: in mm.

    Raises:
        BenchError: the figure has no size.
    """
    size = _SIZE.search(svg)
    if size is None:
        raise BenchError("a figure of the report has no size; write the report again: bench report RUN")
    height = width * float(size[2]) / float(size[1])
    of_paper = f'viewBox="0 0 {size[1]} {size[2]}" width="{width:g}mm" height="{height:.2f}mm"'
    drawing = _DARK.sub("", svg.replace(size[0], of_paper, 1))
    return drawing.replace("color-scheme:light dark", "color-scheme:light"), height


def _page(drawing: str, width: float, height: float) -> str:
    """Return a page that holds a figure alone; a second, empty one would follow without room to spare."""
    style = f"@page{{size:{width:g}mm {height + 0.2:.2f}mm;margin:0}}body{{margin:0;line-height:0}}"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{drawing}'


def _chosen(report: RunReport, names: str | None) -> list[Path]:
    files = sorted((report.folder / "figures").glob("*.svg"))
    if not files:
        raise InputError(f"{report.name} has no figures; bench report {report.name} writes its page again")
    if names is None:
        return files
    known = [file.stem for file in files]
    chosen: list[str] = []
    for pattern in (name.strip() for name in names.split(",")):
        matching = fnmatch.filter(known, pattern)
        if not matching and "*" in pattern:
            raise InputError(f"--only {quoted(pattern)} names no figure of {report.name}; it has: {', '.join(known)}")
        if not matching:
            raise UnknownNameError("figure", pattern, known)
        chosen += matching
    return [file for file in files if file.stem in chosen]
