"""Distances between two clouds of features: Fréchet distance and kernel distance.

On random features these are not FID and KID, whose Inception space they do not share; see `inception.py` for those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.core.compute import derive_seed
from forge.quality.checks import Features, check_features
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

BLOCKS = 8  # of the jackknife


class KernelDistance(Result):
    """Squared maximum mean discrepancy; unbiased, so it may fall below zero when the sets agree."""

    value: float = Field(description="over all images")
    standard_error: float = Field(description="jackknife over disjoint subsets")
    subsets: int
    n: int


def frechet_distance(candidate: Features, reference: Features) -> float:
    """Fréchet distance of the Gaussians fitted to two clouds (Heusel et al.: GANs Trained by TTUR. NeurIPS 2017).

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2), where tr sqrt(S1 S2) is the sum of the roots of the eigenvalues of
    R S2 R with R = sqrt(S1): symmetric throughout, so nothing turns complex. Covariances have n - 1 in the denominator.
    Grows with the dimension and shrinks with n: compare at equal n only.

    Args:
        candidate: [n, D].
        reference: [m, D].

    Raises:
        InputError: unusable features.
    """
    check_features({"candidate": candidate, "reference": reference})
    # float64: the trace terms are large and cancel nearly where the sets agree
    means = [features.mean(axis=0, dtype=np.float64) for features in (candidate, reference)]
    first, second = (  # [D, D]; atleast_2d as np.cov gives a number where D is 1
        np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False)) for features in (candidate, reference)
    )
    values, vectors = np.linalg.eigh(first)  # S1 = V diag(values) V^T
    # R = sqrt(S1), [D, D]; with fewer images than dimensions some eigenvalues are 0 and come out just below it
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    mixed = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()  # tr sqrt(S1 S2)
    distance = ((means[0] - means[1]) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * mixed
    return float(max(distance, 0.0))  # rounding can leave equal sets just below 0


def _block_sums(x: NDArray[np.float64], y: NDArray[np.float64], *, distinct: bool) -> NDArray[np.float64]:
    """Sums of the kernel (x y / D + 1)^3 over all pairs of blocks, [8, 8]; without the diagonal if `distinct`."""
    kernel = (x @ y.T / x.shape[1] + 1) ** 3  # [n, m], the kernel of KID
    if distinct:  # the unbiased estimate leaves out pairs of an image with itself
        np.fill_diagonal(kernel, 0)
    # first row and column of each block; reduceat sums from one start to the next. They round as `edges` in
    # kernel_distance does, so that sums and sizes belong to the same blocks
    rows, columns = (np.linspace(0, len(points), BLOCKS, endpoint=False).astype(int) for points in (x, y))
    return np.add.reduceat(np.add.reduceat(kernel, rows, axis=0), columns, axis=1)


def _mmd(sums: tuple[NDArray[np.float64], ...], sizes: tuple[NDArray[np.int64], ...], kept: NDArray[np.bool_]) -> float:
    """Return the unbiased squared MMD of the blocks that are kept."""
    # sums over the blocks that are kept
    within_a, within_b, across = (block[np.ix_(kept, kept)].sum() for block in sums)
    n, m = (int(size[kept].sum()) for size in sizes)
    # mean of k(a, a') + mean of k(b, b') - 2 mean of k(a, b), over pairs of different images
    return float(within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m))


def kernel_distance(candidate: Features, reference: Features, *, seed: int = 0) -> KernelDistance:
    """Unbiased squared MMD with the polynomial kernel of degree 3 (Binkowski et al.: Demystifying MMD GANs. ICLR 2018).

    The standard error is that of a jackknife which leaves out one of 8 random subsets at a time. Where the sets agree
    it is up to one and a half times too large; the usual deviation over overlapping subsets is no standard error.

    Args:
        candidate: [n, D].
        reference: [m, D].
        seed: of the subsets.

    Raises:
        InputError: unusable features.
    """
    check_features({"candidate": candidate, "reference": reference})
    a, b = candidate.astype(np.float64), reference.astype(np.float64)
    rng = np.random.default_rng(derive_seed(seed, "kernel-distance"))
    a, b = rng.permutation(a), rng.permutation(b)  # blocks are runs of the permuted rows, that is random subsets
    # sums by block once: each leave-one-out estimate then adds up 7 x 7 numbers instead of all pairs
    sums = (_block_sums(a, a, distinct=True), _block_sums(b, b, distinct=True), _block_sums(a, b, distinct=False))
    edges = [np.linspace(0, len(x), BLOCKS + 1).astype(int) for x in (a, b)]
    sizes = (np.diff(edges[0]), np.diff(edges[1]))
    parts = np.array([_mmd(sums, sizes, np.arange(BLOCKS) != left_out) for left_out in range(BLOCKS)])  # [8]
    return KernelDistance(
        value=_mmd(sums, sizes, np.ones(BLOCKS, bool)),
        # jackknife: (B - 1) / B times the squared deviations
        standard_error=float(np.sqrt((BLOCKS - 1) / BLOCKS * ((parts - parts.mean()) ** 2).sum())),
        subsets=BLOCKS,
        n=len(a),
    )


class FrechetMetric(QualityMetric):
    """Fréchet distance of random features."""

    id = "frechet_random_features"
    title = "Fréchet distance"

    def measure(self, sides: Sides) -> float:
        """See `frechet_distance`."""
        return frechet_distance(sides.features, sides.reference_features)

    def rows(self, ours: float, floor: float, n: int) -> list[Row]:
        """Return the distance."""
        return [Row("Fréchet, random features", ours, floor, "lower", n)]


class KernelMetric(QualityMetric):
    """Kernel distance of random features."""

    id = "kernel_random_features"
    title = "kernel distance"

    def measure(self, sides: Sides) -> KernelDistance:
        """See `kernel_distance`."""
        return kernel_distance(sides.features, sides.reference_features, seed=sides.seed)

    def rows(self, ours: KernelDistance, floor: KernelDistance, n: int) -> list[Row]:
        """Return the distance times 1000."""
        return [Row("kernel distance x 1000, random features", 1000 * ours.value, 1000 * floor.value, "lower", n)]
