"""Descriptions of published weights: how they are read, what they were trained on, which values were reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Reported:
    """A figure that the authors published, for a user who has the weights and the set to reproduce.

    Attributes:
        test_set: as the source names it.
        metric: "AUC", "AP" or "accuracy" (at probability one half).
        value: in 0..1.
        source: where it stands.
        weights: which of several published files it is of.
    """

    test_set: str
    metric: str
    value: float
    source: str
    weights: str = ""


def accuracies_and_precisions(source: str, weights: str, *values: tuple[str, float, float]) -> tuple[Reported, ...]:
    """Return two figures a test set from (test set, accuracy, average precision); see `Reported`."""
    return tuple(
        Reported(test_set, metric, value, source, weights)
        for test_set, accuracy, precision in values
        for metric, value in (("accuracy", accuracy), ("AP", precision))
    )


@dataclass(frozen=True)
class Importer:
    """Reader of a detector's published weights.

    Attributes:
        read: from the file to tensors with our names.
        weights: the published file, for lists.
        repository: where it is published, owner/name on GitHub.
        licence: of the weights.
        seen: sets and generators that the published weights were trained on; from the path of the file where several
            are published.
        marks: names and shapes of tensors that this network alone has, in the file's own names; they tell which network
            a file is of. An entry of shape None fits any.
        detector: registered name of the detector; by default that of the importer.
        settings: from our tensors to settings that differ from the defaults.
        input_size: pixels that images are resized to; None: the network takes them as they are.
        window: pixels of the middle of each image that the authors cut out, in a black frame where it is smaller; None:
            they did not.
        resolution: of the images in pixels where none is asked for.
        files: from the file that is named to all files that are read.
        backbone: what the file lacks and a second file must bring, e.g. "the image side of CLIP ViT-L/14"; its tensors
            are those of the network that begin with "backbone.". Empty: nothing.
        preprocessing: what becomes of an image before the network, in a few words.
        reported: published figures.
    """

    read: Callable[[Path], dict[str, Tensor]] = read_checkpoint
    weights: str = ""
    repository: str = ""
    licence: str = ""
    seen: Callable[[Path], tuple[str, ...]] = lambda file: ()
    marks: Mapping[str, tuple[int, ...] | None] | None = None
    detector: str = ""
    settings: Callable[[Mapping[str, Tensor]], dict[str, Any]] = lambda tensors: {}
    input_size: int | None = 256
    window: int | None = None
    resolution: int = 256
    files: Callable[[Path], tuple[Path, ...]] = lambda file: (file,)
    backbone: str = ""
    preprocessing: str = ""
    reported: tuple[Reported, ...] = ()

    def recognises(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether a checkpoint, as `read_checkpoint` reads it, holds this network."""
        return bool(self.marks) and all(
            name in tensors and (shape is None or tuple(tensors[name].shape) == shape)
            for name, shape in (self.marks or {}).items()
        )


def renamed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return tensors with a prefix before each name."""
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def one_logit(tensors: Mapping[str, Tensor], layer: str, forged: int = 1) -> dict[str, Tensor]:
    """Turn a last layer of two classes into the logit of forged against real: a difference of rows.

    softmax(a, b)[1] = sigmoid(b - a), so that no probability changes.

    Args:
        tensors: all of the network; those of the layer are replaced.
        layer: its name; `layer.weight` is [2, D], `layer.bias` [2]. Other shapes stay as they are.
        forged: row of the forged class.
    """
    changed = dict(tensors)
    for name in (f"{layer}.weight", f"{layer}.bias"):
        if name in changed and len(changed[name]) == 2:
            changed[name] = (changed[name][forged] - changed[name][1 - forged])[None]
    return changed
