"""The stages of a run by name, and those that turn scores into a report."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.pipeline import detector_stages as detectors
from benchmarks.pipeline import face_stages as faces
from benchmarks.pipeline.job import Facts, Job
from forge.files import write_json


def evaluate(job: Job) -> Facts:
    """All score rows of the run to cells and comparisons."""
    import pandas as pd

    from benchmarks.measures.audit import controls
    from benchmarks.measures.evaluate import compare, grid
    from benchmarks.measures.evaluate import evaluate as evaluate_cells
    from benchmarks.measures.groups import groups
    from detect.scoring import read_scores, write_scores

    rows = pd.concat([read_scores(path / "scores.parquet") for path in job.inputs.values()], ignore_index=True)
    write_scores(rows, job.out / "scores.parquet")
    main = grid(rows)
    cells, comparisons = evaluate_cells(rows), compare(main)
    facts, gaps = groups(main, cells)
    write_json(
        job.out / "evaluation.json",
        {
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "comparisons": [item.model_dump(mode="json") for item in comparisons],
            "groups": [one.model_dump(mode="json") for one in facts],
            "gaps": [one.model_dump(mode="json") for one in gaps],
            "audits": [one.model_dump(mode="json") for one in controls(main)],
        },
    )
    return {"cells": len(cells)}


def audit(job: Job) -> Facts:
    """The FaceSets of the run to findings."""
    from benchmarks.pipeline.audit_stage import audit as audit_faces

    return audit_faces(job)


def report(job: Job) -> Facts:
    """Everything of the run to a folder that a person reads."""
    from benchmarks.pipeline.assemble import assemble

    return assemble(job)


STAGES: dict[str, Callable[[Job], Facts]] = {
    "prepare": faces.prepare,
    "external": faces.external,
    "train": faces.train,
    "synthesize": faces.synthesize,
    "blend": faces.blend,
    "perturb": faces.perturb,
    "floor": faces.floor,
    "quality": faces.quality,
    "fit": detectors.fit,
    "score": detectors.score,
    "explain": detectors.explain,
    "audit": audit,
    "evaluate": evaluate,
    "report": report,
}
