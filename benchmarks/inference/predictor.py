"""A fitted detector that scores single photos: where it comes from, its threshold, its predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.results import Results, TestResult
from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.experiment.names import short_name, split_adversary
from benchmarks.inference.threshold import Rate, Threshold, rows_of
from benchmarks.inference.validation import Validation, familiarity_of
from benchmarks.protocol import ELSEWHERE, FitId, TrainSet
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.runner import stage_of, stored_result
from benchmarks.workflow.store import Store
from benchmarks.zoo.members import CARD, DetectorUse, Member, is_zoo, member_of
from detect.artifact import load_trained
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError, UnknownNameError
from forge.core.registry import is_file_reference

if TYPE_CHECKING:
    from detect.artifact import TrainedDetector
    from detect.training.calibration import Calibration


@dataclass(frozen=True)
class Predictor:
    """A fitted detector and how it is used.

    Attributes:
        trained: the detector.
        name: name in tables.
        trained_on: generators of its training forgeries, joined by "+".
        threshold: from which score a photo is called forged, and what is known of it.
        crop: how its faces were cropped, "none", "face" or "ff++".
        source: run or folder it comes from.
        unseen: generators of the run that it was not trained on.
        prior: share of forgeries among the photos, for which probabilities hold.
        validation: scores and ranges that let it abstain; None: it has none.
        no_validation: why, the end of a sentence.
        calibrated: calibration of other scores than those of single images, at the prior; None: the detector's.
    """

    trained: TrainedDetector
    name: str
    trained_on: str
    threshold: Threshold
    crop: str
    source: str
    unseen: tuple[str, ...] = ()
    prior: float = 0.5
    validation: Validation | None = None
    no_validation: str = "it has no validation scores"
    calibrated: Calibration | None = None

    @property
    def calibration(self) -> Calibration:
        """From scores to probabilities at the prior."""
        return self.calibrated or self.trained.calibration.at_prior(self.prior)

    def at_prior(self, prior: float) -> Predictor:
        """Return the same detector for photos of which another share is forged, in (0, 1)."""
        return replace(self, prior=prior, threshold=self.threshold.under(self.trained.calibration.at_prior(prior)))

    def of_prior(self) -> str:
        """Return a sentence on what probabilities are for; "" where both classes are equally frequent."""
        return (
            "" if self.prior == 0.5 else f"Probabilities are for photos of which {100 * self.prior:.3g} % are forged."
        )


def folder_named(run: str, reports: Path) -> Path | None:
    """Return the folder of the detector that a command names in place of a run; None: it names a run, which goes first.

    A member of the zoo is named as zoo:npr-64.

    Args:
        run: as the command has it.
        reports: where reports lie.
    """
    folder = member_of(run, "detector").check().folder if is_zoo(run) else Path(run)
    if (reports / run / "results.json").is_file() or not (folder / "detector.json").is_file():
        return None
    return folder


def predictor_at(
    folder: Path,
    detector: str | None = None,
    trained_on: str | None = None,
    *,
    max_fpr: float | None = None,
    prior: float = 0.5,
) -> Predictor:
    """Load the detector of a folder with detector.json.

    Args:
        folder: the folder.
        detector: path/to/file.py:Class, where its class comes from a file.
        trained_on: must not be given; a folder holds one detector.
        max_fpr: largest share of real validation images that may be called forged; None keeps the threshold that a run
            fixed, or that of even odds.
        prior: share of forgeries among the photos.

    Raises:
        InputError: no detector there, something else was chosen, or no validation scores keep `max_fpr`.
    """
    if trained_on is not None or (detector is not None and not is_file_reference(detector)):
        raise InputError(f"{folder} is one detector already; --detector may only name the file of its class here")
    # A folder's class may come from a file; the card only says which.
    trained = load_trained(folder, implementation=_plugin(detector))
    # Folders know no run, unless one published them: no preparation, no other generators.
    use = Member.at(folder).card.use if (folder / CARD).is_file() else None
    calibration, validation = trained.calibration.at_prior(prior), Validation.at(folder)
    if max_fpr is None:
        threshold = _threshold(use, calibration)
    else:
        threshold = Threshold.at_rate(calibration, validation, max_fpr, str(folder))
    return Predictor(
        trained,
        trained.name,
        trained.trained_on,
        threshold,
        use.crop if use else "none",
        folder.resolve().name,
        use.unseen if use else (),
        prior=prior,
        validation=validation,
        no_validation=f"no validation scores lie beside it; `bench run -d {folder}` measures some, then name that run",
    )


def _threshold(use: DetectorUse | None, calibration: Calibration) -> Threshold:
    """Return the threshold that a run fixed before it published the detector; else that of even odds."""
    if use is None or use.threshold is None:
        return Threshold.at_one_half(calibration)
    rates = tuple(Rate(*rate) for rate in use.rates)
    return Threshold(use.threshold, 0.5, use.rule, rates).under(calibration)


def predictor_of(
    run: str,
    detector: str | None,
    trained_on: str | None,
    store: Path,
    reports: Path,
    *,
    max_fpr: float | None = None,
    prior: float = 0.5,
) -> Predictor:
    """Load a detector of a finished run.

    Args:
        run: name or path of its report.
        detector: name in the run, or path/to/file.py:Class; None takes the first of `by_merit`.
        trained_on: its training forgeries; None takes those that name the most generators.
        store: where results lie.
        reports: where reports lie.
        max_fpr: largest share of real validation images that may be called forged; None keeps the threshold that the
            run fixed.
        prior: share of forgeries among the photos.

    Raises:
        InputError: no such run, no such detector, the store no longer holds it, or `max_fpr` is too small for the
            validation images.
    """
    report = RunReport.open(run, reports)
    results = report.results
    # Of the cells of a fit any does: all have its training, seed and threshold.
    cell = choose_test(report, short_name(detector) if detector else None, trained_on)
    trained = load_fit(results, cell, store, detector)
    # Without the scores the threshold comes from results.json, without rates.
    scores = report.scores if max_fpr is not None or report.has_scores else None
    known = TrainSet.parse(cell.trained_on).generators
    validation = None if scores is None else Validation.of_rows(rows_of(scores, cell))
    if validation is not None:
        measured = familiarity_of(results, cell.trained_on, cell.seed, Store(store))
        validation = replace(validation, familiarity=measured)
    return Predictor(
        trained,
        cell.detector,
        cell.trained_on,
        Threshold.of_run(trained.calibration.at_prior(prior), cell, scores, max_fpr=max_fpr),
        crop_of(results.data.provenance),
        results.name,  # the run's own name: the folder may have been renamed
        # each once over seeds, in the order of the run
        tuple(dict.fromkeys(fact.name for fact in results.generators if fact.name not in known)),
        prior,
        validation,
        f"the report of {results.name} has no scores of validation images of both classes for it",
    )


def load_fit(results: Results, cell: TestResult, store: Path, reference: str | None = None) -> TrainedDetector:
    """Load the detector of a test.

    Args:
        results: of the run.
        cell: a test of the detector, which names its training and seed.
        store: where results lie.
        reference: path/to/file.py:Class, where its class comes from a file.

    Raises:
        InputError: the store no longer holds it, or its class must be named.
        CorruptError: a file of it was changed.
    """
    fit = fit_stage(results, cell.detector, cell.trained_on, cell.seed)
    return load_trained(stored_result(results, fit, Store(store)) / "detector", implementation=_plugin(reference))


def fit_stage(results: Results, detector: str, trained_on: str, seed: int) -> StageFacts:
    """Return the stage that fitted a detector.

    Args:
        results: of the run.
        detector: its name.
        trained_on: its training.
        seed: of the repetition.

    Raises:
        InputError: the run has no such stage.
    """
    # FitId writes the label that the stage has
    return stage_of(results, str(FitId(detector, TrainSet.parse(trained_on))), "fit", "adopt", seed=seed)


def crop_of(provenance: dict[str, Any]) -> str:
    """Return how the real faces of a run were cropped, from the settings of a face search in the card."""
    # The card of the real faces records how they were prepared; a set given as data may record nothing.
    preparation = provenance.get("preparation")
    searched = preparation.get("crop") if isinstance(preparation, dict) else None
    if not isinstance(searched, dict):
        return "none"
    return "ff++" if "enlarged" in searched else "face"


def _plugin(detector: str | None) -> Any:  # noqa: ANN401 - a detector class from a file, or None

    # the adversary behind "@" is no part of the class's file
    return DETECTORS.load(split_adversary(detector)[0]) if detector and is_file_reference(detector) else None


def by_merit(report: RunReport) -> list[TestResult]:
    """Sort the tests of a run in the order in which their detectors are offered for a photo, of whatever generator.

    The detectors trained on the most generators come first, then the best by the leaderboard; trainings that were
    unusual come last.
    """
    # the leaderboard's order, as published
    order = list(report.expected.ranks) if report.expected else []  # best first

    def merit(cell: TestResult) -> tuple[bool, int, int, bool]:
        training = TrainSet.parse(cell.trained_on)
        rank = order.index(cell.detector) if cell.detector in order else len(order)
        # False sorts first: usual trainings, then many generators, then rank, then tests on seen generators.
        return bool(training.variant), -len(training.generators), rank, not cell.seen

    return sorted(report.results.cells, key=merit)


def choose_test(report: RunReport, detector: str | None, trained_on: str | None) -> TestResult:
    """Return the first test, by merit, of a detector and a training.

    Args:
        report: of the run.
        detector: its name in the run; None: any.
        trained_on: its training; None: any.

    Raises:
        UnknownNameError: the run has no such detector, or it has no such training.
        InputError: the run has no detector that was tested.
    """
    cells = by_merit(report)
    for field, wanted in (("detector", detector), ("trained_on", trained_on)):
        if wanted is not None:
            # names that are left after the fields before, so that the message offers what is there
            names = {str(getattr(cell, field)) for cell in cells}
            if wanted not in names:
                raise UnknownNameError(f"{field.replace('_', '-')} of run {report.results.name}", wanted, names)
            cells = [cell for cell in cells if getattr(cell, field) == wanted]
    if not cells:
        raise InputError(f"run {report.results.name} has no detector that was scored on a test set")
    return cells[0]


def cannot_explain(predictor: Predictor) -> str:
    """Return a sentence for a detector that has no map of the pixels behind its score."""
    weighs = predictor.trained.detector.frequency_weights() is not None
    more = "; it weighs frequencies, which the run's report shows" if weighs else ""
    return f"{predictor.name} cannot say which pixels its score depends on{more}."


def caution(predictor: Predictor) -> str:
    """Return the caveats of a detector's predictions."""
    # "published": of weights that their authors trained
    if predictor.trained_on in (ELSEWHERE, "published"):  # of imported weights
        return "It was trained elsewhere. On forgeries and photos unlike those it was made with, it may be wrong."
    missing = f", not of {', '.join(predictor.unseen)}" if predictor.unseen else ""
    return (
        f"Trained on forgeries of {predictor.trained_on}{missing}. On other forgeries, and on photos unlike its real "
        "faces, it may be wrong."
    )
