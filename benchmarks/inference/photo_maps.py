"""Maps of photos: the localiser that makes them, the threshold of its pixels, and the share of a face above it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.localisation import MEAN_MASK, counts_of, read_rows, scale_of
from benchmarks.evaluation.numbers import percent_range
from benchmarks.evaluation.pixels import LevelScale, threshold
from benchmarks.evaluation.results import Localisation, PixelValue, Results
from benchmarks.inference.predictor import Predictor, choose_test, load_fit
from benchmarks.protocol import ELSEWHERE, TrainSet
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.pixel_rows import checked_maps
from forge.core.errors import InputError

if TYPE_CHECKING:
    from detect.artifact import TrainedDetector
    from forge.core.compute import Compute
    from forge.faces.faceset import Images

Maps = NDArray[np.float32]

FILE = "masks.parquet"
TRAIN_ONE = "bench run -g splice,inpaint,retouch -d unet"  # the command that every sentence about a missing map names


class NoLocaliserError(InputError):
    """Neither the detector nor its run has maps; the message says how to get some."""


@dataclass(frozen=True)
class PixelThreshold:
    """The value of a map from which a run takes a pixel for altered.

    Attributes:
        level: lowest level that is taken for altered; 0: all are.
        scale: levels of the values of the detector's maps, as the run measured them.
    """

    level: int
    scale: LevelScale

    @classmethod
    def of_run(cls, report: RunReport, detector: str, trained_on: str, seed: int) -> PixelThreshold | None:
        """Return the threshold with the largest mean F1 on the run's validation images, the one of its tables.

        None where the run did not measure the maps of this fit, or an earlier version measured them.

        Args:
            report: of the run.
            detector: its name in tables.
            trained_on: its training.
            seed: of the fit.

        Raises:
            CorruptError: masks.parquet was changed, or is damaged.
        """
        file = report.folder / FILE
        if not file.is_file():
            return None
        report.check(FILE, note=False)  # noted once, when results.json was read
        rows = read_rows(file, detector=detector, trained_on=trained_on, seed=seed, source="map", split="val")
        scale = scale_of(rows)
        return None if scale is None else cls(threshold(counts_of(rows)), scale)

    @property
    def value(self) -> float:
        """Value of a map at and above which pixels count; minus infinity: all of them do."""
        return float(self.scale.edges[self.level - 1]) if self.level else -math.inf

    @property
    def limits(self) -> tuple[float, float] | None:
        """Values of the first and last colour: all but the rarest of the validation images; None: there is one value.

        The same for every photo, so that a photo without edits does not look like one with them.
        """
        edges = self.scale.edges
        return (float(edges[0]), float(edges[-1])) if len(edges) > 1 else None

    def region(self, maps: Maps) -> NDArray[np.bool_]:
        """Return which pixels are taken for altered, of the shape of the maps."""
        return np.asarray(self.scale.levels(maps) >= self.level)


@dataclass(frozen=True)
class PhotoLocaliser:
    """A fitted detector that makes maps of photos.

    Attributes:
        trained: the detector.
        name: name in tables.
        trained_on: generators of its training forgeries, joined by "+".
        scorer: the detector that the scores are of; the same name where one detector does both.
        threshold: of its pixels; None where no run has fixed one.
        false_alarm_area: mean share of the run's untouched test images that is above the threshold; None: not measured.
        f1: generator -> mean F1 of its pixels on tampered test images of the run.
        beaten: whether the mean of the training masks, which looks at no image, has as high an F1.
    """

    trained: TrainedDetector
    name: str
    trained_on: str
    scorer: str
    threshold: PixelThreshold | None = None
    false_alarm_area: PixelValue | None = None
    f1: dict[str, float] = field(default_factory=dict)
    beaten: bool = False

    def maps(self, faces: Images, compute: Compute) -> Maps:
        """Say where faces were altered: float32 [n, H, W], finite, higher for altered.

        Args:
            faces: uint8 [n, H, W, 3] of its resolution.
            compute: the device.

        Raises:
            DetectorError: the detector returned something else.
        """
        detector = self.trained.detector
        return checked_maps(detector.maps(faces, compute), faces, detector.family)

    def limits(self, values: Maps) -> tuple[float, float]:
        """Return the values of the first and last colour: the run's, or where it has none those of this photo."""
        of_run = self.threshold and self.threshold.limits
        return of_run or (float(values.min()), float(values.max()))

    def share(self, values: Maps) -> float | None:
        """Return the share of a map [H, W] that is taken for altered, in [0, 1]; None without a threshold."""
        return None if self.threshold is None else float(self.threshold.region(values).mean())

    def sentences(self) -> list[str]:
        """Return sentences that say what a map is of, and what it is not."""
        by = "" if self.name == self.scorer else f"; the score is of {self.scorer}"
        training = f"trained on {TrainSet.parse(self.trained_on).readable}"
        if self.trained_on == ELSEWHERE:
            training = "which learned nothing in this run"
        sentences = [f"Map by {self.name}, {training}{by}."]
        if self.threshold is None:
            sentences.append(
                "The threshold of its pixels is not known here (measured by no run, or by an earlier version: the same "
                "`bench run` again stores it). Colours span the values of each photo, so that every photo has a "
                "brightest part, edited or not."
            )
        elif not self.threshold.level:
            sentences.append("Its threshold, fixed on validation images, takes every pixel for altered.")
        else:
            value = f"{self.threshold.value:.3g}".replace("-", "−")
            sentences.append(f"The contour is the threshold {value}, fixed on validation images.")
        if self.false_alarm_area is not None and self.false_alarm_area.value is not None:
            area = self.false_alarm_area
            text = percent_range(area.value or 0.0, area.low, area.high, 1000)  # the interval decides the digits
            at = "At the threshold of the run it" if self.threshold is None else "It"
            sentences.append(f"{at} marks faces without edits too: {text} of the pixels of untouched test images.")
        else:
            sentences.append("It may mark faces without edits too: how much of them was not measured.")
        if self.f1:
            values = ", ".join(f"{name} {value:.2f}" for name, value in self.f1.items())
            worse = ", not above the mean training mask, which looks at no image" if self.beaten else ""
            sentences.append(f"F1 of its pixels on altered test images: {values}{worse}.")
        return sentences

    def as_json(self) -> dict[str, Any]:
        """Return the facts as JSON; the threshold is null where there is none, or where all pixels are above it."""
        limits = self.threshold and self.threshold.limits
        area = self.false_alarm_area
        return {
            "detector": self.name,
            "trained_on": self.trained_on,
            "threshold": self.threshold.value if self.threshold and self.threshold.level else None,
            "limits": list(limits) if limits else None,
            "false_alarm_area": area.model_dump() if area and area.value is not None else None,
            "f1": self.f1,
            "sentences": self.sentences(),
        }


