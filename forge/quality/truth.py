"""Distance of translations from the truth, which rendered people have: the same photo with the other label.

Mean abs(forgery - truth) / 255, over the pixels that the label changes and over the others, each beside the same of the
photo itself. Who keeps the face has little elsewhere, and who puts glasses on has less than the photo where they are.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from forge.quality.changed import apart
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result
from forge.quality.translations import Beside, Translations

LEAST_CHANGE = 0.06  # mean over channels, 0..1, from which a pixel counts as changed: above JPEG and metering


class Truth(Result):
    """Mean absolute differences from the truth, 0..1."""

    changed: Beside = Field(description="over pixels that the label changes; reference: the photo itself")
    elsewhere: Beside = Field(description="over all other pixels")
    share: float = Field(description="of pixels that the label changes")
    n: int = Field(description="translations whose truth shows the label")


def truth(pairs: Translations) -> Truth | None:
    """Compare translations with the truth; None where it is not known or shows nothing."""
    if pairs.truth is None:
        return None
    targets, shown = pairs.truth(np.arange(len(pairs)))
    if not shown.any():
        return None
    targets, forged, sources = targets[shown], pairs.forged[shown], pairs.sources[shown]
    by_source = apart(sources, targets)  # [n, H, H]
    by_forgery, inside = apart(forged, targets), by_source >= LEAST_CHANGE
    if not inside.any() or inside.all():
        return None
    return Truth(
        changed=Beside(value=float(by_forgery[inside].mean()), reference=float(by_source[inside].mean())),
        elsewhere=Beside(value=float(by_forgery[~inside].mean()), reference=float(by_source[~inside].mean())),
        share=float(inside.mean()),
        n=int(shown.sum()),
    )


class TruthMetric(QualityMetric):
    """Distance from the truth of translations of rendered people; None of other sets."""

    id = "truth"
    title = "distance from the truth"

    def measure(self, sides: Sides) -> Truth | None:
        """See `truth`."""
        return None if sides.translations is None else truth(sides.translations)

    def rows(self, ours: Truth | None, floor: Truth | None, n: int) -> list[Row]:
        """Return the distances where the label changes the photo, and elsewhere."""
        if ours is None:
            return []
        parts = {"where the label changes it": ours.changed, "elsewhere": ours.elsewhere}
        return [
            Row(f"distance from the truth {where}", part.value, part.reference, "lower", ours.n, "the photo itself")
            for where, part in parts.items()
        ]
