"""Pictures of faces for people: grids, sheets with writing in their margins, animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from forge.core import provenance
from forge.core.files import replacing
from forge.faces.faceset import Images

Animation = Literal["gif", "apng"]
GAP = 2  # white pixels between faces
SEEN = 64  # smaller faces are enlarged to at least so many pixels, for people's eyes
LETTERS = 14  # height of the writing in pixels, at faces of up to 128 pixels; larger faces have larger writing
_PALETTE_PIXELS = 1 << 16  # of an animation, from which its palette is made


def grid(faces: Images, *, columns: int = 8, gap: int = GAP) -> Image.Image:
    """Lay faces out in rows on white.

    Args:
        faces: uint8 [n, H, W, 3].
        columns: faces per row.
        gap: white pixels between faces.

    Returns:
        An RGB picture.
    """
    count, height, width, _ = faces.shape
    columns = min(columns, count)
    rows = -(-count // columns)  # rounded up
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, face in enumerate(faces):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = face
    return Image.fromarray(sheet)


def cut_grid(picture: Image.Image, *, columns: int = 8, gap: int = GAP) -> Images:
    """Cut a full grid of square faces, as `grid` makes it, back into its faces, uint8 [n, H, W, 3]."""
    pixels = np.asarray(picture.convert("RGB"))
    side = (pixels.shape[1] + gap) // columns - gap  # columns * side + (columns - 1) * gap is the width
    rows = (pixels.shape[0] + gap) // (side + gap)
    return np.stack(
        [
            pixels[r * (side + gap) : r * (side + gap) + side, c * (side + gap) : c * (side + gap) + side]
            for r in range(rows)
            for c in range(columns)
        ]
    )


def write_grid(path: Path, faces: Images, *, columns: int = 8, source: str = provenance.SYNTHETIC) -> None:
    """Write a grid of forged faces as a PNG file, atomically.

    Args:
        path: of the file.
        faces: uint8 [n, H, W, 3].
        columns: faces per row.
        source: as in `write_picture`.
    """
    with replacing(path) as temporary:
        grid(faces, columns=columns).save(temporary, format="PNG", **provenance.options("PNG", source))


def enlarged(faces: Images) -> Images:
    """Small faces uint8 [n, H, W, 3] at the smallest whole multiple of their size that has 64 pixels; others as is."""
    factor = max(1, -(-SEEN // faces.shape[1]))  # rounded up
    return faces.repeat(factor, axis=1).repeat(factor, axis=2)


def sheet(
    faces: Images, *, columns: int, caption: str = "", titles: Sequence[str] = (), labels: Sequence[str] = ()
) -> Image.Image:
    """Return a grid with writing in its margins; small faces are enlarged.

    Args:
        faces: uint8 [n, H, W, 3], row by row.
        columns: faces per row.
        caption: above everything; may have several lines.
        titles: one above each column; none: no such line.
        labels: one to the left of each row; none: no such margin.

    Returns:
        An RGB picture.
    """
    body = grid(enlarged(faces), columns=columns)
    side = enlarged(faces[:1]).shape[1]
    size = max(LETTERS, side // 9)
    font, line, space = ImageFont.load_default(size), size * 3 // 2, size // 2
    caption_lines = caption.count("\n") + 1 if caption else 0
    left = max((int(font.getbbox(label)[2]) + 2 * space for label in labels), default=0)
    top = line * (caption_lines + bool(titles))
    width = max([left + body.width, *(int(font.getbbox(text)[2]) for text in caption.split("\n"))])
    picture = Image.new("RGB", (width, top + body.height), "white")
    picture.paste(body, (left, top))
    pen = ImageDraw.Draw(picture)
    for number, text in enumerate(caption.split("\n")):
        pen.text((left, number * line), text, "black", font)
    for column, title in enumerate(titles):
        pen.text((left + column * (side + GAP) + side / 2, top - space // 2), title, "black", font, anchor="md")
    for row, label in enumerate(labels):
        pen.text((left - space, top + row * (side + GAP) + side / 2), label, "black", font, anchor="rm")
    return picture


def write_picture(path: Path, picture: Image.Image, *, source: str, optimize: bool = True) -> None:
    """Write a PNG file, atomically.

    Args:
        path: of the file.
        picture: what is written.
        source: what it shows and where that comes from; goes into the file, see `forge.core.provenance`.
        optimize: spend eight times as long for a file that is 3 % smaller; not for thousands of pictures.
    """
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=optimize, **provenance.options("PNG", source))


def write_animation(
    path: Path, frames: Images, *, milliseconds: int, source: str, animation: Animation = "gif"
) -> None:
    """Write frames as an animation that never ends, atomically.

    Args:
        path: of the file.
        frames: uint8 [n, H, W, 3].
        milliseconds: a frame; a multiple of 10 for GIF.
        source: as in `write_picture`.
        animation: GIF has 256 colours; APNG is lossless and 2.5 times as large.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    with replacing(path) as temporary:
        if animation == "gif":
            palette = _palette(frames)
            # dithering differs from frame to frame and flickers
            pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
        file_format: provenance.Format = "GIF" if animation == "gif" else "PNG"
        more = {"format": file_format, "append_images": pictures[1:], **provenance.options(file_format, source)}
        pictures[0].save(temporary, save_all=True, duration=milliseconds, loop=0, **more)


def _palette(frames: Images) -> Image.Image:
    """One palette for all frames.

    On a walk of 80 frames: 33.9 dB and 1.5 MB in 0.6 s; with a palette a frame 35.5 dB and 2.0 MB, but in 9 s;
    dithered, faces flicker.
    """
    pixels = frames.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // _PALETTE_PIXELS)]  # every n-th, about 65,536 in all
    return Image.fromarray(pixels[None]).quantize(256, Image.Quantize.MEDIANCUT, kmeans=3)
