"""One image file: read it once, decode it safely, and say why when it cannot be used.

What every image goes through, whatever its format:

- only formats of `FORMATS` are tried, and the size in the header is checked before a pixel is decoded;
- the first frame of an animation is taken;
- grey, 1-bit, palette, CMYK (Pillow undoes Adobe's inversion) and YCbCr become RGB; 16-bit grey keeps its high byte;
- transparency is laid over mid-grey, which favours neither bright nor dark outlines;
- EXIF orientation is applied; ICC profiles are ignored: nearly every photo of a face is sRGB or untagged, and a
  conversion would depend on the profile and not on the picture;
- JPEG is decoded in full. libjpeg's fast downscaled decoding ("draft") would give each source size another
  resampling filter, which a detector can learn.
"""

from __future__ import annotations

import hashlib
import stat
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from forge.faces.imaging.jpeg import estimate_jpeg_quality

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .avif".split()  # noqa: SIM905
)
MAX_PIXELS = 100_000_000  # 300 MB as RGB
MAX_BYTES = 100_000_000
MAX_WIDE_PIXELS = 40_000_000  # with transparency or 16 bits, which take several copies to convert
MAX_TEXT_BYTES = 4_000_000  # of a PNM file that spells its pixels as text: a second for each million
BACKDROP = (128, 128, 128)
METADATA = {  # key of Pillow's `info` -> name
    "exif": "EXIF",
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "photoshop": "Photoshop block",
    "comment": "comment",
}

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_PLAIN_MODES = ("1", "L", "P", "RGB", "YCbCr", "CMYK")
_TEXT_STARTS = (b"P1", b"P2", b"P3")
_STRIP = 1024  # rows that are laid over the backdrop at once


class Unusable(Exception):  # noqa: N818 - a verdict on one file, not a failure of the program
    """One image that cannot be used.

    Args:
        reason: a few words that can be counted, e.g. "truncated".
        detail: what exactly was seen.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Decoded:
    """An image in memory and what its file was.

    Attributes:
        image: RGB, upright.
        format: as Pillow names it, e.g. "JPEG".
        width: pixels as stored, before EXIF rotation.
        height: likewise.
        bytes: size of the file.
        sha256: of the file's bytes, 64 hexadecimal digits.
        jpeg_quality: 1..100, see `estimate_jpeg_quality`; None when not a JPEG.
        mode: of the stored pixels as Pillow names it, e.g. "RGB", "L", "RGBA".
        metadata: sorted names of what the file holds beside pixels, of `METADATA`.
        frames: number of frames; the first is taken.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    bytes: int
    sha256: str
    jpeg_quality: int | None
    mode: str = "RGB"
    metadata: tuple[str, ...] = ()
    frames: int = 1


