"""Agreement of conditional generators with their labels, by a small classifier that learns from real images.

Shmelkov, Schmid and Alahari: How good is my GAN? ECCV 2018 ("GAN-test"). Agreement can exceed the accuracy on reals:
forgeries are often the plainer examples of their class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.core.seeding import seed_torch
from forge.faces.faceset import Images
from forge.quality.checks import MIN_IMAGES, check_images
from forge.quality.kept import Kept
from forge.quality.label_classifier import LabelColumn, as_batch, codes, fit, labelled, network_of, predict
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result, Share

EPOCHS, BATCH = 10, 64
Role = Literal["obeyed", "kept", "moved"]  # what agreement means: the label was asked for, or is the source's, or not


class ClassObedience(Result):
    """One class; a share is None where the set has no image of it."""

    accuracy: Share | None = Field(description="on held-out reals of this class")
    agreement: Share | None = Field(description="on images forged as this class")


class Obedience(Result):
    """Agreement of a label classifier with the labels of the images."""

    accuracy: Share = Field(description="on held-out reals: what the classifier is worth")
    agreement: Share = Field(description="on forged images")
    chance: float = Field(description="share of the held-out reals' commonest class: a classifier that knows nothing")
    classes: dict[str, ClassObedience]
    n_training: int
    role: Role = Field("obeyed", description="kept: labels are those of the source photos; moved: of a target domain")


def obedience(
    train_images: Images,
    train_labels: LabelColumn,
    held_out_images: Images,
    held_out_labels: LabelColumn,
    forged_images: Images,
    forged_labels: LabelColumn,
    *,
    seed: int,
    device: str = "cpu",
) -> Obedience:
    """Train a small network on real images and ask it for the classes of held-out reals and of forgeries.

    Args:
        train_images: uint8 [n, H, H, 3], real.
        train_labels: [n], of one column.
        held_out_images: uint8 [m, H, H, 3], real, not trained on.
        held_out_labels: [m].
        forged_images: uint8 [f, H, H, 3].
        forged_labels: [f], the classes that were asked for.
        seed: of initial weights, order and shifts.
        device: where to compute; on a CPU the result is the same for the same number of threads.

    Raises:
        InputError: unusable images, labels that do not fit them, a single class, or a class without training images.
    """
    check_images({"training": train_images, "held_out": held_out_images, "forged": forged_images})
    sets = {
        "training": (train_images, train_labels),
        "held-out": (held_out_images, held_out_labels),
        "forged": (forged_images, forged_labels),
    }
    classes = np.unique(np.asarray(train_labels).astype(str))
    if len(classes) < 2:
        raise InputError(
            f"the training labels have one class ({quoted(str(classes[0]))}); choose a column with at least two"
        )
    targets = {name: codes(name, labels, len(images), classes) for name, (images, labels) in sets.items()}
    trained_on = (train_images, targets["training"], len(classes), seed, device)
    network = _NETWORKS.get(lambda: _fitted(*trained_on), *trained_on, torch.get_num_threads())
    right = {
        name: _predict(network, images, device) == targets[name]  # bool [m], [f]
        for name, images in (("held-out", held_out_images), ("forged", forged_images))
    }
    return Obedience(
        accuracy=Share.of(int(right["held-out"].sum()), len(right["held-out"])),
        agreement=Share.of(int(right["forged"].sum()), len(right["forged"])),
        # of the held-out reals, since the accuracy is measured on them
        chance=float(np.bincount(targets["held-out"]).max() / len(held_out_images)),
        classes={
            str(name): ClassObedience(
                accuracy=_share(right["held-out"][targets["held-out"] == code]),
                agreement=_share(right["forged"][targets["forged"] == code]),
            )
            for code, name in enumerate(classes)
        },
        n_training=len(train_images),
    )


def _share(right: NDArray[np.bool_]) -> Share | None:
    return Share.of(int(right.sum()), len(right)) if len(right) else None


# a run has several generators, whose labels are read by the same networks: one for each column
_NETWORKS = Kept[nn.Module](8)


def _fitted(images: Images, targets: NDArray[np.int64], classes: int, seed: int, device: str) -> nn.Module:
    """Return the network of a column; initial weights, order and shifts follow from the seed alone."""
    device_type = torch.device(device)
    # the caller's random state is given back
    with torch.random.fork_rng(devices=[device_type] if device_type.type == "cuda" else []):
        seed_torch(derive_seed(seed, "obedience"))
        return _fit(images, targets, classes, device)


def _fit(images: Images, targets: NDArray[np.int64], classes: int, device: str) -> nn.Module:
    network = network_of(classes, device)
    # the last, incomplete batch is left out: batch norm on a few images is noise; a new order each epoch evens it out
    steps = max(1, len(images) // BATCH)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(EPOCHS):
            order = torch.randperm(len(images)).numpy()
            for step in range(steps):
                some = order[step * BATCH : (step + 1) * BATCH]
                yield as_batch(images[some], device), torch.from_numpy(targets[some]).to(device)

    fit(network, batches(), EPOCHS * steps)
    return network


def _predict(network: nn.Module, images: Images, device: str) -> NDArray[np.int64]:
    return predict(network, (as_batch(images[i : i + 256], device) for i in range(0, len(images), 256)))


class ObedienceMetric(QualityMetric):
    """Agreement of a conditional generator's images with their labels, per column."""

    id = "obedience"
    title = "labels"

    def measure(self, sides: Sides) -> dict[str, Obedience]:
        """See `obedience`; all images that have a label are used, a column with fewer than 16 on a side is left out."""
        by_column = {}
        for column, given in sides.labels.items():
            known = set(given.reference) - {""}  # the empty label stands for an unknown one
            # without held-out images nothing would tell obedience from the classifier's own errors
            if sides.whole.held_out is None or len(known) < 2:
                continue
            named = [
                labelled(images, texts, known)
                for images, texts in (
                    (sides.whole.reference, given.reference),
                    (sides.whole.held_out, given.held_out),
                    (sides.whole.candidate, given.candidate),
                )
            ]
            if min(len(texts) for _, texts in named) >= MIN_IMAGES:
                score = obedience(*named[0], *named[1], *named[2], seed=sides.seed, device=sides.device)
                by_column[column] = score.model_copy(update={"role": _role(sides, column)})
        return by_column

    def rows(self, ours: dict[str, Obedience], floor: dict[str, Obedience], n: int) -> list[Row]:
        """One line a column; the accuracy on held-out reals is the floor."""
        return [
            Row(
                f"label {score.role}: {column}",
                score.agreement.value, score.accuracy.value, "higher", score.agreement.n,
            )
            for column, score in ours.items()
        ]  # fmt: skip


def _role(sides: Sides, column: str) -> Role:
    """Return what agreement with a column means: between domains, the column of the domains alone is moved."""
    if sides.translations is not None:
        return "kept" if column in sides.translations.inherited else "moved"
    return "kept" if sides.labels[column].inherited else "obeyed"
