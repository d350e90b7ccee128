"""Photographs of rendered people as they would be with other glasses: the truth of a translation between domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forge.faces.sources.rendered import RenderedSource
from forge.rendering import _generator as stream_of
from forge.rendering.person import draw_person
from forge.rendering.photograph import photograph, sculpt


def with_glasses(source: RenderedSource, numbers: Sequence[int], glasses: str) -> list[bytes]:
    """Photograph people with other glasses: all else is the same, but for the camera's metering.

    No set of photos has such pairs. One in ten of the owners of clear glasses, and a third of those of sunglasses, do
    not wear them; then the photo has none.

    Args:
        source: of the photos.
        numbers: of the photos in it.
        glasses: none, clear or sun.

    Returns:
        JPEG files.
    """
    files = []
    for number in numbers:
        person = draw_person(stream_of(source.seed, 0, number // source.images_per_person))
        # the head is modelled without glasses, and no draw of a photograph depends on who wears which
        changed = replace(person, glasses=glasses)
        files.append(photograph(changed, sculpt(person), stream_of(source.seed, 1, number), source.size).jpeg)
    return files
