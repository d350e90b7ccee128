"""Directions of edits in a latent space, unit vectors in units of the spread of latents.

Labels: from the mean code of photos with one value of a label column to that of photos with another. PCA (Härkönen et
al., GANSpace, NeurIPS 2020): principal components of what the first layers make of random latents, carried over to
latents by regression. Closed form (Shen and Zhou, Closed-Form Factorization of Latent Semantics in GANs, CVPR 2021):
what the weights of the first layers enlarge most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from forge.core.errors import InputError, UnknownNameError, quoted
from forge.generators.latent_space import LatentSpace

DirectionName = Literal["labels", "pca", "closed-form"]
Floats = NDArray[np.float64]

_DRAWN = 1024  # latents whose features have principal components
_FEWEST = 8  # photos of a value, below which their mean says little
_CLASSES = (2, 10)  # values of a column that is taken without being named
_FREQUENT = 0.05  # share of each of them


@dataclass(frozen=True)
class Direction:
    """A direction.

    Attributes:
        vector: [size], of length 1.
        facts: for the row of an image that is edited along it, JSON values.
        column: label column of a direction from labels; "" of others.
        values: of that column, the one that the direction leads away from and the one that it leads to.
        auc: of a direction from labels: probability that a photo with the second value lies farther along it than one
            with the first, for the other half of the photos than it was computed from.
    """

    vector: Floats
    facts: Mapping[str, Any]
    column: str = ""
    values: tuple[str, str] = ("", "")
    auc: float | None = None


@dataclass(frozen=True)
class Known:
    """What directions are computed from.

    Attributes:
        space: of the generator.
        codes: of photos, [n, size].
        labels: label column -> the value of each of the photos as text, None where it has none.
        wanted: label column -> its two values, at most one; empty: see `from_labels`.
        components: number of directions without labels, from the strongest on.
    """

    space: LatentSpace
    codes: Floats
    labels: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    wanted: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    components: int = 8


def from_labels(known: Known) -> list[Direction]:
    """Return the direction from photos with one value of a label column to those with another; [] without labels.

    Without `wanted` it is between the two most frequent values of the first column with 2 to 10 frequent ones.

    Raises:
        UnknownNameError: no such label column, or no such value in it.
        InputError: a column of one value, or a value that too few photos have.
    """
    if known.wanted:
        ((column, values),) = known.wanted.items()
    else:
        column, values = next(filter(None, map(_two_frequent, known.labels.items())), ("", ("", "")))
        if not column:
            return []
    if column not in known.labels:
        raise UnknownNameError("label column", column, known.labels)
    texts = np.array([text or "" for text in known.labels[column]])
    there = sorted({str(text) for text in texts} - {""})
    if len(there) < 2:
        alone = f"only {quoted(there[0])}" if there else "no value at all"
        raise InputError(f"label column {quoted(column)} has {alone}; a direction needs photos of two values")
    for value in values:
        if value not in there:
            raise UnknownNameError(f"value of {column}", value, there)
        if (texts == value).sum() < _FEWEST:
            raise InputError(
                f"{(texts == value).sum()} of {len(texts)} photos have {column} {quoted(value)}; a direction needs "
                f"{_FEWEST} or more: name other values, or prepare more photos"
            )
    groups = [known.codes[texts == value] for value in values]
    # of every other photo, read by the photos between
    half = _between([group[::2] for group in groups])
    auc = _auc(*(group[1::2] @ half for group in groups))
    facts = {"direction": "labels", "column": column}
    return [Direction(_between(groups), facts, column, (values[0], values[1]), auc)]


def from_components(known: Known) -> list[Direction]:
    """Return directions of the principal components of what the first layers make of latents."""
    with torch.no_grad():
        codes = known.space.draw(_DRAWN, torch.Generator().manual_seed(0))
        features = known.space.features(codes).double()
    features = features - features.mean(0)
    codes = codes.double() - codes.double().mean(0)
    # of n points in many dimensions: the eigenvectors of their products [n, n] are the values of the components
    values = torch.linalg.eigh(features @ features.T)[1].flip(1)[:, : known.components]  # [n, k]
    vectors = (codes.T @ values).T.cpu().numpy()  # codes have deviation 1, so that these are slopes of a regression
    return _numbered("pca", vectors)


def from_weights(known: Known) -> list[Direction]:
    """Return the right singular vectors of the weights of the first layers, largest singular values first."""
    vectors = torch.linalg.svd(known.space.weights().double(), full_matrices=False)[2]
    return _numbered("closed-form", vectors[: known.components].cpu().numpy())


# one function per source of directions
DIRECTIONS: dict[DirectionName, Callable[[Known], list[Direction]]] = {
    "labels": from_labels,
    "pca": from_components,
    "closed-form": from_weights,
}


def _numbered(name: str, vectors: Floats) -> list[Direction]:
    return [Direction(_unit(vector), {"direction": name, "component": i}) for i, vector in enumerate(vectors, 1)]


def _unit(vector: Floats) -> Floats:
    # the sign of an eigenvector means nothing: the largest entry is positive, so that it is the same everywhere
    signed = vector * np.sign(vector[abs(vector).argmax()])
    return np.asarray(signed / np.linalg.norm(signed))


def _between(groups: Sequence[Floats]) -> Floats:
    step = groups[1].mean(0) - groups[0].mean(0)
    return np.asarray(step / max(float(np.linalg.norm(step)), 1e-12))


def _auc(before: Floats, after: Floats) -> float:
    ranks = rankdata(np.concatenate([before, after]))[len(before) :]
    return float((ranks.sum() - len(after) * (len(after) + 1) / 2) / (len(before) * len(after)))


def _two_frequent(entry: tuple[str, Sequence[str | None]]) -> tuple[str, tuple[str, str]] | None:
    """Return a column and its two most frequent values, the most frequent one first; None where some are rare."""
    column, texts = entry
    names, counts = np.unique([text for text in texts if text is not None] or [""], return_counts=True)
    if not _CLASSES[0] <= len(names) <= _CLASSES[1] or counts.min() < max(_FREQUENT * counts.sum(), _FEWEST):
        return None
    # by name where two are equally frequent
    order = np.lexsort((names, -counts))
    return column, (str(names[order[0]]), str(names[order[1]]))
