from __future__ import annotations

import torch

from detect.augment import flip_and_shift


def images(count: int = 64, size: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_changes_nothing():
    assert torch.equal(flip_and_shift(images(), seeded(), flip=False, shift=0), images())


def test_flip_gives_either_the_image_or_its_mirror():
    before = images()
    after = flip_and_shift(before, seeded(), flip=True, shift=0)
    same = (after == before).flatten(1).all(1)
    mirrored = (after == before.flip(2)).flatten(1).all(1)
    assert (same ^ mirrored).all() and 20 <= mirrored.sum() <= 44


def test_shift_moves_whole_pixels_with_reflected_edges():
    before = images(size=8)
    after = flip_and_shift(before, seeded(), flip=False, shift=2)
    padded = torch.nn.functional.pad(before.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="reflect")
    padded = padded.permute(0, 2, 3, 1).to(torch.uint8)
    seen = set()
    for number in range(len(before)):
        moves = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(after[number], padded[number, dy : dy + 8, dx : dx + 8])
        ]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) > 15  # of 25 possible moves


def test_the_seed_decides():
    first = flip_and_shift(images(), seeded(3), flip=True, shift=2)
    assert torch.equal(first, flip_and_shift(images(), seeded(3), flip=True, shift=2))
    assert not torch.equal(first, flip_and_shift(images(), seeded(4), flip=True, shift=2))
