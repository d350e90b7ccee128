"""Detection of near-duplicate photos: a coarse hash finds candidates, a correlation of thumbnails decides.

Faces aligned alike share much of a coarse hash: among 12,000 FairFace photos at 64 px (72 million pairs), 70,000 pairs
of different people lie within 7 bits. So the hash alone decides nothing. Of those pairs, every one whose 16 x 16
thumbnails correlate at 0.9645 or more was seen by eye to be the same photo (23 pairs), and the best pair of different
people reached 0.964; the threshold of 0.97 found 21 pairs, all of them true. It still holds for copies saved again
at JPEG quality 30 (found: 100 % of 1,000), quality 10 (99.9 %), at half size, in grey or at lower contrast (100 %) and
30 % brighter (99 %). A crop by 2 % a side is found in 77 % of cases; one by 5 % and mirror images are not found.

Small, plain images (digits, icons, drawings) hold less: of the 1,797 handwritten digits 500 pairs of different digits
correlate at 0.97 or more, the best at 0.9963. So two images of which a fifth of the thumbnail has one brightness must
correlate at 0.998; of the 5 % of FairFace photos that are plain, 97 % of the copies at quality 30 still are found,
71 % at 10.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.imaging.luma import LUMA

MAX_HAMMING = 7
MIN_CORRELATION = 0.97
MIN_CORRELATION_PLAIN = 0.998  # where both images are plain
PLAIN_SHARE = 0.2  # of a plain image's thumbnail lies within PLAIN_LEVELS of its commonest brightness
PLAIN_LEVELS = 3
THUMBNAIL = 16

_SPREAD = 27  # bit i of a hash is bit 27 i modulo 64 of the order that bands are cut from: neighbours are alike
_MANY = 400_000  # hashes from which three wide bands take less time than four narrow ones
_BLOCK = 1 << 22  # candidate pairs held at once
_AT_ONCE = 1 << 15  # pairs correlated at once
_PER_HASH = 16  # images of one hash that others are compared with: a folder of equal frames stays linear

Hashes = NDArray[np.uint64]
Thumbnails = NDArray[np.uint8]
Pairs = NDArray[np.int64]


def describe(images: NDArray[np.uint8]) -> tuple[Hashes, Thumbnails]:
    """Return what duplicates are found by.

    Args:
        images: uint8 [n, H, W, 3], H and W at least 16.

    Returns:
        64-bit difference hashes, uint64 [n] (is a cell of an 8 x 9 grid brighter than its left neighbour?), and grey
        thumbnails, uint8 [n, 16, 16].
    """
    grey = images.astype(np.float32) @ np.array(LUMA, np.float32)  # [n, H, W]
    cells = _shrink(grey, 8, 9)  # [n, 8, 9]: 9 cells a row have 8 neighbours
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(images), 64)
    hashes = np.packbits(bits, axis=1).view(np.uint64).reshape(len(images))  # 8 bytes are one uint64
    return hashes, np.rint(_shrink(grey, THUMBNAIL, THUMBNAIL)).astype(np.uint8)


def near_duplicates(
    hashes: Hashes, thumbnails: Thumbnails, on_progress: OnProgress = silent, *, first: int | None = None
) -> Pairs:
    """Find pairs of images of the same photo.

    Args:
        hashes: uint64 [n].
        thumbnails: uint8 [n, 16, 16] of the same images.
        on_progress: called with the rounds of the search: a million images take minutes.
        first: pairs of one of the first so many images and one of the others alone; by default all pairs.

    Returns:
        Positions, int64 [m, 2], the smaller first. Where more than 16 images share a hash, the rest of them are
        compared with the first 16 only, so pairs may be missing between two later ones that are linked by no other.
    """
    duplicates = [np.empty((0, 2), np.int64)]
    blocks = range(0, len(thumbnails), _AT_ONCE)
    plain = np.concatenate([np.empty(0, bool), *(is_plain(thumbnails[at : at + _AT_ONCE]) for at in blocks)])
    flat = [thumbnails[at : at + _AT_ONCE].reshape(-1, THUMBNAIL**2) for at in blocks]
    mean = np.concatenate([np.empty(0), *(part.mean(axis=1) for part in flat)])
    spread = np.concatenate([np.empty(0), *(part.std(axis=1) for part in flat)])
    for candidates in _candidates(hashes, on_progress):
        if first is not None:
            candidates = candidates[(candidates[:, 0] < first) & (candidates[:, 1] >= first)]
        for start in range(0, len(candidates), _AT_ONCE):
            pairs = candidates[start : start + _AT_ONCE]
            pairs = pairs[_may_match(thumbnails, pairs, mean, spread)]
            threshold = np.where(plain[pairs].all(axis=1), MIN_CORRELATION_PLAIN, MIN_CORRELATION)
            alike = correlate(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]) >= threshold
            duplicates.append(pairs[alike])
    return np.unique(np.concatenate(duplicates), axis=0)  # several bands find the same pair


def _may_match(
    thumbnails: Thumbnails, pairs: Pairs, mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which pairs may correlate enough: a quarter of the time of `correlate`, of which it misses none.

    The mean of products, a sum of 256 products below 2^16 in float32, is off by less than one.
    """
    x, y = (thumbnails[pairs[:, side]].reshape(len(pairs), THUMBNAIL**2).astype(np.float32) for side in (0, 1))
    products = np.einsum("ij,ij->i", x, y) / THUMBNAIL**2
    a, b = pairs[:, 0], pairs[:, 1]
    enough = (MIN_CORRELATION - 1e-3) * spread[a] * spread[b]
    return np.asarray(products - mean[a] * mean[b] >= enough - 1)


