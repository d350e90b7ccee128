"""Photos unlike those that a detector was trained on: ranges of size, JPEG quality and sharpness, and what leaves them.

A detector's error rates hold for photos like its own. Size and JPEG quality are those of the files of the real training
photos; sharpness is measured on what the detector sees, of real and of forged training images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forge.faces.imaging.luma import luminance

if TYPE_CHECKING:
    from forge.faces.faceset import FaceSet, Images

MEASURED = 500  # images of a set whose sharpness is measured: a second for 256 px
_TAILS = (0.5, 99.5)  # percentiles that bound a range: 1 in 100 training photos is outside
_SIZE_SLACK = 1.5  # a photo is of another size from this factor beyond the range
_QUALITY_SLACK = 5  # likewise in units of JPEG quality
_SHARPNESS_SLACK = 1.25

Range = tuple[float, float]


def sharpness(images: Images) -> NDArray[np.float64]:
    """Return the standard deviation of the Laplacian of the luma, in grey levels: low for blur, high for noise.

    Its square is the focus measure of Pech-Pacheco et al. (ICPR 2000).

    Args:
        images: uint8 [n, H, W, 3], sides of 3 and more.

    Returns:
        float64 [n].
    """
    y = 255 * luminance(images)
    laplacian = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:] - 4 * y[:, 1:-1, 1:-1]
    return np.asarray(laplacian.reshape(len(y), -1).std(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Familiarity:
    """Ranges of the photos that a detector was trained on; None: not known.

    Attributes:
        side: shorter side of the photos' files, pixels.
        jpeg_quality: 1..100 of those that were JPEG.
        jpeg_share: share of the photos that were JPEG files; 0 where they came from no files, as rendered faces do.
        sharpness: of the real photos, see `sharpness`.
        forged_sharpness: of the forgeries.
    """

    side: Range | None = None
    jpeg_quality: Range | None = None
    jpeg_share: float | None = None
    sharpness: Range | None = None
    forged_sharpness: Range | None = None

    @classmethod
    def of_sets(cls, real: FaceSet, forged: Sequence[FaceSet]) -> Familiarity:
        """Measure the training images of a detector.

        Args:
            real: prepared real faces, with the traits of their files.
            forged: its training forgeries.
        """
        train = real.view("train" if "train" in real.card.splits else None)
        rows = train.rows
        side = rows[["source_width", "source_height"]].min(axis=1).dropna().to_numpy(float)
        quality = rows["source_jpeg_quality"].dropna().to_numpy(float)
        files = int(rows["source_format"].notna().sum())
        pixels = sharpness(train.sample(MEASURED, 0).read())
        forgeries = [sharpness(faces.view().sample(MEASURED, 0).read()) for faces in forged]
        return cls(
            _range(side) if len(side) else None,
            _range(quality) if len(quality) else None,
            len(quality) / files if files else 0.0,
            _range(pixels) if len(pixels) else None,
            _range(np.concatenate(forgeries)) if forgeries else None,
        )

    def unlike(self, row: Photo) -> list[str]:
        """Return how a photo differs from those of training, one part of a sentence each; empty where it does not."""
        differences = [self._size(row), self._quality(row), self._sharpness(row)]
        return [difference for difference in differences if difference]

    def _size(self, photo: Photo) -> str:
        if self.side is None:
            return ""
        if _within(photo.side, self.side, _SIZE_SLACK):
            return ""
        return f"{resized(photo.side, photo.resolution)} (training: {_resized_range(self.side, photo.resolution)})"

    def _quality(self, photo: Photo) -> str:
        if photo.jpeg_quality is None:
            return "no JPEG (training: all were)" if self.jpeg_share == 1 else ""
        if self.jpeg_share is None:
            return ""
        if self.jpeg_quality is None:  # rendered faces, or files without loss
            return f"JPEG quality {photo.jpeg_quality} (training: no JPEG)"
        low, high = self.jpeg_quality
        if low - _QUALITY_SLACK <= photo.jpeg_quality <= high + _QUALITY_SLACK:
            return ""
        span = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
        return f"JPEG quality {photo.jpeg_quality} (training: {span})"

    def _sharpness(self, photo: Photo) -> str:
        if self.sharpness is None:
            return ""
        low, high = self.sharpness
        if _within(photo.sharpness, self.sharpness, _SHARPNESS_SLACK):
            return ""
        trait = "blurrier" if photo.sharpness < low else "sharper or noisier"
        forged = self.forged_sharpness is not None and _within(photo.sharpness, self.forged_sharpness, 1)
        like = ", where forgeries were so" if forged else ""
        return f"{trait}, sharpness {photo.sharpness:.3g} (training: real photos {low:.3g} to {high:.3g}{like})"

    def as_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Familiarity:
        """Return what `as_json` wrote.

        Raises:
            TypeError: other fields.
            ValueError: values that are no numbers.
        """
        fields: dict[str, Any] = {
            name: (float(value[0]), float(value[1])) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Photo:
    """Traits of a photo that are compared.

    Attributes:
        side: shorter side of its file, pixels.
        resolution: of the detector.
        jpeg_quality: 1..100; None: not a JPEG.
        sharpness: of what the detector sees.
    """

    side: int
    resolution: int
    jpeg_quality: int | None
    sharpness: float


def resized(side: float, resolution: int) -> str:
    """Return how a photo became what a detector sees.

    >>> resized(16, 64), resized(3000, 64), resized(64, 64)
    ('enlarged 4 times', 'reduced 47 times', 'seen at its size')
    """
    factor = side / resolution
    if math.isclose(factor, 1, rel_tol=0.05):
        return "seen at its size"
    return f"enlarged {_times(1 / factor)} times" if factor < 1 else f"reduced {_times(factor)} times"


def _within(value: float, limits: Range, slack: float) -> bool:
    return limits[0] / slack <= value <= limits[1] * slack


def _times(factor: float) -> str:
    return f"{factor:.0f}" if factor >= 9.95 else f"{factor:.2g}"


def _resized_range(side: Range, resolution: int) -> str:
    low, high = (resized(value, resolution) for value in side)
    if low == high:
        return low
    if low.startswith("reduced") and high.startswith("reduced"):
        return f"reduced {_times(side[0] / resolution)} to {_times(side[1] / resolution)} times"
    return f"from {low} to {high}"


def _range(values: NDArray[np.float64]) -> Range:
    low, high = np.percentile(values, _TAILS)
    return float(low), float(high)
