"""Perturbations of files: WebP, AVIF, and a JPEG that was compressed, cut and compressed again."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detect.data.perturb import Perturbation, Strength
from forge.faces.imaging import ops


def each(images: Tensor, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Tensor:
    """Change uint8 images [n, H, W, 3] one at a time into new ones of the same shape."""
    changed = np.empty(images.shape, np.uint8)
    for number, image in enumerate(images.numpy()):
        changed[number] = change(image)
    return torch.from_numpy(changed)


class WebP(Perturbation):
    """Compression as lossy WebP."""

    id, title, summary = "webp", "WebP", "WebP at quality {}"
    strength = Strength("its quality", 1, 100, whole=True, falling=True)
    form: ClassVar[str] = "WEBP"
    options: ClassVar[dict[str, int]] = {}  # of Pillow's encoder

    def change(self, images: Tensor) -> Tensor:
        """Compress and decode."""
        return each(images, self._coded)

    def _coded(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        file = BytesIO()
        Image.fromarray(image).save(file, self.form, quality=int(self.value or 0), **self.options)
        with Image.open(file, formats=(self.form,)) as opened:
            return np.array(opened.convert("RGB"))


class Avif(WebP):
    """Compression as AVIF."""

    id, title, summary = "avif", "AVIF", "AVIF at quality {}, chroma at half size"
    form: ClassVar[str] = "AVIF"
    # one thread, so that no number of cores decides how the encoder cuts the image; 6 is Pillow's default speed
    options: ClassVar[dict[str, int]] = {"speed": 6, "max_threads": 1}


class Shift(Perturbation):
    """A move by whole pixels: another grid of JPEG blocks for what is compressed next."""

    id, title, summary = "shift", "shift", "moved down and to the right by {} px, edges mirrored"
    strength = Strength("the pixels it moves by", 1, 15, whole=True)

    def change(self, images: Tensor) -> Tensor:
        """Move the pixels."""
        return shifted(images, int(self.value or 0))[:, : images.shape[1], : images.shape[2]].contiguous()


class DoubleJpeg(Perturbation):
    """A camera's JPEG, cut off the grid of its blocks and compressed once more.

    What a forged region or a cropped upload has and a camera's file has not: traces of two grids (Bianchi and Piva:
    Detection of Nonaligned Double JPEG Compression Based on Integer Periodicity Maps. IEEE TIFS 2012). Other pairs of
    qualities are chains: "jpeg60+shift4+jpeg85".
    """

    id, title = "double-jpeg", "double JPEG"
    summary = "JPEG at quality 90 on a grid of blocks that is moved by 4 px both ways, then JPEG at quality {}"
    strength = Strength("the second quality", 1, 100, whole=True, falling=True)
    first: ClassVar[int] = 90
    offset: ClassVar[int] = 4  # half a block of luma, a quarter of one of chroma

    def change(self, images: Tensor) -> Tensor:
        """Compress with rows and columns more, cut these off, compress again."""
        once = ops.jpeg(shifted(images, self.offset), self.first)[:, self.offset :, self.offset :]
        return ops.jpeg(once.contiguous(), int(self.value or 0))


def shifted(images: Tensor, offset: int) -> Tensor:
    """Put `offset` mirrored rows above and columns to the left of images [n, H, W, 3]."""
    for axis in (1, 2):
        side = images.shape[axis]
        # reflection repeats with twice the side: 0 .. side - 1 forwards, then backwards
        places = torch.arange(-offset, side).remainder(2 * side)
        images = images.index_select(axis, torch.minimum(places, 2 * side - 1 - places))
    return images
