"""The measurements of detectors: networks against plain loops over PNG files, fits without a network, perturbations."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.speed import textbook_detector as plain
from benchmarks.speed.figure import REPEATS, Figure, prepared, timed
from detect.data.perturb import LISTED, perturbation
from detect.detectors.base import FitContext, FitData
from detect.detectors.image_classifiers import Xception
from detect.detectors.registry import DETECTORS
from detect.detectors.timm_network import TimmSettings
from detect.scoring import score_view
from forge.core.compute import Compute, Precision
from forge.core.progress import silent
from forge.faces.faceset import FaceSet, Images
from forge.faces.writer import FaceSetWriter

RESOLUTION = 64  # of all networks, so that their figures compare
FACES, HELD_OUT = 4200, 200  # images per class, and those of them for validation
SEEN = 1024  # images of a network's training and of its scoring
# what has no network and is to be fitted in seconds
FITTED = ("dct", "spectrum", "logistic", "svm", "naive-bayes", "hmm", "trivial-cues")


def networks(photos: str | None) -> list[Figure]:
    """Xception from FaceSets and from PNG files of the same images: whole trainings, and scoring."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = _data(folder, photos).limited(SEEN // 2, 16, 0)  # both classes together are SEEN images
        files = [
            plain.write_pngs(view.read(), folder / f"{name}-files")
            for name, view in (("real", data.train_real), ("forged", data.train_forged))
        ]
        # A short fit first: it finds the precision that the timed fits then use, and warms up what is made once.
        detector = _fitted(data, folder, None, 64)
        ours = _rate(lambda: _fitted(data, folder, detector.precision, SEEN))
        # `build` gives the same network with new random weights to the plain loop.
        theirs = _rate(lambda: plain.train(detector.build(), *files))
        scored = _rate(lambda: [score_view(detector, view, Compute()) for view in (data.train_real, data.train_forged)])
        network = detector.build()
        plainly = _rate(lambda: plain.score(network, [*files[0], *files[1]]))
    how = f"{SEEN} images of {RESOLUTION} px, {detector.precision}"
    return [
        Figure("xception training", ours, "images/s", f"whole fit on {how}, batch 32"),
        Figure("xception training against plain fp32", ours / theirs, "x", f"PNG files: {theirs:.0f} images/s"),
        Figure("xception scoring", scored, "images/s", how),
        Figure("xception scoring against plain fp32", scored / plainly, "x", f"PNG files: {plainly:.0f} images/s"),
    ]


def families(photos: str | None) -> list[Figure]:
    """Fits of detectors without a network."""
    with tempfile.TemporaryDirectory() as name:
        data = _data(Path(name), photos)
        seconds = {family: _fit_seconds(family, data, Path(name)) for family in FITTED}
    how = f"{len(data.train_real)} + {len(data.train_forged)} images of {RESOLUTION} px, once"
    return [Figure(f"{family} fit", took, "s", how) for family, took in seconds.items()]


def perturbations(photos: str | None) -> list[Figure]:
    """Each perturbation of the protocol."""
    with tempfile.TemporaryDirectory() as name:
        images = _images(Path(name), photos, SEEN)
    how = f"{len(images)} images of {RESOLUTION} px"
    # `partial`: a lambda in a loop would call the last name
    rates = {name: _rate(partial(perturbation(name), images)) for name in LISTED if not perturbation(name).missing}
    return [Figure(f"perturbation {name}", rate, "images/s", how) for name, rate in rates.items()]


def _fit_seconds(family: str, data: FitData, folder: Path) -> float:
    detector_class = DETECTORS.load(family)
    detector, context = detector_class(detector_class.Settings(), RESOLUTION), _context(folder)
    return timed(lambda: detector.fit(data, context))


def _rate(call: Callable[[], object]) -> float:
    """Images a second of a call that handles `SEEN` of them."""
    # The median of few repeats: one that another process disturbed does not count.
    return SEEN / statistics.median(timed(call) for _ in range(REPEATS))


def _context(folder: Path, precision: Precision | None = None) -> FitContext:
    """A fit that starts anew: its directory is fresh."""
    return FitContext(0, Compute(precision=precision or "auto"), Path(tempfile.mkdtemp(dir=folder)), silent)


def _fitted(data: FitData, folder: Path, precision: Precision | None, images: int) -> Xception:
    detector = Xception(TimmSettings(max_images=images), RESOLUTION)
    detector.fit(data, _context(folder, precision))
    return detector


def _images(folder: Path, photos: str | None, count: int) -> Images:
    # a few more than needed, since near-duplicates are left out
    return prepared(photos or "rendered", folder / "prepared", count + count // 20).view().head(count).read()


def _data(folder: Path, photos: str | None) -> FitData:
    """Faces, and as forgeries the same faces made smaller and enlarged back."""
    images = _images(folder, photos, FACES)
    real = _written(folder / "real", "real", images)
    # forged images whose traces any detector learns: the speed is measured, not the detector
    forged = _written(folder / "forged", "forged", perturbation("half")(images))
    return FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))


def _written(path: Path, kind: Literal["real", "forged"], images: Images) -> FaceSet:
    splits = ["train"] * (len(images) - HELD_OUT) + ["val"] * HELD_OUT
    rows = [{"id": str(number), "split": split} for number, split in enumerate(splits)]
    with FaceSetWriter(path, path.name, kind, RESOLUTION, licence="none", provenance={}) as writer:
        writer.append(images, rows)
    return FaceSet.open(path)
