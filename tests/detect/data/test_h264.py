"""The round trip through H.264: the same bytes each time, sides of any length, coarser at a higher rate factor."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.validate_conditions import with_perturbations
from detect.data.h264_codec import round_trip
from detect.data.perturb import by_strength, perturbation, split_strength
from forge.core.errors import InputError


def picture(height, width):
    """Draw smooth colours with some grain."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(60, 200, (3, 3, 3), dtype=np.uint8)).resize((width, height), 3)
    return (np.asarray(small) + rng.integers(0, 12, (height, width, 1))).astype(np.uint8)


def error(image, crf):
    return np.abs(round_trip(image, crf).astype(int) - image).mean()


def test_a_higher_rate_factor_loses_more_and_colours_stay():
    image = picture(64, 64)
    fine, middle, coarse = (error(image, crf) for crf in (0, 23, 40))
    assert fine < 2.5 < middle < coarse < 8
    grey = np.full((16, 16, 3), 200, np.uint8)
    assert np.abs(round_trip(grey, 23).astype(int) - 200).max() <= 2  # neither range nor matrix is exchanged
    red = np.broadcast_to(np.array([220, 30, 30], np.uint8), (16, 16, 3))
    assert np.abs(round_trip(red, 10).astype(int) - red).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 64), (47, 31)])
def test_sides_of_odd_length_keep_their_size(size):
    image = picture(*size)
    changed = round_trip(image, 23)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.array_equal(round_trip(np.asfortranarray(image), 23), changed)


def test_images_are_changed_each_on_its_own_and_the_same_each_time():
    images = np.stack([picture(32, 32), 255 - picture(32, 32)])
    change = perturbation("h264-c40")
    changed = change(images)
    assert np.array_equal(change(images[::-1])[::-1], changed) and not np.array_equal(changed, images)
    assert np.array_equal(changed[0], round_trip(images[0], 40))


def test_names_hold_digits_before_the_strength():
    assert split_strength("h264-c23") == ("h264-c", 23.0) and split_strength("jpeg75") == ("jpeg", 75.0)
    assert perturbation("h264-c23+jpeg75").name == "h264-c23+jpeg75"
    assert by_strength(["h264-c40", "h264-c23"]) == [["h264-c23", "h264-c40"]]
    with pytest.raises(InputError, match="a whole number from 0 to 51"):
        perturbation("h264-c52")


def test_without_the_extra_it_has_a_name_and_is_refused_before_a_run(monkeypatch):
    monkeypatch.setattr("detect.data.h264.find_spec", lambda module: None)
    assert perturbation("h264-c23").display_name == "H.264 CRF 23"  # reports are rendered without it
    with pytest.raises(InputError, match=r"pip install 'deepfake-bench\[video\]'"):
        perturbation("h264-c23")(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"conditions.robust: perturbation h264-c23 needs PyAV"):
        with_perturbations(Conditions(robust=["jpeg75+h264-c23"]))
