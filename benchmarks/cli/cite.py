"""`bench cite`: a methods paragraph and BibTeX of a finished run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.evaluation.latex import escaped
from benchmarks.report.run_leaderboard import sheet_of
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.bibliography import bibtex, entry
from benchmarks.report.text.methods import methods, works
from forge.core.errors import UnknownNameError

FORMATS = ("text", "latex", "bibtex")


def cite(run: str, form: str | None, reports: Path) -> None:
    """Print how a run was made, for the methods section of a paper, and what to cite."""
    if form is not None and form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    report = RunReport.open(run, reports)
    results = report.results
    if form != "bibtex":
        board = sheet_of(report).board if results.cells else None
        columns = [board.primary] if board is not None else []
        paragraphs = methods(results, columns)
        print("\n\n".join(map(escaped, paragraphs) if form == "latex" else paragraphs))
    if form is None:
        print()
    if form in (None, "bibtex"):
        software = {
            "author": "{The deepfake-bench developers}",
            "title": "deepfake-bench",
            "version": results.environment.get("bench", ""),
            "note": f"protocol {results.protocol_version}, commit {results.environment.get('commit', 'unknown')[:12]}",
        }
        print(entry("software", "deepfake-bench", software, "the program"))
        print(bibtex(works(results)), end="")
