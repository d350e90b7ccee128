"""What happens to images on their way through the world: the perturbations of the protocol's robust condition.

A perturbation is a function of one image's pixels and nothing else: the same image comes out the same in any batch and
any order, whichever class it belongs to. Random ones take their numbers from a digest of the pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from forge.errors import InputError, UnknownNameError, quoted
from forge.faces.faceset import Images

if TYPE_CHECKING:
    from torch import Tensor

PART_VALUES = 1 << 22  # pixel values changed at a time: 32 MB in float64, whatever the size of images and batch


@dataclass(frozen=True)
class Perturbation:
    """A named change of images.

    Attributes:
        name: what tables and settings call it.
        description: what it does, one line.
        change: uint8 [n, H, W, 3] to a new tensor of the same shape and type, image by image.
    """

    name: str
    description: str
    change: Callable[[Tensor], Tensor]

    def __call__(self, images: Images) -> Images:
        """Change uint8 images [n, H, W, 3] into new ones of the same shape."""
        import torch

        changed = np.empty_like(images)
        step = max(1, PART_VALUES // max(1, int(np.prod(images.shape[1:]))))
        for start in range(0, len(images), step):
            part = torch.from_numpy(np.array(images[start : start + step]))  # a copy: torch takes no read-only arrays
            changed[start : start + step] = self.change(part).numpy()
        return changed


def perturbation(name: str) -> Perturbation:
    """The perturbation of a name: one of `PERTURBATIONS`, another strength of its kind, or several joined by "+".

    `jpeg60`, `blur0.5`, `noise3` and `crop90` are as good as the listed strengths; `blur1+jpeg75` blurs first.

    Raises:
        UnknownNameError: no such name; carries the nearest.
        InputError: a strength that makes no sense.
    """
    if "+" in name:
        parts = [perturbation(part) for part in name.split("+")]

        def change(images: Tensor) -> Tensor:
            for part in parts:
                images = part.change(images)
            return images

        return Perturbation(name, "; then ".join(part.description for part in parts), change)
    if name in _SIMPLE:
        return Perturbation(name, *_SIMPLE[name])
    if made := _of_strength(name):
        return made
    raise UnknownNameError("perturbation", name, PERTURBATIONS, see="bench list perturbations")


def _of_strength(name: str) -> Perturbation | None:
    """A perturbation whose name ends in a number."""
    found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", name)
    if not found or found[1] not in _KINDS:
        return None
    kind, strength = _KINDS[found[1]], float(found[2])
    if not kind.least <= strength <= kind.most or (kind.whole and not strength.is_integer()):
        number = "a whole number" if kind.whole else "a number"
        bounds = f"{number} from {kind.least:g} to {kind.most:g}"
        raise InputError(f"perturbation {quoted(name)}: {kind.strength} must be {bounds}")
    return Perturbation(name, kind.description.format(found[2]), lambda images: kind.change(images, strength))


@dataclass(frozen=True)
class _Kind:
    """Perturbations that differ in one number."""

    description: str
    change: Callable[[Tensor, float], Tensor]
    strength: str
    least: float
    most: float
    whole: bool = False


def _jpeg(images: Tensor, quality: float) -> Tensor:
    from forge.faces import batch

    return batch.jpeg(images, int(quality))


def _blur(images: Tensor, sigma: float) -> Tensor:
    from forge.faces import batch

    return batch.blur(images, sigma)


def _rescale(images: Tensor, share: float) -> Tensor:
    from forge.faces import batch

    return batch.rescale(images, share)


def _noise(images: Tensor, sigma: float) -> Tensor:
    import torch

    from forge.faces import batch

    digests = (blake2b(image.tobytes(), digest_size=8).digest() for image in images.numpy())
    keys = torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])
    return batch.noise(images, sigma, keys)


def _crop(images: Tensor, percent: float) -> Tensor:
    from forge.faces import batch

    return batch.crop(images, percent / 100)


def _adjust(images: Tensor, brightness: float, contrast: float) -> Tensor:
    from forge.faces import batch

    return batch.adjust(images, brightness=brightness, contrast=contrast)


_KINDS = {
    "jpeg": _Kind("JPEG at quality {}, chroma at half size", _jpeg, "its quality", 1, 100, whole=True),
    "blur": _Kind("Gaussian blur, sigma {} px", _blur, "its sigma in pixels", 0.1, 20),
    "noise": _Kind("Gaussian noise, sigma {} of 255", _noise, "its sigma in grey levels", 0.1, 255),
    "crop": _Kind("the middle {} % of each side, enlarged back", _crop, "the percentage kept", 10, 100),
}
_SIMPLE = {
    "half": ("half the size and back, antialiased", lambda images: _rescale(images, 0.5)),
    "quarter": ("a quarter of the size and back, antialiased", lambda images: _rescale(images, 0.25)),
    "brighter": ("every value times 1.3", lambda images: _adjust(images, 1.3, 1.0)),
    "darker": ("every value times 0.7", lambda images: _adjust(images, 0.7, 1.0)),
    "contrast-up": ("contrast times 1.3, about the image's mean", lambda images: _adjust(images, 1.0, 1.3)),
    "contrast-down": ("contrast times 0.7, about the image's mean", lambda images: _adjust(images, 1.0, 0.7)),
    "equalised": ("JPEG at quality 75 last, so that no class differs by how it was coded", lambda i: _jpeg(i, 75)),
}

ROBUST = (
    *("jpeg90", "jpeg75", "jpeg50", "jpeg30", "blur1", "blur2", "half", "quarter", "noise2", "noise5", "noise10"),
    *("crop80", "brighter", "darker", "contrast-up", "contrast-down"),
)
EQUALISED = "equalised"
PERTURBATIONS: dict[str, Perturbation] = {name: perturbation(name) for name in (*ROBUST, EQUALISED)}
