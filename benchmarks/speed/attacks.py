"""Speed of attacks on detectors, on images of 64 px."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiment.configs import shipped
from benchmarks.speed.figure import Figure, timed
from detect.attacks.apply import apply
from detect.attacks.base import Knowledge
from detect.attacks.registry import ATTACKS
from detect.attacks.target import Target
from detect.detectors.base import Detector
from detect.detectors.registry import DETECTORS
from forge.core.compute import Compute
from forge.faces.faceset import FaceSet, Images
from forge.faces.writer import FaceSetWriter

_SIDE = 64
# attack, settings, budget, images: so many that one run takes seconds
_RUNS: tuple[tuple[str, dict[str, Any], float | None, int], ...] = (
    ("fgsm", {}, 4, 500),
    ("pgd", {"steps": 10}, 4, 200),
    ("apgd", {"steps": 20}, 4, 100),
    ("square", {"queries": 50}, 4, 100),
    ("spectrum-match", {}, None, 2000),
)


def attacks(photos: str | None) -> list[Figure]:
    """Attacks on npr with random weights, whose cost is that of a fitted one."""
    detector, compute = _detector("npr"), Compute()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2000, _SIDE, _SIDE, 3)).astype(np.uint8)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        real, forged = (_set(Path(folder) / kind, kind, images[:200]) for kind in ("real", "forged"))
        knowledge = Knowledge(real=real.view("forge"), forged=forged.view("forge"))
        for name, settings, epsilon, count in _RUNS:
            implementation = ATTACKS.load(name)
            method = implementation(implementation.Settings(**settings))
            if implementation.needs == "views":
                method.learn(knowledge)
            run = partial(apply, method, images[:count], Target(detector, compute), name=name, epsilon=epsilon)
            how = ", ".join(f"{value} {setting}" for setting, value in settings.items())
            figures.append(Figure(f"{name} against npr, {_SIDE} px", count / timed(run), "images/s", how))
    return figures


def _detector(name: str) -> Detector[Any]:
    implementation = DETECTORS.load(name)
    detector: Detector[Any] = implementation(implementation.Settings(**shipped("detectors", name, "quick")), _SIDE)
    detector.network = detector.build().eval()  # type: ignore[attr-defined]
    return detector


def _set(path: Path, kind: str, images: Images) -> FaceSet:
    with FaceSetWriter(path, kind, kind, _SIDE, "CC0", {}) as writer:  # type: ignore[arg-type]
        writer.append(images, [{"id": f"{kind}{n}", "split": "forge"} for n in range(len(images))])
    return FaceSet.open(path)
