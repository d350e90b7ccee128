"""Task colour: a grey photo to a coloured one whose lightness is the source's, to the byte."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forge.faces.imaging.lab import into_gamut, lab_to_rgb, lightness, rgb_to_lab, with_lightness
from forge.faces.tensors import to_uint8
from forge.generators.translation.base import Floats
from forge.generators.translation.pix2pix import Pix2Pix

_CHROMA = 110.0  # a* and b* of sRGB colours lie within about this


class Colour(Pix2Pix):
    """Predict a* and b* from L*: the only forged information is chroma, and the lightness of the forgery is real."""

    inputs, outputs = 1, 2
    without_learning = "grey photo"

    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Return the lightness in 255ths, scaled to -1..1 [1, H, W]."""
        return lightness(torch.from_numpy(image)).numpy().astype(np.float32)[None] / 127.5 - 1

    def target(self, images: Tensor) -> Tensor:
        """Return a* and b* [N, 2, H, W], scaled to about -1..1."""
        return rgb_to_lab((images.float() + 1) / 2)[:, 1:] / _CHROMA

    def decode(self, predictions: Tensor, conditions: Tensor) -> Tensor:
        """Join the predicted chroma with the given lightness, in colours that sRGB has."""
        lab = torch.cat([(conditions.float() + 1) * 50, predictions.float() * _CHROMA], 1)
        with torch.no_grad():
            lab = into_gamut(lab)
        return lab_to_rgb(lab).clamp(0, 1) * 2 - 1

    def untrained(self, conditions: Tensor) -> Tensor:
        """Return the grey photos: chroma 0 everywhere."""
        grey = conditions.new_zeros(len(conditions), 2, *conditions.shape[2:])
        return self.decode(grey, conditions)

    def finish(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Round to bytes whose lightness is exactly the condition's."""
        wanted = ((conditions[:, 0].float() + 1) * 127.5).round().to(torch.uint8)
        return with_lightness(to_uint8(images), wanted)
