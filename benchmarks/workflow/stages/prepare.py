"""The stage that prepares the real faces of a run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.experiment.settings import DataSettings
from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from forge.core.errors import CorruptError, InputError
from forge.faces.faceset import FaceSet
from forge.faces.prepare import MIN_IMAGES
from forge.faces.prepare import prepare as prepare_faces


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepare(FaceStage):
    """Photos to a FaceSet; a FaceSet given as data is taken as it is.

    Attributes:
        data: how they are prepared.
        fingerprint: digest of the source's contents, which stands for the source in the key.
    """

    action = "prepare"
    VERSION = 1
    computes = False

    data: DataSettings
    fingerprint: str

    @property
    def label(self) -> str:
        """Return the source without its path."""
        return self.data.source_name

    @property
    def settings(self) -> dict[str, Any]:
        """Return how the photos are prepared, and their digest."""
        # The fingerprint stands for the source: where photos lie changes no key. The seed is in every key by itself.
        values = self.data.model_dump(mode="json", exclude={"source", "options", "seed"})
        return values | {"fingerprint": self.fingerprint}

    def run(self, job: Job) -> Facts:
        """Write the FaceSet.

        Raises:
            InputError, CorruptError: a FaceSet given as data has another resolution or is damaged.
        """
        source, data = job.context.source, self.data
        if isinstance(source, FaceSet):
            if source.resolution != data.resolution:
                raise InputError(
                    f"{source.path} has {source.resolution} px; run with --resolution {source.resolution}, "
                    "or prepare the photos again at the size you want"
                )
            if damage := source.verify():  # checked here once; the copy is checked by the store from then on
                raise CorruptError(f"{source.path} is damaged: {'; '.join(damage)}; prepare it again")
            # a copy: the store must keep its results when the user's folder changes
            shutil.copytree(source.path, job.out / FACES)
            return {"images": len(source)}
        faces = prepare_faces(
            source,
            job.out / FACES,
            resolution=data.resolution,
            count=data.count,
            crop=data.crop,
            dedupe=data.dedupe,
            splits=data.splits,
            seed=self.seed,
            min_images=least_photos(data.splits),  # too few fail here, where the photos are named, not in the training
            workers=job.context.workers,
            on_progress=job.context.on_progress,
        )
        return {"images": len(faces), "rejected": faces.card.rejected}


def least_photos(splits: Mapping[str, float]) -> int:
    """Return how many usable photos a run needs: enough in split `forge` to train a generator on and to monitor it.

    Args:
        splits: split -> share of the photos.
    """
    from forge.training.monitor.observe import FEWEST  # imports torch

    share = splits.get("forge", 0.0)
    return max(MIN_IMAGES, math.ceil(FEWEST / share) if share > 0 else 0)
