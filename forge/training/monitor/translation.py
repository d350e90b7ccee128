"""Readings of a translation for the health monitor: faces and what a translator made of them, as numbers by name.

A training method returns some of them from `generator_readings`; `health.Diagnosis` knows their names:

    change                  mean abs(G(x) - x) over the mean abs difference of two different x
    change_of_needed        mean abs(G(x) - start) over mean abs(goal - start), where a start needs no learning
    domain_moved            share of G(x) that a classifier of the two domains places in the target, 0..1
    luminance_correlation   median correlation of the luminance of x and of G(x), -1..1
    outputs_diversity       diversity of outputs over that of what they should be
    cycle_error             mean abs(F(G(x)) - x) as a share of the range of values
    cycle_error_jpeg        the same with G(x) saved as JPEG of quality 75 in between
    jpeg_error              mean abs difference that saving makes to G(x)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from forge.faces.imaging.ops import jpeg
from forge.faces.tensors import to_float, to_uint8
from forge.training.monitor.metrics import shrink

_PIXELS = 16  # side of the copies for distances of two images, as those of `metrics.Look`
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601
_QUALITY = 75
_TINY = 1e-6


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
    between = mean_change(photos, photos.roll(1, 0))
    return {
        "change": mean_change(images, photos) / max(between, _TINY),
        "luminance_correlation": luminance_correlation(images, photos),
        "outputs_diversity": common_diversity(images) / max(common_diversity(photos), _TINY),
    }


def cycle_readings(images: Tensor, photos: Tensor, back: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Measure what the way back needs that JPEG removes (Chu et al. 2017, arXiv 1712.02950).

    Args:
        images: translations, [N, 3, H, W] in -1..1.
        photos: what they were made of.
        back: the translator of the other direction.
    """
    saved = to_float(jpeg(to_uint8(images), _QUALITY))
    return {
        "cycle_error": mean_change(back(images), photos),
        "cycle_error_jpeg": mean_change(back(saved), photos),
        "jpeg_error": mean_change(saved, images),
    }


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
    places = inside @ inside.T
    pairs = (places > 0) & ~torch.eye(len(places), dtype=torch.bool, device=places.device)
    if not bool(pairs.any()):
        return 0.0
    return float((apart[pairs] / places[pairs]).sqrt().mean())
