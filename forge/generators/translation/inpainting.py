"""Task inpainting: the hole in a photo filled in; all other pixels are the photo's, to the byte."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from forge.core.errors import InputError
from forge.generators.translation.base import Floats
from forge.generators.translation.pix2pix import Pix2Pix

_AREA = (0.05, 0.4)  # share of the image that a hole covers
_TRIES = 100


def draw_hole(resolution: int, source: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a hole: an ellipse, a box, or brush strokes, that covers 5 to 40 % of the image.

    Args:
        resolution: height and width.
        source: of random numbers.

    Returns:
        True inside [H, W].
    """
    for _ in range(_TRIES):
        canvas = Image.new("L", (resolution, resolution))
        pen, style = ImageDraw.Draw(canvas), source.integers(3)
        if style < 2:
            centre, half = source.uniform(0.25, 0.75, 2) * resolution, source.uniform(0.12, 0.35, 2) * resolution
            box = (*(centre - half).tolist(), *(centre + half).tolist())
            (pen.ellipse if style else pen.rectangle)(box, fill=255)
        else:
            for _ in range(int(source.integers(1, 4))):
                points = [tuple(point) for point in (source.uniform(0.1, 0.9, (4, 2)) * resolution).tolist()]
                pen.line(points, fill=255, width=max(2, int(source.uniform(0.06, 0.16) * resolution)), joint="curve")
        hole = np.asarray(canvas) > 0
        if _AREA[0] <= hole.mean() <= _AREA[1]:
            return hole
    hole = np.zeros((resolution, resolution), bool)
    quarter = resolution // 4
    hole[quarter:-quarter, quarter:-quarter] = True
    return hole


class Inpainting(Pix2Pix):
    """Fill the hole of a photo. The loss is on the hole alone, and so is the forgery."""

    inputs, masks = 4, True
    without_learning = "mean colour of the rest"

    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Return the photo with its hole in grey, and the hole as 1 on -1 [4, H, W]."""
        return self.with_hole(image, draw_hole(len(image), source))

    def with_hole(self, image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Floats:
        """Return the condition of a photo with a given hole.

        Raises:
            InputError: the hole is empty or covers all.
        """
        if not hole.any() or hole.all():
            covered = "all of the image" if hole.all() else "nothing"
            raise InputError(f"the mask covers {covered}; inpainting needs pixels to fill and pixels to go by")
        pixels = image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
        return np.concatenate([np.where(hole, np.float32(0), pixels), np.where(hole, 1, -1)[None]]).astype(np.float32)

    def hole(self, conditions: Tensor) -> Tensor:
        """Return the hole [N, 1, H, W]."""
        return (conditions[:, 3:] > 0).to(conditions.dtype)

    def untrained(self, conditions: Tensor) -> Tensor:
        """Fill each hole with the mean colour of the pixels around it."""
        hole, pixels = self.hole(conditions), conditions[:, :3]
        rest = 1 - hole
        mean = (pixels * rest).sum((2, 3), keepdim=True) / rest.sum((2, 3), keepdim=True).clamp(min=1)  # [N, 3, 1, 1]
        return torch.where(hole > 0, mean, pixels)

    def compose(self, outputs: Tensor, conditions: Tensor) -> Tensor:
        """Lay the photo over all but the hole."""
        return torch.where(conditions[:, 3:] > 0, outputs.float(), conditions[:, :3].float())
