"""Faces on which an exported detector is compared with the bench: test images of its run, then rendered faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.results import Results
from benchmarks.workflow.store import Store
from forge.faces.faceset import FaceSet
from forge.faces.ingest import Intake, take
from forge.faces.sources.rendered import RenderedSource

if TYPE_CHECKING:
    from forge.faces.faceset import Images

COUNT = 200
_SETS = ("prepare", "halve", "synthesize", "translate", "tamper")  # stages whose result is a set of faces


def faces_for(results: Results | None, store: Store, resolution: int, count: int = COUNT) -> Images:
    """Return test images of a run, as many of each of its sets; what is left over are rendered faces.

    Args:
        results: of the run; None: no run.
        store: where results lie; it need not hold them any more.
        resolution: height and width in pixels; images of another one are left out.
        count: images in all.

    Returns:
        uint8 [count, resolution, resolution, 3], the same at each call.
    """
    stages = [] if results is None else [stage for stage in results.stages if stage.action in _SETS]
    folders = [store.find(stage.action, stage.key) for stage in stages]
    sets = [FaceSet.open(folder / "faces") for folder in folders if folder is not None]
    views = [s.view("test") for s in sets if s.card.splits.get("test") and s.resolution == resolution]
    stored = [view.sample(-(-count // len(views)), seed=0).read() for view in views]  # rounded up
    images = np.concatenate([np.empty((0, resolution, resolution, 3), np.uint8), *stored])[:count]
    if len(images) == count:
        return images
    # twice as large as wanted where the renderer can, so that they are scaled as photos are
    source = RenderedSource(size=min(512, max(144, 2 * resolution)))
    rendered = take(source.chunk(range(count - len(images))), Intake(resolution, min_side=1)).images
    return np.concatenate([images, rendered])
