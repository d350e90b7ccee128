"""The baselines of the speed figures are real training steps of the same size."""

import numpy as np
import pytest
import torch

from benchmarks.speed import (
    attacks,
    autoencoders,
    detectors,
    diffusion,
    tampering,
    textbook,
    textbook_detector,
    translators,
)
from detect.data.perturb import perturbation
from detect.detectors.image_classifiers import Xception
from detect.detectors.timm_network import TimmSettings
from forge.core.compute import Compute
from forge.generators.blocks.layers import Downsample, InstanceNorm, upsample
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.generators.flow import FlowSettings
from forge.generators.stylegan_lite import Generator
from forge.generators.stylegan_settings import StyleGANSettings
from forge.generators.translation.edges import Edges
from forge.generators.translation.fastcut import FastCUT, FastCUTSettings
from forge.generators.translation.pix2pix import Pix2PixSettings
from forge.generators.vae import VAE, VAESettings
from forge.tampering.poisson import harmonic_fill
from forge.training.steps.contrastive import ContrastiveSettings

SMALL = StyleGANSettings(latent=8, style=8, channels_base=64, channels_min=4, channels_max=8, mixing=0)


PLAIN = ["stylegan", "dcgan", "pix2pix", "fastcut"]


def plain(architecture, images):
    """The plain step of a game, on small networks."""
    if architecture == "stylegan":
        return textbook.stylegan_step(SMALL, images, 2)
    if architecture == "dcgan":
        settings = DCGANSettings(latent=8, generator_width=4, discriminator_width=4)
        return textbook.dcgan_step(DCGAN(settings, 16), images)
    if architecture == "pix2pix":
        edges = Edges(Pix2PixSettings(generator_width=4, discriminator_width=4), 16)
        return translators.pix2pix_step(edges, images[:, :1], images)
    fastcut = FastCUT(FastCUTSettings(generator_width=4, blocks=1, discriminator_width=4), 16)
    return translators.fastcut_step(fastcut, images, images.flip(0), ContrastiveSettings(sites=8, head_width=8))


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_plain_step_trains_all_networks(architecture, monkeypatch):
    optimisers, adam = [], torch.optim.Adam

    def recorded(parameters, *arguments, **options):
        optimisers.append(adam(list(parameters), *arguments, **options))
        return optimisers[-1]

    monkeypatch.setattr(torch.optim, "Adam", recorded)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    step = plain(architecture, images)
    weights = [[p for group in optimiser.param_groups for p in group["params"]] for optimiser in optimisers]
    before = [[p.detach().clone() for p in network] for network in weights]
    step()
    assert len(weights) == (3 if architecture == "fastcut" else 2)  # the heads that compare patches
    for network, start in zip(weights, before, strict=True):
        moved = [not torch.equal(p, old) for p, old in zip(network, start, strict=True)]
        assert sum(moved) > len(moved) / 2
        assert all(torch.isfinite(p).all() for p in network)


def test_the_plain_generator_has_our_channels():
    ours, plain = Generator(SMALL, 32, ()), textbook._Generator(SMALL, 32)

    def kernels(network):
        return sum(p.numel() for name, p in network.named_parameters() if name.endswith("weight") and p.dim() >= 4)

    assert kernels(ours) == kernels(plain)
    assert plain(torch.randn(2, 8)).shape == (2, 3, 32, 32)


def test_the_plain_autoencoder_learns_and_has_our_coarse_levels(monkeypatch):
    settings = VAESettings(widths=(16, 16), latent=8)
    torch.manual_seed(0)
    network, images = autoencoders.PlainVAE(settings, 16), torch.rand(8, 3, 16, 16) * 2 - 1
    ours = VAE(settings, 16).generator()
    assert network.posterior.weight.shape == ours.posterior.weight.shape  # the same grid, of the same channels
    assert network.decode(network.encode(images)[0]).shape == images.shape
    losses: list[float] = []
    step = autoencoders.plain_step(settings, images, 0.1)
    backward = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda loss: (losses.append(loss.item()), backward(loss)))
    for _ in range(20):
        step()
    assert losses[-1] < 0.8 * losses[0]


