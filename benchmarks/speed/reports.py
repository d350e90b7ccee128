"""Speed of writing a report: from score rows to the page and all files beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.evaluation.results import Results
from benchmarks.evaluation.results_of import evaluated
from benchmarks.evaluation.run_facts import DataFacts
from benchmarks.report.inputs import Pictures, ReportInputs
from benchmarks.report.write import write_report
from benchmarks.speed.figure import Figure, timed
from benchmarks.speed.statistics import score_rows

DETECTORS, TRAINED, TESTED, IMAGES = 5, 2, 3, 25_000


def reports(photos: str | None) -> list[Figure]:
    """A report of 30 cells over 500,000 scores."""
    names = [f"g{i}" for i in range(TESTED)]
    # Two trainings and three tests: seen and unseen generators.
    test = score_rows([f"detector {i}" for i in range(DETECTORS)], names[:TRAINED], names, IMAGES)
    # some validation rows, for the thresholds
    val = test.groupby(["detector", "trained_on", "generator"]).head(500).assign(split="val")
    scores = pd.concat([test, val], ignore_index=True)
    figures: dict[str, object] = {}  # filled by the timed call, which returns nothing
    measuring = timed(lambda: figures.update(evaluated(scores)))
    data = DataFacts(
        name="faces", digest="0" * 64, licence="CC0-1.0", citation="", resolution=64, splits={}, rejected={},
        provenance={}, shown=True,
    )  # fmt: skip
    facts = {"name": "speed", "preset": "quick", "seed": 0, "command": "bench speed", "data": data, "generators": []}
    results = Results.model_validate(facts | {"detectors": [], "stages": [], "environment": {}} | figures)
    inputs = ReportInputs(results, scores, Pictures({}, {}, lambda source, sample: None))
    with tempfile.TemporaryDirectory() as folder:
        report_folder = Path(folder) / "report"
        writing = timed(lambda: write_report(report_folder, inputs))
        size = (report_folder / "index.html").stat().st_size
    over = f"{len(results.cells)} cells over {len(test):,} scores"
    return [
        Figure("cells, tests, groups and audits from scores", measuring, "s", over),
        Figure("report", writing, "s", f"{over}: page ({size / 1000:.0f} kB), figures, tables, scores.parquet"),
    ]
