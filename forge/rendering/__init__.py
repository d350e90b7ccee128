"""Rendered faces: an endless, deterministic stream of photographs of people who do not exist.

Heads are modelled as one radius map (`surface`, `head`, `hair`, `features`), traced and lit (`trace`, `shading`,
`background`, `glasses`), and taken by a simulated camera (`camera`). Everything is procedural; nothing is loaded.
"""

from dataclasses import dataclass

import numpy as np

from forge.rendering.person import Person, draw_person
from forge.rendering.photograph import Shot, photograph, sculpt

__all__ = ["RenderedFace", "render_person_images"]


@dataclass(frozen=True)
class RenderedFace:
    """A photograph of a rendered person.

    Attributes:
        image: uint8 RGB [size, size, 3], the camera's picture before JPEG coding.
        jpeg: the same picture as a JPEG file: the "photo".
        jpeg_quality: the quality it was coded at, 60..95.
        identity: "person-000123".
        attributes: glasses (none, clear, sun), beard (none, stubble, moustache, full), smile (yes, no), hair_colour
            (black, brown, blond, red, grey, none), gender (female, male; how the person is drawn), age_group (young
            below 35, middle below 55, old), skin (light, medium, dark).
    """

    image: np.ndarray
    jpeg: bytes
    jpeg_quality: int
    identity: str
    attributes: dict[str, str]


def _generator(seed: int, purpose: int, index: int) -> np.random.Generator:
    """Independent streams for persons (purpose 0) and pictures (purpose 1) of a seed."""
    # SeedSequence mixes the three numbers: neighbouring seeds and indices give unrelated streams
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose, index))))


def _describe(person: Person, shot: Shot) -> dict[str, str]:
    return {
        "glasses": shot.glasses,
        "beard": person.beard,
        "smile": "yes" if shot.smiles else "no",
        "hair_colour": person.hair_colour,
        "gender": person.gender,
        "age_group": person.age_group,
        "skin": person.skin,
    }


def render_person_images(
    seed: int, first: int, count: int, *, size: int = 144, images_per_person: int = 4
) -> list[RenderedFace]:
    """Render images first .. first + count - 1 of the endless sequence of a seed.

    Image i shows person i // images_per_person and depends on (seed, i, size, images_per_person) alone: not on how a
    range is split into calls, nor on processes or threads.

    Args:
        seed: any non-negative integer.
        first: number of the first image, at least 0.
        count: how many images, at least 0.
        size: edge of the picture in pixels, even, 32..512.
        images_per_person: pictures of one identity, at least 1.

    Returns:
        `count` faces in order.

    Raises:
        ValueError: an argument is out of its range.
    """
    for name, value, low in (
        ("seed", seed, 0), ("first", first, 0), ("count", count, 0), ("images_per_person", images_per_person, 1),
    ):  # fmt: skip
        if value < low:
            raise ValueError(f"{name} is {value}; it must be at least {low}")
    if size % 2 or not 32 <= size <= 512:
        raise ValueError(f"size is {size}; it must be an even number from 32 to 512")
    faces = []
    number = -1
    for index in range(first, first + count):
        # a head is modelled once for its pictures in a row; a range that begins within a person models it anew, from
        # the same stream and so alike
        if index // images_per_person != number:
            number = index // images_per_person
            person = draw_person(_generator(seed, 0, number))
            base = sculpt(person)
        shot = photograph(person, base, _generator(seed, 1, index), size)
        identity = f"person-{number:06d}"
        faces.append(RenderedFace(shot.image, shot.jpeg, shot.quality, identity, _describe(person, shot)))
    return faces