def test_the_plain_translators_compute_what_ours_do():
    translator = FastCUT(FastCUTSettings(generator_width=4, blocks=1, discriminator_width=4), 16)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    discriminator = translator.discriminator()
    expected = discriminator(images)
    assert torch.allclose(translators.as_published(discriminator)(images), expected, atol=1e-5)
    body = translator.body()
    expected = [level.shape for level in body.features(images)]
    published = translators.as_published(body)
    # the filter stands after the convolution, so that values differ
    assert [level.shape for level in published.features(images)] == expected
    assert not [module for module in published.modules() if isinstance(module, InstanceNorm)]


def test_the_plain_flow_learns(monkeypatch):
    torch.manual_seed(0)
    images, losses = torch.zeros(8, 3, 16, 16), []
    step = diffusion.flow_step(FlowSettings(widths=(16, 16)), images)
    monkeypatch.setattr(diffusion, "backward", lambda loss: (losses.append(loss.item()), loss.backward()))
    for _ in range(100):
        step()
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize("size", [4, 8])
def test_zero_insertion_and_our_resampling_agree(size):
    images = torch.randn(2, 3, size, size)
    inside = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(textbook._zero_insertion(images)[inside], upsample(images)[inside], atol=1e-5)
    assert torch.allclose(textbook._FilterThenSkip()(images), Downsample(3)(images), atol=1e-6)


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_the_plain_evaluation_loop_gives_our_scores(faces, tmp_path):
    detector = Xception(TimmSettings(), 32)
    torch.manual_seed(0)
    detector.network = detector.build().eval()
    files = textbook_detector.write_pngs(faces, tmp_path / "png")
    plain = textbook_detector.score(detector.network, files, batch=2)
    assert plain == pytest.approx(detector.score(faces, Compute(precision="fp32")), rel=1e-3, abs=1e-4)


def test_the_plain_training_loop_learns(faces, tmp_path):
    folders = {"real": faces, "forged": 255 - faces // 8}
    files = [textbook_detector.write_pngs(images, tmp_path / name) for name, images in folders.items()]
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1))
    losses = [textbook_detector.train(network, *files, batch=10, learning_rate=0.3) for _ in range(6)]
    assert losses[5] < losses[0] / 2


def test_the_sets_that_detectors_are_timed_on(monkeypatch, tmp_path, faces):
    monkeypatch.setattr(detectors, "HELD_OUT", 2)
    monkeypatch.setattr(detectors, "RESOLUTION", 32)
    monkeypatch.setattr(detectors, "_images", lambda folder, photos, count: faces)
    data = detectors._data(tmp_path, None)
    data.check()
    assert np.array_equal(data.train_real.read(), faces[:3])
    assert np.array_equal(data.val_forged.read(), perturbation("half")(faces[3:]))


def test_scipys_solver_fills_as_ours_does():
    rng = np.random.default_rng(0)
    mask = np.zeros((12, 14), bool)
    mask[1:-1, 1:-1] = rng.random((10, 12)) > 0.4
    image = rng.integers(0, 256, (12, 14, 3)).astype(np.uint8)
    np.testing.assert_allclose(tampering.spsolve_fill(image, mask), harmonic_fill(image, mask), atol=1e-9)


def test_attacks_are_timed(monkeypatch):
    runs = (("pgd", {"steps": 1}, 4, 2), ("square", {"queries": 1}, 4, 2), ("spectrum-match", {}, None, 4))
    monkeypatch.setattr(attacks, "_RUNS", runs)
    figures = attacks.attacks(None)
    assert [figure.what.split(" against")[0] for figure in figures] == ["pgd", "square", "spectrum-match"]
    assert all(figure.value > 0 and figure.unit == "images/s" for figure in figures)


def test_tampering_and_pixel_measures_are_timed(monkeypatch):
    monkeypatch.setattr(tampering, "_METHODS", (("retouch", "", 4, 2), ("inpaint", "harmonic", 3, 2)))
    monkeypatch.setattr(tampering, "_FACES", 4)
    monkeypatch.setattr(tampering, "_LARGE", 32)
    monkeypatch.setattr(tampering, "_MAPS", 20)
    monkeypatch.setattr(tampering, "_BLOCK", 10)
    figures = [*tampering.tampering(None), *tampering.localisation(None)]
    assert [figure.what.partition(",")[0] for figure in figures[:4]] == ["retouch", "inpaint"] * 2
    assert len(figures) == 6 and all(figure.value > 0 for figure in figures)
