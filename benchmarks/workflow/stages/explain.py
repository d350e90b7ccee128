"""The stage that shows where a fitted detector looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.fit import UsesDetector
from benchmarks.workflow.stages.forger import Forger

# The same faces for every detector, so that maps can stand side by side.
EXPLAINED = 8  # forgeries of each generator that are explained
_WEIGHTS = "frequency weights"

Maps = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Explain(UsesDetector):
    """Saliency of a fitted detector in the first test forgeries of every generator, and its weights of frequencies.

    Attributes:
        forged: generator -> its forgeries.
    """

    action = "explain"
    VERSION = 2

    forged: Mapping[str, Forger]

    @property
    def settings(self) -> dict[str, Any]:
        """Return nothing: what is explained follows from the inputs."""
        return {}

    def run(self, job: Job) -> Facts:
        """Write maps.safetensors."""
        from detect.explain import method  # imports torch

        detector = self.detector.load(job).detector
        maps: Maps = {}
        for name, stage in self.forged.items():
            images = job.faces(stage).view("test").head(EXPLAINED).read()
            saliency = detector.saliency(images, job.context.compute)
            # None: the detector has no gradient to its pixels
            maps |= {f"forged {name}": saliency} if saliency is not None else {}
        weights = detector.frequency_weights()
        maps |= {_WEIGHTS: weights} if weights is not None else {}
        save_file(maps, job.out / "maps.safetensors")
        return {"method": method()}

    def read(self, job: Job) -> tuple[Maps, NDArray[np.float32] | None]:
        """Read generator -> saliency [n, H, W] of its first forgeries, and the weights of frequencies, if any."""
        maps = load_file(job.path(self) / "maps.safetensors")
        saliency = {name: maps[f"forged {name}"] for name in self.forged if f"forged {name}" in maps}
        return saliency, maps.get(_WEIGHTS)
