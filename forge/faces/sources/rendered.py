"""Rendered people, who do not exist: the source that needs no photos, no network and no permission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from forge.core.errors import InputError
from forge.core.files import digest_file, digest_json
from forge.faces.sources.base import Item, Source

ATTRIBUTES = ("glasses", "beard", "smile", "hair_colour", "gender", "age_group", "skin")


@dataclass(frozen=True)
class RenderedChunk:
    """Some rendered people; rendering happens where this is iterated."""

    seed: int
    positions: Sequence[int]
    size: int
    images_per_person: int

    def __iter__(self) -> Iterator[Item]:
        from forge.rendering import render_person_images  # only processes that render need it

        for first, count in _runs(self.positions):
            faces = render_person_images(
                self.seed, first, count, size=self.size, images_per_person=self.images_per_person
            )
            for number, face in enumerate(faces, start=first):
                yield Item(f"{number:07d}.jpg", face.jpeg, face.identity, face.attributes)


class RenderedSource(Source):
    """Photographs of rendered people; endless, `count` of them unless more are asked for.

    Args:
        seed: other people for each.
        count: how many images.
        images_per_person: images of one identity.
        size: edge of the photographs in pixels; the resolution they are prepared at should be well below.

    Raises:
        InputError: an option is out of its range.
    """

    name = "rendered"
    licence = "CC0 1.0; generated, shows no real person"
    citation = ""
    attributes: Sequence[str] = ATTRIBUTES

    def __init__(self, *, seed: int = 0, count: int = 10_000, images_per_person: int = 4, size: int = 144) -> None:
        for option, value, low in (
            ("seed", seed, 0), ("count", count, 1), ("images_per_person", images_per_person, 1),
        ):  # fmt: skip
            if value < low:
                raise InputError(f"source 'rendered': {option} is {value}; it must be at least {low}")
        if size % 2 or not 32 <= size <= 512:
            raise InputError(f"source 'rendered': size is {size}; it must be an even number from 32 to 512")
        self.seed, self.count, self.images_per_person, self.size = seed, count, images_per_person, size

    def __len__(self) -> int:
        return self.count

    def pick(self, count: int | None, seed: int) -> Sequence[int]:
        """Return the first `count` images: they are independent draws, and people stay whole."""
        return range(self.count if count is None else count)

    def chunk(self, positions: Sequence[int]) -> RenderedChunk:
        """Return the images at these positions, not rendered yet."""
        return RenderedChunk(self.seed, positions, self.size, self.images_per_person)

    def fingerprint(self) -> str:
        """Return the digest of the settings and of the renderer's program."""
        return digest_json([self.name, self.settings(), _renderer_digest()])

    def settings(self) -> dict[str, Any]:
        """Return all options."""
        return {
            "seed": self.seed,
            "count": self.count,
            "images_per_person": self.images_per_person,
            "size": self.size,
        }


@cache
def _renderer_digest() -> str:
    # the digest of the code is the version: no number has to be raised
    folder = Path(__file__).resolve().parents[2] / "rendering"
    return digest_json([digest_file(path) for path in sorted(folder.glob("*.py"))])


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Split ascending positions into (first, count) of consecutive ones."""
    start = 0
    for end in range(1, len(positions) + 1):
        # `render_person_images` keeps a person's head between neighbouring images, so long runs are cheap
        if end == len(positions) or positions[end] != positions[end - 1] + 1:
            yield positions[start], end - start
            start = end
