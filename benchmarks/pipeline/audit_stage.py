"""The stage that audits the images of a run: leaks between splits, copies among forgeries, numbers that tell."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.audit import copies, shared_identities, values
from benchmarks.measures.results import Finding
from benchmarks.pipeline.job import Facts, Job
from forge.faces.duplicates import Hashes, Thumbnails, describe, near_duplicates
from forge.faces.faceset import FaceView
from forge.files import write_json

_BATCH = 2048
_LOOKED_AT = 1000  # images a class whose plain numbers are compared


def audit(job: Job) -> Facts:
    """The FaceSets of a run to findings."""
    real = job.faces("data")
    found = [shared_identities(real.table), _between_splits(job)]
    for name in job.inputs:
        if name.startswith("forged "):
            forged, title = job.faces(name), name.removeprefix("forged ")
            if f"train {title}" in job.inputs:
                found.append(_memorised(real.view("forge"), forged.view("test"), title))
            pair = (faces.view("test").sample(_LOOKED_AT, 0).read() for faces in (real, forged))
            finding = values(*pair, ours=True)
            found.append(finding.model_copy(update={"audit": f"values, {title}"}))
    write_json(job.out / "findings.json", [one.model_dump(mode="json") for one in found])
    return {"findings": len(found)}


def _between_splits(job: Job) -> Finding:
    """No photo may stand in two splits of the real faces."""
    faces = job.faces("data")
    whole = faces.view(None)
    splits, ids = (whole.rows[name].to_numpy() for name in ("split", "id"))
    pairs = [(str(ids[a]), str(ids[b])) for a, b in near_duplicates(*_described(whole)) if splits[a] != splits[b]]
    return copies(pairs, "two splits of the real faces")


def _memorised(training: FaceView, forged: FaceView, title: str) -> Finding:
    """Forgeries that are copies of the generator's training faces."""
    described = [_described(view) for view in (training, forged)]
    hashes, thumbnails = (np.concatenate([one[i] for one in described]) for i in (0, 1))
    count = len(training)
    ids = np.concatenate([view.rows["id"].to_numpy(dtype=str) for view in (training, forged)])
    pairs = [(ids[a], ids[b]) for a, b in near_duplicates(hashes, thumbnails) if (a < count) != (b < count)]
    return copies(pairs, f"both the training faces and the forgeries of {title}")


def _described(view: FaceView) -> tuple[Hashes, Thumbnails]:
    parts = [describe(images) for images in view.batches(_BATCH)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
