"""Is the table to be believed? Controls that must fail, leaks between splits, and what gives a class away for free.

Every audit ends in a verdict in words. A failed one makes every page and row of its suite a `shortcut`: what its
detectors found may be the mistake and not the forgery. Pure functions of score rows, FaceSet rows and images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation import delong as statistics
from benchmarks.evaluation import means as averages
from benchmarks.evaluation import roc as metrics
from benchmarks.evaluation.evaluate import identities
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.pooled import mean_auc
from benchmarks.evaluation.results import Finding
from benchmarks.protocol import CLEAN, SHUFFLED, Protocol, TestGrid, TrainSet, condition_of, protocol_of_scores
from detect.data.views import random_labels

Images = NDArray[np.uint8]

LEVEL = 0.999  # of a control's interval: one that fails condemns its suite; at 0.95 one in twenty would by chance
CUE = 0.6  # AUC of one plain number from which it is worth a warning, if its interval lies beyond 0.5 too
RANDOM, METADATA, TRIVIAL = "random", "metadata", "trivial-cues"  # the control detectors by name


def failed(findings: Sequence[Finding]) -> list[Finding]:
    """The audits that were not passed: any makes a suite a `shortcut`."""
    return [one for one in findings if one.passed is False]


# --- From score rows --------------------------------------------------------------------------------------------------


def controls(scores: pd.DataFrame, protocol: Protocol | None = None) -> list[Finding]:
    """Every control that score rows allow: random scores, shuffled labels, reals against reals, metadata, direction.

    Args:
        scores: rows of scores.parquet.
        protocol: version and families; by default this version's.
    """
    rules = protocol or protocol_of_scores(scores)
    test = scores[scores["split"] == "test"]
    plain = test[(test["perturbation"] == CLEAN) & ~test["trained_on"].str.contains(":")]
    return [
        _chance(test, rules, RANDOM, "random scores", "cannot tell the classes apart, as it must not"),
        _chance(test, rules, METADATA, "metadata", "finds nothing left of file format, size and JPEG quality"),
        _shuffled(test),
        _halves(plain),
        _direction(plain),
    ]


def _chance(test: pd.DataFrame, protocol: Protocol, detector: str, audit: str, fine: str) -> Finding:
    """A control detector's mean AUC must cover 0.5 in every condition, on every generator.

    Means over generators would hide a cue that one of them alone gives away, and means over conditions one that only
    re-encoding brings out. The level is shared by all means (Bonferroni), so that a control that knows nothing fails
    as rarely as by one interval.
    """
    groups = _chance_groups(test[test["detector"] == detector], protocol)
    if not groups:
        return Finding(audit=audit, passed=None, sentence=f"Not run: the suite has no detector {detector!r}.")
    tests = sum(map(len, groups.values()))
    level = 1 - (1 - LEVEL) / len(groups)
    means = {name: mean_auc(cells, level=level) for name, cells in groups.items()}
    caught = {name: mean for name, mean in means.items() if not mean.low <= 0.5 <= mean.high}
    if len(groups) == 1:
        (mean,) = means.values()
        said = f"{_said(mean)} over {tests} tests"
        sentence = f"{detector} {'tells the classes apart' if caught else fine}: {said}."
        return Finding(audit=audit, passed=not caught, sentence=sentence, numbers=_numbers(mean))
    name, mean = max((caught or means).items(), key=lambda pair: abs(pair[1].value - 0.5))
    said = f"AUC {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] in {name}"
    shared = f"{100 * LEVEL:g} % over {len(groups)} means of {tests} tests together"
    more = f", and in {len(caught) - 1} more" if len(caught) > 1 else ""
    sentence = (
        f"{detector} tells the classes apart: {said}{more} ({shared})."
        if caught
        else f"{detector} {fine}: farthest from 0.5 is {said} ({shared})."
    )
    return Finding(audit=audit, passed=not caught, sentence=sentence, numbers=_numbers(mean))


def _chance_groups(rows: pd.DataFrame, protocol: Protocol) -> dict[str, list[pd.DataFrame]]:
    """Condition and generator -> test sets of a control; by protocol 1 all clean tests of plain trainings together."""
    grid = TestGrid.of_scores(rows, protocol) if len(rows) else TestGrid(frozenset())
    groups: dict[str, list[pd.DataFrame]] = {}
    for (trained_on, _, perturbation), fit in rows.groupby(["trained_on", "seed", "perturbation"], sort=True):
        train_set = TrainSet.parse(str(trained_on))
        if train_set.variant == SHUFFLED:
            continue
        if protocol.version == 1 and (train_set.variant or perturbation != CLEAN):
            continue
        for pair in _pairs(fit):
            generator = str(pair["generator"].max())  # reals have an empty one
            condition = condition_of(train_set, generator, str(perturbation), grid)
            name = "all tests" if protocol.version == 1 else f"{condition} on {generator}"
            groups.setdefault(name, []).append(pair)
    return groups


def _pairs(fit: pd.DataFrame) -> list[pd.DataFrame]:
    """The test sets of one fit: all reals with the forgeries of each generator."""
    real, forged = fit[fit["generator"] == ""], fit[fit["generator"] != ""]
    return [pd.concat([real, one]) for _, one in forged.groupby("generator", sort=True)] if len(real) else []


def _shuffled(test: pd.DataFrame) -> Finding:
    """Detectors trained on random_labels must not predict the random_labels of test images."""
    audit, rows = "shuffled labels", test[test["trained_on"].str.endswith(f":{SHUFFLED}")]
    if rows.empty:
        return Finding(audit=audit, passed=None, sentence="Not run: no detector was trained on shuffled labels.")
    rows = rows.assign(label=random_labels(rows, 0).astype("int8"))
    fits = [fit for _, fit in rows.groupby(["detector", "trained_on", "seed"], sort=True)]
    found = mean_auc(fits, level=LEVEL)
    passed, said = found.low <= 0.5 <= found.high, _said(found)
    sentence = (
        f"Labels by the toss of a coin teach nothing: {said} over {len(fits)} fits."
        if passed
        else f"Coins of test images can be predicted, {said}: they, or the people in them, were seen in training."
    )
    return Finding(audit=audit, passed=passed, sentence=sentence, numbers=_numbers(found))


def _halves(test: pd.DataFrame) -> Finding:
    """No detector may tell one half of the real images from the other; Holm over the detectors."""
    audit, found = "real against real", {}
    for detector, rows in test[test["generator"] == ""].groupby("detector", sort=True):
        first = rows.groupby(["trained_on", "seed"], sort=True).ngroup() == 0
        fit = rows[first]
        half = random_labels(fit, 1)
        if min(half.sum(), (~half).sum()) < 2:
            continue
        groups = identities(fit)
        interval = statistics.auc_interval(half, fit["score"].to_numpy(), groups=groups)
        found[str(detector)] = (metrics.auc(half, fit["score"].to_numpy()), interval)
    if not found:
        return Finding(audit=audit, passed=None, sentence="Not run: too few real test images.")
    p = statistics.holm([_p(value, interval) for value, interval in found.values()])
    apart = [name for name, adjusted in zip(found, p, strict=True) if adjusted < 1 - LEVEL]
    sentence = (
        f"None of {len(found)} detectors tells one half of the real images from the other."
        if not apart
        else f"{', '.join(apart)} tell{'s' if len(apart) == 1 else ''} one half of the real images from the other."
    )
    numbers = {name: value for name, (value, _) in found.items()}
    return Finding(audit=audit, passed=not apart, sentence=sentence, numbers=numbers)


def _direction(test: pd.DataFrame) -> Finding:
    """On a generator seen in training nothing honest lies below 0.5: scores of the wrong sign do."""
    turned = []
    for (detector, trained_on), rows in test.groupby(["detector", "trained_on"], sort=True):
        seen = TrainSet.parse(str(trained_on)).generators
        pairs = [pair for _, fit in rows.groupby("seed") for pair in _pairs(fit) if set(pair["generator"]) & set(seen)]
        if str(detector) != RANDOM and pairs and mean_auc(pairs, level=LEVEL).high < 0.5:
            turned.append(f"{detector} trained on {trained_on}")
    sentence = (
        "No detector scores forgeries it was trained on as more real than real images."
        if not turned
        else f"Scores point the wrong way (higher must mean forged): {'; '.join(turned[:5])}."
    )
    return Finding(audit="direction", passed=not turned, sentence=sentence)


def _p(value: float, interval: Interval) -> float:
    """Two-sided p of an AUC being 0.5, read off the end of its 95 % interval that faces 0.5."""
    half = value - interval.low if value > 0.5 else interval.high - value
    return statistics.normal_p((value - 0.5) / half * 1.959964) if half > 0 else 1.0


def _said(found: averages.Mean) -> str:
    return f"AUC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] at {100 * LEVEL:g} %"


def _numbers(found: averages.Mean) -> dict[str, float]:
    return {"auc": found.value, "low": found.low, "high": found.high}


# --- From rows of FaceSets --------------------------------------------------------------------------------------------


def shared_identities(rows: pd.DataFrame) -> Finding:
    """No person may stand in two splits.

    Args:
        rows: table of the real faces: `identity` and `split`.
    """
    known = rows[[name is not None for name in identities(rows)]]
    splits = known.groupby("identity")["split"].nunique()
    torn = list(splits[splits > 1].index)
    sentence = (
        f"Each of {len(splits):,} known identities stands in one split."
        if len(splits)
        else "Identities are unknown: every photo stands for itself."
    )
    if torn:
        sentence = f"{len(torn)} people stand in two splits, among them {', '.join(map(str, torn[:3]))}."
    return Finding(audit="identities", passed=not torn, sentence=sentence, numbers={"in two splits": float(len(torn))})


def copies(pairs: Sequence[tuple[str, str]], between: str) -> Finding:
    """Near duplicates between two sets of images that must not share any.

    Args:
        pairs: ids of the images that show the same photo.
        between: where no photo may stand, e.g. "two splits of the real faces".
    """
    sentence = f"No photo stands in {between}."
    if pairs:
        shown = ", ".join(f"{a} and {b}" for a, b in pairs[:3])
        sentence = f"{len(pairs)} photos stand in {between}: {shown}."
    numbers = {"pairs": float(len(pairs))}
    return Finding(audit=f"copies in {between}", passed=not pairs, sentence=sentence, numbers=numbers)


# --- From images ------------------------------------------------------------------------------------------------------


def values(real: Images, forged: Images) -> Finding:
    """Report which plain numbers (darkest and brightest value, mean, contrast) tell a generator's forgeries.

    Args:
        real: uint8 [n, H, W, 3].
        forged: uint8 [m, H, W, 3], of a generator of this bench: both went through one pipeline, so that such a number
            is a trait of the generator and nothing to fail by.
    """
    telling, numbers = [], {}
    for what, measure in _PLAIN.items():
        a, b = measure(real), measure(forged)
        numbers[what] = metrics.auc(np.repeat([0, 1], [len(a), len(b)]), np.concatenate([a, b]))
        if found := apart(a, b):
            telling.append(f"{what} ({found})")
    sentence = (
        f"Plain numbers tell the class: {'; '.join(telling)}. Both classes went through one pipeline, so that this is "
        "a trait of the generator."
        if telling
        else "Darkest and brightest values, mean and contrast do not give the class away."
    )
    return Finding(audit="values", passed=None, sentence=sentence, numbers=numbers)


def _darkest(images: Images) -> NDArray[np.float64]:
    return np.asarray(images.reshape(len(images), -1).min(axis=1), dtype=np.float64)


def _brightest(images: Images) -> NDArray[np.float64]:
    return np.asarray(images.reshape(len(images), -1).max(axis=1), dtype=np.float64)


def _brightness(images: Images) -> NDArray[np.float64]:
    return np.asarray(images.reshape(len(images), -1).mean(axis=1), dtype=np.float64)


def _contrast(images: Images) -> NDArray[np.float64]:
    return np.asarray(images.reshape(len(images), -1).std(axis=1), dtype=np.float64)


_PLAIN = {
    "darkest value": _darkest,
    "brightest value": _brightest,
    "mean value": _brightness,
    "contrast": _contrast,
}


def apart(real: NDArray[np.float64], forged: NDArray[np.float64], *, level: float = 0.95) -> str:
    """Return the AUC of one number with its interval where it tells two classes apart, else an empty string."""
    if min(len(real), len(forged)) < 2:
        return ""
    label, number = np.repeat([0, 1], [len(real), len(forged)]), np.concatenate([real, forged])
    value, interval = metrics.auc(label, number), statistics.auc_interval(label, number, level=level)
    strong = max(value, 1 - value) >= CUE and not interval.low <= 0.5 <= interval.high
    return f"AUC {value:.2f} [{interval.low:.2f}, {interval.high:.2f}]" if strong else ""
