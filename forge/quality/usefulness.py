"""Use of labelled forgeries as training images: of a label classifier that is then tested on real images.

Two questions, both with the same small network. Classification accuracy score (Ravuri and Vinyals, NeurIPS 2019): how
well does a classifier do that saw forgeries alone, beside one that saw as many real images? Augmentation gain: what
do forgeries add to few real images, or to an unbalanced set whose rare label they fill up?

What is compared differs in its training images alone: the initial weights, the number of steps, the random numbers of
the batches and the test images are the same, and every label is drawn equally often. A gain is hence more than weights
of classes or longer training give. The generator itself learned from all labelled images of its training set, so a
gain over 50 real images says what its forgeries carry, not that 50 images would have been enough to train it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from forge.core.compute import derive_seed
from forge.core.seeding import seed_torch
from forge.faces.faceset import Images
from forge.quality.checks import check_images
from forge.quality.label_classifier import LabelColumn, as_batch, codes, fit, labelled, network_of, predict
from forge.quality.metric import Labels, QualityMetric, Row, Sides
from forge.quality.result import Result, SeedMean

SIDE = 32  # pixels; a quarter of the cost of 64
BATCH = 48
SEEDS = 3  # repetitions: other draws of images, other initial weights, other batches
SIZES = (50, 200, 1000)  # real images that forgeries are added to
ADDED = 1000  # forgeries added to a balanced set, of all labels together
RATIO = 10  # of an unbalanced set: images of each other label per image of the rare one
SCORED = 2000  # images of each classifier of the accuracy score, at most
FEWEST = 8  # images of each label that any side must have

Positions = NDArray[np.int64]


class Gain(Result):
    """Balanced accuracy on held-out reals, trained on few reals without and with forgeries."""

    reals: int = Field(description="real training images")
    ratio: int = Field(description="images of each other label per image of the rare one; 1: balanced")
    forgeries: int = Field(description="forgeries added: of all labels, or unbalanced of the rare one alone")
    without: SeedMean
    augmented: SeedMean
    gain: SeedMean = Field(description="augmented minus without, seed by seed")


class Usefulness(Result):
    """Usefulness of forgeries as training images for one label column; accuracies are balanced over the labels."""

    labels: list[str]
    rare: str = Field(description="the label that is rare in unbalanced sets: the rarest of the real training images")
    chance: float = Field(description="balanced accuracy of a classifier that knows nothing: 1 / labels")
    n: int = Field(description="training images of each classifier of the accuracy score")
    n_test: int = Field(description="held-out reals")
    forgeries: SeedMean = Field(description="classification accuracy score: trained on forgeries alone")
    reals: SeedMean = Field(description="trained on as many real images")
    difference: SeedMean = Field(description="forgeries minus reals, seed by seed")
    gains: list[Gain] = Field(description="sizes that the real images are enough for, balanced and unbalanced")


@dataclass(frozen=True)
class _Set:
    """Labelled images.

    Attributes:
        images: float [n, 3, S, S] in -1..1.
        by_label: positions of the images of each label.
    """

    images: Tensor
    by_label: list[Positions]

    @classmethod
    def of(cls, images: Images, targets: Positions, classes: int, device: str) -> _Set:
        """Shrink the images; uint8 [n, H, H, 3], classes int64 [n]."""
        # sorted by content: a draw does not depend on the order of the images
        order = np.array(sorted(range(len(images)), key=lambda i: hashlib.blake2b(images[i].tobytes()).digest()))
        parts = [as_batch(images[i : i + 256], device, SIDE) for i in range(0, len(images), 256)]
        return cls(torch.cat(parts), [order[targets[order] == code] for code in range(classes)])

    def shuffled(self, source: np.random.Generator) -> _Set:
        """Return the same images, each label in a random order: the first k are a draw, nested in that of k + 1."""
        return _Set(self.images, [source.permutation(positions) for positions in self.by_label])

    def first(self, counts: Sequence[int]) -> list[Tensor]:
        """Return the first images of each label."""
        # index_select keeps channels_last, the layout that convolutions are fast in
        return [
            self.images.index_select(0, torch.from_numpy(positions[:count]).to(self.images.device))
            for positions, count in zip(self.by_label, counts, strict=True)
        ]


def usefulness(
    real_images: Images,
    real_labels: LabelColumn,
    held_out_images: Images,
    held_out_labels: LabelColumn,
    forged_images: Images,
    forged_labels: LabelColumn,
    *,
    seed: int,
    device: str = "cpu",
    sizes: Sequence[int] = SIZES,
) -> Usefulness | None:
    """Train label classifiers with and without forgeries and test them on held-out reals.

    Args:
        real_images: uint8 [n, H, H, 3], training images.
        real_labels: [n], of one column.
        held_out_images: uint8 [m, H, H, 3], real, for the test.
        held_out_labels: [m].
        forged_images: uint8 [f, H, H, 3].
        forged_labels: [f], the classes that were asked for.
        seed: of all draws, initial weights and batches.
        device: where to compute; on a CPU the result is the same for the same number of threads.
        sizes: numbers of real images that forgeries are added to; those that there are not enough for are left out.

    Returns:
        The accuracies; None where a label has fewer than 8 images on a side, or there is one label alone.

    Raises:
        InputError: unusable images, or labels that do not fit them.
    """
    check_images({"training": real_images, "held_out": held_out_images, "forged": forged_images})
    classes = np.unique(np.asarray(real_labels).astype(str))
    targets = [
        codes("training", real_labels, len(real_images), classes),
        codes("held-out", held_out_labels, len(held_out_images), classes),
        codes("forged", forged_labels, len(forged_images), classes),
    ]
    fewest = min(int(np.bincount(codes_of, minlength=len(classes)).min()) for codes_of in targets)
    if len(classes) < 2 or fewest < FEWEST:
        return None
    reals, held_out, forged = (
        _Set.of(images, codes_of, len(classes), device)
        for images, codes_of in zip((real_images, held_out_images, forged_images), targets, strict=True)
    )
    device_type = torch.device(device)
    # the caller's random state is given back
    with torch.random.fork_rng(devices=[device_type] if device_type.type == "cuda" else []):
        runs = [_Repetition(reals, held_out, forged, derive_seed(seed, "usefulness", r)) for r in range(SEEDS)]
        return _measured(runs, [str(name) for name in classes], sizes)


@dataclass(frozen=True)
class _Repetition:
    """One draw of the training images; `accuracy` of two sets of it differs by these sets alone."""

    reals: _Set
    held_out: _Set
    forged: _Set
    seed: int

    def drawn(self) -> tuple[_Set, _Set]:
        """Return reals and forgeries in the order in which they are taken."""
        source = np.random.default_rng(self.seed)
        return self.reals.shuffled(source), self.forged.shuffled(source)

    def accuracy(self, pools: Sequence[Tensor], steps: int) -> float:
        """Train on images of each label, every label equally often, and return the balanced accuracy on held-out reals.

        Args:
            pools: images of each label, [n, 3, S, S] each.
            steps: of the training.
        """
        classes, device = len(pools), pools[0].device

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for step in range(steps):
                # equal shares of the labels; where they do not divide a batch, the next one goes on where it ended
                shares = np.bincount(np.arange(step * BATCH, (step + 1) * BATCH) % classes, minlength=classes).tolist()
                targets = torch.arange(classes).repeat_interleave(torch.tensor(shares)).to(device)
                # with replacement, on the CPU: the same draws on every device
                picked = [torch.randint(len(pool), (n,)).to(device) for pool, n in zip(pools, shares, strict=True)]
                yield torch.cat([pool[some] for pool, some in zip(pools, picked, strict=True)]), targets

        seed_torch(self.seed)  # initial weights and draws are the same for every training of this repetition
        network = network_of(classes, str(device))
        fit(network, batches(), steps)
        test = self.held_out
        predicted = predict(network, (test.images[i : i + 256] for i in range(0, len(test.images), 256)))
        # the mean over labels of the share of each that is right
        return float(np.mean([(predicted[rows] == code).mean() for code, rows in enumerate(test.by_label)]))


def _measured(runs: Sequence[_Repetition], labels: list[str], sizes: Sequence[int]) -> Usefulness:
    """Measure both questions over the repetitions."""
    known, forged = ([len(rows) for rows in side.by_label] for side in (runs[0].reals, runs[0].forged))
    rare = int(np.argmin(known))
    each = min(min(known), min(forged), SCORED // len(labels))  # of each label, on both sides
    counts = [each] * len(labels)

    def scored(run: _Repetition) -> tuple[float, float]:
        reals, forgeries = run.drawn()
        steps = _steps(sum(counts))
        return run.accuracy(reals.first(counts), steps), run.accuracy(forgeries.first(counts), steps)

    without, alone = _pairs(runs, scored)
    return Usefulness(
        labels=labels,
        rare=labels[rare],
        chance=1 / len(labels),
        n=sum(counts),
        n_test=sum(len(rows) for rows in runs[0].held_out.by_label),
        forgeries=SeedMean.of(alone),
        reals=SeedMean.of(without),
        difference=SeedMean.of(np.subtract(alone, without).tolist()),
        gains=[
            gain
            for size in sizes
            for ratio in (1, RATIO)
            if (gain := _gain(runs, size, ratio, rare, known, forged)) is not None
        ],
    )


def _gain(
    runs: Sequence[_Repetition], size: int, ratio: int, rare: int, known: Sequence[int], forged: Sequence[int]
) -> Gain | None:
    """Measure what forgeries add to a set of real images; None: there are not enough real images of a label."""
    counts = _counts(size, len(known), rare, ratio)
    if any(count > there for count, there in zip(counts, known, strict=True)):
        return None
    if ratio == 1:  # forgeries of all labels
        added = [min(ADDED // len(known), there) for there in forged]
    else:  # the rare label alone, until it has as many images as each other one
        added = [0] * len(known)
        added[rare] = min(max(counts) - counts[rare], forged[rare])

    def compared(run: _Repetition) -> tuple[float, float]:
        reals, forgeries = run.drawn()
        pools = reals.first(counts)
        filled = [torch.cat(pair) for pair in zip(pools, forgeries.first(added), strict=True)]
        steps = _steps(size)
        return run.accuracy(pools, steps), run.accuracy(filled, steps)

    without, augmented = _pairs(runs, compared)
    return Gain(
        reals=sum(counts),
        ratio=ratio,
        forgeries=sum(added),
        without=SeedMean.of(without),
        augmented=SeedMean.of(augmented),
        gain=SeedMean.of(np.subtract(augmented, without).tolist()),
    )


def _pairs(
    runs: Sequence[_Repetition], measure: Callable[[_Repetition], tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Return the first and the second accuracy of each repetition."""
    first, second = zip(*map(measure, runs), strict=True)
    return list(first), list(second)


