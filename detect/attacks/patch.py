"""A small square of free colours where the gradient is strongest."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d

from detect.attacks.base import Access, Attack, AttackSettings, Budget, as_pixels, best_of
from detect.attacks.target import Target
from forge.faces.faceset import Images

_REACH = 255.0  # grey levels that the steps can cover together, a few times over


class PatchSettings(AttackSettings):
    """Settings of the patch."""

    area: float = Field(0.01, gt=0, le=0.5, description="share of the image that the square covers")
    steps: int = Field(50, ge=1, le=10_000, description="steps of the descent")


class Patch(Attack[PatchSettings]):
    """A square of 1 % of the image, at the window with the largest gradients, whose pixels take any value."""

    citation = (
        "Carlini, Farid: Evading Deepfake-Image Detectors with White- and Black-Box Attacks, CVPR workshop 2020, arXiv "
        "2004.00622 (1 % of the pixels; there at free places, here in one square)"
    )
    access: ClassVar[Access] = "gradients"
    budget: ClassVar[Budget] = "none"

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images; one whose score would not get better stays as it is."""
        settings, originals = self.settings, as_pixels(images, target)
        _, gradient = target.gradients(originals)
        inside = window(gradient, settings.area)
        pixels = best = originals
        lowest = None
        for step in range(settings.steps):
            losses, gradient = target.gradients(pixels)
            lowest = losses if lowest is None else lowest
            best = torch.where((losses < lowest)[:, None, None, None], pixels, best)
            lowest = torch.minimum(losses, lowest)
            # from 4 / steps of the range down to nothing: far moves first, then refinement
            length = 4 * _REACH / settings.steps * (1 - step / settings.steps)
            pixels = (pixels - length * inside * gradient.sign()).clamp(0, 255)
        candidates = [point.round().byte().cpu().numpy() for point in (best, pixels)]
        return best_of(images, candidates, target)


def window(gradient: Tensor, area: float) -> Tensor:
    """Return 1 in the square of each image with the largest sum of gradients, else 0, float32 [n, H, W, 1].

    Args:
        gradient: [n, H, W, 3].
        area: of the square, as a share of the image; its side is at least 1 pixel.
    """
    height, width = gradient.shape[1:3]
    side = max(1, round((area * height * width) ** 0.5))
    sums = avg_pool2d(gradient.abs().sum(3)[:, None], side, stride=1)[:, 0]  # [n, H - side + 1, W - side + 1]
    place = sums.flatten(1).argmax(1)
    top, left = (place // sums.shape[2])[:, None], (place % sums.shape[2])[:, None]
    rows = torch.arange(height, device=gradient.device)[None]
    columns = torch.arange(width, device=gradient.device)[None]
    in_rows, in_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    inside: Tensor = in_rows[:, :, None] & in_columns[:, None, :]
    return inside[..., None].float()
