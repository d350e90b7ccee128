"""Audits of FaceSets: people and photos in two splits; labels and plain numbers of images that predict the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation import delong, roc
from benchmarks.evaluation.audits import CUE
from benchmarks.evaluation.audits.handling import FOLDS, groups_of, judge
from benchmarks.evaluation.audits.learners import learn_shares
from benchmarks.evaluation.evaluate import identities
from benchmarks.evaluation.groups import MAX_GROUPS
from benchmarks.evaluation.results import Finding
from forge.generators.domains import label_text

Images = NDArray[np.uint8]


def shared_identities(rows: pd.DataFrame) -> Finding:
    """Test that no person is in two splits.

    Args:
        rows: table of the real faces: `identity` and `split`.
    """
    # unknown identities are None and may repeat: they are no person in two splits
    known = rows[[name is not None for name in identities(rows)]]
    splits = known.groupby("identity")["split"].nunique()
    torn = list(splits[splits > 1].index)
    sentence = (
        f"Each of {len(splits):,} known identities is in one split."
        if len(splits)
        else "Identities are unknown: each photo counts as its own identity."
    )
    if torn:
        sentence = f"{len(torn)} people are in two splits, among them {', '.join(map(str, torn[:3]))}."
    return Finding(audit="identities", passed=not torn, sentence=sentence, numbers={"in two splits": float(len(torn))})


def copies(pairs: Sequence[tuple[str, str]], between: str, *, equal: int = 0, otherwise: str = "") -> Finding:
    """Test that two sets of images share no photo.

    Args:
        pairs: names of the images that show the same photo.
        between: description of the two sets, e.g. "two splits of the real faces".
        equal: number of the pairs whose pixels are equal, mirrored ones too; the first of `pairs`.
        otherwise: what pairs that are only nearly equal may be, so that they do not fail; empty: they do.
    """
    judged = pairs[:equal] if otherwise and equal else pairs
    sentence = f"No photo is in {between}."
    if pairs:
        photos, alike = len({second for _, second in judged}), ""
        if equal:
            alike = ", pixel for pixel" if equal == len(judged) else f", {equal} of the pairs pixel for pixel"
        shown = ", ".join(f"{a} and {b}" for a, b in judged[:3])
        sentence = f"{photos} {'photo is' if photos == 1 else 'photos are'} in {between}{alike}: {shown}."
    if otherwise and len(pairs) > equal:
        more = len(pairs) - equal
        nearly = (
            f"{more} more {'pair is' if more == 1 else 'pairs are'} nearly equal" if equal else "Their pixels differ"
        )
        sentence += f" {nearly}: {otherwise}."
    passed = None if otherwise and pairs and not equal else not pairs
    numbers = {"pairs": float(len(pairs)), "equal": float(equal)}
    return Finding(audit=f"copies in {between}", passed=passed, sentence=sentence, numbers=numbers)


def labels(real: pd.DataFrame, forged: pd.DataFrame, columns: Sequence[str]) -> Finding:
    """Report which labels give a generator's forgeries away, for example where all of them show women.

    The AUC of a label is that of a classifier that sees the label alone, cross-validated over people (five folds).
    Columns of more than 12 values, like dates or names, are left out.

    Args:
        real: rows of real faces: `identity`, and these columns, whose values may be missing.
        forged: rows of forgeries, likewise; without `identity` each face stands alone.
        columns: label columns that both have.
    """
    telling, numbers = [], {}
    for column in columns:
        sides = [label_text(rows[column]).dropna() for rows in (real, forged)]
        label = np.repeat([False, True], [len(side) for side in sides])
        cells = pd.concat(sides, ignore_index=True)
        if min(map(len, sides)) < FOLDS or cells.nunique() > MAX_GROUPS:
            continue
        people = [
            rows.loc[side.index, "identity"] if "identity" in rows else None
            for rows, side in zip((real, forged), sides, strict=True)
        ]
        groups = groups_of(*people)
        numbers[column], interval = judge(label, cells.to_numpy(dtype=object), learn_shares, level=0.95, groups=groups)
        if numbers[column] >= CUE and interval.low > 0.5:
            shares = pd.DataFrame([side.value_counts(normalize=True) for side in sides]).fillna(0.0)
            value = shares.columns[int(np.argmax(shares.iloc[1] - shares.iloc[0]))]
            of_real, of_forged = (100 * share for share in shares[value])
            telling.append(
                f"{column} (AUC {numbers[column]:.2f} [{interval.low:.2f}, {interval.high:.2f}]; {value}: "
                f"{of_forged:.0f} % of the forgeries, {of_real:.0f} % of the real faces)"
            )
    if telling:
        sentence = (
            f"Labels tell the class: {'; '.join(telling)}. A detector may learn the label instead of the forgery."
        )
    elif numbers:
        sentence = "No label tells the class beyond chance."
    else:
        sentence = "There are no labels to compare."
    return Finding(audit="labels", passed=True if numbers and not telling else None, sentence=sentence, numbers=numbers)


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
        # AUC of one plain number, real 0 and forged 1; far from 0.5 in either direction it tells the class
        numbers[what] = roc.auc(np.repeat([0, 1], [len(a), len(b)]), np.concatenate([a, b]))
        if shown := apart(a, b):
            telling.append(f"{what} ({shown})")
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
    value, interval = roc.auc(label, number), delong.auc_interval(label, number, level=level)
    # either direction counts: a detector can learn that forgeries are darker as well as that they are brighter
    strong = max(value, 1 - value) >= CUE and not interval.low <= 0.5 <= interval.high
    return f"AUC {value:.2f} [{interval.low:.2f}, {interval.high:.2f}]" if strong else ""
