"""Did a generator learn faces by heart? The training faces that forgeries are most like."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from forge.faces.faceset import Images, Indices

Distances = NDArray[np.float32]
Search = Callable[[Images, Images], tuple[Indices, Distances]]

COPY = 16  # side in pixels of the copies that are compared: sees pose, hair, light and colour, not noise
_AT_ONCE = 512  # faces a block; bounds the matrix of distances to [512, m]


def nearest(forged: Images, training: Images) -> tuple[Indices, Distances]:
    """Find the nearest training face of each forgery, by the pixels of 16 px copies.

    Args:
        forged: uint8 [n, H, W, 3].
        training: uint8 [m, H, W, 3], m at least 1.

    Returns:
        Positions in `training`, int64 [n], and root-mean-square differences in grey levels, 0..255, float32 [n].
    """
    ours, theirs = _copies(forged), _copies(training)  # [n, D], [m, D]
    # |f - t|^2 = |f|^2 - 2 f.t + |t|^2; |f|^2 is the same for every t, so the smallest rest is the nearest
    lengths = np.square(theirs).sum(axis=1)  # |t|^2, [m]
    indices = np.concatenate(
        [
            (lengths - 2 * ours[start : start + _AT_ONCE] @ theirs.T).argmin(axis=1)
            for start in range(0, len(ours), _AT_ONCE)
        ]
    )
    # the distance itself from the differences: the expanded square cancels to rounding errors where f is a copy of t
    return indices, np.sqrt(np.square(ours - theirs[indices]).mean(axis=1))


def closest(faces: Images, training: Iterable[Images], *, search: Search = nearest) -> tuple[Images, Distances]:
    """Find the nearest of many training faces, or of their mirror images, since trainings mirror at random.

    Args:
        faces: uint8 [n, H, W, 3].
        training: batches uint8 [m, H, W, 3].
        search: finds the nearest of one batch, see `nearest`.

    Returns:
        The training faces, mirrored where that is nearer, uint8 [n, H, W, 3], and their distances, float32 [n].
    """
    neighbours, distances = np.zeros_like(faces), np.full(len(faces), np.inf, np.float32)
    for batch in training:
        # torch takes no arrays with negative strides, which a mirrored view has
        for turned in (batch, np.ascontiguousarray(batch[:, :, ::-1])):
            indices, here = search(faces, turned)
            # a later batch has to be strictly nearer: of equally near faces the first one stays
            nearer = here < distances
            neighbours[nearer], distances[nearer] = turned[indices[nearer]], here[nearer]
    return neighbours, distances


def _copies(faces: Images) -> NDArray[np.float32]:
    """Return small copies float32 [n, D], grey levels around 0."""
    parts = []
    for start in range(0, len(faces), _AT_ONCE):
        images = torch.from_numpy(faces[start : start + _AT_ONCE]).permute(0, 3, 1, 2).float()
        # area means, which do not alias; centred, as the products in `nearest` lose fewer float32 digits around 0
        parts.append(adaptive_avg_pool2d(images, min(COPY, images.shape[2])).flatten(1).sub(127.5).numpy())
    return np.concatenate(parts)
