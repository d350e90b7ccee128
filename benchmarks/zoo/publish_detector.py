"""Publish fitted detectors as members of the zoo: weights, threshold, validation scores, and what they can do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.evaluation.results import Results
from benchmarks.inference.model_card import detector_readme
from benchmarks.inference.predictor import Predictor
from benchmarks.zoo.members import WEIGHTS, DetectorUse, Member, ZooCard, check_name
from benchmarks.zoo.publish import LARGEST_MB, refuse_large, sign
from detect.artifact import TrainedDetector, load_trained, read_card
from detect.detectors.network import NetworkDetector
from forge.core.checkpoint import halve_file
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.files import digest_file, publishing, write_signed_json, write_text
from forge.core.registry import is_file_reference
from forge.faces.faceset import Images

LARGEST_CHANGE = 0.01  # of a probability by half precision, above which weights stay as they are
# arithmetic of the comparison: bf16, in which some networks score, alone changes a probability of npr by 0.012
_SINGLE = Compute(precision="fp32")


@dataclass(frozen=True)
class ScoreChange:
    """Change of scores by half precision of the weights.

    Attributes:
        probability: largest change of a calibrated probability.
        verdicts: images on the other side of the threshold.
        images: compared; 0: the weights are as they were.
    """

    probability: float
    verdicts: int
    images: int


def publish_detector(
    predictor: Predictor,
    results: Results,
    out: Path,
    *,
    name: str,
    command: str,
    images: Images,
    largest_mb: float = LARGEST_MB,
) -> Member:
    """Write a detector of a run as a member of the zoo: `out` appears when all of it is there.

    Weights of a network are stored in half precision, unless a probability changes by more than `LARGEST_CHANGE`.

    Args:
        predictor: the detector with its threshold and validation scores.
        results: of its run.
        out: folder to make.
        name: of the member, e.g. "npr-64".
        command: that fits it again.
        images: uint8 [n, H, W, 3] that are scored in both precisions.
        largest_mb: megabytes (10^6 bytes) that its files may have.

    Raises:
        InputError: a name that cannot be, a class from a file, a member that is too large, or a folder that exists
            already.
    """
    check_name(name)
    card = predictor.trained.card
    if is_file_reference(card.name):
        raise InputError(
            f"{predictor.name} is a class from a file, which a member of the zoo cannot name: what is stored never "
            "runs code; install the file as a package with an entry point of detect.detectors"
        )
    trained = replace(predictor.trained, card=card.model_copy(update={"label": f"zoo:{name}"}))
    with publishing(out) as folder:
        trained.save(folder)
        change = _halve(trained, folder, images, predictor.threshold.score)
        if predictor.validation is not None:
            predictor.validation.save(folder)
        refuse_large(folder, name, largest_mb)
        member = ZooCard(
            name=name,
            role="detector",
            architecture=card.name,
            resolution=card.resolution,
            trained_on=predictor.trained_on,
            auc=_columns(results, predictor.name),
            precision="fp16" if change.images else "fp32",
            rounding=change.probability,
            command=command,
            licence=results.data.licence,
            citation=results.data.citation,
            use=_use(predictor),
            files={},
        )
        write_text(folder / "README.md", detector_readme(predictor, results, member, vars(change)))
        sign(folder, member)
        refuse_large(folder, name, largest_mb)
    return Member.at(out)


def _halve(trained: TrainedDetector, folder: Path, images: Images, threshold: float) -> ScoreChange:
    """Store a network's weights in half precision where that hardly changes what it says."""
    if not isinstance(trained.detector, NetworkDetector):  # arrays of a few kB, which are computed with as they are
        return ScoreChange(0.0, 0, 0)
    whole = (folder / WEIGHTS).read_bytes()
    halve_file(folder / WEIGHTS)
    _sign_again(folder)
    before, after = (each.detector.score(images, _SINGLE) for each in (trained, load_trained(folder)))
    both = [trained.calibration.probability(scores) for scores in (before, after)]
    change = float(np.abs(both[0] - both[1]).max())
    if not change <= LARGEST_CHANGE:  # NaN too: a weight beyond 65,504 is infinite in half precision
        (folder / WEIGHTS).write_bytes(whole)
        _sign_again(folder)
        return ScoreChange(0.0, 0, 0)
    return ScoreChange(change, int(((before >= threshold) != (after >= threshold)).sum()), len(images))


def _sign_again(folder: Path) -> None:
    """Write the digest of changed weights into the card of a detector."""
    card = read_card(folder)
    changed = card.model_copy(update={"files": card.files | {WEIGHTS: digest_file(folder / WEIGHTS)}})
    write_signed_json(folder / "detector.json", changed.model_dump(mode="json"))


def _columns(results: Results, detector: str) -> dict[str, float]:
    """Return the mean AUC of each column of the run's table, the one that ranks first."""
    means = {mean.column: mean.auc for mean in results.means if mean.detector == detector}
    first = [column for column in ("unseen", "wild", "seen") if column in means]
    return {column: means[column] for column in dict.fromkeys([*first, *means])}


def _use(predictor: Predictor) -> DetectorUse:
    threshold = predictor.threshold
    return DetectorUse(
        threshold=threshold.score if np.isfinite(threshold.score) else None,
        rule=threshold.rule,
        rates=tuple((rate.name, rate.called, rate.images) for rate in threshold.rates),
        crop=predictor.crop,
        unseen=predictor.unseen,
    )