def _counts(total: int, labels: int, rare: int, ratio: int) -> list[int]:
    """Return the images of each label in a set: equally many, or of the rare one 1 for `ratio` of each other.

    With K labels, r = total / (ratio (K - 1) + 1) images are of the rare one and r times the ratio of each other.
    """
    part = total / (ratio * (labels - 1) + 1)
    counts = [round(part * ratio)] * labels
    counts[rare] = max(1, round(part))
    return counts


def _steps(images: int) -> int:
    """Return the steps of a training: more real images are worth a longer one, with forgeries or without."""
    # twice as many steps add little on FairFace (gender): nothing with 50 images, .03 with 1,000
    return 64 + images // 10


class UsefulnessMetric(QualityMetric):
    """Usefulness of a conditional generator's images as training images, per label column."""

    id = "usefulness"
    title = "usefulness"

    def measure(self, sides: Sides) -> dict[str, Usefulness]:
        """See `usefulness`; a column is left out where a label has too few images on a side.

        Labels that images inherit from the photos they were made from do not count: these photos are held-out ones, on
        which the classifier would be tested.
        """
        by_column = {}
        for column, given in sides.labels.items() if sides.usefulness else ():
            score = None if given.inherited else _of_column(sides, given)
            if score is not None:
                by_column[column] = score
        return by_column

    def rows(self, ours: dict[str, Usefulness], floor: dict[str, Usefulness], n: int) -> list[Row]:
        """One line a column: the accuracy score; the floor is that of as many real images."""
        return [
            Row(f"trained on forgeries: {column}", score.forgeries.value, score.reals.value, "higher", score.n)
            for column, score in ours.items()
        ]


def _of_column(sides: Sides, given: Labels) -> Usefulness | None:
    """Measure one label column; None where there are no held-out images, or too few of a label."""
    known = set(given.reference) - {""}  # the empty label stands for an unknown one
    whole = sides.whole
    if whole.held_out is None or len(known) < 2:
        return None
    named = [
        labelled(images, texts, known)
        for images, texts in (
            (whole.reference, given.reference),
            (whole.held_out, given.held_out),
            (whole.candidate, given.candidate),
        )
    ]
    if min(len(texts) for _, texts in named) < 2 * FEWEST:  # of two labels at least
        return None
    return usefulness(*named[0], *named[1], *named[2], seed=sides.seed, device=sides.device)
