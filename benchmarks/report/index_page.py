"""Index page of a folder of reports: one file that opens offline and links to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.render import index
from benchmarks.report.run_report import RunReport, report_folders
from benchmarks.report.text.headline import headline
from forge.core.errors import InputError

_MOST_SAMPLES = 4  # pictures of a report


@dataclass(frozen=True)
class Entry:
    """A report as the index shows it; paths are relative to the index.

    Attributes:
        name: of its folder.
        best: its best result in one line.
        warnings: failed audits.
        facts: name -> value.
        overview: the figure that opens its page; empty: it has none.
        samples: generator -> picture of its forgeries.
        links: other files of the report.
    """

    name: str
    best: str
    warnings: list[str]
    facts: dict[str, str]
    overview: str
    samples: dict[str, str]
    links: list[str]


def write_index(reports: Path) -> Path:
    """Write index.html into a folder of reports.

    Args:
        reports: the folder.

    Returns:
        The page.

    Raises:
        InputError: it holds no report.
    """
    page = reports / "index.html"
    page.write_text(index_page(reports), encoding="utf-8")
    return page


def index_page(reports: Path) -> str:
    """Return the index page of a folder of reports, those with the most tests first.

    Raises:
        InputError: it holds no report.
    """
    folders = [folder for folder in report_folders(reports) if folder.parent.resolve() == reports.resolve()]
    if not folders:
        raise InputError(f"{reports}/ holds no report; bench run writes one, --reports names another folder")
    reports_there = [RunReport(folder, note=False) for folder in folders]
    reports_there.sort(key=lambda report: (-len(report.results.cells), report.folder.name))
    return index([_entry(report) for report in reports_there])


def _entry(report: RunReport) -> Entry:
    folder = report.folder
    results = report.results
    seeds = results.seeds or [results.seed]
    facts = {
        "data": f"{results.data.name}, {results.data.resolution} px, {results.data.licence}",
        "generators": ", ".join(dict.fromkeys(fact.name for fact in results.generators)),
        "detectors": ", ".join(dict.fromkeys(fact.name for fact in results.detectors)),
        "preset": f"{results.preset}, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}",
        "protocol": str(results.protocol_version),
        "command": results.command,
    }
    data = ("report.md", "results.csv", "results.json", "results-tables.json.gz")
    scores = ("scores.parquet", "scores", "scores.json")
    samples = report.samples
    # in the order of the run; of several seeds the pictures are of the first
    shown = [name for name in dict.fromkeys(fact.name for fact in results.generators) if name in samples]
    overview = folder / "figures" / "overview.svg"
    return Entry(
        name=folder.name,
        best=headline(report),
        warnings=[f"{each.audit}: {each.sentence}" for each in results.audits if each.passed is False],
        facts=facts,
        overview=f"{folder.name}/figures/{overview.name}" if overview.is_file() else "",
        samples={name: f"{folder.name}/{samples[name].name}" for name in shown[:_MOST_SAMPLES]},
        links=[name for name in (*data, *scores) if (folder / name).exists()],
    )
