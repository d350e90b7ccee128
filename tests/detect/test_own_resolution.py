"""Views: crops of images larger than a detector was fitted at."""

import numpy as np
import pytest
from PIL import Image

from detect.detectors.registry import DETECTORS
from detect.own_resolution import CropScorer, Viewed
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError
from forge.faces.imaging.crops import crops_of, pooled
from forge.faces.imaging.views import VIEWS, check_view
from forge.faces.ingest import Intake, take
from forge.faces.sources.base import Item


def _coordinates(height, width):
    """An image whose pixels say where they are."""
    return np.stack(np.broadcast_arrays(*np.ogrid[:height, :width], 0), axis=2).astype(np.uint8)


def test_crops_lie_where_their_view_says():
    image = _coordinates(21, 30)
    corners = {view: [tuple(map(int, crop[0, 0, :2])) for crop in crops_of(image, 8, view)] for view in list(VIEWS)[1:]}
    assert corners["centre-crop"] == [(6, 11)]
    assert corners["five-crops"] == [(0, 0), (0, 22), (13, 0), (13, 22), (6, 11)]
    # two rows and three columns of tiles, 5 and 6 pixels left over
    assert corners["tiles"] == [(2, 3), (2, 11), (2, 19), (10, 3), (10, 11), (10, 19)] == corners["tiles-max"]
    assert all(crop.shape == (8, 8, 3) for crop in crops_of(image, 8, "tiles"))
    assert np.array_equal(crops_of(image, 21, "tiles")[0], image[:, 4:25])


def test_tiles_of_a_multiple_are_the_image():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    tiles = crops_of(image, 8, "tiles").reshape(2, 3, 8, 8, 3)
    assert np.array_equal(tiles.transpose(0, 2, 1, 3, 4).reshape(16, 24, 3), image)


def test_an_image_smaller_than_a_crop_is_refused():
    with pytest.raises(InputError, match="the image has 30 x 7 pixels, one crop of the view tiles has 8 x 8"):
        crops_of(_coordinates(7, 30), 8, "tiles")


def test_an_unknown_view_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="view 'tile' is not known; did you mean 'tiles'"):
        check_view("tile")


class _Mean:
    """Scores an image by its mean value."""

    family, resolution, takes_crops = "mean value", 8, True

    def score(self, images, compute):
        assert images.shape[1:] == (8, 8, 3)
        return images.mean(axis=(1, 2, 3)).astype(np.float64)

    def scoring_precision(self, compute):
        return "fp32"


def test_scores_of_crops_are_pooled():
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    detector = _Mean()
    assert CropScorer(detector, "tiles", 16).score(images, Compute()) == pytest.approx(images.mean(axis=(1, 2, 3)))
    quarters = images.reshape(3, 2, 8, 2, 8, 3).mean(axis=(2, 4, 5)).reshape(3, 4)
    assert CropScorer(detector, "tiles-max", 16).score(images, Compute()) == pytest.approx(quarters.max(1))
    centre = images[:, 4:12, 4:12].mean(axis=(1, 2, 3))
    assert CropScorer(detector, "centre-crop", 16).score(images, Compute()) == pytest.approx(centre)
    five = CropScorer(detector, "five-crops", 16).score(images, Compute())
    assert five == pytest.approx((quarters.sum(1) + centre) / 5)
    assert pooled(np.array([1.0, 5.0]), "five-crops") == 3.0


def test_convolutional_detectors_take_crops_and_fixed_ones_are_refused():
    able = {name for name in ("npr", "xception", "patch-forensics", "resnet50") if DETECTORS.load(name).takes_crops}
    assert able == {"npr", "xception", "patch-forensics", "resnet50"}
    fixed = ("svm", "naive-bayes", "dct", "spectrum", "meso4", "dct-cnn", "f3net", "random", "self-blended")
    assert not any(DETECTORS.load(name).takes_crops for name in fixed)

    class Fitted:
        name, trained_on, seed, calibration, detector = "svm", "dcgan", 0, None, DETECTORS.load("svm")

    with pytest.raises(InputError, match="detector svm has no view tiles: it is fitted to whole images of one size"):
        Viewed(Fitted(), "tiles", 128)


def test_the_middle_of_a_photo_is_cut_in_its_own_pixels(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    Image.fromarray(pixels[:, :30]).save(tmp_path / "small.png")
    items = [Item(name, str(tmp_path / name)) for name in ("large.png", "small.png")]
    batch = take(items, Intake(32, 32, cut=True))
    assert np.array_equal(batch.images[0], pixels[4:36, 14:46])
    # never enlarged
    assert batch.rejected == [("small.png", "too small", "30 x 40 pixels, the shorter side must have 32")]
