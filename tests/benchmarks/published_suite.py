"""A small suite as a run publishes it: two detectors, two trainings, a report folder with all its data files."""

import pandas as pd
from synthetic import NO_PICTURES, make_results
from test_leaderboard import suite

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.reproduce import expected_of
from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.protocol import PROTOCOL_VERSION
from benchmarks.report.digests import write_sums
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report
from detect.scoring import write_scores
from forge.core.files import write_json


def suite_report():
    """Make what the report of `mine` is written from, with detectors good and bad."""
    test = suite({"good": 0.9, "bad": 0.6}, n=60)
    scores = pd.concat([test, test.assign(split="val", sample_id="v" + test["sample_id"])], ignore_index=True)
    for name in set(scores["trained_on"]):  # val has forgeries that were trained on
        seen = name.split("+")[0]
        rows = scores["trained_on"].eq(name) & scores["split"].eq("val") & scores["generator"].ne("")
        scores.loc[rows, "generator"] = seen
    results = make_results(scores, name="mine")
    fits = [
        StageFacts(name=f"fit {fit.name}@{fit.trained_on}", key=f"{i:064x}", seconds=1.0, peak_memory_mb=None)
        for i, fit in enumerate(results.detectors)
    ]
    stages = [stage for stage in results.stages if stage.name != "fit"] + fits
    results = results.model_copy(update={"protocol_version": PROTOCOL_VERSION, "stages": stages})
    expected = expected_of(results, cells_of(scores), leaderboard(scores))
    return ReportInputs(results, scores, NO_PICTURES, expected=expected)


def publish_suite(folder):
    """Write the report of `mine` into a folder and return it."""
    write_report(folder, suite_report())
    return folder


def publish_data(folder):
    """Write the data files of the report of `mine` alone, without its page, into a folder and return it."""
    inputs = suite_report()
    write_scores(inputs.scores, folder / "scores.parquet")
    for name in ("results", "expected"):
        write_json(folder / f"{name}.json", getattr(inputs, name).model_dump(mode="json"))
    write_sums(folder)
    return folder
