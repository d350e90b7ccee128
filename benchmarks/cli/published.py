"""`bench detect published`: detectors that can be imported, and what their authors reported against a run's values."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX
from benchmarks.report.run_report import RunReport
from detect.importers import IMPORTERS
from detect.importers.importer import Importer, Reported
from forge.core.errors import InputError, UnknownNameError

_METRICS = {"AP": "ap", "accuracy": "accuracy"}  # reported metric -> its id in cells


def published(name: str | None, run: str | None, reports: Path, as_json: bool) -> None:
    """List published detectors, or compare the reported values of one of them with those of a run.

    Raises:
        UnknownNameError: nothing published has this name.
        InputError: a run without a name, a run that did not test the detector, or one without reported values.
    """
    if name is None:
        if run is not None:
            raise InputError("--run compares the figures of a detector; name it: bench detect published NAME --run RUN")
        rows = [_row(known, IMPORTERS.load(known)) for known in IMPORTERS.names()]
        print(json.dumps(rows, indent=1) if as_json else "\n\n".join(_block(row) for row in rows))
        return
    if name not in IMPORTERS.names():
        raise UnknownNameError("published detector", name, IMPORTERS.names(), see="bench detect published")
    importer: Importer = IMPORTERS.load(name)
    results = None if run is None else RunReport.open(run, reports).results
    rows = compared(name, importer, results)
    if as_json:
        print(json.dumps(_row(name, importer) | {"reported": rows}, indent=1))
        return
    print(_block(_row(name, importer)))
    if rows:
        _print(rows, run)
    else:
        print("  no reported values are listed for it yet; add them to its file in detect/importers/")


def compared(name: str, importer: Importer, results: Results | None) -> list[dict[str, Any]]:
    """Pair each reported value with that of a run.

    Args:
        name: of the importer.
        importer: with the reported values.
        results: of the run; None: `reproduced` is None everywhere.

    Returns:
        Mappings with weights, test_set, metric, reported, reproduced, images and source.

    Raises:
        InputError: the run did not test this detector.
    """
    cells: dict[str, TestResult] = {}
    weights = ""
    if results is not None:
        fits = [fit for fit in results.detectors if fit.facts.get("published") == name]
        if not fits:
            raise InputError(
                f"run {results.name} has no detector that was imported as {name}; run it with --detector "
                f"{name}-published, the folder that bench detect import {name} made"
            )
        weights = str(fits[0].facts.get("file", ""))
        cells = {
            _key(cell.tested_on.removeprefix(EXTERNAL_PREFIX)): cell
            for cell in results.cells
            if cell.detector == fits[0].name and cell.perturbation == CLEAN
        }
    rows = []
    for figure in importer.reported:
        # figures of another file of the same authors have nothing to compare with
        same = not figure.weights or not weights or figure.weights == weights
        cell = cells.get(_key(figure.test_set)) if same else None
        rows.append(
            {
                "weights": figure.weights,
                "test_set": figure.test_set,
                "metric": figure.metric,
                "reported": figure.value,
                "reproduced": None if cell is None else _value(cell, figure),
                "images": None if cell is None else [cell.n_real, cell.n_forged],
                "source": figure.source,
            }
        )
    return rows


def _value(cell: TestResult, figure: Reported) -> float | None:
    return cell.auc if figure.metric == "AUC" else cell.value(_METRICS[figure.metric])


def _key(test_set: str) -> str:
    """Return a name without case, spaces and signs: an external pair cannot be called "FF++ c23"."""
    return re.sub(r"[^a-z0-9]", "", test_set.lower().replace("++", "pp"))


def _row(name: str, importer: Importer) -> dict[str, Any]:
    return {
        "name": name,
        "weights": importer.weights,
        "repository": importer.repository,
        "licence": importer.licence or None,
        "images": importer.preprocessing,
        "backbone": importer.backbone or None,
        "reported_values": len(importer.reported),
    }


def _block(row: dict[str, Any]) -> str:
    lines = [
        f"github.com/{row['repository']}: {row['weights']}{'; ' + row['licence'] if row['licence'] else ''}",
        f"images: {row['images']}",
        f"needs --backbone: {row['backbone']}" if row["backbone"] else "",
    ]
    width = open_console().width
    filled = [
        textwrap.fill(line, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        for line in lines
        if line
    ]
    return "\n".join([row["name"], *filled])


def _print(rows: list[dict[str, Any]], run: str | None) -> None:
    console = open_console()
    several = len({row["weights"] for row in rows}) > 1
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in (*(["weights"] if several else []), "test set", "metric", "reported", "reproduced", "images"):
        table.add_column(heading, justify="right" if heading in ("reported", "reproduced") else "left")
    for row in rows:
        images = "–" if row["images"] is None else "{} + {}".format(*row["images"])
        reproduced = "–" if row["reproduced"] is None else f"{row['reproduced']:.3f}"
        cells = [row["test_set"], row["metric"], f"{row['reported']:.3f}", reproduced, images]
        table.add_row(*map(escape, ([row["weights"]] if several else []) + cells))
    console.print(table)
    console.print("Source: " + "; ".join(dict.fromkeys(str(row["source"]) for row in rows)), highlight=False)
    if run is None:
        sentence = "A run on these sets fills the column of reproduced values: bench detect published NAME --run RUN"
        console.print(sentence, highlight=False)
