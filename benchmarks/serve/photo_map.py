"""The map of a photo as the page shows it: layers over the face, the scale of the colours, and what they mean."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.report.heat import STEPS, Region, contour, enlarged, heat, palette
from forge.faces.imaging.luma import LUMA

if TYPE_CHECKING:
    from benchmarks.inference.photo_maps import PhotoLocaliser
    from forge.core.compute import Compute
    from forge.faces.faceset import Images

SEEN = 224  # pixels that a face has at least on the page; faces of 64 px would be thumbnails on a screen
_SCALE = 32  # colours of the scale


@dataclass(frozen=True)
class PhotoMap:
    """Map of a photo.

    Attributes:
        detector: what made it.
        trained_on: its training forgeries.
        face: the face in grey, a data URI (PNG).
        colours: the map over it, a data URI (PNG).
        contour: of the area above the threshold, a transparent data URI (PNG); None: there is no threshold.
        limits: values of the first and of the last colour.
        scale: colours from the first to the last, as "#rrggbb".
        threshold: value from which a pixel counts; None: there is none, or all pixels count.
        altered: share of the face above the threshold, in [0, 1]; None: there is none.
        false_alarm_area: share of untouched test images of the run that is above it, in [0, 1]; None: not measured.
        sentences: what the map is of, and what it is not.
    """

    detector: str
    trained_on: str
    face: str
    colours: str
    contour: str | None
    limits: tuple[float, float]
    scale: list[str]
    threshold: float | None
    altered: float | None
    false_alarm_area: float | None
    sentences: list[str]


def photo_map(localiser: PhotoLocaliser, faces: Images, compute: Compute) -> PhotoMap:
    """Make the map of a photo.

    Args:
        localiser: it makes the map.
        faces: one face, uint8 [1, H, W, 3].
        compute: the device.

    Raises:
        DetectorError: the localiser returned no finite map of that shape.
    """
    (values,) = localiser.maps(faces, compute)
    facts: dict[str, Any] = localiser.as_json()
    limits = localiser.limits(values)
    grey = np.repeat((faces[0] @ np.array(LUMA)).round().astype(np.uint8)[..., None], 3, axis=2)
    threshold, area = localiser.threshold, facts["false_alarm_area"]
    colours = palette()[1][np.linspace(0, STEPS - 1, _SCALE).round().astype(int)]
    return PhotoMap(
        detector=localiser.name,
        trained_on=localiser.trained_on,
        face=png(grey),
        colours=png(heat(values, *limits)),
        contour=None if threshold is None else _lines(threshold.region(values)),
        limits=limits,
        scale=[f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()],
        threshold=facts["threshold"],
        altered=localiser.share(values),
        false_alarm_area=area and area["value"],
        sentences=facts["sentences"],
    )


def png(image: Images) -> str:
    """A face uint8 [H, W, 3] as a data URI, enlarged by a whole factor where it is small: its pixels stay visible."""
    return _uri(enlarged(image, _times(image.shape[0])))


def _uri(picture: Images) -> str:
    data = BytesIO()
    # level 3: the answer stays on this machine, time matters more than bytes
    Image.fromarray(picture).save(data, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def _times(side: int) -> int:
    return max(1, -(-SEEN // side))  # whole factors keep pixels square and sharp; -(-a // b) rounds up


def _lines(region: Region) -> str:
    """Return the contour of a region bool [H, W], white within black, on a transparent ground."""
    inner, outer = contour(region, _times(region.shape[0]))
    lines = np.zeros((*inner.shape, 4), np.uint8)
    lines[outer], lines[inner] = (0, 0, 0, 255), (255, 255, 255, 255)
    return _uri(lines)
