"""Cheap similarity and diversity metrics of forged images, for every check of a training.

Everything is computed from small copies of the images (16 px pixels, and 1024 random features of 32 px), with 256
images per side, so that a look costs a tenth of a second on one core. The numbers are for watching a training, not for
publishing: each is read against the same number of real images that are not the reference (`real_baseline`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, relu

from forge.core.compute import derive_seed
from forge.faces.tensors import to_float

SAMPLES = 256  # images of each kind a look
REFERENCE = 1024  # real images that forgeries are compared with

_PIXELS, _FEATURE_PIXELS = 16, 32  # sides of the copies for distances of pixels and for features
_CHANNELS = (32, 64)  # of the two convolutions; 64 x 4 x 4 = 1024 features
_DIRECTIONS = 128  # of sliced Wasserstein
_BINS = 32  # 8 of 256 images in each
_NEIGHBOUR = 5  # as Naeem et al. 2020
_CHUNK = 256


class RandomFeatures:
    """A fixed random network of two convolutions: images to 1024 features; nothing is learned or downloaded.

    Args:
        seed: of the weights.
        device: where it computes.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        source = torch.Generator().manual_seed(derive_seed(seed, "random features"))
        first, second = _CHANNELS
        self.weights = [
            (torch.randn(first, 3, 5, 5, generator=source) / math.sqrt(75)).to(device),  # fan-in 3 x 5 x 5
            # He's factor behind a ReLU, fan-in 9 x 32
            (torch.randn(second, first, 3, 3, generator=source) * math.sqrt(2 / (9 * first))).to(device),
        ]

    def __call__(self, images: Tensor) -> Tensor:
        """Return features [N, 1024] of images [N, 3, H, W] in -1..1, brought to 32 px."""
        features = []
        # in parts, as activations of 1,024 images at once would not stay in the cache
        for part in torch.split(images, _CHUNK):
            hidden = shrink(part, _FEATURE_PIXELS)  # [n, 3, 32, 32]
            for weight in self.weights:
                hidden = relu(conv2d(hidden, weight, stride=2, padding=weight.shape[-1] // 2))  # 32 to 16 to 8
            features.append(avg_pool2d(hidden, hidden.shape[-1] // 4).flatten(1))  # [n, 64, 4, 4] to [n, 1024]
        return torch.cat(features)


def shrink(images: Tensor, size: int) -> Tensor:
    """Bring images [N, 3, H, W] to size x size: averaged where they are larger, repeated where smaller."""
    if images.shape[-1] == size:
        return images
    return interpolate(images, size=(size, size), mode="area")


def rank(high: Tensor, low: Tensor) -> float:
    """Return the chance that one of `high` exceeds one of `low` (area under the ROC curve; ties count half), 0..1."""
    difference = high[:, None] - low[None, :]  # [N, M], all pairs
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def diversity(pixels: Tensor) -> float:
    """Return the mean Euclidean distance of all pairs of images [N, D], per value: 0 if all are equal."""
    count = len(pixels)
    # the diagonal is 0, so that dividing by N (N - 1) gives the mean over different images; the root of D makes it a
    # root mean square per value
    return float(torch.cdist(pixels, pixels).sum()) / (count * (count - 1)) / math.sqrt(pixels.shape[1])


def smoothness(images: Tensor) -> float:
    """Return the mean correlation of pixels with their right and lower neighbours: near 1 in photos, 0 in noise.

    Args:
        images: [N, C, H, W]; each image's own mean is taken off, and one without contrast counts as 0.
    """
    centred = images.double() - images.double().mean(dim=(1, 2, 3), keepdim=True)
    power = centred.square().mean(dim=(1, 2, 3))
    beside = [
        (centred[..., 1:] * centred[..., :-1]).mean(dim=(1, 2, 3)),
        (centred[..., 1:, :] * centred[..., :-1, :]).mean(dim=(1, 2, 3)),
    ]
    return float((sum(beside) / 2 / power.clamp(min=1e-6)).mean())


def ridge_weights(points: Tensor, target: Tensor) -> Tensor:
    """Return the weights [D] of a ridge regression of targets [N] on points [N, D], in float64."""
    # dual ridge regression: with 256 images and 2,048 features, the kernel X X^T [n, n] is the smaller system
    kernel = points @ points.T
    # a tenth of the mean diagonal on the diagonal: scale-free, and solvable where images repeat
    kernel += 0.1 * kernel.diagonal().mean() * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    # w = X^T (K + lambda I)^-1 y
    weights: Tensor = points.T @ torch.linalg.solve(kernel, target)
    return weights


def nearest_distances(pixels: Tensor) -> Tensor:
    """Return the distance of every image [N, D] to the nearest other one: [N]."""
    apart = torch.cdist(pixels, pixels)
    apart.fill_diagonal_(math.inf)  # not itself
    return apart.amin(dim=1)


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Return the mean over directions of the 1-Wasserstein distance of two projected sets (Bonneel et al. 2015).

    Args:
        a: [N, D].
        b: [M, D]; the larger set is compared at the quantiles of the smaller.
        directions: unit vectors [D, K].
    """
    smaller, larger = sorted((a @ directions, b @ directions), key=len)
    smaller, larger = smaller.sort(dim=0).values, larger.sort(dim=0).values  # [N, K], each direction for itself
    # the i-th of N sorted values stands for the quantile (i + 1/2) / N, whose place among M sorted ones lies between
    # two of them
    at = (torch.arange(len(smaller), device=smaller.device) + 0.5) / len(smaller) * len(larger) - 0.5
    below = at.floor().long().clamp(0, len(larger) - 1)
    above = (below + 1).clamp(max=len(larger) - 1)
    share = (at - below).clamp(0, 1)[:, None]
    return float((smaller - torch.lerp(larger[below], larger[above], share)).abs().mean())


def k_means(points: Tensor, count: int, seed: int, *, rounds: int = 10) -> Tensor:
    """Return the centres [count, D] of points [N, D] (Lloyd's algorithm from a random choice of points)."""
    source = torch.Generator().manual_seed(derive_seed(seed, "bins"))
    # on the CPU: the same choice on every device
    centres = points[torch.randperm(len(points), generator=source)[:count]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        total = torch.zeros_like(centres).index_add_(0, nearest, points)  # sums of the points of each centre
        size = torch.bincount(nearest, minlength=count)[:, None]
        # a centre that lost its points stays where it is
        centres = torch.where(size > 0, total / size.clamp(min=1), centres)
    return centres


@dataclass(frozen=True)
class Look:
    """Metrics of a set of images against the reference; every number but the first two is a share.

    Attributes:
        diversity: mean distance of two images (16 px, root mean square of -1..1).
        distance: sliced Wasserstein distance to the reference in standardised random features.
        coverage: reference images that have one of the set within their own neighbourhood (Naeem et al. 2020).
        precision: images of the set that lie in the neighbourhood of a reference image (Kynkaanniemi et al. 2019).
        bins_filled: k-means bins of the reference that hold an image of the set.
        bins_different: bins whose share differs from the reference's, two-proportion test at 5 % (NDB / K of
            Richardson and Weiss 2018).
        near_duplicates: images nearer to another of the set than half the median such distance of real images.
    """

    diversity: float
    distance: float
    coverage: float
    precision: float
    bins_filled: float
    bins_different: float
    near_duplicates: float


class RealReference:
    """Compares images with a fixed reference of real ones.

    Args:
        reals: uint8 [N, H, W, 3], at least 16: up to 1024 of them are the reference.
        others: real images that are not among `reals`, uint8 [M, H, W, 3]: up to 256 of them are measured themselves
            (`real_baseline`), which is the best that forgeries can reach. None takes them from `reals`, away from the
            reference.
        seed: of the choice, the features and the bins.
        device: where it computes.
        samples: images of a look; as many real ones are measured themselves.
    """

    def __init__(
        self,
        reals: NDArray[np.uint8],
        others: NDArray[np.uint8] | None,
        *,
        seed: int,
        device: torch.device,
        samples: int = SAMPLES,
    ) -> None:
        source = torch.Generator().manual_seed(derive_seed(seed, "reference"))
        # reference and baseline come from different images: a reference measured on itself would have distance 0
        order = torch.randperm(len(reals), generator=source).numpy()
        # copies of 16 px of all training images and of their mirror images, as trainings mirror at random
        trained = shrink(to_float(torch.from_numpy(reals)), _PIXELS)
        self._trained = torch.cat([trained, trained.flip(3)]).flatten(1).to(device)
        self._unseen = others is not None
        if others is None:
            cut = min(samples, len(reals) // 2)
            others, order = reals[order[:cut]], order[cut:]
        else:
            others = others[torch.randperm(len(others), generator=source)[:samples].numpy()]
        self.samples = len(others)
        self._features = RandomFeatures(seed, device)
        baseline = to_float(torch.from_numpy(others)).to(device)
        reference = to_float(torch.from_numpy(reals[order[:REFERENCE]])).to(device)
        described = self._features(reference)
        spread = described.std(dim=0)
        # features that hardly vary on real images would dominate all distances after the division: a quarter of the
        # mean spread is the least divisor
        self._mean, self._scale = described.mean(dim=0), spread.clamp(min=float(spread.mean()) / 4)
        self._reference = self._standardise(described)
        k = min(_NEIGHBOUR, len(reference) - 1)  # small sets have fewer others
        among = torch.cdist(self._reference, self._reference)  # [R, R]
        self._radius = among.kthvalue(k + 1, dim=1).values  # the nearest one is the image itself
        # at least 8 images a bin, so that shares can be compared
        bins = min(_BINS, max(2, self.samples // 8), len(reference))
        self._bins = k_means(self._reference.cpu(), bins, seed).to(device)  # sums on a GPU depend on their order
        self._shares = self._fill(self._reference)
        directions = torch.randn(self._reference.shape[1], _DIRECTIONS, generator=source)
        self._directions = (directions / directions.norm(dim=0)).to(device)  # unit vectors in the columns, [1024, K]
        # half of what is usual among real images, so that real ones seldom count as duplicates
        self._near = float(nearest_distances(shrink(baseline, _PIXELS).flatten(1)).median()) / 2
        self.real_baseline = self.look(baseline)  # what as many real images reach
        # half of what is usual among images that nothing was trained on
        self._copy = float(self._to_trained(baseline).median()) / 2

    def look(self, images: Tensor) -> Look:
        """Look at images [N, 3, H, W] in -1..1; of more than `samples`, the first so many count."""
        images = images[: self.samples].float()
        pixels = shrink(images, _PIXELS).flatten(1)
        described = self._standardise(self._features(images))
        # [R, N]: the image lies within the reference image's neighbourhood. any over N is coverage, any over R
        # precision
        inside = torch.cdist(self._reference, described) <= self._radius[:, None]
        shares = self._fill(described)
        return Look(
            diversity=diversity(pixels),
            distance=sliced_wasserstein(described, self._reference, self._directions),
            coverage=float(inside.any(dim=1).double().mean()),
            precision=float(inside.any(dim=0).double().mean()),
            bins_filled=float((shares > 0).double().mean()),
            bins_different=self._different(shares, len(described)),
            near_duplicates=float((nearest_distances(pixels) < self._near).double().mean()),
        )

    def copied(self, images: Tensor) -> float | None:
        """Return the share of images that are copies of training images; None without unseen real images.

        A copy is at most half as far from the nearest training image (or its mirror image) as the median of unseen real
        images is, by 16 px pixels: forgeries that are only blurred are nearer to everything than photos are, but not
        by that much.

        Args:
            images: [N, 3, H, W] in -1..1.
        """
        if not self._unseen:
            return None
        return float((self._to_trained(images[: self.samples].float()) <= self._copy).double().mean())

    def _to_trained(self, images: Tensor) -> Tensor:
        return torch.cdist(shrink(images, _PIXELS).flatten(1), self._trained).amin(dim=1)

    def tell_apart(self, forged: Tensor, reals: Tensor) -> float:
        """Return the accuracy of a small classifier that learned from one half and is tested on the other.

        It is ridge regression on the random features and their squares.

        Args:
            forged: [N, 3, H, W] in -1..1.
            reals: [M, 3, H, W] in -1..1.

        Returns:
            Mean of the shares of forged and of real images told right, 0..1.
        """
        count = min(len(forged), len(reals), self.samples)
        points = self._features(torch.cat([forged[:count], reals[:count]])).double()
        # squares too: noise and photos may agree in the means of features and differ in their spread
        points = torch.cat([points, points.square()], dim=1)
        points = (points - points.mean(dim=0)) / points.std(dim=0).clamp(min=1e-6)
        target = torch.ones(2 * count, dtype=torch.float64, device=points.device)
        target[:count] = -1  # the forged ones come first
        # every second one: both halves hold as many of each kind
        learn = torch.arange(2 * count, device=points.device) % 2 == 0
        predicted = points[~learn] @ ridge_weights(points[learn], target[learn])
        return float((predicted * target[~learn] > 0).double().mean())

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self._mean) / self._scale

    def _fill(self, features: Tensor) -> Tensor:
        """Return the share of the images in each bin."""
        nearest = torch.cdist(features, self._bins).argmin(dim=1)
        return torch.bincount(nearest, minlength=len(self._bins)).double() / len(features)

    def _different(self, shares: Tensor, count: int) -> float:
        others = len(self._reference)
        # two-proportion z-test with pooled share
        pooled = (shares * count + self._shares * others) / (count + others)
        # a bin that is empty on both sides has error 0 and does not differ
        error = (pooled * (1 - pooled) * (1 / count + 1 / others)).sqrt().clamp(min=1e-12)
        return float((((shares - self._shares) / error).abs() > 1.96).double().mean())
