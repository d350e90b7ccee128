"""Readings of a translation for the health monitor: faces and what a translator made of them, as numbers by name.

A training method returns some of them from `generator_readings`; `health.Diagnosis` knows their names:

    change                  mean abs(G(x) - x) over the mean abs difference of two different x
    change_of_needed        mean abs(G(x) - start) over mean abs(goal - start), where a start needs no learning
    domain_moved            share of G(x) on the side of the target domain, less that of x, by a classifier of domains
    luminance_correlation   median correlation of the luminance of x and of G(x), -1..1
    outputs_diversity       diversity of outputs over that of what they should be
    cycle_error             mean abs(F(G(x)) - x), of values in -1..1 (`forge.generators.translation.cyclegan`)
    cycle_error_jpeg        the same with G(x) saved as JPEG of quality 75 in between
    jpeg_error              mean abs difference that saving makes to G(x)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from forge.training.monitor.metrics import RandomFeatures, ridge_weights, shrink

READ = 64  # photos whose translations a health check reads
_PIXELS = 16  # side of the copies for distances of two images, as those of `metrics.Look`
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601
_TINY, _EQUAL = 1e-6, 1e-4


def paired_readings(
    images: Tensor, photos: Tensor, *, outputs: Tensor, targets: Tensor, start: Tensor | None, hole: Tensor | None
) -> dict[str, float]:
    """Compare translations with the photos that they should give back.

    Args:
        images: what the translator made, [N, 3, H, W] in -1..1.
        photos: what its conditions were made of.
        outputs: what it predicts, [N, C, H, W]: the images, or their chroma.
        targets: what it should predict.
        start: images that conditions give without learning; None: they give none.
        hole: 1 where pixels are forged, [N, 1, H, W]; None: all are.
    """
    readings = {
        "luminance_correlation": luminance_correlation(images, photos),
        "outputs_diversity": common_diversity(outputs, hole) / max(common_diversity(targets, hole), _TINY),
    }
    if start is not None:
        needed = mean_change(photos, start, hole)
        readings["change_of_needed"] = mean_change(images, start, hole) / max(needed, _TINY)
    return readings


def unpaired_readings(images: Tensor, photos: Tensor) -> dict[str, float]:
    """Compare translations [N, 3, H, W] in -1..1 with the photos that went in, which are no targets."""
    # each photo with the next one: N pairs of different photos
    between, variety = mean_change(photos, photos.roll(1, 0)), common_diversity(photos)
    readings = {"luminance_correlation": luminance_correlation(images, photos)}
    # a domain of one face has no two photos to compare with
    if between > _EQUAL:
        readings["change"] = mean_change(images, photos) / between
    if variety > _EQUAL:
        readings["outputs_diversity"] = common_diversity(images) / variety
    return readings


class DomainClassifier:
    """Tells two domains of faces apart: ridge regression on random features, as `RealReference.tell_apart`.

    Args:
        sources: faces of the source domain, [N, 3, H, W] in -1..1.
        targets: of the target domain, [M, 3, H, W].
        seed: of the features.
    """

    def __init__(self, sources: Tensor, targets: Tensor, *, seed: int) -> None:
        count = min(len(sources), len(targets))
        self._features = RandomFeatures(seed, sources.device)
        points = self._features(torch.cat([sources[:count], targets[:count]])).double()
        self._mean, self._scale = points.mean(dim=0), points.std(dim=0).clamp(min=1e-6)
        sides = torch.ones(2 * count, dtype=torch.float64, device=points.device)
        sides[:count] = -1  # the sources come first
        self._weights = ridge_weights((points - self._mean) / self._scale, sides)

    def share(self, images: Tensor) -> float:
        """Return the share of images [N, 3, H, W] that are on the side of the target domain."""
        points = (self._features(images.float()).double() - self._mean) / self._scale
        return float((points @ self._weights > 0).double().mean())


def mean_change(images: Tensor, others: Tensor, hole: Tensor | None = None) -> float:
    """Return the mean absolute difference of images [N, C, H, W] in -1..1, as a share of that range.

    Args:
        images: some.
        others: as many.
        hole: 1 where pixels count, [N, 1, H, W]; None: all do.
    """
    apart = (images.float() - others.float()).abs() / 2
    if hole is None:
        return float(apart.mean())
    return float((apart * hole).sum() / (hole.sum() * apart.shape[1]).clamp(min=1))


def luminance_correlation(images: Tensor, photos: Tensor) -> float:
    """Return the median over images of the correlation of their luminance with that of the photos; even ones have 0."""
    weights = torch.tensor(_LUMA, device=images.device).reshape(1, 3, 1, 1)
    a, b = (conv2d(each.float(), weights).flatten(1).double() for each in (images, photos))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    # Pearson's r; an image without contrast has no direction, and its 0 / 0 counts as 0
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=_TINY)).median())


def common_diversity(values: Tensor, hole: Tensor | None = None) -> float:
    """Return the mean over pairs of images of their root mean square difference where both have a hole.

    Args:
        values: [N, C, H, W].
        hole: 1 where values count, [N, 1, H, W]; None: everywhere.
    """
    small = shrink(values.float(), _PIXELS)
    whole = torch.ones_like(small[:, :1]) if hole is None else (shrink(hole.float(), _PIXELS) > 0.5).float()
    inside = whole.expand_as(small).flatten(1)  # m, [N, D] of 0 and 1
    kept = small.flatten(1) * inside
    squares = kept.square() @ inside.T
    # sum over m_i m_j of (y_i - y_j)^2, as products of matrices: [N, N]
    apart = (squares + squares.T - 2 * kept @ kept.T).clamp(min=0)
    shared = inside @ inside.T
    pairs = (shared > 0) & ~torch.eye(len(shared), dtype=torch.bool, device=shared.device)
    if not bool(pairs.any()):
        return 0.0
    return float((apart[pairs] / shared[pairs]).sqrt().mean())
