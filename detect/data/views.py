"""Views that a detector is fitted on: images of one FaceSet, or of several joined together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forge.core.errors import InputError
from forge.core.files import digest_json
from forge.faces.faceset import Card, FaceSet, FaceView, Images, Indices, Masks


@dataclass(frozen=True)
class JoinedView:
    """Images of several views as one, e.g. forgeries of all generators but one; reads only what is asked for.

    Attributes:
        parts: the views, all of one resolution.
        index: positions in the parts laid end to end, in the order of this view.
    """

    parts: tuple[FaceView, ...]
    index: Indices

    def __len__(self) -> int:
        return len(self.index)

    def read(self, positions: slice | Indices | None = None) -> Images:
        """Return images as uint8 [n, H, W, 3], in the order asked for (all of the view by default)."""
        size = self.parts[0].faces.resolution
        return self._gather(positions, FaceView.read, (size, size, 3))

    def read_masks(self, positions: slice | Indices | None = None) -> Masks:
        """Return how much of each pixel was altered in 255ths, uint8 [n, H, W], see `masks_of`."""
        size = self.parts[0].faces.resolution
        return self._gather(positions, masks_of, (size, size))

    def _gather(
        self,
        positions: slice | Indices | None,
        read: Callable[[FaceView, Indices], NDArray[np.uint8]],
        shape: tuple[int, ...],
    ) -> NDArray[np.uint8]:
        wanted = self.index if positions is None else self.index[positions]
        # memory of the images that were asked for alone, not of the sets
        out = np.empty((len(wanted), *shape), np.uint8)
        # part k holds the positions offsets[k] <= position < offsets[k + 1]
        offsets = np.cumsum([0, *map(len, self.parts)])
        part_of = np.searchsorted(offsets, wanted, side="right") - 1
        # one read per part; `here` are the rows of `out` that come from it
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            out[here] = read(self.parts[number], wanted[here] - offsets[number])
        return out

    def batches(self, size: int) -> Iterator[Images]:
        """Yield the view's images in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))

    @property
    def rows(self) -> pd.DataFrame:
        """The tables' rows of this view, in its order; a column that one set lacks is null there."""
        # rows of the parts laid end to end, then in the order of this view
        return pd.concat([part.rows for part in self.parts], ignore_index=True).iloc[self.index]


@dataclass(frozen=True)
class MaskedView(JoinedView):
    """Images with a fourth channel: how much of each pixel was altered, in 255ths."""

    def read(self, positions: slice | Indices | None = None) -> Images:
        """Return images with their masks as uint8 [n, H, W, 4]."""
        return np.concatenate([super().read(positions), self.read_masks(positions)[..., None]], axis=3)


View = FaceView | JoinedView


def masks_of(view: View, positions: slice | Indices | None = None) -> Masks:
    """Return how much of each pixel was altered in 255ths, uint8 [n, H, W].

    Nothing of real images; of forgeries what their set says, and all of them where it has no masks, as of a GAN.
    """
    if isinstance(view, JoinedView):
        return view.read_masks(positions)
    if view.faces.has_masks:
        return view.read_masks(positions)
    count = len(view.index if positions is None else view.index[positions])
    size = view.faces.resolution
    return np.full((count, size, size), 0 if view.faces.card.kind == "real" else 255, np.uint8)


def with_masks(view: View) -> MaskedView:
    """Return a view whose images have their masks as a fourth channel."""
    if isinstance(view, JoinedView):
        return MaskedView(view.parts, view.index)
    return MaskedView((view,), np.arange(len(view), dtype=np.int64))


def join(*views: View) -> View:
    """Lay views end to end.

    Raises:
        InputError: no view was given, or the views have different resolutions.
    """
    sizes = sorted({resolution_of(view) for view in views})
    if len(sizes) != 1:
        raise InputError(f"sets of {' and '.join(map(str, sizes))} px cannot be joined; prepare them at one resolution")
    parts: list[FaceView] = []
    orders: list[Indices] = []
    for view in views:
        # number of the first image of this view's parts among those collected so far
        start = sum(map(len, parts))
        # joined views are taken apart, so that views never nest
        inner = (view,) if isinstance(view, FaceView) else view.parts
        orders.append(start + (np.arange(len(view), dtype=np.int64) if isinstance(view, FaceView) else view.index))
        parts.extend(inner)
    return JoinedView(tuple(parts), np.concatenate(orders))


def select(view: View, positions: Indices) -> View:
    """Return the images of a view at these positions, in this order."""
    if isinstance(view, FaceView):
        return FaceView(view.faces, view.index[positions])
    # the same parts, so that the digest still names the sets that are read
    return JoinedView(view.parts, view.index[positions])


def random_labels(rows: pd.DataFrame, seed: int) -> NDArray[np.bool_]:
    """Deterministic random labels [n]: one bit per identity, or per image where the identity is unknown.

    The bit comes from a digest of the name and the seed, so that it never changes.

    Args:
        rows: of a FaceSet's table or of scores.parquet: `identity`, and `id` or `sample_id`.
        seed: of the labels.
    """
    # one bit per identity: people must not be on both sides, or labels could be learned from other photos of them
    names = rows["identity"].astype("string").fillna("").to_numpy(dtype=str)
    # rows of a set call it `id`, score rows `sample_id`; both give the same bit
    ids = rows["id" if "id" in rows else "sample_id"].astype("string").to_numpy(dtype=str)
    texts = (
        f"{seed} person {name}" if name else f"{seed} image {image_id}"
        for name, image_id in zip(names, ids, strict=True)
    )
    # parity of the first byte of SHA-256: a fair bit that depends on nothing but the text
    return np.array([hashlib.sha256(text.encode()).digest()[0] % 2 for text in texts], dtype=bool)


def sets_of(view: View) -> list[FaceSet]:
    """Return the sets a view reads from, each once, in order."""
    parts = [view] if isinstance(view, FaceView) else view.parts
    # by identity of the object: two sets may have equal names
    unique = {id(part.faces): part.faces for part in parts}
    return list(unique.values())


def resolution_of(view: View) -> int:
    """Height and width of a view's images in pixels."""
    return sets_of(view)[0].resolution


def splits_of(view: View) -> set[str]:
    """Return the splits a view's images belong to."""
    if isinstance(view, FaceView):
        return set(map(str, np.unique(view.splits)))
    return set(map(str, np.unique(np.concatenate([part.splits for part in view.parts])[view.index])))


def digest_of(view: View) -> str:
    """Return the digest of exactly these images in this order: the digests of their sets and the positions in them."""
    # positions alone would be equal for other images, digests of sets alone for another choice of images
    parts = [view] if isinstance(view, FaceView) else view.parts
    return digest_json(
        {
            "parts": [{"set": part.faces.card.digest, "index": _digest(part.index)} for part in parts],
            "order": None if isinstance(view, FaceView) else _digest(view.index),
        }
    )


def _digest(index: Indices) -> str:
    # little-endian 64-bit integers, whatever the platform's own are
    return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").tobytes()).hexdigest()


def generator_of(card: Card) -> str:
    """Name of the generator behind a set: its provenance's `generator`, else the set's name; empty for real faces."""
    if card.kind == "real":
        return ""
    named = card.provenance.get("generator")
    return named if isinstance(named, str) and named else card.name
