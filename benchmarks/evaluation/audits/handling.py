"""Audit of handling: whether cues of file handling predict the class, cross-validated per cue, at 99.9 %.

A detector may legitimately use content: colours, sharpness, background, the statistics of a generator. Content is
therefore reported (`content`) and fails no audit. Handling fails it, since it is unrelated to forging and a detector
can learn it instead: a JPEG grid, its quality and its shift; a limit of the values (clipping, a shift of brightness); a
border; a mark that is the same in every image; grey photos against colour; metadata and pixel mode. Copies between the
sides are audited in `face_sets.copies`, formats and sizes in `pairs.sources`.

Each cue is a score per image from five-fold cross-validation. A cue predicts the class where its AUC is at least 0.6
and its interval, at 99.9 % shared between all cues (Bonferroni), lies above 0.5: a pair without such cues fails once in
a thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.evaluation import delong, roc
from benchmarks.evaluation.audits import CUE, LEVEL
from benchmarks.evaluation.audits.file_cues import FileCues
from benchmarks.evaluation.audits.learners import (
    Labels,
    Learn,
    find_mark,
    learn_ceiling,
    learn_floor,
    learn_linear,
    learn_mark,
    learn_shares,
)
from benchmarks.evaluation.audits.periods import learn_period, period_of
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.results import Finding
from detect.features.cues import trivial_cues
from forge.faces.dedup import describe
from forge.faces.prepare import CLUSTER_PREFIX

Images = NDArray[np.uint8]

FOLDS = 5
_LEARNED = 2  # folds from which a cue is chosen that is tested on the others


def handling(real: FileCues, forged: FileCues) -> Finding:
    """Test whether any cue of handling tells real from forged files.

    Args:
        real: cues of the real files.
        forged: cues of the forged ones.
    """
    tables = (real.table, forged.table)
    label = np.repeat([False, True], [len(table) for table in tables])

    def column(*names: str) -> NDArray[Any]:
        # several columns as one text: their combination is the cue, e.g. a quality at a shift of the grid
        joined = [table[list(names)].astype(str).agg(" ".join, axis=1) for table in tables]
        return np.concatenate([part.to_numpy(dtype=str) for part in joined])

    groups = groups_of(*(table.get("identity") for table in tables))
    corners = np.concatenate([real.corners, forged.corners])  # [n, 4, 8, 8, 3]
    cues: dict[str, tuple[Learn, NDArray[Any]]] = {
        "JPEG grid": (learn_shares, column("jpeg_quality", "grid_row", "grid_column")),
        "darkest level": (learn_floor, column("darkest")),
        "brightest level": (learn_ceiling, column("brightest")),
        "border": (learn_shares, column("border")),
        "corner mark": (learn_mark, corners),
        "grey stored as colour": (learn_shares, column("grey")),
        "metadata": (learn_shares, column("metadata")),
        "pixel mode": (learn_shares, column("mode")),
    }
    telling, numbers = [], {}
    for name, (learn, features) in cues.items():
        # Bonferroni: eight cues share one error of a thousandth
        value, interval = judge(label, features, learn, level=1 - (1 - LEVEL) / len(cues), groups=groups)
        numbers[name] = value
        # one-sided: a learned score below 0.5 on new folds is chance, not a cue
        if value >= CUE and interval.low > 0.5:
            detail = _detail(name, features, label)
            telling.append(f"{name} (AUC {value:.2f} [{interval.low:.2f}, {interval.high:.2f}]{detail})")
    sentence = (
        f"How the files were handled tells the class: {'; '.join(telling)}."
        if telling
        else "JPEG grid, clipped values, borders, corner marks, grey colour and metadata do not give the class away."
    )
    return Finding(audit="handling", passed=not telling, sentence=sentence, numbers=numbers)


def content(
    real: Images,
    forged: Images,
    identities: tuple[pd.Series, pd.Series] | None = None,
    files: tuple[FileCues, FileCues] | None = None,
) -> Finding:
    """Report how well trivial cues of the content tell the class; a forgery may be told by its content.

    Args:
        real: uint8 [n, H, W, 3].
        forged: uint8 [m, H, W, 3].
        identities: names of people and clips, [n] and [m], missing where unknown.
        files: cues of the files of both sides, whose fine detail and periods are judged at their own resolution.
    """
    label = np.repeat([False, True], [len(real), len(forged)])
    groups = None if identities is None else groups_of(*identities)
    cues: dict[str, _Cue] = {
        name: _Cue(label, features, groups) for name, features in _plain_cues(real, forged).items()
    }
    if files:
        tables = [side.table for side in files]
        detail = np.concatenate([table["fine_detail"].to_numpy(np.float64) for table in tables])
        sides = np.repeat([False, True], [len(table) for table in tables])
        of_files = groups_of(*(table.get("identity") for table in tables))
        cues["fine detail of the files"] = _Cue(sides, detail[:, None], of_files)
        spectra = np.concatenate([side.periods for side in files])
        # no audit that fails: a network that enlarges leaves the traces of JPEG that was resized
        cues["periodic grid of the files"] = _Cue(sides, spectra, of_files, learn_period, _period, judge_apart)
    telling, numbers = [], {}
    for name, cue in cues.items():
        # Bonferroni: seven cues share one error of a thousandth
        value, interval = (cue.judge or judge)(
            cue.label, cue.features, cue.learn, level=1 - (1 - LEVEL) / len(cues), groups=cue.groups
        )
        numbers[name] = value
        if value >= CUE and interval.low > 0.5:
            detail_of = cue.describe(cue.features, cue.label)
            telling.append(f"{name} (AUC {value:.2f} [{interval.low:.2f}, {interval.high:.2f}]{detail_of})")
    sentence = (
        f"Trivial cues of the content tell the class: {'; '.join(telling)}. Forgeries may differ so, or their files "
        "may have been made otherwise: compare detectors with these numbers."
        if telling
        else "Colour, brightness, contrast, sharpness and the mean image do not give the class away."
    )
    return Finding(audit="trivial cues", passed=None, sentence=sentence, numbers=numbers)


class _Cue(NamedTuple):
    """A cue of the content: classes [n], features [n, ...], people and clips, learner, words on it, and its test."""

    label: Labels
    features: NDArray[Any]
    groups: NDArray[np.object_] | None
    learn: Learn = learn_linear
    describe: Callable[[NDArray[Any], Labels], str] = lambda features, label: ""
    judge: Callable[..., tuple[float, Interval]] | None = None


def _period(features: NDArray[Any], label: Labels) -> str:
    """Describe the period that tells the classes apart."""
    period, forged = period_of(features, label)
    return (
        f", every {period:.1f} pixels or a multiple in {'forged' if forged else 'real'} files: JPEG blocks, perhaps "
        "resized, or a network that enlarges"
    )


def _plain_cues(real: Images, forged: Images) -> dict[str, NDArray[np.float64]]:
    """Return name of a trivial cue -> its features of all images, real ones first, [n + m, features]."""
    plain = np.concatenate([trivial_cues(torch.from_numpy(images)).numpy() for images in (real, forged)])
    grey = np.concatenate([describe(images)[1] for images in (real, forged)])
    # the first six cues are means and deviations of R, G, B, the last is sharpness
    return {
        # differences to green: independent of brightness
        "colour": np.stack([plain[:, 0] - plain[:, 1], plain[:, 2] - plain[:, 1], plain[:, 3:6].std(1)], axis=1),
        "brightness": plain[:, :3].mean(1, keepdims=True),
        "contrast": plain[:, 3:6].mean(1, keepdims=True),
        "sharpness": plain[:, 6:],
        # 16 x 16 grey thumbnails averaged to 8 x 8: 64 features, few enough for a linear learner; [n, 8, 2, 8, 2]
        "mean image": grey.reshape(len(grey), 8, 2, 8, 2).mean((2, 4)).reshape(len(grey), 64),
    }


def groups_of(*identities: pd.Series | None) -> NDArray[np.object_] | None:
    """Group of each image, side after side; None where a side has no identities.

    A person on both sides is one group. A group that the preparation named after a copy ("cluster-0000012") is numbered
    within its own side and stays there.
    """
    names: list[str | None] = []
    for side, column in enumerate(identities):
        if column is None:
            return None
        for name in column:
            if pd.isna(name) or name == "":
                names.append(None)
            else:
                names.append(f"0 {name} of side {side}" if name.startswith(CLUSTER_PREFIX) else f"0 {name}")
    return np.array(names, dtype=object)


def judge(
    label: Labels,
    features: NDArray[Any],
    learn: Learn,
    *,
    level: float,
    groups: NDArray[np.object_] | None = None,
) -> tuple[float, Interval]:
    """Compute the cross-validated AUC of a cue with its interval.

    Args:
        label: whether each image is forged, [n].
        features: what is learned from, [n] or [n, ...].
        learn: makes a score of features from features and labels.
        level: coverage of the interval.
        groups: name of each image's person or clip, None where it stands alone; a group lies in one fold.
    """
    fold = _folds(label, groups)
    # out of fold: no image is scored by a learner that has seen it, or another image of its person
    score = np.zeros(len(label), np.float64)
    for number in np.unique(fold):  # fewer than five where there are fewer people or clips
        rest = fold != number
        if label[rest].all() or not label[rest].any():
            continue  # a single person or clip of a class: nothing to learn from, and no score tells the classes apart
        # learned on four fifths, scored on the rest; scores of all folds are ranked together
        score[~rest] = learn(features[rest], label[rest])(features[~rest])
    return roc.auc(label, score), delong.auc_interval(label, score, groups=groups, level=level)


def judge_apart(
    label: Labels,
    features: NDArray[Any],
    learn: Learn,
    *,
    level: float,
    groups: NDArray[np.object_] | None = None,
) -> tuple[float, Interval]:
    """Compute the AUC of a cue that is chosen among hundreds: learned on two fifths, tested on the others alone.

    Five folds share three quarters of what they learn from and mostly choose the same candidate, so that together they
    do not correct for the choice: 8 of 600 fair splits of 400 photos were called.

    Args:
        label: whether each image is forged, [n].
        features: what is learned from, [n, ...].
        learn: makes a score of features from features and labels.
        level: coverage of the interval.
        groups: name of each image's person or clip, None where it stands alone; a group is on one side.
    """
    rest = _folds(label, groups) < _LEARNED
    if any(label[part].all() or not label[part].any() for part in (rest, ~rest)):  # few people or clips
        nothing = np.zeros(len(label), np.float64)
        return 0.5, delong.auc_interval(label, nothing, groups=groups, level=level)
    score = learn(features[rest], label[rest])(features[~rest])
    tested = None if groups is None else groups[~rest]
    return roc.auc(label[~rest], score), delong.auc_interval(label[~rest], score, groups=tested, level=level)


def _folds(label: Labels, groups: NDArray[np.object_] | None) -> NDArray[np.int64]:
    """Assign each image to a fold: groups of real, of forged and of both kinds of images in random order."""
    alone = [f"alone {i}" for i in range(len(label))]
    # an image without a group is a group of its own
    names = alone if groups is None else [name or other for name, other in zip(groups, alone, strict=True)]
    known, group = np.unique(np.array(names, dtype=str), return_inverse=True)
    # 1: real images alone, 2: forged ones, 3: both; one after another, so that every fold has images of both classes
    classes = np.isin(np.arange(len(known)), group[~label]) + 2 * np.isin(np.arange(len(known)), group[label])
    fold_of_group = np.empty(len(known), np.int64)
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        # random order of groups modulo 5: folds of nearly equal numbers of groups, the same in every run
        fold_of_group[members] = np.random.default_rng(0).permutation(len(members)) % FOLDS
    return fold_of_group[group]


# --- Descriptions -----------------------------------------------------------------------------------------------------


def _detail(name: str, features: NDArray[Any], label: Labels) -> str:
    """Describe a cue: the value whose shares differ most between the classes, or the position of a mark."""
    if name == "corner mark":
        return f", {_corner(features, label)}"
    if name == "JPEG grid":
        # of many qualities none may stand out; that there is a grid may
        visible = np.where(features == _NO_GRID, _NO_GRID, _ANY_GRID)
        grids, any_grid = (_shares_by_class(values, label) for values in (features, visible))
        most = max(abs(_apart(grids, value)) for value in grids[0].keys() | grids[1].keys())
        if abs(_apart(any_grid, _ANY_GRID)) > 2 * most:
            features = visible
    shares = _shares_by_class(features, label)
    value = max(sorted(shares[0].keys() | shares[1].keys()), key=lambda key: abs(_apart(shares, key)))
    real, forged = (100 * share.get(value, 0.0) for share in shares)
    return f", {_WORDS[name](value)} in {real:.0f} % of real, {forged:.0f} % of forged"


def _shares_by_class(values: NDArray[Any], label: Labels) -> tuple[dict[str, float], dict[str, float]]:
    """Return the share of each value among real and among forged images."""
    real, forged = (Counter(values[label == of].tolist()) for of in (False, True))
    return (
        {value: count / real.total() for value, count in real.items()},
        {value: count / forged.total() for value, count in forged.items()},
    )


def _apart(shares: Sequence[Mapping[str, float]], value: str) -> float:
    """Return the difference of the shares; scaled down for default values, so that they are named last."""
    difference = shares[1].get(value, 0.0) - shares[0].get(value, 0.0)
    # a default value (no border, no metadata) is named only where nothing else differs
    return difference if value not in _NOTHING else difference / 1000


_NO_GRID, _ANY_GRID = "0 0 0", "any"
_NOTHING = ("", "0", "255", "False", _NO_GRID, "0 0 0 0", "RGB")


def _grid(value: str) -> str:
    if value == _ANY_GRID:
        return "a grid of some quality"
    quality, row, column = value.split()
    if quality == "0":
        return "none"
    shift = "" if row == column == "0" else f" shifted by {row} rows and {column} columns"
    return f"quality {quality}{shift}"


_WORDS: dict[str, Callable[[str], str]] = {
    "JPEG grid": _grid,
    "darkest level": lambda value: f"values stop at {value}",
    "brightest level": lambda value: f"values stop at {value}",
    "border": lambda value: f"{value} px of one colour at top, bottom, left, right",
    "grey stored as colour": lambda value: "grey" if value == "True" else "colour",
    "metadata": lambda value: value or "none",
    "pixel mode": str,
}


def _corner(features: NDArray[Any], label: Labels) -> str:
    """Name the corner whose pixels are the same in every image of one class."""
    names = ("top left", "top right", "bottom left", "bottom right")
    for forged in (True, False):
        marked = find_mark(features, label, of=forged).sum(axis=(1, 2))  # pixels of a mark in each corner
        if marked.any():
            side = "forged" if forged else "real"
            return f"{int(marked.max())} pixels {names[int(marked.argmax())]} that are the same in every {side} image"
    return "pixels that are the same in every image"
