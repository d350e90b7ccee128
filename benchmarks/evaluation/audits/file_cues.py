"""Handling cues of an image file: JPEG grids, periods, clipped levels, borders, corner marks, grey colour, metadata.

These cues depend on how a file was saved, cropped, marked or converted, and not on its content. They are
measured on the file's own pixels, before a photo is cropped and resized for a detector. So is fine detail, which
enlarging leaves out; a forgery may also be soft of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.evaluation.audits.periods import spectrum
from detect.features.jpeg import visible_grid
from forge.faces.imaging.decode import Decoded, Unusable, decode
from forge.faces.imaging.luma import LUMA
from forge.faces.sources.base import Item

Images = NDArray[np.uint8]

CORNER = 8  # pixels a side of the patch that is kept of each corner
CROP = 96  # pixels a side, at most, of the part in which a JPEG grid is looked for
WIDEST = 12  # pixels; a wider border is part of the picture
DETAIL_BAND = 0.25  # cycles per pixel: an image that was halved and enlarged has next to nothing above it
FLAT = 6  # grey levels by which pixels of one border may differ, after JPEG too
GRID_COLUMNS = ["jpeg_quality", "grid_row", "grid_column"]


@dataclass(frozen=True)
class FileCues:
    """Cues of the files of one side of a pair, image by image.

    Attributes:
        table: one row per image, see `_row`, and `GRID_COLUMNS`.
        corners: uint8 [n, 4, CORNER, CORNER, 3]: top left, top right, bottom left, bottom right.
        periods: how much each file repeats at each frequency, float32 [n, frequencies], see `periods.spectrum`.
    """

    table: pd.DataFrame
    corners: Images
    periods: NDArray[np.float32]

    def save(self, folder: Path) -> None:
        """Write file-cues.parquet, corners.npy and periods.npy."""
        self.table.to_parquet(folder / "file-cues.parquet", index=False)
        np.save(folder / "corners.npy", self.corners)
        np.save(folder / "periods.npy", self.periods)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays = (np.load(folder / f"{name}.npy") for name in ("corners", "periods"))
        return cls(pd.read_parquet(folder / "file-cues.parquet"), *arrays)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the cues of several chunks of files, in order."""
        table = pd.concat([part.table for part in parts], ignore_index=True)
        return cls(
            table, np.concatenate([part.corners for part in parts]), np.concatenate([part.periods for part in parts])
        )


def measure(items: Iterable[Item]) -> FileCues:
    """Measure the files of a source; those that cannot be decoded are left out.

    Args:
        items: images of at least 16 x 16 pixels.
    """
    # crops are kept until the end: their grids are looked for together, in batches of equal shape
    rows, corners, crops, periods = [], [], [], []
    for item in items:
        try:
            decoded = decode(item.read())
        except Unusable:
            continue
        pixels = np.asarray(decoded.image)
        rows.append(_row(decoded, pixels))
        corners.append(_corners(pixels))
        crops.append(_crop(pixels))
        periods.append(spectrum(pixels))
    table = pd.DataFrame(rows)
    table[GRID_COLUMNS] = _grids(crops)
    return FileCues(table, np.stack(corners), np.stack(periods))


def _row(decoded: Decoded, pixels: Images) -> dict[str, object]:
    """Measure the cues of one image.

    Returns:
        mode: of the stored pixels; metadata: names, joined; grey: red, green and blue are equal everywhere; darkest,
        brightest: extreme levels; border: pixels of one colour at each edge (top, bottom, left, right), as text;
        borders: number of edges that have them; fine_detail: see `_fine_detail`.
    """
    # each edge becomes the top: mirrored for the bottom, transposed for left and right
    widths = [_border(side) for side in (pixels, pixels[::-1], pixels.swapaxes(0, 1), pixels.swapaxes(0, 1)[::-1])]
    levels = np.bincount(pixels.reshape(-1), minlength=256)  # [256], all channels together
    return {
        "mode": decoded.mode,
        "metadata": ", ".join(decoded.metadata),
        "grey": bool((pixels == pixels[..., :1]).all()),  # [H, W, 3] against [H, W, 1]
        "darkest": int(np.flatnonzero(levels)[0]),
        "brightest": int(np.flatnonzero(levels)[-1]),
        "border": " ".join(map(str, widths)),
        "borders": sum(width > 0 for width in widths),
        "fine_detail": _fine_detail(_crop(pixels)),
    }


def _border(pixels: Images) -> int:
    """Count the rows of one colour at the top that end at once over most of their length.

    A plain background is no border: where it ends, at hair or shoulders, it goes on beside them.
    """
    # int16: differences of uint8 would wrap around; one row more than the widest border, to see it end
    rows = pixels[: WIDEST + 1].astype(np.int16)
    # the median, so that single pixels that compression changed do not move it; [3]
    colour = np.median(rows[0], axis=0)
    # a pixel is of another colour where any channel differs by more than FLAT; [rows, W]
    away = np.abs(rows - colour).max(axis=2) > FLAT
    flat = away.mean(axis=1) <= 0.02
    # argmin: the first row that is not flat; all flat up to WIDEST: part of the picture
    width = int(np.argmin(flat)) if not flat.all() else 0
    # a border ends at once: most of the next row is of another colour
    return width if width and away[width].mean() >= 0.6 else 0


def _corners(pixels: Images) -> Images:
    top, bottom = pixels[:CORNER], pixels[-CORNER:]
    return np.stack([part for edge in (top, bottom) for part in (edge[:, :CORNER], edge[:, -CORNER:])])


def _crop(pixels: Images) -> Images:
    """A part near the middle that begins on the file's 8 x 8 grid."""
    # (side - CROP) / 2 rounded down to a multiple of 8, so that a grid that starts at the file's corner is not shifted
    top, left = (max(0, (side - CROP) // 16) * 8 for side in pixels.shape[:2])
    return pixels[top : top + CROP, left : left + CROP]


def _fine_detail(crop: Images) -> float:
    """Return the decimal logarithm of the power above `DETAIL_BAND` as a share of that from half of it up to it.

    Args:
        crop: uint8 [h, w, 3].
    """
    luma = crop.astype(np.float64) @ np.array(LUMA)
    # a Hann window: opposite edges of a crop differ, and that jump has power at all frequencies
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in luma.shape))
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in luma.shape), indexing="ij"))
    fine = power[radius > DETAIL_BAND].sum()
    coarse = power[(radius > DETAIL_BAND / 2) & (radius <= DETAIL_BAND)].sum()
    return float(np.log10((fine + 1) / (coarse + 1)))  # one: below the power of rounding, for crops without detail


def _grids(crops: Sequence[Images]) -> NDArray[np.int64]:
    """Measure quality and shift of the JPEG grid of each crop, int64 [n, 3]."""
    grids = np.zeros((len(crops), 3), np.int64)
    shapes = [crop.shape for crop in crops]
    # images of one shape stack into one batch; at most 32, since each is tried at 64 offsets of the grid
    for shape in sorted(set(shapes)):
        members = [i for i, other in enumerate(shapes) if other == shape]
        for start in range(0, len(members), 32):
            part = members[start : start + 32]
            grids[part] = visible_grid(torch.from_numpy(np.stack([crops[i] for i in part]))).numpy()
    return grids
