"""Pictures of faces for people: grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from forge.faces.faceset import Images
from forge.files import replacing


def grid(faces: Images, *, columns: int = 8, gap: int = 2) -> Image.Image:
    """Lay faces out in rows on white.

    Args:
        faces: uint8 [n, H, W, 3].
        columns: faces a row.
        gap: white pixels between faces.

    Returns:
        An RGB picture.
    """
    count, height, width, _ = faces.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, face in enumerate(faces):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = face
    return Image.fromarray(sheet)


def cut_grid(picture: Image.Image, *, columns: int = 8, gap: int = 2) -> Images:
    """Cut a full grid of square faces, as `grid` makes it, back into its faces, uint8 [n, H, W, 3]."""
    pixels = np.asarray(picture.convert("RGB"))
    side = (pixels.shape[1] + gap) // columns - gap
    rows = (pixels.shape[0] + gap) // (side + gap)
    return np.stack(
        [
            pixels[r * (side + gap) : r * (side + gap) + side, c * (side + gap) : c * (side + gap) + side]
            for r in range(rows)
            for c in range(columns)
        ]
    )


def write_grid(path: Path, faces: Images, *, columns: int = 8) -> None:
    """Write a grid as a PNG file, atomically."""
    with replacing(path) as temporary:
        grid(faces, columns=columns).save(temporary, format="PNG")
