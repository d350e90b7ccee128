from __future__ import annotations

import pytest
import torch

import detect.data.augment
from detect.data.augment import augment, flip_and_shift
from detect.training.settings import NetworkSettings
from forge.core.errors import InputError


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


# degradations

ON = {
    "rescale": {"rescale": 0.5, "rescale_range": (0.3, 0.9)},
    "blur": {"blur": 0.5, "blur_sigma": (0.6, 2.0)},
    "noise": {"noise": 0.5, "noise_sigma": (2.0, 9.0)},
    "jpeg": {"jpeg": 0.5, "jpeg_quality": (30, 90)},
}
ALL = {key: value for on in ON.values() for key, value in on.items()}
OFF = {"flip": False, "shift": 0.0}


def augmented(seed=0, count=64, size=16, **settings):
    return augment(images(count, size), seeded(seed), NetworkSettings(**settings))


@pytest.fixture
def strengths(monkeypatch):
    """What each operation was asked for, in place of the operation."""
    arguments = {}

    def spy(name):
        def record(pixels, *parameters):
            arguments[name] = parameters
            return pixels

        return record

    for name in ON:
        monkeypatch.setattr(detect.data.augment.ops, name, spy(name))
    return arguments


def test_with_every_degradation_off_only_flip_and_shift_are_left():
    expected = flip_and_shift(images(64, 16), seeded(), flip=True, shift=1)
    assert torch.equal(augmented(), expected)
    assert torch.equal(augmented(**OFF), images(64, 16))


def test_switching_operations_off_leaves_the_random_numbers_of_the_others(strengths):
    augmented(
        count=400, flip=True, shift=0.2, crop=0.5, **{key: value for on in ON.values() for key, value in on.items()}
    )
    together = dict(strengths)
    assert together.keys() == ON.keys()
    for name, on in ON.items():
        strengths.clear()
        augmented(count=400, **OFF, **on)
        assert strengths.keys() == {name}
        assert all(map(torch.equal, strengths[name], together[name]))


def test_each_operation_keeps_to_its_probability_and_range(strengths):
    for name, on in ON.items():
        augmented(count=2000, **on)
        low, high = on[list(on)[1]]
        drawn = strengths[name][0]
        assert 900 < len(drawn) < 1100
        assert drawn.min() >= low and drawn.max() <= high
        assert drawn.double().mean() == pytest.approx((low + high) / 2, rel=0.05)
    assert set(strengths["jpeg"][0].tolist()) == set(range(30, 91))


@pytest.mark.parametrize("name", ON)
def test_an_operation_changes_the_images_it_is_drawn_for_and_no_others(name):
    before = images(64, 16)
    kept = before.clone()
    after = augment(before, seeded(), NetworkSettings(**OFF, **ON[name]))
    same = (after == before).flatten(1).all(1)
    assert torch.equal(before, kept) and 15 < same.sum() < 49
    always = {key: 1.0 if key == name else value for key, value in ON[name].items()}
    assert not (augment(before, seeded(), NetworkSettings(**OFF, **always)) == before).flatten(1).all(1).any()


def test_parts_of_a_batch_are_changed_as_the_whole_is():
    settings, before = NetworkSettings(shift=0.2, crop=0.8, **ALL), images(16, 16)
    whole = augment(before, seeded(5), settings)
    for mine in (torch.tensor([0, 1, 8, 9]), torch.arange(2, 8)):
        assert torch.equal(augment(before[mine], seeded(5), settings, of=(16, mine)), whole[mine])


def test_the_seed_decides_about_degradations_too():
    assert torch.equal(augmented(3, **ALL), augmented(3, **ALL))
    assert not torch.equal(augmented(3, **ALL), augmented(4, **ALL))


def test_crop_cuts_windows_everywhere_and_resizes_nothing():
    before = images(200, 8)
    after = augment(before, seeded(), NetworkSettings(**OFF, crop=0.7))
    assert after.shape == (200, 6, 6, 3)
    seen = set()
    for number in range(len(before)):
        places = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if torch.equal(after[number], before[number, y : y + 6, x : x + 6])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9


def test_wild_changes_each_image_by_its_own_chain_and_leaves_other_draws_alone():
    plain, half = augmented(**OFF), augmented(**OFF, wild=0.5)
    changed = (plain != half).flatten(1).any(1)
    assert 20 <= changed.sum() <= 44
    every = augmented(**OFF, wild=1.0)
    assert torch.equal(every[changed], half[changed])  # occurrence and strength are two draws
    assert torch.equal(every, augmented(**OFF, wild=1.0)) and not torch.equal(every, augmented(1, **OFF, wild=1.0))
    same = augment(images(1, 16).repeat(32, 1, 1, 1), seeded(), NetworkSettings(**OFF, wild=1.0))
    assert len({image.numpy().tobytes() for image in same}) > 25  # not a function of the image, as in the test
    assert torch.equal(augmented(**ALL)[~changed], augmented(**ALL, wild=0.5)[~changed])
    assert "wild" not in NetworkSettings().model_dump() and NetworkSettings(wild=0.5).model_dump()["wild"] == 0.5


def test_wild_is_refused_beside_masks():
    masked = torch.cat([images(4, 16), images(4, 16)[..., :1]], dim=-1)
    with pytest.raises(InputError, match="leave wild out for a localiser"):
        augment(masked, seeded(), NetworkSettings(**OFF, wild=1.0))
