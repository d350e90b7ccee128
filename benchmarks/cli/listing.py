"""`bench list`: the names that other verbs take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.detectors import SIDE, blocks, describe, with_parameters
from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation.leader import published_leader
from benchmarks.evaluation.metrics import METRICS
from benchmarks.evaluation.numbers import estimate
from benchmarks.experiment.configs import suites
from benchmarks.experiment.request import read_request
from benchmarks.protocol import TrainSet
from benchmarks.report.run_report import RunReport, report_folders
from benchmarks.report.sections import SECTIONS
from benchmarks.zoo.cards import mega
from benchmarks.zoo.members import EMPTY, Member, members
from detect.attacks.registry import ATTACKS
from detect.data.perturb import LISTED, PERTURBATIONS, perturbation
from detect.detectors.registry import DETECTORS
from forge.core.errors import BenchError, UnknownNameError
from forge.faces.layouts import LAYOUTS
from forge.faces.sources import SOURCES
from forge.generators import GENERATORS
from forge.quality import QUALITY

CATEGORIES = (
    *("generators", "detectors", "attacks", "metrics", "sections", "perturbations", "sources", "layouts", "suites"),
    *("runs", "zoo"),
)


def list_names(category: str, long: bool, as_json: bool, store: Path, reports: Path) -> None:
    """List generators, detectors, attacks, metrics, sections, perturbations, sources, layouts, suites, runs, or zoo."""
    if category not in CATEGORIES:
        raise UnknownNameError("list", category, CATEGORIES)
    rows = _rows(category, reports)
    if category == "detectors":
        with_parameters(rows, store, count=long)  # only detectors have a number that is expensive to know
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    # A sentence instead of a table without rows; as JSON it is an empty list.
    if not rows:
        print(f"no {category} yet" if category != "zoo" else f"the zoo has no members yet; {EMPTY}")
        return
    if category == "detectors":
        _print_detectors(rows)
        return

    # "1 run", not "1 runs"
    if category == "zoo":
        _print_zoo(rows)
        return
    table = Table(title=f"{len(rows)} {category if len(rows) > 1 else category[:-1]}", title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))  # [] in names is no markup
    open_console().print(table)


def _rows(category: str, reports: Path) -> list[dict[str, Any]]:
    if category == "runs":
        return _runs(reports)
    if category == "zoo":
        return [_member(member) for member in members().values()]
    if category == "suites":
        return _suites()
    if category == "metrics":
        detection = [{"name": name, "of": "detection", "what": METRICS.load(name).meaning} for name in METRICS.names()]
        quality = [{"name": name, "of": "quality", "what": QUALITY.load(name).__doc__} for name in QUALITY.names()]
        return detection + quality
    if category == "sections":
        sections = sorted(((name, SECTIONS.load(name)) for name in SECTIONS.names()), key=lambda pair: pair[1].position)
        return [{"name": name, "position": section.position, "title": section.title} for name, section in sections]
    if category == "perturbations":
        # Shipped ones in their order of strength, then those of plug-ins.
        names = [*LISTED, *(name for name in PERTURBATIONS.names() if name not in PERTURBATIONS.entries)]
        made = [perturbation(name) for name in names]
        return [{"name": change.name, "title": change.display_name, "what": change.description} for change in made]
    if category == "layouts":  # of public test sets
        loaded = [(name, LAYOUTS.load(name)) for name in LAYOUTS.names()]
        return [{"name": name, "of": layout.title, "looks like": layout.tree} for name, layout in loaded]
    return [_entry(category, name) for name in _registry(category).names()]


def _print_detectors(rows: list[dict[str, Any]]) -> None:
    console = open_console()
    for block in blocks(rows, min(console.width, 100)):
        # The first line alone is bold; markup in names is text.
        head, _, rest = block.partition("\n")
        console.print(f"[bold]{escape(head)}[/]\n{escape(rest)}\n", highlight=False, soft_wrap=True)
    # The hint is for those alone that --long would count.
    unknown = any(row["parameters"] is None and not row["note"] and not row["example"] for row in rows)
    counted = f"parameters at preset full, for images of {SIDE} px"
    more = "`bench list detectors --long` counts parameters" if unknown else counted
    console.print(f"[dim]{len(rows)} detectors; {more}; `bench show NAME` has the settings[/]", highlight=False)


def _registry(category: str) -> Any:  # noqa: ANN401 - one of four registries
    if category == "generators":
        return GENERATORS
    if category == "detectors":
        return DETECTORS
    return ATTACKS if category == "attacks" else SOURCES


def _entry(category: str, name: str) -> dict[str, Any]:
    if category == "detectors":
        return describe(name)
    implementation = _registry(category).load(name)
    summary = (implementation.__doc__ or "").strip().split("\n")[0]
    if category == "generators":
        sizes = ", ".join(map(str, implementation.resolutions))
        return {"name": name, "what": summary, "pixels": sizes, "citation": implementation.citation}
    if category == "attacks":
        budget = "grey levels" if implementation.budget == "levels" else "none"
        return {"name": name, "what": summary, "asks for": implementation.access, "budget": budget}
    return {"name": name, "what": summary, "licence": getattr(implementation, "licence", "")}


def _member(member: Member) -> dict[str, Any]:
    card = member.card
    distance, reference = card.sliced_wasserstein or (None, None)
    return {
        "name": member.name,
        "role": card.role,
        "family": card.family,
        "resolution": card.resolution,
        "trained on": card.trained_on,
        "thousand images": card.kimg,
        "sliced Wasserstein x 1000": distance,
        "of held-out real faces": reference,
        "auc": card.auc,
        "bytes": member.bytes if member.has_weights else None,
        "folder": str(member.folder),
    }


def _print_zoo(rows: list[dict[str, Any]]) -> None:
    """Print a row per member; numbers of one role are no columns of the other."""
    table = Table(title=f"{len(rows)} in the zoo", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("what", "trained on", "how good"):
        table.add_column(heading, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for row in rows:
        parts = TrainSet.parse(row["trained on"]).generators
        training = row["trained on"] if len(parts) == 1 else f"{len(parts)} generators"
        if row["thousand images"] is not None:
            training += f", {row['thousand images']:.4g} thousand images"
        good = [f"AUC {value:.3f} {column}" for column, value in list(row["auc"].items())[:2]]
        if row["sliced Wasserstein x 1000"] is not None:
            good = [f"{row['sliced Wasserstein x 1000']:.1f}, real faces {row['of held-out real faces']:.1f}"]
        what = f"{row['family'] or row['role']}, {row['resolution']} px"
        size = mega(row["bytes"]) if row["bytes"] else "card alone"
        table.add_row(row["name"], what, escape(training), ", ".join(good), size)
    console = open_console()
    console.print(table)
    console.print(
        "[dim]generators: sliced Wasserstein x 1000 of their forgeries, lower is better; `bench show zoo:NAME` has the "
        "card[/]",
        highlight=False,
    )


def _suites() -> list[dict[str, Any]]:
    rows = []
    for name, file in suites().items():
        suite = read_request(file)
        rows.append(
            {
                "name": name,
                "what": suite.title,
                "generators": len(suite.generator),
                "detectors": len(suite.detector),
                "seeds": len(suite.seeds or [0]),
                "preset": suite.preset or "",
            }
        )
    return rows


def _short(warning: str) -> str:
    """The beginning of a warning, as far as a table has room for it."""
    return warning.partition(":")[0].partition(", do not rely")[0][:60]


def _runs(reports: Path) -> list[dict[str, Any]]:
    from benchmarks.report.text.run_warnings import warnings  # imports pandas

    rows = []
    # Damaged reports are listed as such: one of them must not hide the others.
    for folder in report_folders(reports):
        try:
            # `note=False`: what is odd in a report is said where it is opened, not in a list
            report = RunReport(folder, note=False)
            results = report.results
        except BenchError:
            nothing = dict.fromkeys(("preset", "data", "generators", "detectors", "leader", "warnings"), "")
            rows.append({"name": folder.name} | nothing | {"data": "results.json is damaged"})
            continue
        rows.append(
            {
                "name": folder.name,
                "preset": results.preset,
                "data": results.data.name,
                "generators": ", ".join(dict.fromkeys(fact.name for fact in results.generators)),
                "detectors": ", ".join(dict.fromkeys(fact.name for fact in results.detectors)),
                "leader": _leader(report),
                "warnings": "; ".join(_short(warning) for warning in warnings(results)),
            }
        )
    return rows


def _leader(report: RunReport) -> str:
    """The first line of the leaderboard: as published, or computed where scores were submitted since."""
    from benchmarks.report.run_leaderboard import sheet_of, submitted  # imports pandas

    try:
        # The published line is read from a file; ranking anew reads all scores, which takes seconds.
        there = None if any(submitted(report.folder).glob("*.parquet")) else published_leader(report.folder)
        if there is not None:
            value = str(estimate(there.value, there.low, there.high))
            return f"{there.detector} {value} {there.column}"
        board = sheet_of(report).board
    except (BenchError, KeyError, TypeError, ValueError, AttributeError):
        return ""  # a run whose leaderboard cannot be made is listed all the same
    first = board.lines[0]
    mean = first.columns[board.primary]
    if mean.value is None or mean.low is None or mean.high is None:
        return ""
    return f"{first.detector} {estimate(mean.value, mean.low, mean.high)} {board.primary}"
