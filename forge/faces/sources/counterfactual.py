"""Photographs of rendered people with another value of one label: the truth of a translation between domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError, UnknownNameError
from forge.faces.faceset import FaceSet, Images
from forge.faces.imaging.decode import decode, resize
from forge.faces.sources.rendered import RenderedSource
from forge.rendering import _describe, _generator
from forge.rendering.hair import beard, occlude, scalp_hair
from forge.rendering.head import bare_head
from forge.rendering.person import HAIR_COLOURS, Person, draw_person
from forge.rendering.photograph import Sculpture, photograph
from forge.rendering.shading import maps

VALUES = {  # labels that can be changed and nothing else
    "glasses": ("none", "clear", "sun"),
    "beard": ("none", "stubble", "moustache", "full"),
    "hair_colour": tuple(HAIR_COLOURS),
}


def photographs_with(
    source: RenderedSource, numbers: Sequence[int], column: str, value: str
) -> Iterator[tuple[bytes, bool]]:
    """Photograph people with another value of a label: all else is the same, but for the camera's metering.

    No set of photos has such pairs. One in ten of the owners of clear glasses, and a third of those of sunglasses, do
    not wear them, and bald people have no colour of hair: then the photo does not show the value.

    Args:
        source: of the photos.
        numbers: of the photos in it.
        column: of `VALUES`.
        value: of that column.

    Yields:
        A JPEG file, and whether the photo shows the value.

    Raises:
        UnknownNameError: no such column or value.
    """
    if column not in VALUES:
        raise UnknownNameError("label that can be changed alone", column, VALUES)
    if value not in VALUES[column]:
        raise UnknownNameError(f"value of {column}", value, VALUES[column])
    number, person, head = -1, None, None
    for index in numbers:
        # a head is modelled once for its pictures in a row
        if person is None or head is None or index // source.images_per_person != number:
            number = index // source.images_per_person
            original = draw_person(_generator(source.seed, 0, number))
            person = _changed(original, column, value)
            head = _sculpted(original, person)
        # no draw of a photograph depends on who wears what
        shot = photograph(person, head, _generator(source.seed, 1, index), source.size)
        yield shot.jpeg, _describe(person, shot)[column] == value


def _changed(person: Person, column: str, value: str) -> Person:
    if column == "glasses":
        return replace(person, glasses=value)
    if column == "beard":
        return replace(person, beard=value)
    if person.hair_colour == "none":
        return person
    # a person's own shade of a colour stays as much lighter and redder than the colour's mean
    shade = np.array(person.hair_rgb) * np.array(HAIR_COLOURS[value]) / np.array(HAIR_COLOURS[person.hair_colour])
    red, green, blue = map(float, shade)
    return replace(person, hair_colour=value, hair_rgb=(red, green, blue))


def _sculpted(original: Person, changed: Person) -> Sculpture:
    """Return the head of the changed person, the hair drawn from the same random numbers as the original's."""
    # as `forge.rendering.photograph.sculpt`, where a beard takes random numbers before the hair does
    streams = [np.random.default_rng(original.texture_seed) for _ in range(2)]
    canvas, scratch = (bare_head(original, stream) for stream in streams)
    beard(changed, canvas, streams[0])
    beard(original, scratch, streams[1])
    scalp_hair(changed, canvas, streams[1])
    occlude(canvas)
    return Sculpture(canvas, maps(canvas))


def faces_with(real: FaceSet, ids: Sequence[str], column: str, value: str) -> tuple[Images, NDArray[np.bool_]]:
    """Return faces of a set of rendered people with another value of a label, prepared as the set was.

    Args:
        real: for which `has_truth` holds.
        ids: of its images.
        column: of `VALUES`.
        value: of that column.

    Returns:
        uint8 [n, H, H, 3], and for each whether it shows the value.

    Raises:
        InputError: the set has no truth.
        UnknownNameError: no such column or value.
    """
    source = _source_of(real)
    if source is None:
        raise InputError(
            f"{real.path} is no set of rendered people as this version draws them, or was cropped to faces"
        )
    files = dict(zip(real.table["id"], real.table["source_file"], strict=True))
    numbers = np.array([int(files[key].partition(".")[0]) for key in ids], np.int64)
    order = np.argsort(numbers, kind="stable")  # pictures of a person in a row
    images = np.empty((len(ids), real.card.resolution, real.card.resolution, 3), np.uint8)
    shown = np.zeros(len(ids), bool)
    photos = photographs_with(source, numbers[order].tolist(), column, value)
    for position, (file, shows) in zip(order, photos, strict=True):
        images[position], shown[position] = resize(decode(file).image, real.card.resolution), shows
    return images, shown


def has_truth(real: FaceSet, column: str, value: str) -> bool:
    """Return whether `faces_with` can make these faces: of rendered people, whole, drawn by this version."""
    return value in VALUES.get(column, ()) and _source_of(real) is not None


def _source_of(real: FaceSet) -> RenderedSource | None:
    made, preparation = real.card.provenance.get("source"), real.card.provenance.get("preparation")
    if not isinstance(made, dict) or not isinstance(preparation, dict) or made.get("name") != RenderedSource.name:
        return None
    options = {name: made[name] for name in ("seed", "count", "images_per_person", "size") if name in made}
    source = RenderedSource(**options)
    # the fingerprint holds the program that draws; faces that were found and aligned lie elsewhere in the photo
    whole = preparation.get("crop") == "largest square in the middle"
    return source if whole and made.get("fingerprint") == source.fingerprint() else None
