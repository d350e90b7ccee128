"""Identity kept by translations: how alike a forgery and its source are, in an embedding that tells people apart.

The embeddings of face recognition need weights that are not here (those of facenet-pytorch are a download), so that the
embedding is made from the real faces at hand: Fisher's linear discriminant (Fukunaga: Introduction to Statistical
Pattern Recognition, 1990, chapter 10) on the random-convolution features of `forge.quality.features`. Its classes are
people, where photos of one person repeat; and each photo comes with copies that are blurred, paler, brighter, in JPEG,
moved and mirrored, so that a person is what stays under such changes. Cosines of different people then lie around 0.

It sees hair, skin, shape and accessories, and does not recognise people as people do. docs/manual/forge.md says how
often it takes two photos of one person for more alike than two of different people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.linalg import eigh

from forge.core.compute import derive_seed
from forge.faces.faceset import Images
from forge.faces.imaging.luma import luminance
from forge.faces.imaging.ops import adjust, blur, jpeg
from forge.quality.checks import Features
from forge.quality.features import extract
from forge.quality.kept import Kept
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

FITTED = 1000  # photos that the embedding is made from; more change it little
COPIES = 2  # of each photo
DIMENSIONS = 64
RIDGE = 0.05  # of the mean variance within classes, added to that of each dimension: few photos leave some at 0
_SHIFT = 0.05  # of the side, by which copies are moved at most

Embedding = Callable[[Images], Features]


class IdentityKept(Result):
    """How alike forgeries and their sources are: 0 as two people, 1 as the source is to itself."""

    value: float = Field(description="mean over forgeries of (cosine - different) / (1 - different)")
    same: float | None = Field(description="the same of two held-out photos of one person; null: nobody has two")
    copies: float = Field(description="the same of a held-out photo and a blurred, brightened, ... copy of it")
    different: float = Field(description="mean cosine of held-out photos of different people")
    people: int = Field(description="people with several photos that the embedding learned from")
    n: int


@dataclass(frozen=True)
class Known:
    """Real images and who is on them.

    Attributes:
        images: uint8 [n, H, H, 3].
        people: [n], empty where unknown.
    """

    images: Images
    people: NDArray[np.str_]

    def drawn(self, count: int, seed: int) -> Known:
        """Return at most `count` of them; people stay together."""
        # by a random order of people, as a draw of photos would leave few people with two
        rng, groups = np.random.default_rng(derive_seed(seed, "identity")), self.groups()
        order = np.argsort(rng.permutation(groups.max() + 1)[groups], kind="stable")[:count]
        return Known(self.images[order], self.people[order])

    def groups(self) -> NDArray[np.int64]:
        """Return a number per person; a photo of nobody known is a person of its own."""
        unknown = self.people == ""
        names = np.where(unknown, np.char.add("\0", np.arange(len(self.people)).astype(str)), self.people)
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def fit_embedding(known: Known, seed: int, *, device: str = "cpu") -> Embedding:
    """Return an embedding in which photos of one person, and changed copies of a photo, lie together.

    Args:
        known: real photos.
        seed: of the changes.
        device: where features are computed.

    Returns:
        Images uint8 [n, H, H, 3] to unit vectors [n, at most 64].
    """
    rng = np.random.default_rng(derive_seed(seed, "copies"))
    shown = [known.images, *(changed_copies(known.images, rng) for _ in range(COPIES))]
    features = np.concatenate([extract(images, device=device) for images in shown]).astype(np.float64)
    groups = np.tile(known.groups(), len(shown))
    centre = features.mean(axis=0)
    # mean of each person's features, in the place of each image
    sums = np.zeros((groups.max() + 1, features.shape[1]))
    np.add.at(sums, groups, features)
    means = (sums / np.bincount(groups)[:, None])[groups]
    within, between = (_covariance(part) for part in (features - means, means - centre))
    within += RIDGE * np.trace(within) / len(within) * np.eye(len(within))
    # directions of the largest variance between people in units of that within: between v = lambda within v
    _, directions = eigh(between, within, subset_by_index=(max(0, len(within) - DIMENSIONS), len(within) - 1))

    def embed(images: Images) -> Features:
        vectors = (extract(images, device=device) - centre) @ directions
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))

    return embed


def changed_copies(images: Images, rng: np.random.Generator) -> Images:
    """Return a copy of each image that shows the same person: blurred, paler, brighter, in JPEG, moved, mirrored."""
    count, side = len(images), images.shape[1]
    pixels = torch.from_numpy(np.array(images))
    pixels = blur(pixels, torch.from_numpy(rng.uniform(0, 1.2, count) * side / 64))
    # towards the luminance, or away from it
    grey = torch.from_numpy(luminance(images) * 255)[..., None]
    saturation = torch.from_numpy(rng.uniform(0.2, 1.3, count)).float().reshape(-1, 1, 1, 1)
    pixels = (grey + saturation * (pixels - grey)).clamp(0, 255).round().to(torch.uint8)
    pixels = jpeg(pixels, torch.from_numpy(rng.integers(50, 101, count)))
    copies = pixels.numpy()
    reach = max(1, round(_SHIFT * side))
    for i in range(count):
        copy = np.pad(copies[i, :, :: rng.choice([-1, 1])], ((reach, reach), (reach, reach), (0, 0)), "reflect")
        down, right = rng.integers(0, 2 * reach + 1, 2)
        moved = torch.from_numpy(copy[None, down : down + side, right : right + side].copy())
        copies[i] = adjust(moved, brightness=rng.uniform(0.7, 1.3), contrast=rng.uniform(0.7, 1.3))[0].numpy()
    return copies


@dataclass(frozen=True)
class _Scale:
    """An embedding, and mean cosines of held-out photos in it.

    Attributes:
        embed: images to unit vectors.
        different: of photos of different people.
        same: of two photos of one person; None: nobody has two.
        copies: of a photo and a changed copy of it.
    """

    embed: Embedding
    different: float
    same: float | None
    copies: float


def _scale(known: Known, held_out: Known, seed: int, device: str) -> _Scale:
    embed = fit_embedding(known, seed, device=device)
    others = embed(held_out.images)
    copies = embed(changed_copies(held_out.images, np.random.default_rng(derive_seed(seed, "held-out copies"))))
    cosines, groups = others @ others.T, held_out.groups()
    together = groups[:, None] == groups[None]
    two = together & ~np.eye(len(groups), dtype=bool)  # two photos of one person
    return _Scale(
        embed=embed,
        different=float(cosines[~together].mean()),
        same=float(cosines[two].mean()) if two.any() else None,
        copies=float((others * copies).sum(axis=1).mean()),
    )


_SCALES = Kept[_Scale](1)  # generators of a run are measured against the same photos


def identity_kept(
    forged: Images, sources: Images, known: Known, held_out: Known, *, seed: int, device: str = "cpu"
) -> IdentityKept:
    """Measure how alike forgeries and their sources are.

    Args:
        forged: uint8 [n, H, H, 3].
        sources: uint8 [n, H, H, 3].
        known: real photos that the embedding is made from.
        held_out: other real photos, for the references.
        seed: of draws and changes.
        device: where features are computed.
    """
    known, held_out = known.drawn(FITTED, seed), held_out.drawn(FITTED, seed)
    parts = (known.images, known.people, held_out.images, held_out.people, seed, device)
    scale = _SCALES.get(lambda: _scale(known, held_out, seed, device), *parts)
    kept = (scale.embed(forged) * scale.embed(sources)).sum(axis=1)

    def scaled(mean: float) -> float:
        return (mean - scale.different) / (1 - scale.different)

    return IdentityKept(
        value=scaled(float(kept.mean())),
        same=None if scale.same is None else scaled(scale.same),
        copies=scaled(scale.copies),
        different=scale.different,
        people=int((np.bincount(known.groups()) > 1).sum()),
        n=len(forged),
    )


def _covariance(centred: Features) -> Features:
    return np.asarray(centred.T @ centred / len(centred), np.float64)


class IdentityMetric(QualityMetric):
    """Identity kept of forgeries that were made from real faces; None of other sets."""

    id = "identity"
    title = "identity kept"

    def measure(self, sides: Sides) -> IdentityKept | None:
        """See `identity_kept`."""
        pairs, people, held_out = sides.translations, sides.people, sides.whole.held_out
        if pairs is None or people is None or held_out is None:
            return None
        known = Known(sides.whole.reference, people.reference)
        others = Known(held_out, people.held_out)
        return identity_kept(pairs.forged, pairs.sources, known, others, seed=sides.seed, device=sides.device)

    def rows(self, ours: IdentityKept | None, floor: IdentityKept | None, n: int) -> list[Row]:
        """One line, beside two photos of one person, or a changed copy where nobody has two."""
        if ours is None:
            return []
        known = ours.same is not None
        reference = "two photos of one person" if known else "a photo and a changed copy"
        return [Row("identity kept", ours.value, ours.same if known else ours.copies, "higher", ours.n, reference)]
