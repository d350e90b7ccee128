"""The stage that audits the images of a run: leaks between splits, copies among forgeries, numbers that tell."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.audit import copies, file_names, shared_identities, sources, values
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
    for name in job.inputs:
        if name.startswith("external ") and name.endswith(" real"):
            found += _elsewhere(job, name)
    write_json(job.out / "findings.json", [one.model_dump(mode="json") for one in found])
    return {"findings": len(found)}


def _elsewhere(job: Job, name: str) -> list[Finding]:
    """What could give away the class in a pair of folders that nobody here made; photos that detectors learned from."""
    real, forged = job.faces(name), job.faces(name.removesuffix("real") + "forged")
    looked_at = [faces.view("test").sample(_LOOKED_AT, 0).read() for faces in (real, forged)]
    files = [list(map(str, faces.table["source_file"])) for faces in (real, forged)]
    title = real.card.name
    names = file_names(*files)
    if names.passed is False:  # nothing to fail by: detectors here read pixels alone
        told = f"{names.sentence} Detectors here read pixels alone; whoever sees the files is told the class."
        names = names.model_copy(update={"passed": None, "sentence": told})
    found = [sources(real.table, forged.table), names, values(*looked_at, ours=False)]
    named = [one.model_copy(update={"audit": f"{one.audit}, {title}"}) for one in found]
    learned = job.faces("data").view("train")
    return [*named, _shared(learned, real.view("test"), f"both the training photos and the real photos of {title}")]


def _between_splits(job: Job) -> Finding:
    """No photo may stand in two splits of the real faces."""
    faces = job.faces("data")
    whole = faces.view(None)
    splits, ids = (whole.rows[name].to_numpy() for name in ("split", "id"))
    pairs = [(str(ids[a]), str(ids[b])) for a, b in near_duplicates(*_described(whole)) if splits[a] != splits[b]]
    return copies(pairs, "two splits of the real faces")


def _memorised(training: FaceView, forged: FaceView, title: str) -> Finding:
    """Forgeries that are copies of the generator's training faces."""
    return _shared(training, forged, f"both the training faces and the forgeries of {title}")


def _shared(first: FaceView, second: FaceView, between: str) -> Finding:
    """Images that stand in two views which must not share any."""
    described = [_described(view) for view in (first, second)]
    hashes, thumbnails = (np.concatenate([one[i] for one in described]) for i in (0, 1))
    count = len(first)
    ids = np.concatenate([view.rows["id"].to_numpy(dtype=str) for view in (first, second)])
    pairs = [(ids[a], ids[b]) for a, b in near_duplicates(hashes, thumbnails) if (a < count) != (b < count)]
    return copies(pairs, between)


def _described(view: FaceView) -> tuple[Hashes, Thumbnails]:
    parts = [describe(images) for images in view.batches(_BATCH)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
