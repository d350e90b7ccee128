"""The perturbation `wild`: what happens to photos on the web, a chain of its own for each image.

Of nine changes one to four happen to an image, each at most once, in a random order and with a random strength. All of
it follows from a digest of the image's pixels, so that both classes have the same law and an image is always changed
alike.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detect.data.perturb import Perturbation, random_of
from forge.faces.imaging import ops

MOST = 4  # changes of an image
Change = Callable[[Tensor, np.random.Generator], Tensor]  # uint8 [1, H, W, 3] to a new tensor like it


class Wild(Perturbation):
    """One to four changes of an image, as on its way through the web."""

    id, title = "wild", "wild"
    summary = (
        "one to four of: rescaling, JPEG, WebP, blur, noise, crop, brightness, contrast, a rim as of a screenshot; "
        "strengths drawn for each image"
    )

    def change(self, images: Tensor) -> Tensor:
        """Change each image by its own chain."""
        changed = torch.empty_like(images)
        for number, image in enumerate(images):
            changed[number] = changed_once(image, random_of(image.numpy()))
        return changed


def changed_once(image: Tensor, source: np.random.Generator) -> Tensor:
    """Change one image, uint8 [H, W, 3] on the CPU, by a chain drawn from a source."""
    part = image[None]
    for name in chain(source):
        part = CHANGES[name](part, source)
    return part[0]


def chain(source: np.random.Generator) -> list[str]:
    """Draw the names of one to four different changes, in their order."""
    count = int(source.integers(1, MOST + 1))
    return [list(CHANGES)[number] for number in source.permutation(len(CHANGES))[:count]]


def _rescale(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.rescale(images, float(source.uniform(0.4, 0.9)))


def _jpeg(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.jpeg(images, int(source.integers(40, 96)), workers=1)


def _webp(images: Tensor, source: np.random.Generator) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(images[0].numpy()).save(file, "WEBP", quality=int(source.integers(40, 96)))
    with Image.open(file) as decoded:
        return torch.from_numpy(np.array(decoded.convert("RGB")))[None]


def _blur(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.blur(images, float(source.uniform(0.3, 1.5)))


def _noise(images: Tensor, source: np.random.Generator) -> Tensor:
    key = torch.tensor([int(source.integers(2**63))])
    return ops.noise(images, float(source.uniform(1.0, 8.0)), key)


def _crop(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.crop(images, float(source.uniform(0.75, 0.98)))


def _brightness(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.adjust(images, brightness=_factor(source))


def _contrast(images: Tensor, source: np.random.Generator) -> Tensor:
    return ops.adjust(images, contrast=_factor(source))


def _factor(source: np.random.Generator) -> float:
    """Draw a factor that is as often above 1 as below."""
    return float(np.exp(source.uniform(-0.3, 0.3)))


def _rim(images: Tensor, source: np.random.Generator) -> Tensor:
    """Cover one to four edges, each up to 6 % of the side deep, with one colour: white, black or a grey."""
    side, framed = images.shape[1], images.clone()
    colour = (0, 255, int(source.integers(256)))[source.integers(3)]
    edges = source.permutation(4)[: int(source.integers(1, 5))]
    for edge in edges.tolist():
        depth = 1 + int(source.integers(max(1, round(0.06 * side))))
        rim = framed if edge < 2 else framed.transpose(1, 2)  # views: rows, or columns as rows
        if edge % 2:
            rim[:, -depth:] = colour
        else:
            rim[:, :depth] = colour
    return framed


CHANGES: dict[str, Change] = {
    "rescale": _rescale,
    "jpeg": _jpeg,
    "webp": _webp,
    "blur": _blur,
    "noise": _noise,
    "crop": _crop,
    "brightness": _brightness,
    "contrast": _contrast,
    "rim": _rim,
}
