"""Task edges: a line drawing of a face to a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from forge.faces.imaging.luma import LUMA
from forge.generators.translation.base import Floats
from forge.generators.translation.pix2pix import Pix2Pix

_WEIGHTS = np.array(LUMA)


class Edges(Pix2Pix):
    """Line drawings by extended differences of Gaussians (Winnemöller et al. 2012), in a style drawn per image.

    A network that sees one style fails on another (phillipi/pix2pix issue 41), so the width and the softness of lines
    and the amount of shading are drawn.
    """

    inputs = 1

    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Draw the lines of a face, white on -1..1 as 1 [1, H, W]."""
        luma = (image @ _WEIGHTS) / 255
        scale = min(2.0, self.resolution / 64)
        sigma, ratio = source.uniform(0.4, 0.7) * scale, source.uniform(1.6, 3)
        tau, steepness = source.uniform(0.94, 0.99), source.uniform(15, 60)
        threshold = 0.01
        difference = gaussian_filter(luma, sigma) - tau * gaussian_filter(luma, ratio * sigma)
        # E = 1 where D >= threshold, else 1 + tanh(steepness (D - threshold)): soft black lines on white
        drawn = np.where(difference >= threshold, 1.0, 1 + np.tanh(steepness * (difference - threshold)))
        return np.asarray(2 * drawn - 1, np.float32)[None]
