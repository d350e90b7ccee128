"""The stages of a run by name, and those that turn scores into a report."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workflow import detector_stages as detectors
from benchmarks.workflow import face_stages as faces
from benchmarks.workflow.job import Facts, Job
from forge.files import write_json


def evaluate(job: Job) -> Facts:
    """All score rows of the run to cells and comparisons."""
    import pandas as pd

    from benchmarks.measures.evaluation import evaluated
    from detect.scoring import read_scores, rounded, write_scores

    tables = [read_scores(path / "scores.parquet") for path in job.inputs.values()]
    rows = rounded(pd.concat(tables, ignore_index=True))
    write_scores(rows, job.out / "scores.parquet")
    found = evaluated(rows, job.stage.settings.get("metrics", ()))
    write_json(job.out / "evaluation.json", found)
    return {"cells": len(found["cells"])}


def audit(job: Job) -> Facts:
    """The FaceSets of the run to findings."""
    from benchmarks.workflow.audit_stage import audit as audit_faces

    return audit_faces(job)


def report(job: Job) -> Facts:
    """Everything of the run to a folder that a person reads."""
    from benchmarks.workflow.collect import assemble

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
