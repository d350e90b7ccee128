"""Test results and paired tests from score rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation import delong, means, roc
from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.metrics import METRICS, load_metrics
from benchmarks.evaluation.metrics.base import Metric, TestScores
from benchmarks.evaluation.resampling import codes, units_of
from benchmarks.evaluation.results import PairedTest, TestResult
from benchmarks.evaluation.roc import Bools, Floats, Ints
from benchmarks.protocol import (
    CLEAN,
    OWN_REALS,
    SHUFFLED,
    Protocol,
    TestGrid,
    TrainSet,
    choose_interval,
    condition_of,
)
from detect.data.views import random_labels
from forge.core.errors import BenchError, InputError, short

# resamples of every bootstrap here: percentiles of the ends of 95 % intervals then lie 50 values inside
RESAMPLES = 2000
_COMPARED = ["detector", "trained_on", "seed", "generator", "label", "sample_id", "identity", "score"]


def evaluate(
    scores: pd.DataFrame,
    measured: Sequence[Metric] | None = None,
    *,
    failed: dict[str, str] | None = None,
    protocol: Protocol | None = None,
) -> list[TestResult]:
    """Compute the result of each test in the rows.

    Args:
        scores: rows of scores.parquet, splits `val` and `test`; real rows have an empty generator.
        measured: metrics of every cell beside its AUC; by default those of the protocol.
        failed: receives the metrics that failed, id -> reason, while others are computed; None: a failure is raised.
        protocol: version and families; by default this version's.

    Returns:
        Cells in the order of detector, trained_on, seed, perturbation, tested_on.

    Raises:
        InputError: a detector has no val rows of its training forgeries, scores are not usable, or a metric failed.
    """
    cells = []
    measured = load_metrics() if measured is None else measured
    tests = TestGrid.of_scores(scores, protocol)
    columns = _Columns.of(scores)
    # one fit: its threshold comes from its own val rows and holds for all its tests
    for (detector, trained_on, seed), fit in fits_of(scores):
        training = TrainSet.parse(trained_on)
        # the same bits as those it was trained with (`random_labels`, seed 0): the control asks whether they can be
        # predicted
        if training.variant == SHUFFLED:
            columns.label[fit] = random_labels(scores.iloc[fit], 0)
        # val rows as the detector was trained: an equalised fit has its threshold from equalised images
        val = fit[columns.split.equal(fit, "val") & columns.perturbation.equal(fit, training.perturbation)]
        known = scores[["generator", "score", "probability"]].iloc[val].assign(label=columns.label[val])
        threshold = threshold_of(known, detector, training)
        tests_of_fit = fit[columns.split.equal(fit, "test")]
        for perturbation, test in columns.perturbation.parts(tests_of_fit):
            real = columns.generator.equal(test, "")
            reals, elsewhere = test[real], columns.foreign[test[real]]
            for tested_on, forged in columns.generator.parts(test[~real]):
                # external pairs and sources have their own real photos; generators are tested against the run's
                foreign = tested_on.startswith(OWN_REALS)
                matching = reals[columns.source.equal(reals, tested_on) if foreign else ~elsewhere]
                if not matching.size:
                    continue  # its real photos could not be scored
                names = {
                    "detector": detector,
                    "trained_on": trained_on,
                    "tested_on": tested_on,
                    "perturbation": perturbation,
                    "condition": str(condition_of(training, tested_on, perturbation, tests)),
                    "seed": seed,
                }
                pair = columns.scores(np.concatenate([matching, forged]), perturbation, threshold)
                cells.append(_cell(pair, names, measured, failed))
    return cells


@dataclass(frozen=True)
class _Names:
    """A column of names as numbers, since a large table is taken apart many times: names rise with the numbers."""

    code: Ints
    names: list[str]

    @classmethod
    def of(cls, column: pd.Series[str]) -> _Names:
        values = column.astype("category").array
        return cls(values.codes, [str(name) for name in values.categories])

    def equal(self, rows: Ints, name: str) -> Bools:
        """Return which of the rows have a name."""
        return np.asarray(self.code[rows] == (self.names.index(name) if name in self.names else len(self.names)))

    def parts(self, rows: Ints) -> Iterator[tuple[str, Ints]]:
        """Yield every name of the rows, sorted, with its rows."""
        code = self.code[rows]
        for number in np.unique(code[code >= 0]):
            yield self.names[number], rows[code == number]


@dataclass(frozen=True)
class _Columns:
    """Columns of score rows, [n]; `foreign`: photos that have forgeries of their own; `person`: place in `people`."""

    split: _Names
    perturbation: _Names
    generator: _Names
    source: _Names
    foreign: Bools
    label: Ints
    score: Floats
    probability: Floats
    person: Ints
    people: NDArray[np.object_]

    @classmethod
    def of(cls, scores: pd.DataFrame) -> _Columns:
        person, people = _people(scores)
        return cls(
            split=_Names.of(scores["split"]),
            perturbation=_Names.of(scores["perturbation"]),
            generator=_Names.of(scores["generator"]),
            source=_Names.of(scores["source"]),
            foreign=scores["source"].str.startswith(OWN_REALS).to_numpy(dtype=bool),
            label=scores["label"].to_numpy(copy=True),
            score=scores["score"].to_numpy(),
            probability=scores["probability"].to_numpy(),
            person=person,
            people=people,
        )

    def scores(self, rows: Ints, perturbation: str, threshold: float) -> TestScores:
        """Return the scores of one test set."""
        return TestScores(
            self.label[rows],
            self.score[rows],
            self.probability[rows],
            threshold,
            self.people[self.person[rows]],
            perturbation,
            resamples=RESAMPLES,
        )


def fits_of(scores: pd.DataFrame) -> list[tuple[tuple[str, str, int], Ints]]:
    """Return detector, training and seed of every fit, sorted, and the positions of its rows."""
    detector, training = _Names.of(scores["detector"]), _Names.of(scores["trained_on"])
    seed, seeds = pd.factorize(scores["seed"])
    fit = (detector.code.astype(np.int64) * len(training.names) + training.code) * len(seeds) + seed
    order = np.argsort(fit, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(fit[order])) + 1) if len(order) else []
    first = [rows[0] for rows in parts]
    names = [(detector.names[detector.code[i]], training.names[training.code[i]], int(seeds[seed[i]])) for i in first]
    return sorted(zip(names, parts, strict=True), key=lambda pair: pair[0])


def grid(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of tests that means over generators include: without snapshots, external pairs and sources."""
    beside = scores["generator"].isin(TestGrid.of_scores(scores).beside) | scores["source"].str.startswith(OWN_REALS)
    return scores[~beside] if beside.any() else scores


