"""Test images to look at: best and worst of each generator by F1, and the photo with the largest false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation.pixels import PixelCounts, f1, false_alarm_area, iou

Role = Literal["best", "worst", "untouched"]


class MapExample(BaseModel):
    """One test image of a detector's maps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role = Field(description="best or worst F1 of its generator, or the untouched photo with most false alarms")
    generator: str = Field(description="empty: a real image")
    sample_id: str
    f1: float | None = Field(description="of its pixels, at the threshold fixed on val; null: nothing was altered")
    iou: float | None
    false_alarm_area: float | None = Field(description="share of its untouched pixels that is taken for altered")


def examples_of(counts: PixelCounts, level: int, ids: Sequence[str], generator: str) -> list[tuple[int, MapExample]]:
    """Choose the images of one generator, or the real one, that are shown; of equal ones the first by id.

    Args:
        counts: pixels of the test images by level of the map.
        level: threshold.
        ids: of the images.
        generator: that made them; empty: real images.

    Returns:
        Position and description of each: best and worst (one where there is one image), or the untouched photo;
        nothing where the measure is defined nowhere.
    """
    by_image = {"f1": f1(counts, level), "iou": iou(counts, level), "false_alarm_area": false_alarm_area(counts, level)}
    ranked_by = by_image["f1" if generator else "false_alarm_area"]
    best_first = sorted(np.flatnonzero(np.isfinite(ranked_by)).tolist(), key=lambda i: (-ranked_by[i], ids[i]))
    chosen: list[tuple[Role, int]] = []
    if best_first:
        chosen.append(("best" if generator else "untouched", best_first[0]))
    if generator and len(best_first) > 1:
        chosen.append(("worst", min(best_first[1:], key=lambda i: (ranked_by[i], ids[i]))))
    return [
        (i, MapExample(role=role, generator=generator, sample_id=ids[i], **{
            name: float(values[i]) if np.isfinite(values[i]) else None for name, values in by_image.items()
        }))
        for role, i in chosen
    ]  # fmt: skip
