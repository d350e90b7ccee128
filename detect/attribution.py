"""Attribution of images to generators by a detector's frozen features: closed set, open set, and few images.

Classes are numbers: 0 real, then the generators. The learner is multinomial logistic regression on features that are
scaled by training images, with the weight of the penalty that detectors on features have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from detect.data.views import View
from detect.detectors.base import Detector
from forge.core.compute import Compute

Features = NDArray[np.float32]  # [n, D]
Classes = NDArray[np.int64]  # [n]
Learner = Literal["logistic regression", "prototypes"]

SHOTS = (5, 10, 50)  # images of each class
DRAWS = 10
_L2 = 0.001  # beside the mean log loss, as `RegressionSettings.l2`
_ITERATIONS = 100
_BATCH = 256  # images embedded at a time


class Labelled(NamedTuple):
    """Features with their classes."""

    features: Features
    classes: Classes


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of features, [D]."""

    mean: Features
    std: Features

    @classmethod
    def of(cls, features: Features) -> Scale:
        """Measure them; a feature that is the same in all images is left as it is."""
        std = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(std > 1e-12, std, 1).astype(np.float32))

    def __call__(self, features: Features) -> Features:
        """Return scaled features."""
        return (features - self.mean) / self.std


def embed(detector: Detector[Any], views: Mapping[int, View], compute: Compute) -> Labelled | None:
    """Return the frozen features of images; None: the detector has none.

    Args:
        detector: fitted.
        views: class -> its images.
        compute: the device.
    """
    parts: list[Features] = []
    classes: list[Classes] = []
    for number, view in views.items():
        for images in view.batches(_BATCH):
            embedded = detector.embeddings(images, compute)
            if embedded is None:
                return None
            parts.append(embedded)
            classes.append(np.full(len(images), number, dtype=np.int64))
    return Labelled(np.concatenate(parts), np.concatenate(classes))


def learn(train: Labelled, scale: Scale | None = None) -> Callable[[Features], tuple[Classes, NDArray[np.float64]]]:
    """Fit multinomial logistic regression.

    Args:
        train: features and classes.
        scale: of the features; by default by the training images.

    Returns:
        A function of features: the most probable class of each, [n], and its probability, [n].
    """
    scale = scale or Scale.of(train.features)
    # scikit-learn: C sum(losses) + |w|^2 / 2, here divided by C n
    model = LogisticRegression(C=1 / (2 * _L2 * len(train.classes)), max_iter=_ITERATIONS)
    with warnings.catch_warnings():  # the rest of the way changes probabilities by little
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scale(train.features), train.classes)

    def classify(features: Features) -> tuple[Classes, NDArray[np.float64]]:
        probability = np.asarray(model.predict_proba(scale(features)), dtype=np.float64)
        return np.asarray(model.classes_[probability.argmax(axis=1)], np.int64), probability.max(axis=1)

    return classify


def nearest(train: Labelled, scale: Scale) -> Callable[[Features], Classes]:
    """Return a function that gives images the class whose mean training image is nearest (prototypes)."""
    known = np.unique(train.classes)
    scaled = scale(train.features)
    prototypes = np.stack([scaled[train.classes == each].mean(axis=0) for each in known])

    def classify(features: Features) -> Classes:
        # |x - p|^2 without |x|^2, which is the same for all prototypes
        distance = (prototypes**2).sum(axis=1) - 2 * scale(features) @ prototypes.T
        return np.asarray(known[distance.argmin(axis=1)], np.int64)

    return classify


def reject(train: Labelled, features: Features, unknown: int) -> NDArray[np.float64]:
    """Return how little images look like any known class: 1 - the largest probability, [n].

    Hendrycks, Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017.

    Args:
        train: of all classes.
        features: of the images.
        unknown: class whose training images are left out.
    """
    known = train.classes != unknown
    _, probability = learn(Labelled(train.features[known], train.classes[known]))(features)
    return 1 - probability


def from_few(train: Labelled, test: Features, shots: int, draw: int, seed: int) -> dict[Learner, Classes] | None:
    """Classify images by few training images of each class; None: a class has fewer.

    Args:
        train: what is drawn from; class 0 also gives the scale of features.
        test: features.
        shots: training images of each class.
        draw: number of the draw; draws of one number and more images contain those of fewer.
        seed: of all draws.
    """
    chosen = []
    for number in np.unique(train.classes):
        at = np.flatnonzero(train.classes == number)
        if len(at) < shots:
            return None
        chosen.append(np.random.default_rng([seed, draw, int(number)]).permutation(at)[:shots])
    some = np.concatenate(chosen)
    few = Labelled(train.features[some], train.classes[some])
    scale = Scale.of(train.features[train.classes == 0])  # real images are at hand in any number
    return {"logistic regression": learn(few, scale)(test)[0], "prototypes": nearest(few, scale)(test)}
