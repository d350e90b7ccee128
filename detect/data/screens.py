"""Perturbations of screens: a screenshot with its rim, moire, and a screen that was photographed.

What is drawn follows from a digest of the image's pixels, see `random_of`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detect.data.file_formats import each
from detect.data.perturb import Perturbation, Strength, random_of
from forge.faces.imaging import ops

_UNIT = 2.0**20  # patterns are whole multiples of 1 / _UNIT, so that the last digits of a library's sine do not count


class Screenshot(Perturbation):
    """The image shown smaller within a rim of one colour: white, black or a grey."""

    id, title = "screenshot", "screenshot"
    summary = "shown smaller, a rim of one colour around it that takes {} % of the side at each edge"
    strength = Strength("the percentage of the side that the rim takes at each edge", 1, 30)

    def change(self, images: Tensor) -> Tensor:
        """Shrink, and put into a frame."""
        return each(images, self._framed)

    def _framed(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        source = random_of(image)
        framed = np.full_like(image, (0, 255, int(source.integers(256)))[source.integers(3)])
        # a rim of at least one pixel, however small the image
        down, across = (max(1, int(side * (self.value or 0.0) / 100 + 0.5)) for side in image.shape[:2])
        height, width = image.shape[0] - 2 * down, image.shape[1] - 2 * across
        shown = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        framed[down : down + height, across : across + width] = np.asarray(shown)
        return framed


class Moire(Perturbation):
    """Beats between the grids of a screen's and a camera's pixels: coloured stripes over the image."""

    id, title, summary = "moire", "moire", "coloured stripes of a photographed screen, amplitude {} of 255"
    strength = Strength("the amplitude of its stripes in grey levels", 0.5, 64)

    def change(self, images: Tensor) -> Tensor:
        """Lay stripes over each image."""
        return each(images, lambda image: _striped(image, self.value or 0.0, random_of(image)))


class Recapture(Perturbation):
    """A screen, photographed: out of focus, with moire, flatter and noisy."""

    id, title = "recapture", "recapture"
    summary = (
        "as a photographed screen: blur of sigma {} px, six grey levels of moire a pixel of it, contrast times 0.85, "
        "a cast of colour, noise of 2 grey levels"
    )
    strength = Strength("the sigma of its blur in pixels", 0.25, 8)

    def change(self, images: Tensor) -> Tensor:
        """Blur, stripe, flatten and colour each image, then add noise."""
        sigma = self.value or 0.0
        # drawn from the images as they came, so that blur does not decide
        sources = [random_of(image) for image in images.numpy()]
        blurred = ops.adjust(ops.blur(images, sigma), contrast=0.85).numpy()
        seen = [
            _tinted(_striped(image, 6 * sigma, source), source) for image, source in zip(blurred, sources, strict=True)
        ]
        keys = torch.tensor([int(source.integers(2**63)) for source in sources])
        return ops.noise(torch.from_numpy(np.stack(seen)), 2.0, keys)


def _striped(image: NDArray[np.uint8], amplitude: float, source: np.random.Generator) -> NDArray[np.uint8]:
    """Add two sets of sine stripes whose phases differ by colour, as the stripes of subpixels lie side by side.

    Args:
        image: uint8 [H, W, 3].
        amplitude: of their sum in grey levels; stripes are strongest where the image is bright, as a screen's light is.
        source: of directions, phases, and periods of 3 to 12 pixels.
    """
    height, width = image.shape[:2]
    down, across = np.mgrid[:height, :width]
    pattern = np.zeros(image.shape)
    for _ in range(2):
        angle, phase = source.uniform(0, math.pi), source.uniform(0, 2 * math.pi)
        frequency = 2 * math.pi / source.uniform(3, 12)
        wave = frequency * (across * math.cos(angle) + down * math.sin(angle)) + phase
        # a third of a period between red, green and blue, half of it visible as colour
        for channel in range(3):
            pattern[..., channel] += 0.5 * np.sin(wave + channel * math.pi / 3)
    pattern = np.round(pattern * _UNIT) / _UNIT
    light = 0.3 + 0.7 * image / 255
    return np.clip(np.floor(image + amplitude * pattern * light + 0.5), 0, 255).astype(np.uint8)


def _tinted(image: NDArray[np.uint8], source: np.random.Generator) -> NDArray[np.uint8]:
    """Scale the colours by up to 6 % each: a screen's white is not the camera's."""
    scales = 1 + source.uniform(-0.06, 0.06, 3)
    return np.clip(np.floor(image * scales + 0.5), 0, 255).astype(np.uint8)
