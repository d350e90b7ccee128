"""Faces on which an exported detector is compared with the bench: test images of its run, then rendered faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.results import Results
from benchmarks.workflow.store import Store
from forge.faces.faceset import FaceSet
from forge.faces.ingest import Intake, take
from forge.faces.sources.rendered import RenderedSource

if TYPE_CHECKING:
    from forge.faces.faceset import Images

COUNT = 200
_SETS = ("prepare", "halve", "synthesize", "translate", "tamper")  # stages whose result is a set of faces


class CheckFaces(NamedTuple):
    """Faces, uint8 [n, H, W, 3], and their classes, int8 [n]: 1 forged, 0 real, -1 rendered here, of no class."""

    images: Images
    forged: NDArray[np.int8]


def faces_for(
    results: Results | None, store: Store, resolution: int, count: int = COUNT, split: str = "test"
) -> CheckFaces:
    """Return images of a run, as many of each of its sets; what is left over are rendered faces.

    Args:
        results: of the run; None: no run.
        store: where results lie; it need not hold them any more.
        resolution: height and width in pixels; images of another one are left out.
        count: images in all.
        split: of the run; those of "test" and "val" differ, rendered ones too.

    Returns:
        `count` images of `resolution` pixels, the same at each call.
    """
    stages = [] if results is None else [stage for stage in results.stages if stage.action in _SETS]
    folders = [store.find(stage.action, stage.key) for stage in stages]
    sets = [FaceSet.open(folder / "faces") for folder in folders if folder is not None]
    used = [faces for faces in sets if faces.card.splits.get(split) and faces.resolution == resolution]
    views = [faces.view(split) for faces in used]
    stored = [view.sample(-(-count // len(views)), seed=0).read() for view in views]  # rounded up
    images = np.concatenate([np.empty((0, resolution, resolution, 3), np.uint8), *stored])[:count]
    kinds = [np.full(len(part), faces.card.kind == "forged", np.int8) for part, faces in zip(stored, used, strict=True)]
    forged = np.concatenate([*kinds, np.full(count, -1, np.int8)])[:count]
    if len(images) == count:
        return CheckFaces(images, forged)
    # twice as large as wanted where the renderer can, so that they are scaled as photos are
    source = RenderedSource(size=min(512, max(144, 2 * resolution)))
    first = 0 if split == "test" else count
    rendered = take(source.chunk(range(first, first + count - len(images))), Intake(resolution, min_side=1)).images
    return CheckFaces(np.concatenate([images, rendered]), forged)
