from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from forge.faces import dedup
from forge.faces.dedup import (
    MAX_HAMMING,
    MIN_CORRELATION,
    clusters,
    correlate,
    describe,
    exact_duplicates,
    near_duplicates,
)


def blobs(count, seed=0, side=48):
    """Smooth random pictures, as different from each other as photos are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def by_brute_force(hashes, thumbnails):
    counts = []
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            near = np.bitwise_count(hashes[i] ^ hashes[j]) <= MAX_HAMMING
            if near and correlate(thumbnails[i : i + 1], thumbnails[j : j + 1])[0] >= MIN_CORRELATION:
                counts.append((i, j))
    return counts


@pytest.mark.parametrize("many", [1, 10**9], ids=["wide bands", "narrow bands"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_pairs_as_by_brute_force(seed, many, monkeypatch):
    monkeypatch.setattr(dedup, "_MANY", many)
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, 12, dtype=np.uint64)
    hashes = np.repeat(base, 20)
    for bits in range(1, 10):  # flips of every number of bits around the limit
        some = np.arange(bits, len(hashes), 10)
        for i in some:
            for bit in rng.choice(64, bits, replace=False):
                hashes[i] ^= np.uint64(1) << np.uint64(bit)
    thumbnails = np.tile(rng.integers(0, 256, (1, 16, 16), dtype=np.uint8), (len(hashes), 1, 1))
    thumbnails[::7] = rng.integers(0, 256, (len(thumbnails[::7]), 16, 16), dtype=np.uint8)
    pairs = near_duplicates(hashes, thumbnails)
    expected = by_brute_force(hashes, thumbnails)
    assert expected
    assert [tuple(pair) for pair in pairs.tolist()] == expected


def test_small_blocks_find_the_same(monkeypatch):
    images = np.concatenate([blobs(60), blobs(60)])
    hashes, thumbnails = describe(images)
    whole = near_duplicates(hashes, thumbnails)
    monkeypatch.setattr(dedup, "_BLOCK", 50)
    monkeypatch.setattr(dedup, "_AT_ONCE", 7)
    assert np.array_equal(near_duplicates(hashes, thumbnails), whole)


def test_rounds_of_the_search_are_reported():
    events = []
    pairs = near_duplicates(*describe(blobs(40)), events.append)
    assert [event.done for event in events] == list(range(68)) and {event.total for event in events} == {68}
    assert np.array_equal(pairs, near_duplicates(*describe(blobs(40))))


def test_changed_copies_are_found_and_others_are_not():
    images = blobs(200)
    dim = (images * 0.8).astype(np.uint8)
    grey = np.repeat(images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32), 3).astype(np.uint8)
    noisy = np.clip(images + np.random.default_rng(1).normal(0, 6, images.shape), 0, 255).astype(np.uint8)
    for copies in (dim, grey.reshape(images.shape), noisy):
        pairs = near_duplicates(*describe(np.concatenate([images, copies])))
        assert [tuple(pair) for pair in pairs.tolist()] == [(i, i + 200) for i in range(200)]


def test_the_resolution_hardly_matters():
    fine = blobs(50, side=100)
    coarse = np.stack([np.asarray(Image.fromarray(image).resize((37, 37), Image.Resampling.BOX)) for image in fine])
    (h1, t1), (h2, t2) = describe(fine), describe(coarse)
    assert np.bitwise_count(h1 ^ h2).max() <= MAX_HAMMING
    assert correlate(t1, t2).min() > 0.99


def test_a_thousand_equal_images_are_one_cluster():
    images = np.repeat(blobs(1), 1000, axis=0)
    hashes, thumbnails = describe(images)
    pairs = near_duplicates(hashes, thumbnails)
    assert len(pairs) < 20 * 1000
    assert set(clusters(1000, pairs)) == {0}


def test_pictures_without_contrast_match_nothing():
    flat = np.full((3, 16, 16), 100, np.uint8)
    assert np.array_equal(correlate(flat, flat), [0, 0, 0])


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 5, 16, 16), dtype=np.uint8)
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    assert correlate(a, b) == pytest.approx(expected, abs=1e-6)


def test_no_images_and_one():
    none = near_duplicates(np.empty(0, np.uint64), np.empty((0, 16, 16), np.uint8))
    assert none.shape == (0, 2)
    assert near_duplicates(*describe(blobs(1))).shape == (0, 2)


@pytest.mark.parametrize("first", [0, 1, 37, 60])
def test_a_search_between_two_sets_gives_the_pairs_between_them(first):
    images = blobs(50)
    described = describe(np.concatenate([images, images[:10]])[np.random.default_rng(0).permutation(60)])
    pairs = near_duplicates(*described)
    between = pairs[(pairs[:, 0] < first) & (pairs[:, 1] >= first)]
    assert near_duplicates(*described, first=first).tolist() == between.tolist()
    assert (len(pairs) == 10 and 0 < len(between) < 10) or first in (0, 1, 60)


def test_clusters_follow_chains():
    pairs = np.array([[5, 6], [1, 2], [2, 4], [0, 6]])
    assert clusters(8, pairs).tolist() == [0, 1, 1, 3, 1, 0, 0, 7]
    assert clusters(8, pairs.repeat(256, axis=0)).tolist() == [0, 1, 1, 3, 1, 0, 0, 7]
    assert clusters(3, np.empty((0, 2), np.int64)).tolist() == [0, 1, 2]


def test_different_digits_are_no_copies_but_a_digit_saved_again_is_one():
    from forge.faces.imaging.decode import decode, resize
    from forge.faces.sources import resolve

    drawn = np.stack([resize(decode(item.read()).image, 28) for item in resolve("digits").chunk(range(1000))])
    assert len(near_duplicates(*describe(drawn))) == 0
    again = BytesIO()
    Image.fromarray(drawn[7]).save(again, "JPEG", quality=75)
    copied = np.asarray(Image.open(again).convert("RGB"))
    assert near_duplicates(*describe(np.concatenate([drawn, copied[None]]))).tolist() == [[7, 1000]]


def test_exact_duplicates_name_the_first_of_their_bytes():
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (40, 32), dtype=np.uint8)[rng.integers(0, 40, 100)]
    digests[::9, :31] = 0  # such that differ in the last byte alone
    pairs, first = exact_duplicates(digests)
    seen: dict[bytes, int] = {}
    assert first.tolist() == [seen.setdefault(digest.tobytes(), i) for i, digest in enumerate(digests)]
    assert pairs.tolist() == [[at, i] for i, at in enumerate(first) if at != i]
