"""A small suite as a run publishes it: two detectors, two trainings, a report folder with all its data files."""

import pandas as pd
from synthetic import NO_PICTURES, make_results
from test_leaderboard import suite

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.reproduce import expected_of
from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.protocol import PROTOCOL_VERSION
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report


def publish_suite(folder):
    """Write the report of `mine`, with detectors good and bad, into a folder and return it."""
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
    write_report(folder, ReportInputs(results, scores, NO_PICTURES, expected=expected))
    return folder
