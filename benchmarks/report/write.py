"""Write the report of a run: the page, report.md, figures, pictures and the data files."""

from __future__ import annotations

from pathlib import Path

from benchmarks.evaluation.attribution_facts import to_csv as attribution_csv
from benchmarks.evaluation.attribution_rows import FILE as ATTRIBUTIONS
from benchmarks.evaluation.attribution_rows import write_attributions
from benchmarks.evaluation.localisation import write_rows
from benchmarks.evaluation.metrics import metrics_of
from benchmarks.evaluation.results import to_csv
from benchmarks.report import render
from benchmarks.report.digests import write_sums
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import build
from benchmarks.report.picture_files import KINDS, pictures
from benchmarks.report.plot.elements import standalone
from detect.scoring import write_scores
from forge.core.files import write_json, write_text


def write_report(directory: Path, inputs: ReportInputs) -> None:
    """Write index.html, report.md with its figures, results.json, results.csv, scores.parquet and SHA256SUMS over all.

    Of a run with attributions also attribution.csv, their numbers, and attribution.parquet, the answers behind them.
    Of a run with localisers also masks.parquet: the pixels of each image by the level of the map.

    The same inputs give the same bytes. Every file is replaced atomically; figures of an earlier report that are not
    part of this one are removed.

    Args:
        directory: made if it does not exist.
        inputs: what the report is written from.

    Raises:
        InputError: scores lack a column or do not belong to the results, or a section of a plug-in fails.
    """
    # Before any file is written: a section that fails leaves the folder as it was.
    page = build(inputs)
    # into results.json, for those who read no page
    opening = {"summary": list(page.summary.sentences), "notes": [*page.summary.warnings, *page.summary.notes]}
    results, styles = inputs.results.model_copy(update=opening), render.styles()
    kept = set()
    for figure in page.figures:
        file = directory / "figures" / f"{figure.name}.svg"
        kept.add(file)
        write_text(file, standalone(figure.svg, figure.title, styles))
    for name, write_picture in page.pictures.items():
        kept.add(directory / name)
        write_picture(directory / name)
    earlier = {file for kind in KINDS for file in pictures(directory, kind).values()}
    # Only figures and pictures of a report are removed; other files belong to people.
    for stale in {*directory.glob("figures/*.svg"), *earlier} - kept:
        stale.unlink()
    write_scores(inputs.scores, directory / "scores.parquet")
    if inputs.masks is not None:
        write_rows(inputs.masks, directory / "masks.parquet")
    write_json(directory / "results.json", results.model_dump(mode="json"))
    write_text(directory / "results.csv", to_csv(results.cells, metrics_of(results)))
    if inputs.attributions is not None:
        write_attributions(inputs.attributions, directory / ATTRIBUTIONS)
    if results.attribution:
        write_text(directory / "attribution.csv", attribution_csv(results.attribution))
    write_text(directory / "report.md", render.text(page))
    write_text(directory / "index.html", render.html(page))
    if inputs.expected is not None:  # None: the report has none, and its file, if any, is left alone
        write_json(directory / "expected.json", inputs.expected.model_dump(mode="json"))
    write_sums(directory)  # last: it lists the others
