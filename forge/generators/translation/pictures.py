"""Pictures of translations: the real face, what the translator was given of it, and the forgery, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor, nn

from forge.core.errors import short
from forge.faces.faceset import FaceView, Images
from forge.faces.imaging.grids import sheet
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.generators.domains import Domains
from forge.generators.translate import translate, translator_of
from forge.generators.translation.base import Translator

TITLES: tuple[str, ...] = ("photo", "condition", "forgery")
SHOWN = 16  # faces of a sheet
_PAIRS = 4  # of photo and forgery in a row
_TITLE = 9  # characters above a column


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
    domains: Domains | None = None,
) -> Image.Image:
    """Return a sheet with a row per face: photo, condition, forgery.

    Of a translator between domains it has pairs of photo and forgery, several in a row.

    Args:
        network: the translator's generator in evaluation mode.
        translator: its architecture.
        images: uint8 [N, H, W, 3] of its resolution.
        seeds: of the conditions, [N].
        caption: above the sheet.
        labels: of the rows.
        domains: of a translator between domains: the titles are their values.
    """
    forged, _ = translate(network, translator, images, seeds)
    titles, columns = TITLES, [images, visible(translator.conditions(images, seeds)), forged]
    if translator.domains != "none":  # the condition is the photo: pairs of photo and forgery, several in a row
        columns.pop(1)
        pair = (domains.source, domains.target) if domains else (TITLES[0], TITLES[2])
        titles = tuple(short(title, limit=_TITLE) for title in pair) * min(_PAIRS, len(images))
    cells = np.stack(columns, axis=1).reshape(-1, *images.shape[1:])
    return sheet(cells, columns=len(titles), titles=titles, caption=caption, labels=labels)


def translation_rows(network: nn.Module, translator: Translator, images: Images, seeds: Sequence[int]) -> Image.Image:
    """Return a sheet with a column per face that was generated: the face, the condition where it differs, the forgery.

    Args:
        network: the translator's generator in evaluation mode.
        translator: its architecture.
        images: uint8 [N, H, W, 3] of its resolution.
        seeds: of the conditions, [N].
    """
    forged, _ = translate(network, translator, images, seeds)
    rows, labels = [images, visible(translator.conditions(images, seeds)), forged], ("generated", *TITLES[1:])
    if translator.domains != "none":  # the condition is the face
        rows.pop(1)
        labels = (labels[0], labels[2])
    return sheet(np.concatenate(rows), columns=len(images), labels=labels)


def sheet_of(trained: TrainedGenerator, view: FaceView, seed: int) -> Image.Image:
    """Return the sheet of a trained translator's first `SHOWN` faces, of the source domain where the set has labels."""
    domains = trained.domains
    if domains and domains.column in view.faces.card.attributes:
        sources = domains.sources(view)
        view = sources if len(sources) else view
    images = view.head(SHOWN).read()
    seeds = [seed + number for number in range(len(images))]
    moved = f": {domains.column}" if domains else ""
    caption = f"{trained.card.name}{moved}"
    return translation_sheet(
        trained.generator(), translator_of(trained), images, seeds, caption=caption, domains=domains
    )
