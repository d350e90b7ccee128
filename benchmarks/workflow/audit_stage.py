"""The stage that audits the images of a run: leaks between splits, copies among forgeries, numbers that tell."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.audit import copies, shared_identities, values
from benchmarks.measures.file_cues import FileCues
from benchmarks.measures.handling import content, handling
from benchmarks.measures.pairs import file_names, sides, sources
from benchmarks.measures.results import Finding
from benchmarks.workflow.job import Facts, Job
from forge.faces.duplicates import Hashes, Thumbnails, describe, near_duplicates
from forge.faces.faceset import FaceSet, FaceView
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
            finding = values(*pair)
            found.append(finding.model_copy(update={"audit": f"values, {title}"}))
    for name in job.inputs:
        if name.startswith("external ") and name.endswith(" real"):
            found += _elsewhere(job, name)
    write_json(job.out / "findings.json", [one.model_dump(mode="json") for one in found])
    return {"findings": len(found)}


def _elsewhere(job: Job, name: str) -> list[Finding]:
    """Audit a pair of folders from elsewhere: names, files, handling, content, and copies of what was learned from."""
    other = name.removesuffix("real") + "forged"
    real, forged = job.faces(name), job.faces(other)
    samples = [faces.view("test").sample(_LOOKED_AT, 0) for faces in (real, forged)]
    files = [list(map(str, faces.table["source_file"])) for faces in (real, forged)]
    title = real.card.name
    names = file_names(*files)
    if names.passed is False:  # nothing to fail by: detectors here read pixels alone
        sentence = f"{names.sentence} Detectors here read pixels alone; whoever sees the files is told the class."
        names = names.model_copy(update={"passed": None, "sentence": sentence})
    folders = [faces.card.provenance["source"]["folder"] for faces in (real, forged)]
    findings = [
        sides(*folders),
        sources(real.table, forged.table),
        names,
        handling(*(FileCues.load(job.inputs[side]) for side in (name, other))),
        content(samples[0].read(), samples[1].read(), (samples[0].rows["identity"], samples[1].rows["identity"])),
    ]
    named = [finding.model_copy(update={"audit": f"{finding.audit}, {title}"}) for finding in findings]
    return [*named, *copied(job, real, forged)]


def copied(job: Job, real: FaceSet, forged: FaceSet) -> list[Finding]:
    """Test for copies, mirrored ones too, between the sides of a pair, and of what detectors learned from.

    Args:
        job: its inputs hold the run's real faces and its generators' forgeries.
        real: the real side of the pair.
        forged: the forged side.
    """
    data, title = job.faces("data"), real.card.name
    real_side, forged_side = real.view("test"), forged.view("test")
    findings = [
        _shared(real_side, forged_side, f"both sides of {title}"),
        _shared(data.view("train"), real_side, f"both the training photos and the real photos of {title}"),
        _shared(data.view(None), forged_side, f"both the real images of the run and the forgeries of {title}"),
    ]
    for name in job.inputs:
        if name.startswith("forged "):
            between = f"both the training forgeries of {name.removeprefix('forged ')} and the forgeries of {title}"
            findings.append(_shared(job.faces(name).view("train"), forged_side, between))
    return findings


def _between_splits(job: Job) -> Finding:
    """No photo may stand in two splits of the real faces."""
    faces = job.faces("data")
    whole = faces.view(None)
    splits, ids = (whole.rows[name].to_numpy() for name in ("split", "id"))
    pairs = [(str(ids[a]), str(ids[b])) for a, b in near_duplicates(*_described(whole)) if splits[a] != splits[b]]
    return copies(pairs, "two splits of the real images")


def _memorised(training: FaceView, forged: FaceView, title: str) -> Finding:
    """Forgeries that are copies of the generator's training faces."""
    return _shared(training, forged, f"both the training images and the forgeries of {title}")


def _shared(first: FaceView, second: FaceView, between: str) -> Finding:
    """Images that stand in two views which must not share any, as they are or mirrored."""
    ids = [view.rows["id"].to_numpy(dtype=str) for view in (first, second)]
    count = len(first)
    pairs = set()
    for mirrored in (False, True):
        described = (_described(first), _described(second, mirrored=mirrored))
        hashes, thumbnails = (np.concatenate([part[i] for part in described]) for i in (0, 1))
        pairs |= {(a, b - count) for a, b in near_duplicates(hashes, thumbnails).tolist() if a < count <= b}
    return copies([(str(ids[0][a]), str(ids[1][b])) for a, b in sorted(pairs)], between)


def _described(view: FaceView, *, mirrored: bool = False) -> tuple[Hashes, Thumbnails]:
    parts = [describe(images[:, :, ::-1] if mirrored else images) for images in view.batches(_BATCH)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
