"""Handwritten digits of scikit-learn: no faces, but the textbook's first GAN trains on them in a minute."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.faces.sources.base import Item, Source

SIDE = 64  # an upper bound of the resolutions digits are used at; smaller ones are resampled from it
_VERSION = 1


class DigitsSource(Source):
    """The 1,797 digits of `sklearn.datasets.load_digits`, 8 x 8 pixels enlarged to 64 x 64 (bicubic), with `digit`.

    Everything is in scikit-learn's package. Many digits look alike and are no copies, so none is removed. A mirrored
    digit is none, so generators are not trained with any.
    """

    name = "digits"
    licence = "CC BY 4.0"
    citation = (
        "Alpaydin, E. and Kaynak, C.: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998."
    )
    attributes: Sequence[str] = ("digit",)
    dedupe = False
    mirrors = False

    @cached_property
    def _digits(self) -> tuple[NDArray[np.uint8], list[int]]:
        from sklearn.datasets import load_digits  # seconds, and a list of sources needs none of it

        data = load_digits()
        return np.rint(data.images * (255 / 16)).astype(np.uint8), data.target.tolist()  # levels 0..16

    def __len__(self) -> int:
        return len(self._digits[1])

    def chunk(self, positions: Sequence[int]) -> list[Item]:
        """Return the digits at these positions as PNG files."""
        return [self._item(position) for position in positions]

    def _item(self, position: int) -> Item:
        images, labels = self._digits
        file = BytesIO()
        large = Image.fromarray(images[position]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        large.save(file, "PNG", compress_level=1)
        return Item(f"digit-{position:04d}.png", file.getvalue(), None, {"digit": str(labels[position])})

    def fingerprint(self) -> str:
        """Return the digest of the pixels and labels."""
        images, labels = self._digits
        return hashlib.sha256(f"digits {_VERSION} {SIDE} {labels}".encode() + images.tobytes()).hexdigest()
