"""The shipped perturbations: what happens to images on their way through the world."""

from __future__ import annotations

from hashlib import blake2b
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detect.data.file_formats import each
from detect.data.perturb import Perturbation, Strength
from forge.faces.imaging import ops


class Jpeg(Perturbation):
    """Compression as JPEG."""

    # chroma at half size: 4:2:0
    id, title, summary = "jpeg", "JPEG", "JPEG at quality {}, chroma at half size"
    strength = Strength("its quality", 1, 100, whole=True, falling=True)

    def change(self, images: Tensor) -> Tensor:
        """Compress and decode."""
        return ops.jpeg(images, int(self.value or 0))


class Equalised(Perturbation):
    """Compression of both classes at one quality."""

    id, title = "equalised", "equalised"
    summary = "JPEG at quality 75 last, so that no class differs by how it was coded"

    def change(self, images: Tensor) -> Tensor:
        """Compress and decode."""
        # 75: the quality of the protocol's `equalised` column
        return ops.jpeg(images, 75)


class Blur(Perturbation):
    """Gaussian blur."""

    id, title, summary = "blur", "blur", "Gaussian blur, sigma {} px"
    # the filter ends at four sigma (`ops.TRUNCATE`), so that 0.1 px is already no blur
    strength = Strength("its sigma in pixels", 0.1, 20)

    def change(self, images: Tensor) -> Tensor:
        """Convolve with a Gaussian."""
        return ops.blur(images, self.value or 0.0)


class Noise(Perturbation):
    """Gaussian noise, seeded by the image: the same image always gets the same noise."""

    id, title, summary = "noise", "noise", "Gaussian noise, sigma {} of 255"
    strength = Strength("its sigma in grey levels", 0.1, 255)

    def change(self, images: Tensor) -> Tensor:
        """Add noise whose key is a digest of the image's pixels."""
        # 8 bytes of a digest of the image alone: neither its class nor its place in a batch decides its noise
        digests = (blake2b(image.tobytes(), digest_size=8).digest() for image in images.numpy())
        # signed: the keys of the noise are int64
        keys = torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])
        return ops.noise(images, self.value or 0.0, keys)


class Crop(Perturbation):
    """The middle of the image, enlarged to the size of the whole."""

    id, title, summary = "crop", "crop", "the middle {} % of each side, enlarged back"
    strength = Strength("the percentage kept", 10, 100, falling=True)

    def change(self, images: Tensor) -> Tensor:
        """Cut and enlarge."""
        # percent of the side to a share of it
        return ops.crop(images, (self.value or 0.0) / 100)


class Half(Perturbation):
    """Half the size and back."""

    id, title, summary = "half", "half size", "half the size and back, antialiased"
    share: ClassVar[float] = 0.5  # of each side

    def change(self, images: Tensor) -> Tensor:
        """Reduce and enlarge."""
        return ops.rescale(images, self.share)


class Quarter(Half):
    """A quarter of the size and back."""

    id, title, summary = "quarter", "quarter size", "a quarter of the size and back, antialiased"
    share: ClassVar[float] = 0.25


class Brighter(Perturbation):
    """More light."""

    id, title, summary = "brighter", "brighter", "every value times 1.3"
    brightness: ClassVar[float] = 1.3
    contrast: ClassVar[float] = 1.0

    def change(self, images: Tensor) -> Tensor:
        """Multiply values by `brightness`, and their distance from the image's mean by `contrast`."""
        # values beyond 255 are clipped
        return ops.adjust(images, brightness=self.brightness, contrast=self.contrast)


class Darker(Brighter):
    """Less light."""

    id, title, summary = "darker", "darker", "every value times 0.7"
    brightness: ClassVar[float] = 0.7


class ContrastUp(Brighter):
    """More contrast."""

    id, title, summary = "contrast-up", "more contrast", "contrast times 1.3, about the image's mean"
    brightness: ClassVar[float] = 1.0
    contrast: ClassVar[float] = 1.3


class ContrastDown(Brighter):
    """Less contrast."""

    id, title, summary = "contrast-down", "less contrast", "contrast times 0.7, about the image's mean"
    brightness: ClassVar[float] = 1.0
    contrast: ClassVar[float] = 0.7


class Grey(Perturbation):
    """No colour."""

    id, title, summary = "grey", "grey", "luma in all three channels (ITU-R BT.601)"

    def change(self, images: Tensor) -> Tensor:
        """Replace colours by their luma, in Pillow's whole numbers."""
        weights = torch.tensor([19595, 38470, 7471])  # .299, .587 and .114 of 2^16
        luma = ((images * weights).sum(3, keepdim=True) + (1 << 15)) >> 16
        return luma.to(torch.uint8).expand(images.shape).contiguous()


class ResizeNearest(Perturbation):
    """Smaller and back with another kernel than `half`: the nearest pixel, not antialiased."""

    id, title, summary = "resize-nearest", "nearest", "{} % of each side and back, nearest pixel"
    strength = Strength("the percentage of each side", 5, 99, falling=True)
    kernel: ClassVar[Image.Resampling] = Image.Resampling.NEAREST

    def change(self, images: Tensor) -> Tensor:
        """Reduce and enlarge."""
        return each(images, self._resized)

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        small = [max(1, int(side * (self.value or 0.0) / 100 + 0.5)) for side in (width, height)]
        shrunk = Image.fromarray(image).resize((small[0], small[1]), self.kernel)
        return np.asarray(shrunk.resize((width, height), self.kernel))


class ResizeBicubic(ResizeNearest):
    """Smaller and back, bicubic."""

    id, title, summary = "resize-bicubic", "bicubic", "{} % of each side and back, bicubic, antialiased"
    kernel: ClassVar[Image.Resampling] = Image.Resampling.BICUBIC


class ResizeLanczos(ResizeNearest):
    """Smaller and back, Lanczos."""

    id, title, summary = "resize-lanczos", "Lanczos", "{} % of each side and back, Lanczos, antialiased"
    kernel: ClassVar[Image.Resampling] = Image.Resampling.LANCZOS