def is_plain(thumbnails: Thumbnails) -> NDArray[np.bool_]:
    """Return which thumbnails [n, 16, 16] have one brightness over a fifth of them, bool [n]."""
    flat = thumbnails.reshape(len(thumbnails), THUMBNAIL**2)
    # int16: differences of uint8 would wrap around
    commonest = np.array([np.bincount(values, minlength=256).argmax() for values in flat], np.int16)
    near = np.abs(flat.astype(np.int16) - commonest.reshape(-1, 1)) <= PLAIN_LEVELS
    return np.asarray(near.mean(axis=1) >= PLAIN_SHARE)


def correlate(a: Thumbnails, b: Thumbnails) -> NDArray[np.float32]:
    """Pearson's correlation of thumbnails, pair by pair: [n]; 0 where one has no contrast (below one grey level)."""
    x, y = (t.reshape(len(t), THUMBNAIL**2).astype(np.float32) for t in (a, b))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    # below one grey level of spread, the correlation is that of rounding errors
    spread = [np.sqrt((t * t).mean(axis=1)) for t in (x, y)]
    covariance = (x * y).mean(axis=1)
    visible = (spread[0] >= 1) & (spread[1] >= 1)
    return np.where(visible, covariance / np.maximum(spread[0] * spread[1], 1), 0).astype(np.float32)


