"""Donors of regions: another image of the same person, or a rendered person; never another real one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError
from forge.faces.faceset import Indices
from forge.tampering.base import Donor
from forge.tampering.landmarks import Floats, PlacedFaces, find_landmarks, fit_template

DonorKind = Literal["auto", "identity", "rendered", "others"]

RENDERED = 256  # people that rendered donors are taken from, one image each: those without glasses
_SUBSET = 64  # donors that are compared with a face
CANDIDATES = 6  # of these, donors with the most similar landmarks, among which an edit chooses
_SEED = 20_260_000  # of the rendered donors: people that no set of another seed shows
_BLOCK = 64


@dataclass(frozen=True)
class DonorSet:
    """Images that regions may be taken from.

    Attributes:
        read: images by their positions [m], uint8 [m, side, side, 3].
        side: of the images in pixels.
        landmarks: [n, 5, 2] in pixels, NaN where no face is known.
        names: their ids.
        identities: who is on them, "" where nobody knows.
        same_set: whether they are the set that is altered.
    """

    read: Callable[[Indices], NDArray[np.uint8]]
    side: int
    landmarks: Floats
    names: Sequence[str]
    identities: Sequence[str]
    same_set: bool = True

    @cached_property
    def faces(self) -> PlacedFaces:
        """Where the faces are."""
        return fit_template(self.landmarks, self.side)

    def nearest(self, landmarks: Floats, among: Indices, seed: int) -> tuple[Donor, ...]:
        """Return the donors with the most similar landmarks of a random subset (Face X-ray, Li et al. 2020).

        Args:
            landmarks: [5, 2] of the face that is to be altered; NaN: any donors of the subset.
            among: positions of the donors that may be taken.
            seed: of the subset.
        """
        subset = np.random.default_rng(seed).permutation(among)[:_SUBSET]
        distance = ((_shape(self.landmarks[subset]) - _shape(landmarks[None])) ** 2).sum((1, 2))
        # faces that were not found come last
        nearest = subset[np.argsort(np.nan_to_num(distance, nan=np.inf), kind="stable")[:CANDIDATES]]
        return tuple(
            Donor(image, self.faces[position], self.names[position], self.same_set)
            for image, position in zip(self.read(nearest), nearest.tolist(), strict=True)
        )


def _shape(landmarks: Floats) -> Floats:
    """Return landmarks [n, 5, 2] without place and size: what turns, nods and opens its mouth alike is near."""
    centred = landmarks - landmarks.mean(1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True))


@lru_cache(maxsize=4)
def rendered_people(resolution: int) -> DonorSet:
    """Return rendered people of this resolution, the same in every run."""
    from forge.rendering import render_person_images  # imports torch

    size = min(512, max(32, resolution + resolution % 2))  # what the renderer makes: a donor may have another size
    people = render_person_images(_SEED, 0, RENDERED, size=size, images_per_person=1)
    faces = [face for face in people if face.attributes["glasses"] == "none"]  # half a frame would be seen at once
    images = np.stack([face.image for face in faces])
    landmarks = find_landmarks(lambda start: images[start : start + _BLOCK], len(images), lambda done: None)
    names = [f"rendered-{number:04d}" for number in range(len(faces))]
    return DonorSet(lambda positions: images[positions], images.shape[1], landmarks, names, names, same_set=False)


class Donors:
    """The choice of a donor for every face of a set.

    Args:
        choice: where donors come from; auto: the same person where there is another image of it, else a rendered one,
            and in a set of rendered people another of them.
        candidates: the images of the set that may be donors.
        rendered: whether the set shows rendered people.

    Raises:
        InputError: other people of a set of real ones are asked for.
    """

    def __init__(self, choice: DonorKind, candidates: DonorSet, *, rendered: bool) -> None:
        if choice == "others" and not rendered:
            raise InputError(
                "donors 'others' would lay one real person's face onto another, which is never done here; take "
                "donors 'identity' or 'rendered', or a set of rendered people"
            )
        if choice == "auto" and rendered:
            choice = "others"
        self.choice, self.candidates = choice, candidates
        self._names, self._identities = np.array(candidates.names), np.array(candidates.identities)
        by_identity: dict[str, list[int]] = defaultdict(list)
        for position, identity in enumerate(candidates.identities):
            by_identity[identity].append(position)
        by_identity.pop("", None)
        self._by_identity = {name: np.array(positions) for name, positions in by_identity.items()}

    def of(self, name: str, identity: str, landmarks: Floats, seed: int) -> tuple[Donor, ...]:
        """Return donors for a face, in the most similar pose first; none where `identity` finds no other image.

        Args:
            name: id of the face's image, which is never its own donor.
            identity: who is on it.
            landmarks: [5, 2], its landmarks.
            seed: of the choice.
        """
        if self.choice == "others":
            among = np.flatnonzero((self._identities != identity) | (not identity))
            if len(strangers := self._without(name, among)):
                return self.candidates.nearest(landmarks, strangers, seed)
        elif self.choice != "rendered":
            same = self._without(name, self._by_identity.get(identity, np.zeros(0, np.int64)))
            if len(same):
                return self.candidates.nearest(landmarks, same, seed)
            if self.choice == "identity":
                return ()
        people = rendered_people(self.candidates.side)
        return people.nearest(landmarks, np.arange(len(people.names)), seed)

    def _without(self, name: str, among: Indices) -> Indices:
        return among[self._names[among] != name] if len(among) else among
