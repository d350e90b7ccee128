"""Changed share: how far forgeries differ from the real faces that they were made from, per value of the image.

Mean abs(forgery - source) / 255 over pixels and channels. It is no merit: a translator that does nothing has 0. Beside
it stands the difference of two photos.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.faces.faceset import Images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result
from forge.quality.translations import Translations


class Changed(Result):
    """Mean absolute difference of forgeries from their sources, 0..1."""

    value: float = Field(description="over all pixels")
    value_hole: float | None = Field(None, description="over forged pixels; null: all are")
    two_photos: float = Field(description="of each source and the next one")
    n: int


def changed(pairs: Translations) -> Changed:
    """Return how far translations differ from their sources."""
    distances = apart(pairs.forged, pairs.sources)  # [n, H, H]
    inside = None if pairs.masks is None else pairs.masks > 0
    return Changed(
        value=float(distances.mean()),
        value_hole=float(distances[inside].mean()) if inside is not None and inside.any() else None,
        # sources are in random order, so that neighbours are two photos like any others
        two_photos=float(apart(pairs.sources, np.roll(pairs.sources, 1, axis=0)).mean()),
        n=len(pairs),
    )


def apart(a: Images, b: Images) -> NDArray[np.float32]:
    """Return mean absolute differences over channels, as shares of 255, [n, H, W]."""
    return np.asarray(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean(axis=3) / 255, np.float32)


class ChangedMetric(QualityMetric):
    """Changed share of forgeries that were made from real faces; None of other sets."""

    id = "changed"
    title = "changed share"

    def measure(self, sides: Sides) -> Changed | None:
        """See `changed`."""
        return None if sides.translations is None else changed(sides.translations)

    def rows(self, ours: Changed | None, floor: Changed | None, n: int) -> list[Row]:
        """Return the share over all pixels, and over forged ones where there are others."""
        if ours is None:
            return []
        shares = {"changed share of the photo": ours.value, "changed share in the hole": ours.value_hole}
        return [
            Row(name, share, ours.two_photos, "neither", ours.n, "two photos")
            for name, share in shares.items()
            if share is not None
        ]
