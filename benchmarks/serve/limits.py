"""Limits of an upload in bytes, format and pixels, checked before decoding; nothing is written to disk."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from forge.core.errors import BenchError

FORMATS = ("JPEG", "PNG", "WEBP")
MOST_SCANS = 64  # of a progressive JPEG: usual are 10, and each one more costs a pass over all pixels
_FIELDS = 8  # the form of the page has six fields beside the photo; others have room for more
_AROUND = 16_384  # bytes of a form beside the photo
_DRAINED = 8  # times the limit: so much of a body that is too large is read away, so that a browser sees the answer
_START_OF_SCAN = b"\xff\xda"


# All of them bound what one request can cost in memory and time before a detector sees it.
@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        bytes: of a photo.
        pixels: of a photo, width times height.
        inside: requests that are read, waiting or answered at the same time.
        seconds: that an upload may take.
    """

    bytes: int = 10_000_000
    pixels: int = 40_000_000  # decoded in RGB 120 MB
    inside: int = 64  # times `bytes` is the most memory that uploads take together
    seconds: float = 60.0


class Refused(BenchError):  # noqa: N818 - a verdict on one request, not a failure of the server
    """A request that is not answered.

    Args:
        status: of HTTP.
        sentence: why, and what to do.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A form: the bytes of its photo, and its other fields."""

    photo: bytes
    fields: Mapping[str, str]


class _InMemory(MultiPartParser):
    # Starlette rolls larger files over to disk by default
    spool_max_size = sys.maxsize  # never a temporary file


async def read_upload(request: Request, limits: Limits) -> Upload:
    """Read a form with one photo into memory.

    Args:
        request: its body is multipart/form-data with the file field `photo`.
        limits: of size and time.

    Raises:
        Refused: too large, too slow, broken off, or no such form.
    """
    # Refused before the body is read: other types would be parsed as something else.
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused(415, "send the photo as the file field 'photo' of a multipart/form-data form")
    # The limit on bytes is in `_within`, since the parser bounds fields but no files.
    parser = _InMemory(
        request.headers, _within(request, limits), max_files=1, max_fields=_FIELDS, max_part_size=_AROUND
    )
    try:
        # over the whole upload: a client that sends a byte a minute is cut off
        async with asyncio.timeout(limits.seconds):
            form = await parser.parse()
    except TimeoutError as error:
        raise Refused(408, f"the upload took longer than {limits.seconds:g} seconds") from error
    except ClientDisconnect as error:
        raise Refused(400, "the upload broke off") from error
    except MultiPartException as error:
        raise Refused(400, f"the form cannot be read: {error.message}") from error
    try:
        photo = form.get("photo")
        data = await photo.read() if isinstance(photo, UploadFile) else b""
    finally:
        await form.close()  # drops the buffers of the parts
    if not data:
        raise Refused(400, "no photo came, or its file is empty; choose a JPEG, PNG or WebP file")
    if len(data) > limits.bytes:  # `_within` allows for the rest of the form; this is the photo alone
        raise _too_large(limits)
    return Upload(data, {name: value for name, value in form.items() if isinstance(value, str)})


async def read_away(request: Request, limits: Limits) -> None:
    """Read the body of a request that is refused, keeping none of it: browsers show no answer to half a request."""
    seen = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                seen += len(chunk)
                if seen > _DRAINED * limits.bytes:  # a client that never ends is cut off all the same
                    return


async def _within(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Return the body as long as it is within the limit; a longer one is read away, none of it kept, and refused."""
    limit, seen = limits.bytes + _AROUND, 0
    # The generator goes on reading beyond the limit without yielding: the parser waits, and nothing is kept.
    async for chunk in request.stream():
        seen += len(chunk)
        if seen <= limit:
            yield chunk
        elif seen > _DRAINED * limit:
            break
    # After the loop: a browser reads the answer only when its body was taken.
    if seen > limit:
        raise _too_large(limits)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the photo is too large a file: at most {limits.bytes / 1e6:g} MB are taken")


def check_photo(data: bytes, limits: Limits) -> None:
    """Refuse what is no photo of a known kind, or has too many pixels; looks at headers, decodes nothing.

    Args:
        data: the whole file; its content decides what it is, never its name.
        limits: of the pixels.

    Raises:
        Refused: see above.
    """
    # Headers only: `Image.open` is lazy, so that a bomb is refused by its announced size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes, which are checked here
        try:
            # of three formats, since each decoder more is more code that reads hostile bytes
            with Image.open(BytesIO(data), formats=FORMATS) as opened:
                (width, height), image_format = opened.size, opened.format
        except UnidentifiedImageError as error:
            raise Refused(415, "this is not a JPEG, PNG or WebP photo; its content decides, not its name") from error
        except Image.DecompressionBombError as error:
            raise Refused(413, f"the photo has too many pixels: at most {_mega(limits.pixels)} are decoded") from error
        except Exception as error:
            # decoders raise whatever hostile bytes make them raise
            raise Refused(422, "the photo is damaged: its header cannot be read") from error
    if width * height > limits.pixels:
        raise Refused(
            413, f"the photo has too many pixels: {width} x {height}, at most {_mega(limits.pixels)} are decoded"
        )
    # Counted in the bytes, which may count too many: thumbnails of cameras hold a scan or two of their own.
    if image_format not in ("PNG", "WEBP") and data.count(_START_OF_SCAN) > MOST_SCANS:
        raise Refused(422, f"the photo is a JPEG of more than {MOST_SCANS} scans; save it anew and try again")


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:g} megapixels"
