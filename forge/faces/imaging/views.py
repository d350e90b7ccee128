"""Names of views: how an image that is larger than a detector's input is shown to it."""

from __future__ import annotations

from forge.core.errors import UnknownNameError

RESIZE = "resize"
MOST_TILES = 8  # of a side of a photo of unknown size: 64 in all, those in the middle
VIEWS = {
    RESIZE: "the whole image, resized",
    "centre-crop": "the middle, in pixels of the image itself",
    "five-crops": "the middle and the four corners; mean of the scores",
    "tiles": "all tiles that do not overlap, centred; mean of the scores",
    "tiles-max": "all tiles that do not overlap, centred; highest score",
}


def check_view(view: str) -> None:
    """Refuse a view that is not known.

    Raises:
        UnknownNameError: not in `VIEWS`; carries the nearest.
    """
    if view not in VIEWS:
        raise UnknownNameError("view", view, list(VIEWS))