def read_bytes(path: Path | str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file, once and whole.

    Raises:
        Unusable: "missing", "unreadable" (also pipes, devices and folders), "too large a file".
    """
    try:
        status = Path(path).stat()
        # opening a named pipe would wait for ever
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("unreadable", "not a regular file, or a folder that cannot be listed")
        if status.st_size > max_bytes:
            raise Unusable("too large a file", f"{status.st_size} bytes, at most {max_bytes} are read")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise Unusable("missing", "there is no such file, or it is a link to nowhere") from error
    except OSError as error:
        raise Unusable("unreadable", error.strerror or repr(error)) from error


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode the bytes of an image file.

    Args:
        data: the whole file.
        max_pixels: refuse more than this many pixels, as the header tells, before decoding.

    Raises:
        Unusable: "empty", "too large a file", "not an image", "too many pixels", "truncated", "damaged" or
            "unsupported pixels".
    """
    if not data:
        raise Unusable("empty", "0 bytes")
    if data[:2] in _TEXT_STARTS and len(data) > MAX_TEXT_BYTES:
        raise Unusable("too large a file", f"{len(data)} bytes of text, at most {MAX_TEXT_BYTES} are read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about pixel counts, which are checked here, and odd metadata
        try:
            # only these decoders are tried: Pillow has more, and that of EPS would run Ghostscript
            with Image.open(BytesIO(data), formats=FORMATS) as opened:
                width, height = opened.size
                limit = max_pixels if _is_plain(opened) else min(max_pixels, MAX_WIDE_PIXELS)
                if width * height > limit:
                    raise Unusable("too many pixels", f"{width} x {height}, at most {limit} pixels are decoded")
                quality = _jpeg_quality_of(opened)
                name = "JPEG" if quality is not None else str(opened.format)
                mode, frames = opened.mode, _frames_of(opened, name)
                opened.load()  # decodes the pixels; all damage shows here
                metadata = _metadata_of(opened)
                image = _upright(_to_rgb(opened), opened)
        except Unusable:
            raise
        except UnidentifiedImageError as error:
            raise Unusable("not an image", _container(data)) from error
        except Image.DecompressionBombError as error:
            raise Unusable("too many pixels", f"more than {max_pixels:,}") from error
        except Exception as error:
            # decoders raise whatever hostile bytes make them raise; one file never ends a run
            raise Unusable(*_explain(error)) from error
    return Decoded(
        image, name, width, height, len(data), hashlib.sha256(data).hexdigest(), quality, mode, metadata, frames
    )


def upright_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of an image after EXIF rotation, by its header alone; None: it is no image."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)  # a quarter turn exchanges the sides
    except Exception:  # noqa: BLE001 - hostile bytes raise anything; `decode` says what is wrong
        return None
    return (height, width) if turned else (width, height)


def _frames_of(opened: ImageFile.ImageFile, name: str) -> int:
    """Return the number of frames by the header; an MPO's second image is a preview and not a frame."""
    try:
        return 1 if name == "JPEG" else max(1, int(getattr(opened, "n_frames", 1)))
    except Exception:  # noqa: BLE001 - a damaged later frame raises anything and does not make the first unusable
        return 1


def _metadata_of(opened: ImageFile.ImageFile) -> tuple[str, ...]:
    names = {name for key, name in METADATA.items() if opened.info.get(key)}
    if getattr(opened, "text", None):
        names.add("comment")
    return tuple(sorted(names))


def _container(data: bytes) -> str:
    """Name the format of a file that is no image of `FORMATS`, by its first bytes."""
    if data[4:8] == b"ftyp":
        photo = data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return "a HEIC photo; convert it to PNG or JPEG" if photo else "a video; extract its frames as PNG"
    return f"the first bytes are {data[:8]!r}"


def _explain(error: Exception) -> tuple[str, str]:
    text = str(error) or repr(error)
    # Pillow and its codecs have many words for it
    cut = isinstance(error, EOFError) or any(
        sign in text.lower() for sign in ("truncat", "unexpected end", "not enough", "broken data stream")
    )
    return ("truncated" if cut else "damaged"), text[:200]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        # convert("RGB") would clip everything above 255 to white
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise Unusable("unsupported pixels", f"mode {image.mode}: the range of values is not known")
    if image.has_transparency_data:
        return _over_backdrop(image)
    return image.convert("RGB")


def _is_plain(image: Image.Image) -> bool:
    """Return whether the header says that pixels need no conversion through several copies."""
    return image.mode in _PLAIN_MODES and "transparency" not in image.info


def _over_backdrop(image: Image.Image) -> Image.Image:
    """Lay an image with transparency over the backdrop, some rows at a time, so that one copy of it suffices."""
    out = Image.new("RGB", image.size)
    # 1,024 rows at a time: a whole image at once would need several RGBA copies of itself
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        strip = image.crop(box).convert("RGBA")
        backdrop = Image.new("RGBA", strip.size, (*BACKDROP, 255))
        out.paste(Image.alpha_composite(backdrop, strip).convert("RGB"), box)
    return out


def _upright(image: Image.Image, opened: Image.Image) -> Image.Image:
    try:
        orientation = opened.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - broken metadata raises anything and does not make the pixels unusable
        orientation = None
    turn = _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(turn) if turn is not None else image


# --- sizes ---------------------------------------------------------------------------------------------------------


class Square(NamedTuple):
    """A square part of an image in pixels: left and top edge, and side."""

    left: float
    top: float
    side: float


def centre_square(image: Image.Image, side: int | None = None) -> Square:
    """Return the square of this side in the middle of an image, by default the largest, whole pixels from its edges."""
    width, height = image.size
    side = min(width, height) if side is None else side
    return Square((width - side) // 2, (height - side) // 2, side)


def resize(image: Image.Image, resolution: int, *, part: Square | None = None) -> NDArray[np.uint8]:
    """Resample a square part of an RGB image with Lanczos' antialiased filter.

    Args:
        image: RGB.
        resolution: height and width of the result in pixels.
        part: what to take; by default the largest square in the middle.

    Returns:
        uint8 [resolution, resolution, 3].
    """
    left, top, side = part or centre_square(image)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box))


def _jpeg_quality_of(opened: ImageFile.ImageFile) -> int | None:
    # an MPO (two JPEGs in one file, from phones) is a JPEG as well
    if not isinstance(opened, JpegImagePlugin.JpegImageFile):
        return None
    tables = opened.quantization  # by number of the table: luminance is 0
    return estimate_jpeg_quality(tuple(tuple(tables[key]) for key in sorted(tables)))
