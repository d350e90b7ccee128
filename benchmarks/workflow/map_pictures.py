"""Test images beside the maps of localisers, as a page shows them: before, after, what was altered, the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.evaluation.localisation import map_name, widest
from benchmarks.report.inputs import MapPicture
from benchmarks.workflow.stage import Job
from benchmarks.workflow.stages.localise import Localise
from benchmarks.workflow.stages.report_parts import ReportParts
from forge.faces.faceset import FaceSet, FaceView
from forge.tampering.base import BINARY


def map_pictures(report: ReportParts, job: Job, shown: Mapping[str, FaceSet]) -> list[MapPicture]:
    """Return the stored examples of the first seed, of each detector's widest training.

    Args:
        report: the stage.
        job: its call.
        shown: generator -> its images, of those that may be shown; "": the real images. Photos from elsewhere are shown
            where the run asks for photos.
    """
    foreign = {side.tested_as: job.faces(side) for side in report.external if side.masked and report.show_real}
    stages = [stage for stage in report.maps if stage.detector.seed == report.seed]
    trainings: dict[str, list[Localise]] = {}
    for stage in stages:
        trainings.setdefault(stage.detector.detector, []).append(stage)
    pictures: list[MapPicture] = []
    for of_detector in trainings.values():
        by_training = {str(stage.detector.training): stage for stage in of_detector}
        pictures += _pictures(by_training[widest(by_training)], job, {**shown, **foreign})
    return pictures


def _pictures(stage: Localise, job: Job, shown: Mapping[str, FaceSet]) -> Iterator[MapPicture]:
    threshold, examples = stage.read_examples(job)
    for example, levels in examples:
        faces = shown.get(example.generator)
        if faces is None:
            continue
        image = image_of(faces, example.sample_id)
        row = image.rows.iloc[0]
        source = row.get("made_from") if example.generator else None
        before = image_of(shown[""], str(source)).read()[0] if source and "" in shown else None
        yield MapPicture(
            detector=map_name(stage.detector.detector, stage.source),
            trained_on=str(stage.detector.training),
            example=example,
            region=str(row.get("region") or ""),
            before=before,
            after=image.read()[0],
            truth=image.read_masks()[0] >= BINARY if example.generator else np.zeros(levels.shape, bool),
            levels=levels,
            threshold=threshold,
        )


def image_of(faces: FaceSet, sample_id: str) -> FaceView:
    """Return the image of an id, as a view of one."""
    return FaceView(faces, np.flatnonzero((faces.table["id"] == sample_id).to_numpy()))