def localiser_at(predictor: Predictor) -> PhotoLocaliser:
    """Return the detector of a folder as the localiser that it is.

    Raises:
        NoLocaliserError: it has no map.
    """
    if not _localises(predictor):
        raise NoLocaliserError(
            f"{predictor.name} has no map; name a run with a localiser instead of a folder: `{TRAIN_ONE}` makes one"
        )
    return PhotoLocaliser(predictor.trained, predictor.name, predictor.trained_on, predictor.name)


def localiser_of(predictor: Predictor, run: str, store: Path, reports: Path) -> PhotoLocaliser:
    """Return the detector itself where it has maps, else the best localiser of its run.

    The best has the highest mean F1 over generators, of those that were trained on the same forgeries or elsewhere;
    where there is none, of those trained on the most generators.

    Args:
        predictor: the detector that scores.
        run: name or path of its report.
        store: where results lie.
        reports: where reports lie.

    Raises:
        NoLocaliserError: the run measured no localiser.
        InputError: the store no longer holds it, or its class must be named.
    """
    report = RunReport.open(run, reports)
    trained, name, trained_on = predictor.trained, predictor.name, predictor.trained_on
    if not _localises(predictor):
        best = best_localiser(report.results, trained_on)
        if best is None:
            raise NoLocaliserError(
                f"{name} has no map, and no localiser was measured in run {report.results.name}; "
                f"`{TRAIN_ONE}` makes a run with one"
            )
        name, trained_on = best
        trained = load_fit(report.results, choose_test(report, name, trained_on), store)
    measured = [
        record
        for record in report.results.localisation
        if (record.detector, record.trained_on, record.source) == (name, trained_on, "map")
    ]
    f1 = {record.tested_on: record.f1.value for record in measured if record.f1.value is not None}
    # a localiser that learned nothing is compared with the masks that the scoring detector was trained on
    training = predictor.trained_on if trained_on == ELSEWHERE else trained_on
    control = [
        record.f1.value or 0.0
        for record in report.results.localisation
        if (record.detector, record.trained_on) == (MEAN_MASK, training) and record.tested_on in f1
    ]
    return PhotoLocaliser(
        trained,
        name,
        trained_on,
        predictor.name,
        threshold=PixelThreshold.of_run(report, name, trained_on, trained.seed),
        false_alarm_area=measured[0].false_alarm_area if measured else None,
        f1=f1,
        beaten=bool(control) and fmean(f1.values()) <= fmean(control),
    )


def best_localiser(results: Results, trained_on: str) -> tuple[str, str] | None:
    """Return detector and training of the best localiser of a run, see `localiser_of`; None: none was measured.

    Args:
        results: of the run.
        trained_on: training of the detector that scores.
    """
    records: dict[tuple[str, str], list[Localisation]] = {}
    for record in results.localisation:
        if record.source == "map":
            records.setdefault((record.detector, record.trained_on), []).append(record)

    def merit(fit: tuple[str, str]) -> tuple[bool, int, float]:
        same = fit[1] in (trained_on, ELSEWHERE)
        width = 0 if same else len(TrainSet.parse(fit[1]).generators)
        return same, width, fmean(record.f1.value or 0.0 for record in records[fit])

    return max(sorted(records), key=merit, default=None)


def _localises(predictor: Predictor) -> bool:
    detector = predictor.trained.detector
    return detector.localises(detector.settings)
