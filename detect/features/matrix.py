"""The features of a fit's images as blocks of one scaled matrix: kept in memory where they fit, else computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.data.views import View
from forge.core.errors import InputError, quoted

BLOCK = 256  # images whose features are computed at a time
EXACT = 512  # so few features are kept as float64: they cost little, and unscaled ones then lose nothing

Floats = NDArray[np.float64]
Scaling = Literal["none", "centre", "z-score"]
Features = Callable[[Tensor], Tensor]


class FeatureMatrix:
    """The scaled features of both classes, block by block.

    Args:
        real: images of class 0.
        forged: images of class 1.
        features: uint8 pixels [n, H, W, 3] on the device to features [n, D], which may be changed in place afterwards.
        device: where features are computed and kept.
        cache_bytes: largest memory for kept features.
        scaling: "centre" subtracts each feature's mean over all images, "z-score" also divides by its standard
            deviation.

    Attributes:
        width: D, features an image.
        dtype: of the blocks, float32; float64 for up to EXACT features.
        mean: what is subtracted, float64 [D].
        std: what is divided by, float64 [D].
        cached: whether the features are kept.

    Raises:
        InputError: a feature is not finite.
    """

    def __init__(
        self,
        real: View,
        forged: View,
        features: Features,
        *,
        device: torch.device,
        cache_bytes: int,
        scaling: Scaling = "z-score",
    ) -> None:
        self.views, self.device, self.scaling = (real, forged), device, scaling
        self._features, self.dtype = features, torch.float32
        self.width = self._of(real.read(slice(0, 1))).shape[1]
        self.dtype = torch.float64 if self.width <= EXACT else torch.float32
        # bytes of all features; beyond the limit each pass over `blocks` computes them again
        self.cached = sum(self.counts) * self.width * self.dtype.itemsize <= cache_bytes
        raw = list(self._raw()) if self.cached else None
        self.mean, self.std = self._moments(raw if raw is not None else self._raw())
        # in place, so that raw and scaled features are never both in memory
        self._kept = [(label, self._scaled(block)) for label, block in raw] if raw is not None else None

    @property
    def counts(self) -> tuple[int, int]:
        """Number of real and of forged images."""
        return len(self.views[0]), len(self.views[1])

    def blocks(self) -> Iterable[tuple[int, Tensor]]:
        """Class (0 real, 1 forged) and scaled features [n, D] of each block, in the order of the views."""
        if self._kept is not None:
            return self._kept
        return ((label, self._scaled(block)) for label, block in self._raw())

    def gather(self, label: int, positions: NDArray[np.int64] | None = None) -> Floats:
        """Return the scaled features of one class as one array, float64 [n, D].

        Args:
            label: 0 real, 1 forged.
            positions: which images of the class, in rising order; by default all.
        """
        parts, start = [], 0
        for of, block in self.blocks():
            if of != label:
                continue
            if positions is None:
                chosen = block
            else:
                inside = positions[(positions >= start) & (positions < start + len(block))] - start
                chosen = block[torch.from_numpy(inside).to(self.device)]
                start += len(block)
            parts.append(chosen.cpu().double().numpy())
        return np.concatenate(parts)

    def _of(self, images: NDArray[np.uint8]) -> Tensor:
        with torch.no_grad():  # features may come from a frozen network
            return self._features(torch.from_numpy(images).to(self.device)).to(self.dtype)

    def _raw(self) -> Iterator[tuple[int, Tensor]]:
        for label, view in enumerate(self.views):
            for images in view.batches(BLOCK):
                yield label, self._of(images)

    def _moments(self, blocks: Iterable[tuple[int, Tensor]]) -> tuple[Floats, Floats]:
        mean, std = moments(block for _, block in blocks)
        if not torch.isfinite(mean).all():
            raise self._unusable()
        if self.scaling == "none":
            mean.zero_()
        if self.scaling != "z-score":
            std.fill_(1.0)
        return mean.cpu().numpy(), std.cpu().numpy()

    def _scaled(self, block: Tensor) -> Tensor:
        if self.scaling == "none":
            return block
        block.sub_(torch.from_numpy(self.mean).to(block))
        return block if self.scaling == "centre" else block.div_(torch.from_numpy(self.std).to(block))

    def _unusable(self) -> InputError:
        """Name the image with a feature that is not finite."""
        start = [0, 0]
        for label, block in self._raw():
            wrong = (~torch.isfinite(block)).nonzero()
            if len(wrong):
                row, column = map(int, wrong[0])
                name = self.views[label].rows["id"].iloc[start[label] + row]
                role = ("train_real", "train_forged")[label]
                return InputError(
                    f"feature {column} of image {quoted(name)} in {role} is {float(block[row, column])}, which is no "
                    "number; leave that image out, or correct the detector's features()"
                )
            start[label] += len(block)
        return InputError("the sum of a feature over the training images overflows; scale the detector's features()")


# A feature whose standard deviation is below this, or below this share of its mean, says nothing and is only centred.
# One pass leaves a constant feature a deviation of about 1e-8 of its mean by rounding.
FLAT = 1e-6


def moments(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each feature in one pass.

    Args:
        blocks: float [N, D] each, at least one row in all.

    Returns:
        Both float64 [D] on the device of the blocks; the deviation of a flat feature is given as 1.

    Raises:
        ValueError: no rows.
    """
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for features in blocks:
        exact = features.double()  # a constant feature of -27 would show a spread of 0.01 in float32
        total, squares = exact.sum(0) + total.to(exact.device), exact.square().sum(0) + squares.to(exact.device)
        count += len(features)
    if not count:
        raise ValueError("the mean of no features is not defined")
    mean = total / count
    # E[x^2] - E[x]^2 in one pass; negative only by rounding
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean, torch.where(std < FLAT * mean.abs().clamp_min(1), 1.0, std)
