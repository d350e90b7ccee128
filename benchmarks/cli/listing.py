"""`bench list`: the names that other verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.cli import options
from benchmarks.cli.streams import console as open_console

KINDS = ("generators", "detectors", "metrics", "sections", "perturbations", "sources", "suites", "runs")


def list_names(
    kind: Annotated[
        str, typer.Argument(help="generators, detectors, metrics, sections, perturbations, sources, suites or runs")
    ],
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Detectors: count parameters too (seconds; remembered in the store).")
    ] = False,
    json: options.Json = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """List generators, detectors, metrics, page sections, perturbations, sources of real faces, suites, or runs."""
    from forge.errors import UnknownNameError

    if kind not in KINDS:
        raise UnknownNameError("list", kind, KINDS)
    rows = _rows(kind, reports)
    if kind == "detectors":
        from benchmarks.cli.detectors import with_parameters

        with_parameters(rows, store, count=long)
    if json:
        import json as encoder

        print(encoder.dumps(rows, indent=1))
        return
    if not rows:
        print(f"no {kind} yet")
        return
    if kind == "detectors":
        _print_detectors(rows)
        return
    from rich.table import Table

    table = Table(title=f"{len(rows)} {kind if len(rows) > 1 else kind[:-1]}", title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    open_console().print(table)


def _rows(kind: str, reports: Path) -> list[dict[str, Any]]:
    if kind == "runs":
        return _runs(reports)
    if kind == "suites":
        return _suites()
    if kind == "metrics":
        from benchmarks.measures.detection import METRICS
        from forge.quality import QUALITY

        detection = [{"name": name, "of": "detection", "what": METRICS.load(name).meaning} for name in METRICS.names()]
        quality = [{"name": name, "of": "quality", "what": QUALITY.load(name).__doc__} for name in QUALITY.names()]
        return detection + quality
    if kind == "sections":
        from benchmarks.report.sections import SECTIONS

        sections = sorted(((name, SECTIONS.load(name)) for name in SECTIONS.names()), key=lambda pair: pair[1].position)
        return [{"name": name, "position": section.position, "title": section.title} for name, section in sections]
    if kind == "perturbations":
        from detect.perturb import PERTURBATIONS

        return [{"name": one.name, "what": one.description} for one in PERTURBATIONS.values()]
    return [_entry(kind, name) for name in _registry(kind).names()]


def _print_detectors(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    from benchmarks.cli.detectors import SIDE, blocks

    console = open_console()
    for block in blocks(rows, min(console.width, 100)):
        head, _, rest = block.partition("\n")
        console.print(f"[bold]{escape(head)}[/]\n{escape(rest)}\n", highlight=False, soft_wrap=True)
    unknown = any(row["parameters"] is None and not row["note"] and not row["example"] for row in rows)
    counted = f"parameters at preset full, for images of {SIDE} px"
    more = "`bench list detectors --long` counts parameters" if unknown else counted
    console.print(f"[dim]{len(rows)} detectors; {more}; `bench show NAME` has the settings[/]", highlight=False)


def _registry(kind: str) -> Any:  # noqa: ANN401 - one of three registries
    if kind == "generators":
        from forge.networks import GENERATORS

        return GENERATORS
    if kind == "detectors":
        from detect.detectors import DETECTORS

        return DETECTORS
    from forge.faces.sources import SOURCES

    return SOURCES


def _entry(kind: str, name: str) -> dict[str, Any]:
    if kind == "detectors":
        from benchmarks.cli.detectors import describe

        return describe(name)
    found = _registry(kind).load(name)
    summary = (found.__doc__ or "").strip().split("\n")[0]
    if kind == "generators":
        sizes = ", ".join(map(str, found.resolutions))
        return {"name": name, "what": summary, "pixels": sizes, "citation": found.citation}
    return {"name": name, "what": summary, "licence": getattr(found, "licence", "")}


def _suites() -> list[dict[str, Any]]:
    from benchmarks.pipeline.configs import read_yaml, suites, validated
    from benchmarks.pipeline.settings import RunFile

    found = []
    for name, file in suites().items():
        suite = validated(RunFile, read_yaml(file), where=str(file))
        generators, detectors = suite.generator or [], suite.detector or []
        found.append(
            {
                "name": name,
                "what": suite.title,
                "generators": len(generators) if isinstance(generators, list) else 1,
                "detectors": len(detectors) if isinstance(detectors, list) else 1,
                "seeds": len(suite.seeds or [0]),
                "preset": suite.preset or "",
            }
        )
    return found


def _short(warning: str) -> str:
    """The beginning of a warning, as far as a table has room for it."""
    return warning.partition(":")[0].partition(", do not rely")[0][:60]


def _runs(reports: Path) -> list[dict[str, Any]]:
    from benchmarks.cli.outcome import warnings_of
    from benchmarks.pipeline.reading import read_results, report_folders
    from forge.errors import BenchError

    rows = []
    for folder in report_folders(reports):
        try:
            results = read_results(folder, note=False)
        except BenchError:
            nothing = dict.fromkeys(("preset", "data", "generators", "detectors", "leader", "warnings"), "")
            rows.append({"name": folder.name} | nothing | {"data": "results.json is damaged"})
            continue
        rows.append(
            {
                "name": folder.name,
                "preset": results["preset"],
                "data": results["data"]["name"],
                "generators": ", ".join(dict.fromkeys(entry["name"] for entry in results["generators"])),
                "detectors": ", ".join(dict.fromkeys(entry["name"] for entry in results["detectors"])),
                "leader": _leader(folder, reports),
                "warnings": "; ".join(_short(warning) for warning in warnings_of(results)),
            }
        )
    return rows


def _leader(folder: Path, reports: Path) -> str:
    """The first line of the leaderboard: as published, or computed where scores were submitted since."""
    from benchmarks.cli.leaderboard import sheet_of, submitted
    from benchmarks.measures.numbers import estimate
    from benchmarks.tables.leader import published_leader
    from forge.errors import BenchError

    try:
        there = None if any(submitted(folder).glob("*.parquet")) else published_leader(folder)
        if there is not None:
            value = str(estimate(there.value, there.low, there.high))
            return f"{there.detector} {value} {there.column}"
        board = sheet_of(folder.name, reports=reports).board
    except (BenchError, KeyError, TypeError, ValueError, AttributeError):
        return ""  # a run whose leaderboard cannot be made is listed all the same
    first = board.lines[0]
    mean = first.columns[board.primary]
    if mean.value is None or mean.low is None or mean.high is None:
        return ""
    return f"{first.detector} {estimate(mean.value, mean.low, mean.high)} {board.primary}"