def exact_duplicates(digests: NDArray[np.uint8]) -> tuple[Pairs, NDArray[np.int64]]:
    """Find images of the same bytes.

    Args:
        digests: uint8 [n, 32], SHA-256 of each file.

    Returns:
        Pairs (first, later) of the same bytes, int64 [m, 2], and for each image the first one with its bytes [n].
    """
    words = np.ascontiguousarray(digests).view(np.uint64)  # [n, 4]
    order = np.lexsort(words.T)  # stable: of equal digests the first image comes first
    begins = np.concatenate([[True], (words[order][1:] != words[order][:-1]).any(axis=1)])
    first = np.empty(len(words), np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    later = np.flatnonzero(first < np.arange(len(first)))
    return np.stack([first[later], later], axis=1), first


def clusters(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Join linked positions: the smallest position of each one's cluster, int64 [count]."""
    from scipy.sparse import coo_array  # a second to import, which sets without copies need not wait for
    from scipy.sparse.csgraph import connected_components

    linked = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, cluster = connected_components(linked, directed=False)
    _, first = np.unique(cluster, return_index=True)  # the smallest position of each cluster
    return np.asarray(first[cluster], np.int64)


def _candidates(hashes: Hashes, on_progress: OnProgress) -> Iterator[Pairs]:
    """Pairs of positions whose hashes differ in at most MAX_HAMMING bits, in blocks, some more than once."""
    values, where, size = np.unique(hashes, return_inverse=True, return_counts=True)
    # positions sorted by hash: those of hash h are members[start[h] : start[h] + size[h]]
    members = np.argsort(where, kind="stable")
    start = np.cumsum(size) - size
    # the first, the second, ... member of each hash against all later ones; beyond _PER_HASH the pairs would grow with
    # the square of the copies
    for first in range(_PER_HASH):  # pairs within one hash
        group = np.flatnonzero(size > first + 1)
        later = size[group] - first - 1
        a = np.repeat(members[start[group] + first], later)
        b = members[_ranges(start[group] + first + 1, later)]
        yield np.stack([a, b], axis=1)
    # all nu x nv combinations of the first members of both: `step` counts them, quotient and remainder tell the pair
    for u, v in _near_values(values, on_progress):  # pairs across two hashes
        nu, nv = np.minimum(size[u], _PER_HASH), np.minimum(size[v], _PER_HASH)
        pair = np.repeat(np.arange(len(u)), nu * nv)
        step = _ranges(np.zeros(len(u), np.int64), nu * nv)
        a = members[start[u][pair] + step // nv[pair]]
        b = members[start[v][pair] + step % nv[pair]]
        yield np.sort(np.stack([a, b], axis=1), axis=1)


def _near_values(values: Hashes, on_progress: OnProgress) -> Iterator[tuple[Pairs, Pairs]]:
    """Indices u < v of distinct hashes within MAX_HAMMING bits, which ascend; some pairs more than once.

    Pigeonhole: of four bands of 16 bits, one differs in at most 7 // 4 = 1 bit, of three of 21 or 22 in at most 2. So
    each band is joined with itself, exactly and with each of these sets of bits flipped. Wide bands have more of them,
    and far fewer hashes of one key.
    """
    count = 3 if len(values) >= _MANY else 4
    bands = np.array_split(np.arange(64) * _SPREAD % 64, count)
    flips = [_flips(len(band), MAX_HAMMING // count) for band in bands]
    rounds, number = sum(map(len, flips)), 0
    for band, flips_of in zip(bands, flips, strict=True):
        keys = _keys(values, band)
        by_key = np.argsort(keys, kind="stable")
        distinct, edges = np.unique(keys[by_key], return_index=True)
        edges = np.append(edges, len(keys))  # hashes with the i-th key are by_key[edges[i] : edges[i + 1]]
        for flip in flips_of:
            on_progress(ProgressEvent(number, rounds, "rounds", note="searching near duplicates"))
            number += 1
            # of two keys that differ by a flip, the one without its lowest bit: each pair once
            first = np.flatnonzero(distinct & (flip & -flip) == 0)
            second = np.searchsorted(distinct, distinct[first] ^ flip)
            second[second == len(distinct)] = 0
            there = distinct[second] == distinct[first] ^ flip
            for u, v in _joined(values, by_key, edges, first[there], second[there]):
                once = (u < v) | (flip > 0)  # within one key each pair comes in both orders
                yield np.minimum(u, v)[once], np.maximum(u, v)[once]


def _flips(bits: int, most: int) -> list[int]:
    """Return all numbers of so many bits of which at most `most` are 1, the fewest first."""
    sets = itertools.chain.from_iterable(itertools.combinations(range(bits), size) for size in range(most + 1))
    return [sum(1 << bit for bit in chosen) for chosen in sets]


def _keys(values: Hashes, band: NDArray[np.int64]) -> NDArray[np.int64]:
    """Gather the bits of a band of each hash as one number."""
    keys = np.zeros(len(values), np.uint64)
    for place, bit in enumerate(band.astype(np.uint64)):
        keys |= (values >> bit & np.uint64(1)) << np.uint64(place)
    return keys.astype(np.int64)


def _joined(
    values: Hashes,
    by_key: NDArray[np.int64],
    edges: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> Iterator[tuple[Pairs, Pairs]]:
    """Compare all hashes of each first key with all of its second one; yield near ones."""
    sizes = np.diff(edges)
    left = by_key[_ranges(edges[first], sizes[first])]
    right = np.repeat(second, sizes[first])  # the key that each of them is compared with
    for some in _blocks(sizes[right]):
        u = np.repeat(left[some], sizes[right[some]])
        v = by_key[_ranges(edges[right[some]], sizes[right[some]])]
        near = np.bitwise_count(values[u] ^ values[v]) <= MAX_HAMMING
        yield u[near], v[near]


def _blocks(sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split positions into runs whose sizes sum to about _BLOCK."""
    # runs bound the memory: a popular key alone may have millions of partners
    number = np.cumsum(sizes) // _BLOCK
    yield from np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(number)) + 1)


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate arange(start, start + length)."""
    before = np.cumsum(lengths) - lengths  # what comes before each run
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths), np.int64)


def _shrink(grey: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    down, across = _averaging(grey.shape[1], height), _averaging(grey.shape[2], width)
    return np.asarray(down @ grey @ across.T)  # [n, height, width]


@functools.cache
def _averaging(size: int, cells: int) -> NDArray[np.float32]:
    """Return the matrix [cells, size] that averages pixels over equal cells, weighing by overlap."""
    edges = np.linspace(0, size, cells + 1)
    pixel = np.arange(size)
    # length of each pixel that lies in each cell
    overlap = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    return np.asarray(np.clip(overlap, 0, None) * cells / size, np.float32)  # rows sum to 1