def threshold_of(val: pd.DataFrame, detector: str, training: TrainSet) -> float:
    """Return the score from which a fit calls an image forged, fixed on its validation images.

    Args:
        val: generator, label, score and probability of its rows of `val`.
        detector: its name, for messages.
        training: its train set.

    Raises:
        InputError: they lack a class.
    """
    # forgeries of generators in training only: a threshold chosen on val forgeries of the tested generator would leak
    # it
    known = val["generator"].isin(training.generators)
    if len(val) and not known.any():  # trained elsewhere: its own probabilities are all that was fixed beforehand
        # the lowest score of probability 0.5; without one, just above the highest score, so that nothing is called
        # forged
        certain = val["score"][val["probability"] >= 0.5]
        return float(certain.min()) if len(certain) else float(np.nextafter(val["score"].max(), np.inf))
    seen = val[(val["generator"] == "") | known]
    if seen["label"].nunique() < 2:
        raise InputError(f"{detector} trained on {training} has no val scores of both classes; score val too")
    # fixed on val before any test image is looked at
    return roc.best_threshold(seen["label"].to_numpy(), seen["score"].to_numpy())


def identities(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return the person of each row, None where unknown (such a row counts as its own person)."""
    person, people = _people(rows)
    return np.asarray(people[person])


def _people(rows: pd.DataFrame) -> tuple[Ints, NDArray[np.object_]]:
    """Return the place of the person of each row among the people of all rows; the last is None."""
    values = rows["identity"].astype("category").array.remove_unused_categories()
    return values.codes, np.array([*(name or None for name in values.categories), None], dtype=object)


def _cell(
    test: TestScores, names: dict[str, Any], measured: Sequence[Metric], failed: dict[str, str] | None
) -> TestResult:
    label, score = test.label, test.score
    # seed 0: the interval of a test does not depend on what else was evaluated
    interval = delong.auc_interval(label, score, groups=test.groups, resamples=RESAMPLES, seed=0)
    values: dict[str, float | None] = {}
    for metric in measured:
        values |= _fields(metric, test, failed)
    return TestResult(
        **names,
        n_real=int((label == 0).sum()),
        n_forged=int((label == 1).sum()),
        auc=roc.auc(label, score),
        auc_low=interval.low,
        auc_high=interval.high,
        auc_method=interval.method,
        threshold=test.threshold,
        **values,
    )


def _fields(metric: Metric, test: TestScores, failed: dict[str, str] | None) -> dict[str, float | None]:
    """Compute the fields of a metric in a test result; errors of a plug-in's code are named."""
    try:
        return metric.fields(test)
    except BenchError:
        raise  # our own errors have their sentence already
    except Exception as error:  # code of others may raise anything; it is named, and re-raised or recorded
        why = f"{type(error).__name__}: {short(str(error))}"
        if failed is None or metric.id in METRICS.entries:
            raise InputError(f"metric {metric.id} failed: {why}") from error
        failed[metric.id] = why
        return {metric.id: None}


def compare(scores: pd.DataFrame) -> list[PairedTest]:
    """Compare every two detectors with the same training on the same test images.

    Args:
        scores: rows of scores.parquet.

    Returns:
        Paired differences, Holm-adjusted over all of them: DeLong's test where the protocol's intervals of both are
        DeLong's, else the same test with the intervals that the protocol has for small or perfectly separated sets
        (`means.combine`), as in the leaderboard.
    """
    # fits on shuffled labels predict no class, and differences of two of them mean nothing; those on choices of models
    # are averaged over choices, and would make the family of tests many times as large
    train_sets = {text: TrainSet.parse(str(text)) for text in scores["trained_on"].unique()}
    left_out = [text for text, of in train_sets.items() if of.variant == SHUFFLED or of.choice is not None]
    usual = ~scores["trained_on"].isin(left_out)
    test = scores.loc[(scores["split"] == "test") & (scores["perturbation"] == CLEAN) & usual, _COMPARED]
    # reals scored by fits of each training and seed: paired tests need the same images for every detector
    real = (test["label"] == 0).to_numpy()
    reals = test[["trained_on", "seed"]][real].groupby(["trained_on", "seed"]).indices
    differences: list[tuple[tuple[str, str, int], str, str, means.Mean]] = []
    places = [np.flatnonzero(of_class) for of_class in (real, ~real)]
    keys = ["trained_on", "generator", "seed"]
    forgeries: dict[Any, Any] = test[keys][~real].groupby(keys).indices
    for group, forged in sorted(forgeries.items()):
        trained_on, tested_on, seed = map(str, group)
        rows = [places[0][reals.get((trained_on, int(seed)), [])], places[1][forged]]
        label, of_detectors, people = _aligned(test.iloc[np.concatenate(rows)])
        names = sorted(of_detectors)
        estimates = _estimates(label, [of_detectors[name] for name in names], people)
        for i, j in itertools.combinations(range(len(names)), 2):
            # [1, -1]: AUC of a minus AUC of b, with their covariance over shared images
            difference = means.combine(estimates.of([i, j]), [1, -1])
            differences.append(((trained_on, tested_on, int(seed)), names[i], names[j], difference))
    if not differences:
        return []
    # Holm over all pairs of all test sets: the family is what the table shows
    adjusted = delong.holm([paired.p for *_, paired in differences])
    return [
        PairedTest(
            trained_on=trained_on,
            tested_on=tested_on,
            seed=seed,
            a=a,
            b=b,
            difference=paired.value,
            low=max(-1.0, paired.low),
            high=min(1.0, paired.high),
            p_holm=float(p),
        )
        for ((trained_on, tested_on, seed), a, b, paired), p in zip(differences, adjusted, strict=True)
    ]


def _aligned(rows: pd.DataFrame) -> tuple[Ints, dict[str, Floats], NDArray[np.object_]]:
    """Return label and person of each image, sorted by label and id, and the scores of each detector that has all.

    Raises:
        InputError: a detector has two scores of one image.
    """
    detector, ids = _Names.of(rows["detector"]), rows["sample_id"].astype("category").array
    # both, since a real and a forged image may have one id
    key = rows["label"].to_numpy().astype(np.int64) * len(ids.categories) + ids.codes
    images, first, place = np.unique(key, return_index=True, return_inverse=True)
    wide = np.full((len(detector.names), images.size), np.nan)
    wide[detector.code, place] = rows["score"].to_numpy()
    if np.unique(detector.code * np.int64(images.size) + place).size < len(rows):
        raise InputError(
            f"a detector trained on {rows['trained_on'].iloc[0]} has two scores of one image; score these images again"
        )
    # a detector that was not scored on these forgeries has no test
    scored = {name: wide[i] for i, name in enumerate(detector.names) if not np.isnan(wide[i]).any()}
    return images // len(ids.categories), scored, identities(rows.iloc[first])


def _estimates(label: Ints, scores: Sequence[Floats], people: NDArray[np.object_]) -> means.Estimates:
    """Estimate the AUCs of detectors on the same images, with the protocol's intervals and their covariance."""
    units = units_of(label == 1, codes(people, label.size))
    # V10 and V01 of each detector, once for all its pairs
    placed = [delong.components(label, score) for score in scores]
    added = [means.influence_of(label, parts) for parts in placed]
    # all detectors have the same rows here, so that units are the same for each
    covariance = means.covariance([units.of_row] * len(placed), added)
    m = int(np.count_nonzero(label == 1))
    ends = []
    for i, parts in enumerate(placed):
        # people=0 has no effect without repetitions: the method depends on sizes and variance alone
        method = choose_interval(label.size - m, m, variance=parts.variance, repeated=False, people=0)
        if method == "Newcombe":  # the covariance is over people where they repeat, so only counts are adapted
            ends.append(delong.auc_newcombe(parts.auc, units.in_forged, units.in_real))
        else:
            half = two_sided(0.95) * math.sqrt(covariance[i, i])  # DeLong's, over people where they repeat
            ends.append(Interval(max(0.0, parts.auc - half), min(1.0, parts.auc + half), "DeLong", 0.95))
    return means.estimates_of([parts.auc for parts in placed], ends, covariance)
