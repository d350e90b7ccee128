"""Pictures of translations: the real face, what the translator was given, and the forgery, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor, nn

from forge.faces.faceset import Images
from forge.faces.imaging.grids import sheet
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.generators.translate import translate, translator_of
from forge.generators.translation.base import Translator

TITLES = ("photo", "condition", "forgery")
SHOWN = 16  # rows of a sheet


def visible(conditions: Tensor) -> Images:
    """Return conditions [N, C, H, W] as images uint8 [N, H, W, 3]: their first three channels, or the one in grey."""
    colours = conditions[:, :3] if conditions.shape[1] >= 3 else conditions[:, :1].expand(-1, 3, -1, -1)
    shown: Images = to_uint8(colours).numpy()
    return shown


def translation_sheet(
    network: nn.Module,
    translator: Translator,
    images: Images,
    seeds: Sequence[int],
    *,
    caption: str = "",
    labels: Sequence[str] = (),
) -> Image.Image:
    """Return a sheet with a row per face: photo, condition, forgery.

    Args:
        network: the translator's generator in evaluation mode.
        translator: its architecture.
        images: uint8 [N, H, W, 3] of its resolution.
        seeds: of the conditions, [N].
        caption: above the sheet.
        labels: of the rows.
    """
    forged, _ = translate(network, translator, images, seeds)
    conditions = visible(translator.conditions(images, seeds))
    cells = np.stack([images, conditions, forged], axis=1).reshape(-1, *images.shape[1:])
    return sheet(cells, columns=len(TITLES), titles=TITLES, caption=caption, labels=labels)


def sheet_of(trained: TrainedGenerator, images: Images, seed: int) -> Image.Image:
    """Return the sheet of a trained translator's first `SHOWN` faces."""
    images = images[:SHOWN]
    seeds = [seed + number for number in range(len(images))]
    return translation_sheet(trained.generator(), translator_of(trained), images, seeds, caption=trained.card.name)
