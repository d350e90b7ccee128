"""Nearest-neighbour metrics: precision, recall, density, coverage, and copies of training images.

Precision, recall: Kynkäänniemi et al.: Improved Precision and Recall Metric. NeurIPS 2019. Density, coverage: Naeem et
al.: Reliable Fidelity and Diversity Metrics. ICML 2020. AuthPct: Alaa et al.: How Faithful is your Synthetic Data?
ICML 2022. C_T: Meehan, Chaudhuri and Dasgupta: A Non-Parametric Test to Detect Data-Copying. AISTATS 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.quality.checks import Features, check_features
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result, Share

K = 5  # neighbours that span a neighbourhood, as Naeem et al. take
CELLS = 5
_MEGABYTES = 64  # of distances held at once
_LEAST_IN_CELL = 10

Distances = NDArray[np.float64]


class Neighbourhood(Result):
    """Precision, recall, density and coverage of two sets of features."""

    precision: float = Field(description="share of candidates within reach of a reference image: plausible ones")
    recall: float = Field(description="share of reference images within reach of a candidate: what can be made")
    density: float = Field(description="mean reference neighbourhoods a candidate lies in, over k; may pass 1")
    coverage: float = Field(description="share of reference images with a candidate in their neighbourhood")
    k: int
    n: int


class Memorisation(Result):
    """Copies of training images among candidates: AuthPct and C_T."""

    authentic: Share = Field(description="AuthPct: farther from their nearest training image than that from its own")
    c_t: float | None = Field(description="z-score; below -3: nearer to training images than unseen reals are, copies")
    cells: int | None = Field(description="clusters C_T was averaged over")
    median_distance: float = Field(description="to the nearest training image")
    median_distance_held_out: float | None = Field(description="the same for unseen reals")
    n: int
    n_held_out: int | None
    n_training: int


def nearest(queries: Features, points: Features, *, k: int = 1) -> tuple[NDArray[np.int64], Distances]:
    """Return the k nearest points of each query, e.g. training faces to show beside forged ones.

    Args:
        queries: [n, D].
        points: [m, D], m at least k.
        k: neighbours.

    Returns:
        Positions among `points` and Euclidean distances, both [n, k], nearest first.

    Raises:
        InputError: unusable features, or fewer than k points.
    """
    check_features({"queries": queries, "points": points}, min_images=1)
    if len(points) < k:
        raise InputError(f"{k} neighbours are asked for among {len(points)} points; ask for at most {len(points)}")
    # brute force is exact, and in hundreds of dimensions a tree would visit nearly every point as well
    distance, index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors(queries)
    return index.astype(np.int64), distance.astype(np.float64)


def _reach(points: Features, k: int) -> Distances:
    """Return the distance of each point to its k-th neighbour other than itself, [n]."""
    # without an argument, sklearn leaves each point out of its own neighbours
    distance, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()
    return np.asarray(distance[:, -1], np.float64)


def neighbourhood(candidate: Features, reference: Features, *, k: int = K) -> Neighbourhood:
    """Return precision, recall, density and coverage; all are 0..1 but density. Compare at equal n and k only.

    Args:
        candidate: [n, D].
        reference: [m, D].
        k: how many neighbours make a neighbourhood.

    Raises:
        InputError: unusable features, or k not below n and m.
    """
    check_features({"candidate": candidate, "reference": reference})
    if not 1 <= k < min(len(candidate), len(reference)):
        raise InputError(f"k is {k}; it must be at least 1 and below the number of images")
    # radii [m] and [n]: the balls whose union stands for the manifold of each set
    around_reference, around_candidate = _reach(reference, k), _reach(candidate, k)
    covered, reached = np.zeros((2, len(reference)), bool)  # both bool [m], filled chunk by chunk
    plausible = inside = start = 0
    # [c, m]: the whole matrix of distances is never in memory
    for distance in pairwise_distances_chunked(candidate, reference, working_memory=_MEGABYTES):
        rows = slice(start, start + len(distance))
        within = distance <= around_reference  # [c, m]: candidate i lies in the ball of reference j
        plausible += int(within.any(axis=1).sum())  # precision: in at least one ball
        inside += int(within.sum())  # density: in how many balls
        covered |= within.any(axis=0)  # coverage: reference j has a candidate in its ball
        # recall has the balls around the candidates: reference j lies in at least one of them
        reached |= (distance <= around_candidate[rows, None]).any(axis=0)
        start += len(distance)
    return Neighbourhood(
        precision=plausible / len(candidate),
        recall=float(reached.mean()),
        # 1 / (k n) times the number of (candidate, ball) pairs: about 1 where both sets have one distribution
        density=inside / (k * len(candidate)),
        coverage=float(covered.mean()),
        k=k,
        n=len(candidate),
    )


def copying(
    candidate: Features, held_out: Features, training: Features, *, cells: int = CELLS, seed: int = 0
) -> tuple[float, int]:
    """C_T of Meehan et al.: are candidates nearer to the training images than unseen reals are?

    k-means splits the space; in each cell with at least 10 of either, the Mann-Whitney U of the distances to the cell's
    nearest training image becomes a z-score; the mean is weighted by the held-out images of the cell. Where no cell has
    enough, the whole space is one cell.

    Args:
        candidate: [n, D].
        held_out: real ones that were not trained on, [h, D].
        training: [m, D].
        cells: of k-means.
        seed: of k-means.

    Returns:
        The z-score (well below 0: copied; around 0: as new as unseen reals; well above 0: far from all real images)
        and the number of cells it was averaged over.

    Raises:
        InputError: unusable features.
    """
    check_features({"candidate": candidate, "held_out": held_out, "training": training})
    state = derive_seed(seed, "copying") % 2**32  # sklearn takes seeds of 32 bits
    # cells come from the training images alone, so that no candidate shapes the cell it is judged in
    clusters = KMeans(min(cells, len(training)), n_init=1, random_state=state).fit(training.astype(np.float64))
    owners = [clusters.predict(features.astype(np.float64)) for features in (candidate, held_out)]
    scores, weights = [], []
    for cell in range(clusters.n_clusters):
        near, unseen = candidate[owners[0] == cell], held_out[owners[1] == cell]
        if min(len(near), len(unseen)) >= _LEAST_IN_CELL:
            # distances to training images of the same cell, as in the paper
            scores.append(_nearness(near, unseen, training[clusters.labels_ == cell]))
            weights.append(len(unseen))
    if not scores:
        return _nearness(candidate, held_out, training), 1
    return float(np.average(scores, weights=weights)), len(scores)


def _nearness(candidate: Features, held_out: Features, training: Features) -> float:
    """z-score of the Mann-Whitney U of distances to the nearest training image; negative: candidates are nearer."""
    (_, ours), (_, theirs) = nearest(candidate, training), nearest(held_out, training)  # [m, 1], [n, 1]
    # U counts the pairs in which the candidate is farther. Where both have one distribution it has the mean m n / 2 and
    # the variance m n (m + n + 1) / 12
    m, n = len(candidate), len(held_out)
    # only U is used, so the costly exact p-value is not wanted
    wins = mannwhitneyu(ours[:, 0], theirs[:, 0], method="asymptotic").statistic
    return float((wins - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))


def memorisation(
    candidate: Features, training: Features, *, held_out: Features | None = None, cells: int = CELLS, seed: int = 0
) -> Memorisation:
    """AuthPct, C_T and median distances to the nearest training image.

    Args:
        candidate: [n, D].
        training: everything the generator was shown, [m, D].
        held_out: real ones that it was not shown, [h, D]; without them there is no C_T.
        cells: of C_T.
        seed: of C_T's cells.

    Raises:
        InputError: unusable features.
    """
    check_features({"candidate": candidate, "training": training})
    index, distance = nearest(candidate, training)
    # a candidate is a copy where it is nearer to a training image than that image's own nearest neighbour is
    authentic = distance[:, 0] > _reach(training, 1)[index[:, 0]]
    c_t, used, unseen = None, None, None
    if held_out is not None:
        c_t, used = copying(candidate, held_out, training, cells=cells, seed=seed)
        unseen = float(np.median(nearest(held_out, training)[1]))
    return Memorisation(
        authentic=Share.of(int(authentic.sum()), len(candidate)),
        c_t=c_t,
        cells=used,
        median_distance=float(np.median(distance)),
        median_distance_held_out=unseen,
        n=len(candidate),
        n_held_out=None if held_out is None else len(held_out),
        n_training=len(training),
    )


class NeighbourhoodMetric(QualityMetric):
    """Precision, recall, density, coverage."""

    id = "neighbourhood"
    title = "precision and recall"

    def measure(self, sides: Sides) -> Neighbourhood:
        """See `neighbourhood`."""
        return neighbourhood(sides.features, sides.reference_features)

    def rows(self, ours: Neighbourhood, floor: Neighbourhood, n: int) -> list[Row]:
        """One line each."""
        names = ("precision", "recall", "density", "coverage")
        return [Row(name, getattr(ours, name), getattr(floor, name), "higher", n) for name in names]


class MemorisationMetric(QualityMetric):
    """Copies of training images."""

    id = "memorisation"
    title = "memorisation"

    def measure(self, sides: Sides) -> Memorisation:
        """See `memorisation`."""
        return memorisation(sides.features, sides.training_features, held_out=sides.held_out_features, seed=sides.seed)

    def rows(self, ours: Memorisation, floor: Memorisation, n: int) -> list[Row]:
        """Return the share of authentic images, and where held-out images were given the test of copying."""
        rows = [Row("authentic (AuthPct)", ours.authentic.value, floor.authentic.value, "as the floor", n)]
        return rows + ([] if ours.c_t is None else [Row("copying C_T, z", ours.c_t, 0.0, "as the floor", n)])
