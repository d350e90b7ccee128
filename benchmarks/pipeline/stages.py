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

    from benchmarks.measures.evaluation import evaluated
    from benchmarks.protocol import Protocol
    from detect.scoring import read_scores, rounded, write_scores

    tables = [read_scores(path / "scores.parquet") for path in job.inputs.values()]
    rows = rounded(pd.concat(tables, ignore_index=True))
    write_scores(rows, job.out / "scores.parquet")
    settings = job.stage.settings
    found = evaluated(rows, settings.get("metrics", ()), Protocol(settings["protocol"], settings["families"]))
    write_json(job.out / "evaluation.json", found)
    return {"cells": len(found["cells"])}


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
