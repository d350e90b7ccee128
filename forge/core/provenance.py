"""Metadata of forged pictures: the generator, and that the face is synthetic."""

from __future__ import annotations

from typing import Any, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

SOFTWARE = "deepfake-bench"
SYNTHETIC = "Synthetic images, not photographs of people."
ALTERED = "Altered photographs, not as they were taken."
Format = Literal["PNG", "GIF", "JPEG", "WEBP"]

_EXIF_DESCRIPTION, _EXIF_SOFTWARE = 0x010E, 0x0131


def origin(generator: str, weights_sha256: str = "", *, moment: str = "") -> str:
    """Return the sentences that tell what forged pictures are.

    Args:
        generator: its name.
        weights_sha256: digest of its weights; empty where none are stored, or where it has none.
        moment: of its training, in words, where the pictures are not of its end.
    """
    weights = f", weights {weights_sha256}" if weights_sha256 else ""
    return f"{SYNTHETIC} From {generator}{f' {moment}' if moment else ''}{weights}."


def alteration(generator: str) -> str:
    """Return the sentences that tell what altered photos are.

    Args:
        generator: what altered them, e.g. "splice".
    """
    return f"{ALTERED} By {generator}."


def options(format: Format, source: str) -> dict[str, Any]:  # noqa: A002 - as Pillow calls it
    """Return the options of `Image.save` that record the origin in the file; without dates, so that bytes repeat.

    PNG has text fields Software and Source, GIF a comment, JPEG and WebP the EXIF tags Software and ImageDescription.

    Args:
        format: of the file.
        source: what the picture shows and where that comes from.
    """
    if format == "PNG":
        info = PngInfo()
        info.add_text("Software", SOFTWARE)
        info.add_itxt("Source", source)  # iTXt is UTF-8; tEXt, of add_text, is Latin-1
        return {"pnginfo": info}
    if format == "GIF":
        return {"comment": f"{SOFTWARE}: {source}".encode()}
    # JPEG and WebP
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION], exif[_EXIF_SOFTWARE] = source, SOFTWARE
    return {"exif": exif}
