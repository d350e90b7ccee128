"""Audits of score rows: negative controls, and scores of the wrong sign.

Pure functions of rows of scores.parquet.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.evaluation import delong, means, roc
from benchmarks.evaluation.audits import LEVEL
from benchmarks.evaluation.evaluate import fits_of, identities
from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.pooled import mean_auc
from benchmarks.evaluation.results import Finding
from benchmarks.evaluation.roc import Ints
from benchmarks.protocol import (
    CLEAN,
    CONTROL_DETECTORS,
    EXTERNAL_PREFIX,
    PAIRED_PREFIX,
    SHUFFLED,
    Protocol,
    TestGrid,
    TrainSet,
    condition_of,
    protocol_of_scores,
)
from detect.data.views import random_labels

GOOD = 0.7  # AUC on generators seen in training from which the direction of a detector is considered known
RANDOM, METADATA, TRIVIAL = CONTROL_DETECTORS


def controls(
    scores: pd.DataFrame, protocol: Protocol | None = None, paired: pd.DataFrame | None = None
) -> list[Finding]:
    """Run all controls that score rows allow: random scores, shuffled labels, reals against reals, metadata, direction.

    Args:
        scores: rows of scores.parquet.
        protocol: version and families; by default this version's.
        paired: rows of forgeries beside their sources, on which the control detectors are tested too; None: none.
    """
    rules = protocol or protocol_of_scores(scores)
    test = scores[scores["split"] == "test"]
    # fits on all images of plain trainings; names with a colon are budgets, equalised and shuffled trainings
    plain = test[(test["perturbation"] == CLEAN) & ~test["trained_on"].str.contains(":")]
    tested = test if paired is None else pd.concat([test, paired[paired["split"] == "test"]])
    return [
        _chance(tested, rules, RANDOM, "random scores", "cannot tell the classes apart, as it must not"),
        _chance(tested, rules, METADATA, "metadata", "finds nothing left of file format, size and JPEG quality"),
        _shuffled(test),
        _halves(plain),
        _direction(plain),
    ]


def _chance(test: pd.DataFrame, protocol: Protocol, detector: str, audit: str, fine: str) -> Finding:
    """Test that a control detector's interval covers 0.5 in every condition, on every generator.

    A mean over generators would hide a cue of a single one, and a mean over conditions a cue that only re-encoding
    reveals. The level is divided by the number of means (Bonferroni), so that a control at chance fails as rarely as
    by one interval.
    """
    rows = test[test["detector"] == detector]
    groups = _chance_groups(rows, protocol)
    if not groups:
        # no finding and no pass: a suite without the control must not look as if it had passed
        return Finding(audit=audit, passed=None, sentence=f"Not run: the suite has no detector {detector!r}.")
    tests = sum(map(len, groups.values()))
    # Bonferroni over the means: all of them cover 0.5 together with probability LEVEL
    level = 1 - (1 - LEVEL) / len(groups)
    mean_by_group = {name: mean_auc(rows, cells, level=level) for name, cells in groups.items()}
    caught = {name: mean for name, mean in mean_by_group.items() if not mean.low <= 0.5 <= mean.high}
    if len(groups) == 1:
        (mean,) = mean_by_group.values()
        shown = f"{_shown(mean)} over {tests} tests"
        sentence = f"{detector} {'tells the classes apart' if caught else fine}: {shown}."
        return Finding(audit=audit, passed=not caught, sentence=sentence, numbers=_numbers(mean))
    # the mean farthest from chance is shown, of the failed ones if there are any
    name, mean = max((caught or mean_by_group).items(), key=lambda pair: abs(pair[1].value - 0.5))
    shown = f"AUC {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] in {name}"
    shared = f"{100 * LEVEL:g} % over {len(groups)} means of {tests} tests together"
    more = f", and in {len(caught) - 1} more" if len(caught) > 1 else ""
    sentence = (
        f"{detector} tells the classes apart: {shown}{more} ({shared})."
        if caught
        else f"{detector} {fine}: farthest from 0.5 is {shown} ({shared})."
    )
    return Finding(audit=audit, passed=not caught, sentence=sentence, numbers=_numbers(mean))


def _chance_groups(rows: pd.DataFrame, protocol: Protocol) -> dict[str, list[Ints]]:
    """Map condition and generator to places of test sets of a control; by protocol 1 all clean tests of plain fits."""
    grid = TestGrid.of_scores(rows, protocol) if len(rows) else TestGrid(frozenset())
    groups: dict[str, list[Ints]] = {}
    for (trained_on, _, perturbation), fit in _places(rows, ["trained_on", "seed", "perturbation"]):
        train_set = TrainSet.parse(str(trained_on))
        # shuffled labels have a control of their own, `_shuffled`
        if train_set.variant == SHUFFLED:
            continue
        if protocol.version == 1 and (train_set.variant or perturbation != CLEAN):
            continue
        for generator, pair in _pairs(rows, fit):
            condition = condition_of(train_set, generator, str(perturbation), grid)
            name = "all tests" if protocol.version == 1 else f"{condition} on {generator}"
            groups.setdefault(name, []).append(pair)
    return groups


def _places(rows: pd.DataFrame, names: list[str]) -> list[tuple[Any, Ints]]:
    """Return the values of some columns, sorted, and the places of their rows: tables of many images copy slowly."""
    places: dict[Any, Any] = rows.groupby(names).indices
    return sorted(places.items())


def _pairs(rows: pd.DataFrame, fit: Ints) -> Iterator[tuple[str, Ints]]:
    """Yield the test sets of one fit: the forgeries of each generator with all reals, or with their own sources.

    Args:
        rows: of all fits.
        fit: places of its rows.
    """
    of = rows[["generator", "source"]].iloc[fit]
    real = (of["generator"] == "").to_numpy(dtype=bool)
    sources = of["source"].str.startswith(PAIRED_PREFIX).to_numpy(dtype=bool)
    for name, part in _places(of, ["generator"]):
        generator = str(name)
        if not generator:
            continue
        own = (of["source"] == generator).to_numpy(dtype=bool) if generator.startswith(PAIRED_PREFIX) else ~sources
        if (matching := fit[real & own]).size:
            yield generator, np.concatenate([matching, fit[part]])


def _shuffled(test: pd.DataFrame) -> Finding:
    """Test that detectors trained on random labels do not predict the random labels of test images."""
    audit, rows = "shuffled labels", test[test["trained_on"].str.endswith(f":{SHUFFLED}")]
    if rows.empty:
        return Finding(audit=audit, passed=None, sentence="Not run: no detector was trained on shuffled labels.")
    # the same digest-based bits as in the fit: predictable only where images or people of the test were in the training
    rows = rows.assign(label=random_labels(rows, 0).astype("int8"))
    fits = [fit for _, fit in _places(rows, ["detector", "trained_on", "seed"])]
    mean = mean_auc(rows, fits, level=LEVEL)
    passed, shown = mean.low <= 0.5 <= mean.high, _shown(mean)
    sentence = (
        f"Detectors trained on random labels do not predict those of test images: {shown} over {len(fits)} fits."
        if passed
        else f"Random labels of test images are predicted, {shown}: images or people of the test were in the training."
    )
    return Finding(audit=audit, passed=passed, sentence=sentence, numbers=_numbers(mean))


def _halves(test: pd.DataFrame) -> Finding:
    """Test that no detector separates two random halves of the real images; Holm over the detectors."""
    audit, estimates = "real against real", {}
    for detector, rows in test[test["generator"] == ""].groupby("detector", sort=True):
        # one fit per detector: several would test one sample of halves several times
        first = rows.groupby(["trained_on", "seed"], sort=True).ngroup() == 0
        fit = rows[first]
        # seed 1: other bits than those of the shuffled labels, which are of seed 0
        half = random_labels(fit, 1)
        if min(half.sum(), (~half).sum()) < 2:
            # DeLong's variance needs two images of each half
            continue
        groups = identities(fit)
        interval = delong.auc_interval(half, fit["score"].to_numpy(), groups=groups)
        estimates[str(detector)] = (roc.auc(half, fit["score"].to_numpy()), interval)
    if not estimates:
        return Finding(audit=audit, passed=None, sentence="Not run: too few real test images.")
    # Holm instead of one test per detector: with many detectors one would fail by chance
    p = delong.holm([_p(value, interval) for value, interval in estimates.values()])
    # alpha = 1 - LEVEL, as of every control: a failure marks the whole suite
    apart = [name for name, adjusted in zip(estimates, p, strict=True) if adjusted < 1 - LEVEL]
    sentence = (
        f"None of {len(estimates)} detectors separates two random halves of the real images."
        if not apart
        else f"{', '.join(apart)} separate{'s' if len(apart) == 1 else ''} two random halves of the real images."
    )
    numbers = {name: value for name, (value, _) in estimates.items()}
    return Finding(audit=audit, passed=not apart, sentence=sentence, numbers=numbers)


def _direction(test: pd.DataFrame) -> Finding:
    """Test that no detector lies below 0.5 on a generator of its training: that is a sign error of its scores."""
    turned = []
    for (detector, trained_on), fits in itertools.groupby(fits_of(test), key=lambda fit: fit[0][:2]):
        # seen generators only: below 0.5 on unseen ones is a finding about them, no error of sign
        seen = TrainSet.parse(trained_on).generators
        pairs = [pair for _, fit in fits for generator, pair in _pairs(test, fit) if generator in seen]
        if detector != RANDOM and pairs and mean_auc(test, pairs, level=LEVEL).high < 0.5:
            turned.append(f"{detector} trained on {trained_on}")
    sentence = (
        "No detector scores forgeries it was trained on as more real than real images."
        if not turned
        else f"Scores point the wrong way (higher must mean forged): {'; '.join(turned[:5])}."
    )
    return Finding(audit="direction", passed=not turned, sentence=sentence)


def _p(value: float, interval: Interval) -> float:
    """Return the two-sided p of AUC = 0.5, from the end of its interval that is nearer to 0.5."""
    half = value - interval.low if value > 0.5 else interval.high - value
    # half a width is z standard errors, so that (value - 0.5) / half is in units of z
    return delong.normal_p((value - 0.5) / half * two_sided(interval.level)) if half > 0 else 1.0


def _shown(mean: means.Mean) -> str:
    return f"AUC {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] at {100 * LEVEL:g} %"


def _numbers(mean: means.Mean) -> dict[str, float]:
    return {"auc": mean.value, "low": mean.low, "high": mean.high}


def directions(scores: pd.DataFrame) -> list[Finding]:
    """Warn of pairs on which every good detector scores real photos as more forged than the forgeries.

    Single detectors may lie below 0.5 on unfamiliar forgeries; all of them do where sides are exchanged. A detector is
    good with an AUC of at least 0.7 on the generators that it was trained on.

    Args:
        scores: rows of scores.parquet.
    """
    # without sources, which are real images of one test alone
    usual = (scores["split"] == "test") & ~scores["source"].str.startswith(PAIRED_PREFIX)
    plain = scores[usual & (scores["perturbation"] == CLEAN)]
    elsewhere = plain["source"].str.startswith(EXTERNAL_PREFIX)
    findings = []
    for name, pair in plain[elsewhere].groupby("source", sort=True):
        below, good = [], []
        for (detector, trained_on), rows in pair.groupby(["detector", "trained_on"], sort=True):
            # how this fit does on generators of the run: its direction is known where it is good there
            fit = plain[~elsewhere & (plain["detector"] == detector) & (plain["trained_on"] == trained_on)]
            if detector == RANDOM or rows["label"].nunique() < 2 or not _is_good(fit, str(trained_on)):
                continue
            good.append(str(detector))
            # seed by seed: fits of two seeds are two detectors, whose scores have different scales
            tests = [part for _, part in _places(rows, ["seed"])]
            # the whole interval below 0.5, at 99.9 %
            if mean_auc(rows, tests, level=LEVEL).high < 0.5:
                below.append(str(detector))
        # one good detector that ranks the pair the right way is enough to clear it
        if good and below == good:
            sentence = (
                f"All detectors that learned ({', '.join(below[:5])}) lie below AUC 0.5: their scores call the real "
                "photos forged. Either the sides are exchanged, or these forgeries mislead all of them."
            )
            findings.append(Finding(audit=f"direction, {name}", passed=None, sentence=sentence))
    return findings


def _is_good(fit: pd.DataFrame, trained_on: str) -> bool:
    """Return whether a fit reaches an AUC of 0.7 on the generators it was trained on."""
    real, seeds = (fit["generator"] == "").to_numpy(dtype=bool), fit["seed"].to_numpy()
    # generators of its training: on others a low AUC says nothing of its direction
    forged = fit["generator"].isin(TrainSet.parse(trained_on).generators).to_numpy(dtype=bool)
    if not real.any() or not forged.any():
        return False
    tests = [
        np.concatenate([np.flatnonzero(of_class & (seeds == seed)) for of_class in (real, forged)])
        for seed in np.unique(seeds[forged])
    ]
    return mean_auc(fit, tests, level=LEVEL).value >= GOOD
