"""Localisers: maps of the image's size, masks in training, a score that follows from the map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from sklearn.metrics import roc_auc_score

from detect.artifact import fit_detector, load_trained
from detect.data.augment import augment
from detect.data.views import join, masks_of, with_masks
from detect.detectors.base import FitContext, FitData
from detect.detectors.classnseg import ClassNSeg
from detect.detectors.copy_move_match import CopyMoveMatch, CopyMoveSettings
from detect.detectors.localiser import SHARE, strongest
from detect.detectors.noise_map import NoiseMap, NoiseMapSettings
from detect.detectors.patch_forensics import PatchForensics
from detect.detectors.registry import DETECTORS
from detect.detectors.self_blended import FaceXRay, SelfBlendedDetector
from detect.detectors.unet import UNetLocaliser
from detect.explain import gradient_maps
from detect.features.srm import srm_filters, srm_residuals
from detect.training.settings import NetworkSettings
from forge.core.compute import Compute
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter

pytestmark = pytest.mark.xdist_group("localisers")  # one process fits the network that several tests look at

SIDE, COUNT = 32, 48
TRAINED = UNetLocaliser.Settings(
    widths=(8, 16), batch=16, max_images=960, learning_rate=0.01, validate_every=480, patience=None
)


def images(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(0, 1, (count, SIDE, SIDE, 3)), 1), 2)
    scaled = (smooth - smooth.min((1, 2), keepdims=True)) / np.ptp(smooth, (1, 2), keepdims=True)
    return np.clip(40 + 160 * scaled + rng.normal(0, 3, scaled.shape), 0, 255).astype(np.uint8)


def write(path, pixels, *, masks=None, kind="forged") -> FaceSet:
    with FaceSetWriter(path, path.name, kind, SIDE, "CC0", {}, masks=masks is not None) as writer:
        rows = [{"id": f"{path.name}-{n}", "split": ("train", "val")[n % 2], "identity": f"p{n}"} for n in range(COUNT)]
        writer.append(pixels, rows, masks)
    return FaceSet.open(path)


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> tuple[FaceSet, FaceSet, FaceSet]:
    """Photos, photos with a square without noise and their masks, and forgeries without masks."""
    folder = tmp_path_factory.mktemp("sets")
    forged, masks = images(COUNT, 1), np.zeros((COUNT, SIDE, SIDE), np.uint8)
    for n in range(COUNT):
        y, x = n % 18 + 2, 7 * n % 18 + 2
        part = forged[n, y : y + 10, x : x + 10].astype(float)
        forged[n, y : y + 10, x : x + 10] = part.mean((0, 1), keepdims=True) + np.linspace(-9, 9, 10)[:, None, None]
        masks[n, y : y + 10, x : x + 10] = 255
    return (
        write(folder / "real", images(COUNT, 0), kind="real"),
        write(folder / "edited", forged, masks=masks),
        write(folder / "made", images(COUNT, 2)),
    )


def fit_data(real: FaceSet, forged: FaceSet) -> FitData:
    return FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))


@pytest.fixture(scope="session")
def fitted(sets, tmp_path_factory):
    context = FitContext(0, Compute("cpu"), tmp_path_factory.mktemp("work"), silent)
    return fit_detector("unet", TRAINED, fit_data(sets[0], sets[1]), context)


# masks of training images
def test_masks_are_nothing_of_reals_all_of_a_gan_and_what_the_set_says(sets):
    real, edited, made = (faces.view("train") for faces in sets)
    assert (masks_of(real) == 0).all() and (masks_of(made) == 255).all()
    assert np.array_equal(masks_of(edited), edited.read_masks())
    joined = join(made, edited)
    assert np.array_equal(masks_of(joined), np.concatenate([masks_of(made), masks_of(edited)]))
    four = with_masks(joined)
    assert np.array_equal(four.read(np.array([30, 2])), np.concatenate([joined.read(np.array([30, 2])),
        masks_of(joined, np.array([30, 2]))[..., None]], axis=3))  # fmt: skip
    assert len(four) == len(joined) and [batch.shape[3] for batch in four.batches(20)] == [4, 4, 4]


def test_augmentation_moves_masks_with_their_images():
    pixels = torch.from_numpy(images(6, 4))
    marked = torch.cat([pixels, pixels[..., :1]], dim=3)  # a mask that is the red channel
    moving = NetworkSettings(shift=0.2)
    out = augment(marked, torch.Generator().manual_seed(0), moving)
    assert torch.equal(out[..., 3], out[..., 0]) and not torch.equal(out, marked)
    assert torch.equal(out[..., :3], augment(pixels, torch.Generator().manual_seed(0), moving))
    harsh = NetworkSettings(blur=1.0, noise=1.0, jpeg=1.0, shift=0.0, flip=False)
    out = augment(marked, torch.Generator().manual_seed(0), harsh)
    assert torch.equal(out[..., 3], marked[..., 3]) and not torch.equal(out[..., :3], pixels)


# residuals
def test_residuals_are_those_of_scipy_and_zero_where_nothing_changes():
    picture = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    residuals = srm_residuals(picture)
    for channel in range(3):
        for number in range(3):
            kernel = srm_filters(picture.device)[number, 0].double().numpy()[::-1, ::-1]
            expected = convolve(picture[1, channel].numpy(), kernel, mode="mirror")
            np.testing.assert_allclose(residuals[1, 3 * channel + number], expected, atol=1e-12)
    assert srm_residuals(torch.full((1, 1, 8, 8), 0.7)).abs().max() < 1e-6


# the learned localiser
def test_the_unet_learns_where_and_whether(fitted, sets):
    edited, real = sets[1].view("val"), sets[0].view("val")
    maps = fitted.detector.maps(edited.read(), Compute("cpu"))
    assert maps.shape == (len(edited), SIDE, SIDE) and maps.dtype == np.float32 and np.isfinite(maps).all()
    truth = edited.read_masks() > 127
    assert roc_auc_score(truth.ravel(), maps.ravel()) > 0.8
    scores = [fitted.detector.score(view.read(), Compute("cpu")) for view in (real, edited)]
    assert roc_auc_score(np.repeat([0, 1], len(real)), np.concatenate(scores)) > 0.9


def test_the_score_is_that_of_the_highest_logits(fitted, sets):
    pixels = sets[1].view("val").read()
    maps = fitted.detector.maps(pixels, Compute("cpu")).reshape(len(pixels), -1)
    count = round(SHARE * SIDE**2)
    expected = np.sort(maps, axis=1)[:, -count:].mean(1)
    np.testing.assert_allclose(fitted.detector.score(pixels, Compute("cpu")), expected, rtol=1e-4, atol=1e-4)
    assert strongest(torch.arange(100.0).reshape(1, 10, 10)).tolist() == [99.0]


def test_it_is_stored_and_fitted_again_alike(fitted, sets, tmp_path):
    fitted.save(tmp_path / "stored")
    loaded = load_trained(tmp_path / "stored")
    pixels = sets[1].view("val").read()
    assert np.array_equal(loaded.detector.maps(pixels, Compute("cpu")), fitted.detector.maps(pixels, Compute("cpu")))
    context = FitContext(0, Compute("cpu"), tmp_path / "work", silent)
    (tmp_path / "work").mkdir()
    again = fit_detector("unet", TRAINED, fit_data(sets[0], sets[1]), context)
    assert np.array_equal(again.detector.maps(pixels, Compute("cpu")), fitted.detector.maps(pixels, Compute("cpu")))


def test_a_boundary_is_learned_where_it_is_asked_for(sets):
    settings = TRAINED.model_copy(update={"target": "boundary", "dice": 0.0, "whole": 0.0})
    detector, network = UNetLocaliser(settings, SIDE), UNetLocaliser(settings, SIDE).build()
    masks = torch.zeros(2, 1, SIDE, SIDE)
    masks[1] = 0.5  # a rim everywhere
    inputs = torch.cat([torch.zeros(2, 3, SIDE, SIDE), masks], dim=1)
    torch.nn.init.constant_(network.head.bias, 20.0)  # says rim everywhere
    sure = detector.loss(network, inputs[1:], torch.ones(1)).item()
    assert sure < 1e-3 < detector.loss(network, inputs[:1], torch.ones(1)).item()


@pytest.mark.parametrize("size", [(33, 47), (16, 16)])
def test_the_unet_takes_every_size(size):
    network = UNetLocaliser(TRAINED, SIDE).build().eval()
    assert network(torch.zeros(1, 3, *size)).shape == (1, *size)


# maps of other detectors
def test_patches_are_enlarged_to_the_image_and_other_networks_have_no_map(sets):
    detector = PatchForensics(PatchForensics.Settings(), SIDE)
    detector.network = detector.build().eval()
    maps = detector.maps(sets[0].view("val").read(np.arange(3)), Compute("cpu"))
    assert maps.shape == (3, SIDE, SIDE) and np.isfinite(maps).all()


def test_a_self_blended_network_with_masks_says_where(sets, tmp_path):
    options = TRAINED.model_dump(mode="json") | {"target": "mask"}
    blending = {"landmarks": "average", "altered": "source", "downscale": [4], "sharpen": [0, 0], "lightness": [1, 1]}
    settings = FaceXRay.Settings(options=options, copies=2, blending=blending)
    assert FaceXRay.localises(settings) and not SelfBlendedDetector.localises(SelfBlendedDetector.Settings())
    assert FaceXRay.Settings().options["target"] == "boundary"
    real = sets[0]
    trained = fit_detector(
        "face-x-ray", settings, fit_data(real, sets[2]), FitContext(0, Compute("cpu"), tmp_path, silent)
    )
    blends = FaceSet.open(tmp_path / "self-blended" / "blends")
    truth = blends.view("val").read_masks() > 127
    assert truth.any()
    maps = trained.detector.maps(blends.view("val").read(), Compute("cpu"))
    assert roc_auc_score(truth.ravel(), maps.ravel()) > 0.7


def test_classnseg_learns_activations_masks_and_images():
    detector = ClassNSeg(ClassNSeg.Settings(segmentation=2.0, reconstruction=3.0), 18)
    network = detector.build().eval()
    inputs, labels = torch.rand(4, 4, 18, 18), torch.tensor([0.0, 1.0, 1.0, 0.0])  # 18 is no multiple of 16
    with torch.no_grad():
        code = network.encoder(inputs[:, :3])
        forged, real = code[:, :64].mean((1, 2, 3)), code[:, 64:].mean((1, 2, 3))
        # of a forged image the first half is to have mean 1 and the second 0; it alone is decoded
        activation = (forged - labels).abs() + (real - 1 + labels).abs()
        code[labels == 1, 64:], code[labels == 0, :64] = 0, 0
        features = network.shared(code)
        chance = network.segmenter(features)[..., :18, :18].softmax(1)[:, 1]
        altered = inputs[:, 3] >= 0.5
        entropy = -torch.where(altered, chance, 1 - chance).log().mean()
        error = (network.decoder(features)[..., :18, :18] - inputs[:, :3]).square().mean()
        loss = detector.loss(network, inputs, labels)
        assert detector.pixel_logits(network, inputs).shape == (4, 18, 18)
    torch.testing.assert_close(loss, activation.mean() + 2 * entropy + 3 * error)


def test_maps_of_a_larger_input_are_averaged_and_not_sampled():
    class Fine(UNetLocaliser):
        """Stripes with a period of one pixel of the image."""

        def pixel_logits(self, network, inputs):
            return inputs[:, 0] * torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(inputs.shape[-1] // 4)

    detector = Fine(TRAINED.model_copy(update={"input_size": 4 * SIDE}), SIDE)
    detector.network = torch.nn.Identity()
    maps = detector.maps(np.full((1, SIDE, SIDE, 3), 255, np.uint8), Compute("cpu"))
    # the mean of a period is 0 but at the rims; the two columns in the middle of each pixel are -1
    assert maps.shape == (1, SIDE, SIDE) and np.abs(maps[0, :, 2:-2]).max() < 0.05


# gradients of scores
def test_gradients_are_those_of_the_score_in_units_of_the_image():
    weights = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (SIDE, SIDE, 3))).float()
    pixels, compute = images(20, 3), Compute("cpu")
    factor = torch.arange(1.0, 21)

    def logit(batch):
        return (batch * weights).sum((1, 2, 3)) * factor[: len(batch)]

    maps = gradient_maps(logit, pixels, compute)
    # 20 images are two blocks, of 16 and 4: factors start again
    factors = np.concatenate([np.arange(1, 17), np.arange(1, 5)])
    expected = 255 * np.abs(weights.numpy()).sum(2)
    np.testing.assert_allclose(maps, factors[:, None, None] * expected, rtol=1e-5)
    assert (gradient_maps(lambda batch: (0 * batch).sum((1, 2, 3)), pixels, compute) == 0).all()
    assert gradient_maps(lambda batch: batch.detach().mean((1, 2, 3)), pixels, compute) is None
    assert gradient_maps(logit, pixels[:0], compute).shape == (0, SIDE, SIDE)


def test_networks_have_gradients_and_features_have_none(fitted, sets):
    assert [DETECTORS.load(name).has_gradients() for name in ("npr", "self-blended", "dct")] == [True, True, False]
    pixels = sets[1].view("val").read(np.arange(2))
    maps = fitted.detector.gradient_maps(pixels, Compute("cpu"))
    assert maps.shape == pixels.shape[:3] and maps.dtype == np.float32
    assert (maps.max((1, 2)) > 0).all()


# without learning
def test_the_noise_map_finds_what_has_no_noise():
    pixels, truth = images(6, 9), np.zeros((6, SIDE, SIDE), bool)
    pixels[:, 8:20, 10:24] = pixels[:, 8:20, 10:24].mean((1, 2), keepdims=True).astype(np.uint8)
    truth[:, 8:20, 10:24] = True
    detector = NoiseMap(NoiseMapSettings(), SIDE)
    maps = detector.maps(pixels, Compute("cpu"))
    assert roc_auc_score(truth.ravel(), maps.ravel()) > 0.8
    alone = detector.maps(pixels[2:3], Compute("cpu"))[0]
    np.testing.assert_allclose(alone, maps[2], rtol=1e-5)
    flat = detector.maps(np.full((1, SIDE, SIDE, 3), 90, np.uint8), Compute("cpu"))
    assert np.isfinite(flat).all() and np.isfinite(detector.score(pixels, Compute("cpu"))).all()


def test_a_copied_part_is_matched_with_its_source():
    side = 64
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    truth = np.zeros((side, side), bool)
    pixels[0, 40:58, 36:54] = pixels[0, 6:24, 4:22]
    truth[40:58, 36:54] = truth[6:24, 4:22] = True
    detector = CopyMoveMatch(CopyMoveSettings(), side)
    maps = detector.maps(pixels, Compute("cpu"))
    assert roc_auc_score(truth.ravel(), maps[0].ravel()) > 0.95
    scores = detector.score(pixels, Compute("cpu"))
    assert scores[0] > scores[1] + 0.3
    assert detector.maps(np.zeros((0, side, side, 3), np.uint8), Compute("cpu")).shape == (0, side, side)


def test_larger_images_are_searched_in_steps():
    pixels = np.random.default_rng(1).integers(0, 256, (1, 160, 160, 3), dtype=np.uint8)
    pixels[0, 90:140, 90:140] = pixels[0, 0:50, 30:80]  # a move by whole steps
    maps = CopyMoveMatch(CopyMoveSettings(), 160).maps(pixels, Compute("cpu"))
    assert maps.shape == (1, 160, 160) and maps[0, 100:130, 100:130].mean() > 10 * maps[0, 70:85, 100:150].mean()
