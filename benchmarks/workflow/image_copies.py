"""Copies among images: the same photo in two sets, as it is, saved anew, or mirrored."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forge.faces.dedup import Hashes, Thumbnails, describe, near_duplicates
from forge.faces.faceset import FaceView

if TYPE_CHECKING:
    from benchmarks.evaluation.results import Finding

_BATCH = 2048  # images at a time, so that a set of any size is hashed in constant memory
_EQUAL = 16  # images of the same pixels with which another one is compared: folders of one image stay linear

# What nearly equal images of two sets may be, where only equal pixels are a failure:
EDITS = "edits of these photos, or copies saved again"  # of a real and a forged set: the same image with both labels
LOOKALIKES = "many of these images look alike, and none was removed for it"


@dataclass(frozen=True)
class Described:
    """What copies among images are found by: digests of pixels for equal ones, the rest for nearly equal ones.

    Attributes:
        ids: of the images.
        names: their files, their ids where they come from none.
        splits: of the images.
        digests: of their pixels.
        hashes: uint64 [n], see `forge.faces.dedup`.
        thumbnails: uint8 [n, 16, 16].
    """

    ids: NDArray[np.object_]
    names: NDArray[np.object_]
    splits: NDArray[np.str_]
    digests: NDArray[np.void]
    hashes: Hashes
    thumbnails: Thumbnails

    def of_split(self, split: str) -> Described:
        """Return the images of one split."""
        chosen = self.splits == split
        return Described(*(getattr(self, field.name)[chosen] for field in fields(self)))


def described(view: FaceView, *, mirrored: bool = False) -> Described:
    """Describe all images of a view, or their mirror images."""
    digests, hashes, thumbnails = [np.empty(0, "V16")], [np.empty(0, np.uint64)], [np.empty((0, 16, 16), np.uint8)]
    for images in view.batches(_BATCH):
        shown = np.ascontiguousarray(images[:, :, ::-1]) if mirrored else images  # [n, H, W, 3], W reversed
        joined = b"".join(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in shown)
        digests.append(np.frombuffer(joined, "V16"))
        of_images = describe(shown)
        hashes.append(of_images[0])
        thumbnails.append(of_images[1])
    rows = view.columns(["id", "source_file"])
    names = rows["source_file"].where(rows["source_file"].notna(), rows["id"])
    return Described(
        ids=rows["id"].to_numpy(dtype=object),
        names=names.to_numpy(dtype=object),
        splits=view.splits,
        digests=np.concatenate(digests),
        hashes=np.concatenate(hashes),
        thumbnails=np.concatenate(thumbnails),
    )


def between_splits(faces: Described, *, otherwise: str = "") -> Finding:
    """Find photos that are in two splits of the real faces; see `copies`."""
    from benchmarks.evaluation.audits.face_sets import copies  # imports pandas

    pairs = near_duplicates(faces.hashes, faces.thumbnails)
    # duplicates within one split leak nothing
    torn = pairs[faces.splits[pairs[:, 0]] != faces.splits[pairs[:, 1]]]
    return copies(
        [(str(faces.ids[a]), str(faces.ids[b])) for a, b in torn], "two splits of the real images", otherwise=otherwise
    )


def shared(first: Described, second: FaceView, between: str, *, otherwise: str = "") -> Finding:
    """Find images that stand in two views which must not share any, as they are or mirrored; see `copies`."""
    from benchmarks.evaluation.audits.face_sets import copies  # imports pandas

    equal: set[tuple[int, int]] = set()
    near: set[tuple[int, int]] = set()
    count, names = len(first.hashes), np.empty(0, object)
    places = defaultdict(list)
    for position, digest in enumerate(first.digests.tolist()):
        places[digest].append(position)
    # Generators are trained with mirrored photos too, so that a mirrored copy is a copy.
    for mirrored in (False, True):
        other = described(second, mirrored=mirrored)
        names = other.names
        equal |= {(a, b) for b, digest in enumerate(other.digests.tolist()) for a in places.get(digest, [])[:_EQUAL]}
        # one search over both: positions below `count` are the first's
        hashes = np.concatenate([first.hashes, other.hashes])
        thumbnails = np.concatenate([first.thumbnails, other.thumbnails])
        near |= {(a, b - count) for a, b in near_duplicates(hashes, thumbnails, first=count).tolist()}
    pairs = [(str(first.names[a]), str(names[b])) for a, b in [*sorted(equal), *sorted(near - equal)]]
    return copies(pairs, between, equal=len(equal), otherwise=otherwise)
