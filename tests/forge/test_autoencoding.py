"""Autoencoders: formulas, fitted prior, linear optimum, tokens, exact resume, labels, encoding, and failures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from levels import check_levels, faces_of_two_levels
from pydantic import ValidationError
from stopping import Stopped, stop_after
from torch import nn

from forge.core.checkpoint import load_checkpoint
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.tensors import to_float
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, export_averaged
from forge.generators.blocks.fitted_prior import FittedPrior
from forge.generators.blocks.linear_shortcut import LinearShortcut
from forge.generators.blocks.quantised import Codebook
from forge.generators.blocks.token_prior import TokenPrior
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.generators.labels import Condition
from forge.generators.reconstruct import autoencoder_of, decode, encode, reconstruct
from forge.generators.sample import regenerate, synthesize
from forge.generators.vae import VAE, VAESettings, divergences
from forge.training.callbacks import checkpoint as saving
from forge.training.monitor.health import Diagnosis, HealthSettings
from forge.training.monitor.observe import HealthMonitor, Observed
from forge.training.settings import TrainingSettings
from forge.training.steps import method_of
from forge.training.steps.autoencoding import (
    Autoencoding,
    AutoencodingSettings,
    distances,
    laplacian_distances,
    rate_with_free_bits,
)
from forge.training.task import Training
from forge.training.train import train
from forge.training.trainer import Trainer

CPU = torch.device("cpu")
TINY = {"widths": (8, 8), "latent": 6, "prior_width": 8, "prior_blocks": 1}
KINDS = {"gaussian": {}, "tokens": {"codes": 12}, "without shortcut": {"shortcut": False, "prior": "standard"}}


def build(kind: str = "gaussian", classes: tuple[int, ...] = (), resolution: int = 16, **network) -> VAE:
    return VAE(VAESettings(**(TINY | KINDS[kind] | network)), resolution, classes)


def make_training(view, work: Path, kind: str = "gaussian", *, columns=(), network=None, **settings) -> Training:
    condition, codes, classes = None, None, ()
    if columns:
        condition, view, codes = Condition.of(view, columns)
        classes = condition.classes
    chosen = {"kimg": 0.32, "batch": 16, "log_every": 3, "sample_every_kimg": 0.16, "ema_kimg": 0.1, "warm_up": 5}
    return Training(
        name="vae",
        reference="vae",
        architecture=build(kind, classes, view.faces.resolution, **(network or {})),
        settings=AutoencodingSettings(**chosen | {"health_every_kimg": 0.16} | settings),
        view=view,
        seed=1,
        compute=Compute("cpu", "fp32"),
        work=work,
        condition=condition,
        codes=codes,
    )


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def photos(count: int, seed: int = 0, side: int = 16) -> np.ndarray:
    """Smooth random images, uint8 [count, side, side, 3]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = nn.functional.interpolate(coarse, scale_factor=side // 4, mode="bilinear")
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


# --- the loss


def test_divergences_are_those_of_torch():
    means, log_variances = randn(5, 3), randn(5, 3, seed=1)
    ours = torch.distributions.Normal(means, (log_variances / 2).exp())
    expected = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(divergences(means, log_variances), expected, atol=1e-6)


def test_distances_are_sums_over_an_image():
    images, decoded = randn(3, 3, 8, 8), randn(3, 3, 8, 8, seed=1)
    for i in range(3):
        difference = (decoded[i] - images[i]).double().numpy()
        assert distances(decoded, images, "l2")[i].item() == pytest.approx((difference**2).sum() / 2, rel=1e-5)
        assert distances(decoded, images, "l1")[i].item() == pytest.approx(np.abs(difference).sum(), rel=1e-5)


def test_the_pyramid_sees_detail_and_not_brightness():
    images = randn(2, 3, 16, 16)
    assert laplacian_distances(images + 0.5, images).abs().max() < 1e-3  # the rest below all levels is left out
    checks = torch.ones(16, 16)
    checks[::2, ::2] = checks[1::2, 1::2] = -1
    # differences of neighbouring pixels are of the finest level alone, where each of 3 * 256 values counts once
    assert torch.allclose(laplacian_distances(images + 0.1 * checks, images), torch.full((2,), 76.8), rtol=1e-4)
    # the same pattern of blocks of 2 x 2 is of the second level, of a quarter of the values, each of which counts four
    blocks = checks[:8, :8].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.allclose(laplacian_distances(images + 0.1 * blocks, images), torch.full((2,), 76.8), rtol=1e-4)


def test_free_bits_hold_for_the_mean_of_a_dimension():
    divergence = torch.tensor([[0.0, 3.0, 0.3], [0.2, 1.0, 0.3]], requires_grad=True)
    assert rate_with_free_bits(divergence, 0.0).item() == pytest.approx(0.1 + 2 + 0.3)
    rate = rate_with_free_bits(divergence, 0.2)
    assert rate.item() == pytest.approx(0.2 + 2 + 0.3)
    rate.backward()
    assert divergence.grad[:, 0].abs().max() == 0 and (divergence.grad[:, 1:] == 0.5).all()


# --- the prior that follows the codes


def test_the_fitted_prior_has_the_moments_of_the_aggregate_posterior():
    root, centre = randn(4, 4) / 2 + torch.eye(4), torch.tensor([1.0, -2.0, 0.0, 3.0])
    prior = FittedPrior(4)
    assert torch.allclose(prior.colour(randn(3, 4)), randn(3, 4), atol=1e-6)  # before the first step: N(0, I)
    for step in range(400):
        prior.follow(centre + randn(64, 4, seed=step) @ root, torch.full((64, 4), 0.25))
    codes = prior.colour(randn(40_000, 4, seed=-1))
    assert torch.allclose(codes.mean(0), centre, atol=0.1)
    assert torch.allclose(codes.T.cov(), root.T @ root + 0.25 * torch.eye(4), atol=0.2)
    assert torch.allclose(prior.whiten(codes), randn(40_000, 4, seed=-1), atol=1e-4)


def test_early_codes_fade_from_the_fitted_prior():
    prior = FittedPrior(2)
    for step in range(1000):
        prior.follow(randn(16, 2, seed=step) + (50.0 if step < 50 else 0.0), torch.zeros(16, 2))
    assert prior.mean.abs().max() < 0.5


def test_labels_move_the_fitted_prior_as_they_move_codes():
    prior, effect = FittedPrior(3, (2, 3)), torch.tensor([4.0, 0.0, -2.0])
    for step in range(400):
        labels = torch.stack(
            [torch.randint(0, n, (64,), generator=torch.Generator().manual_seed(step + n)) for n in (2, 3)], 1
        )
        prior.follow(
            randn(64, 3, seed=step) + labels[:, :1] * effect + (labels[:, 1:] == 2), torch.zeros(64, 3), labels
        )
    latents = randn(5000, 3, seed=-1)
    means = {
        pair: prior.colour(latents, torch.tensor([pair]).expand(5000, 2)).mean(0) for pair in ((0, 0), (1, 0), (0, 2))
    }
    assert torch.allclose(means[0, 0], torch.zeros(3), atol=0.2)
    assert torch.allclose(means[1, 0], effect, atol=0.2)
    assert torch.allclose(means[0, 2], torch.ones(3), atol=0.2)
    # what labels explain is not drawn again: without labels the spread is that of all
    given = prior.colour(latents, torch.zeros(5000, 2, dtype=torch.int64)).var(0)
    assert torch.allclose(given, torch.ones(3), atol=0.2) and prior.colour(latents).var(0)[0] > 4


def test_half_precision_keeps_the_fitted_prior(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}).view("forge")
    (tmp_path / "out").mkdir(), (tmp_path / "half").mkdir()
    train(make_training(view, tmp_path / "w"), tmp_path / "out", silent)
    whole = TrainedGenerator.open(tmp_path / "out")
    export_averaged(whole, tmp_path / "half")
    latents = randn(16, 6)
    images = [trained.generator()(latents) for trained in (whole, TrainedGenerator.open(tmp_path / "half"))]
    assert (images[0] - images[1]).abs().max() < 0.02


# --- the linear optimum


def linear_loss(images, mean, into, out, log_variances, beta):
    """The expected loss of a linear VAE, in closed form: E |x - W z|^2 / 2 + beta KL."""
    codes = (images - mean) @ into.T
    error = (images - mean - codes @ out.T).square().sum(1) + (log_variances.exp() * out.square()).sum()
    return (error / 2 + beta * divergences(codes, log_variances.expand_as(codes)).sum(1)).mean()


def test_the_shortcut_is_where_the_loss_of_a_linear_vae_has_no_slope():
    images, beta = to_float(torch.from_numpy(photos(200))), 0.5
    shortcut = LinearShortcut(10, 16)
    torch.manual_seed(0)
    shortcut.fit(images, beta)
    with torch.no_grad():
        into = (shortcut._slopes() / shortcut.variances)[:, None] * shortcut.axes
        out = (shortcut._slopes()[:, None] * shortcut.axes).T
    given = [tensor.double().clone().requires_grad_() for tensor in (into, out, shortcut.log_variances())]
    points, mean = images.flatten(1).double(), shortcut.mean.double()
    best = linear_loss(points, mean, *given, beta)
    best.backward()
    assert max(tensor.grad.abs().max().item() for tensor in given) < 1e-3 * best.item()
    for tensor in given:  # and any small change makes it worse
        moved = [t + 0.05 * torch.randn_like(t) * t.abs().max() if t is tensor else t for t in given]
        assert linear_loss(points, mean, *moved, beta) > best
    # the module computes the same
    codes = shortcut.encode(images)
    assert torch.allclose(codes.double(), (points - mean) @ given[0].T, atol=1e-4)
    assert torch.allclose(shortcut.decode(codes).flatten(1).double(), mean + codes.double() @ given[1].T, atol=1e-4)


def test_the_shortcut_leaves_out_what_beta_forbids_and_fits_few_images():
    shortcut = LinearShortcut(30, 16)
    torch.manual_seed(0)
    shortcut.fit(to_float(torch.from_numpy(photos(18))), 1e9)
    assert shortcut.encode(torch.rand(2, 3, 16, 16)).abs().max() == 0 and shortcut.log_variances().abs().max() == 0
    shortcut.fit(to_float(torch.from_numpy(photos(18))), 0.0)
    images = to_float(torch.from_numpy(photos(18)))
    assert torch.allclose(shortcut.decode(shortcut.encode(images)), images, atol=1e-3)  # 17 axes hold 18 images
    assert torch.isfinite(shortcut.encode(images)).all()


def test_a_shortcut_of_large_images_weighs_them_as_they_are():
    """Distances of small copies times the factor are about those of smooth images."""
    images = nn.functional.interpolate(to_float(torch.from_numpy(photos(60, side=32))), scale_factor=4)
    shortcut = LinearShortcut(59, 128)
    torch.manual_seed(0)
    shortcut.fit(images, 0.0)
    assert shortcut.factor == 4 and shortcut.decode(shortcut.encode(images)).shape == (60, 3, 32, 32)
    total = (images - images.mean(0)).square().sum() / 60
    assert shortcut.variances.sum().item() == pytest.approx(total.item(), rel=1e-3)


def test_training_begins_at_the_linear_optimum(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}).view("forge")
    trainer = Trainer(make_training(view, tmp_path / "w", flip=False, beta=0.5), "fp32")
    network, images = trainer.method.generator, to_float(torch.from_numpy(view.read()))
    with torch.no_grad():
        assert torch.allclose(network.encode(images), network.shortcut.encode(images), atol=1e-5)
        assert torch.allclose(network.decode(network.encode(images)), network.shortcut.decode(network.encode(images)))
    assert network.shortcut.noise == 0.5 and network.shortcut.variances[0] > 1


# --- tokens


def token_prior(codes=5, count=6, classes=()) -> TokenPrior:
    torch.manual_seed(0)
    prior = TokenPrior(codes, count, width=16, blocks=2, classes=classes)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return prior.eval()


def test_a_token_depends_on_those_before_it_alone():
    prior, tokens = token_prior(), torch.randint(0, 5, (3, 6), generator=torch.Generator().manual_seed(1))
    nats = prior.nats(tokens)
    changed = tokens.clone()
    changed[:, 4] = (tokens[:, 4] + 1) % 5
    others = prior.nats(changed)
    assert torch.allclose(nats[:, :4], others[:, :4], atol=1e-5) and not torch.allclose(nats[:, 5], others[:, 5])
    # what a network of this size holds for likely adds up: over all 25 pairs of two tokens to 1
    two = token_prior(5, 2)
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    assert (-two.nats(pairs).sum(1)).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_as_often_as_the_prior_says(temperature):
    prior = token_prior(4, 2)
    with torch.no_grad():
        tokens = prior.draw(randn(20_000, 2), temperature=temperature)
        first = torch.softmax(prior._all_logits(tokens[:1], None)[0, 0] / temperature, 0)
        shares = torch.bincount(tokens[:, 0], minlength=4) / 20_000
        assert torch.allclose(shares, first, atol=0.015)
        # the second ones too, given the first: computed here without a cache
        after = tokens[:, 0] == int(first.argmax())
        expected = torch.softmax(prior._all_logits(tokens[after][:1], None)[0, 1] / temperature, 0)
        shares = torch.bincount(tokens[after][:, 1], minlength=4) / after.sum()
        assert torch.allclose(shares, expected, atol=0.02)


@pytest.mark.parametrize("classes", [(), (2, 3)])
def test_latents_of_tokens_draw_these_tokens(classes):
    prior, latents = token_prior(7, 9, classes), randn(50, 9)
    labels = torch.stack([torch.arange(50) % n for n in classes], 1) if classes else None
    with torch.no_grad():
        tokens = prior.draw(latents, labels)
        assert torch.equal(prior.draw(latents, labels), tokens)
        assert torch.equal(prior.draw(latents[10:11], None if labels is None else labels[10:11])[0], tokens[10])
        assert torch.equal(prior.draw(prior.latents(tokens, labels), labels), tokens)
        if labels is not None:
            assert not torch.equal(prior.draw(latents, labels.flip(0)), tokens)


def test_the_codebook_finds_the_nearest_vector_and_moves_as_a_whole():
    torch.manual_seed(0)
    codebook, features = Codebook(9, 4), randn(3, 5, 4)
    vectors = codebook.vectors()
    expected = torch.cdist(features, vectors[None].expand(3, -1, -1)).argmin(2)
    assert torch.equal(codebook.nearest(features), expected)
    before = vectors.detach().clone()
    vectors[codebook.nearest(features)].square().sum().backward()
    with torch.no_grad():
        codebook.map.weight -= 0.01 * codebook.map.weight.grad
    assert ((codebook.vectors() - before).abs().max(dim=1).values > 1e-6).all()  # unused ones too


def test_gradients_pass_the_tokens_and_the_prior_sends_none_back():
    network, images = build("tokens").generator(), torch.rand(4, 3, 16, 16) * 2 - 1
    coding = network.code(images)
    assert coding.images.shape == images.shape and coding.divergence.shape == (4, 0)
    coding.images.square().sum().backward(retain_graph=True)
    assert network.encoder.entry.weight.grad.abs().max() > 0  # straight through
    network.zero_grad()
    coding.penalties["prior_loss"].backward()
    assert network.encoder.entry.weight.grad is None or network.encoder.entry.weight.grad.abs().max() == 0
    assert network.prior.exit.weight.grad.abs().max() > 0
    assert 0 < coding.information <= network.side**2 * math.log(12) + 1e-5


# --- the architecture


@pytest.mark.parametrize("kind", KINDS)
def test_family_names_and_interface(kind):
    assert GENERATORS.load("vae") is VAE and VAE.family == "autoencoder" and method_of(VAE) is Autoencoding
    made = build(kind)
    assert not made.has_discriminator()
    with pytest.raises(InputError, match="has no discriminator, since its training is not adversarial"):
        made.discriminator()
    network, latents = made.generator().eval(), made.latents(5, CPU)
    with torch.no_grad():
        images = network(latents)
        assert images.shape == (5, 3, 16, 16) and images.abs().max() <= 1
        assert torch.equal(network(latents), images)
        assert torch.allclose(network(latents[3:4]), images[3:4], atol=1e-5)  # nothing of the batch
        codes = network.encode(images)
        assert torch.allclose(network(network.latents(codes)), network.reconstruct(images), atol=1e-4)
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize(("wrong", "said"), [
    ({"codes": 1}, "a codebook of 1 code tells no two images apart"), ({"codes": -1}, "codes"),
    ({"latent": 0}, "latent"), ({"widths": ()}, "widths"), ({"temperature": 0}, "temperature"),
    ({"prior": "flat"}, "prior"),
])  # fmt: skip
def test_networks_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        VAESettings(**wrong)


@pytest.mark.parametrize("wrong", [{"beta": -1}, {"free_bits": -0.1}, {"laplacian": -1}, {"distance": "l3"}, {"lr": 0}])
def test_trainings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AutoencodingSettings(**wrong)


def test_what_does_not_fit_together_is_refused(make_set, tmp_path):
    with pytest.raises(InputError, match="resolution 28 is not possible with VAE; it makes 16, 32, 64, 128, 256 px"):
        build(resolution=28)
    with pytest.raises(InputError, match=r"resolution 16 cannot be halved 5 times; use fewer widths than .* of 32 px"):
        build(widths=(8,) * 5)
    with pytest.raises(InputError, match="prior=standard draws the same codes for all labels; use prior=fitted"):
        build(classes=(2,), prior="standard")
    view = make_set("faces", {"forge": 40}).view("forge")
    training = make_training(view, tmp_path / "w")
    object.__setattr__(training, "settings", TrainingSettings())
    with pytest.raises(
        InputError, match="has TrainingSettings, which are not the settings of an autoencoding training"
    ):
        Trainer(training, "fp32")

    class Codeless(VAE):
        def generator(self):
            return nn.Linear(1, 1)

    training = make_training(view, tmp_path / "w")
    object.__setattr__(training, "architecture", Codeless(VAESettings(**TINY), 16))
    with pytest.raises(InputError, match=r"its generator\(\) returns Linear; return a subclass of .*Autoencoder"):
        Trainer(training, "fp32")


# --- trainings


@pytest.mark.e2e
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_continues_to_the_same_bytes_and_forgeries_can_be_made_again(
    make_set, tmp_path, monkeypatch, kind
):
    view = make_set("faces", {"forge": 100}).view("forge")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    train(make_training(view, tmp_path / "a", kind, laplacian=0.1), straight, silent)
    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(make_training(view, tmp_path / "b", kind, laplacian=0.1), resumed, stop_after(150))
    assert 0 < load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[1]["step"] < 20
    train(make_training(view, tmp_path / "b", kind, laplacian=0.1), resumed, silent)
    for file in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / file).read_bytes() == (resumed / file).read_bytes(), file
    lines = [json.loads(line) for line in (resumed / "log.jsonl").read_text().splitlines()]
    assert {"loss", "grad_norm", "error", "information"} <= lines[-1].keys()
    trained = TrainedGenerator.open(resumed)
    assert trained.family == "autoencoder" and list(trained.card.parameters) == ["generator"]
    faces = synthesize(trained, tmp_path / "set", counts={"test": 70}, seed=0, on_progress=silent)
    assert (regenerate(trained, faces, 66) == faces.read([66])[0]).all()
    with pytest.raises(InputError, match="cannot be truncated"):
        synthesize(trained, tmp_path / "no", counts={"test": 1}, seed=0, on_progress=silent, truncation=0.5)


@pytest.mark.parametrize("images", [17, 65])
@pytest.mark.parametrize("batch", [8, 64])
def test_few_faces_stay_finite(make_set, tmp_path, images, batch):
    """Fewer images than a code is long, a batch that is lowered to their number, a last group of one."""
    view = make_set("faces", {"forge": images}).view("forge")
    out = tmp_path / "out"
    out.mkdir()
    training = make_training(view, tmp_path / "w", batch=batch, network={"latent": 80})
    if images < batch:
        with pytest.warns(UserWarning, match="is lowered to 17"):
            train(training, out, silent)
    else:
        train(training, out, silent)
    network = autoencoder_of(TrainedGenerator.open(out))
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert torch.isfinite(network(randn(4, 80))).all()


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["gaussian", "tokens"])
def test_labels_decide_the_brightness_of_bright_and_dark_images(tmp_path, kind):
    faces_of_two_levels(tmp_path / "set")
    view, out = FaceSet.open(tmp_path / "set").view("forge"), tmp_path / "out"
    out.mkdir()
    health = {"start_accuracy": 0.51}
    training = make_training(view, tmp_path / "w", kind, columns=["level"], kimg=4, lr=1e-2, sample_every_kimg=4,
                             health_every_kimg=4, ema_kimg=0.3, health=health)  # fmt: skip
    train(training, out, silent)
    trained = TrainedGenerator.open(out)
    check_levels(trained, tmp_path / "forged")


@pytest.mark.e2e
def test_a_trained_autoencoder_encodes_and_decodes_photos(make_set, tmp_path):
    faces = make_set("faces", {"forge": 200, "test": 70})
    out = tmp_path / "out"
    out.mkdir()
    training = make_training(faces.view("forge"), tmp_path / "w", network={"latent": 48}, beta=0.01, kimg=1)
    train(training, out, silent)
    network, images = autoencoder_of(TrainedGenerator.open(out)), faces.view("test").read()
    codes = encode(network, images)
    copies = reconstruct(network, images)
    assert codes.shape == (70, 48) and copies.shape == images.shape and copies.dtype == np.uint8
    assert (
        np.abs(copies.astype(int) - images).mean() < 0.3 * np.abs(images.mean(axis=0) - images).mean()
    )  # of unseen ones
    assert np.array_equal(decode(network, codes), copies) and torch.equal(encode(network, images), codes)
    with torch.no_grad():  # and it inverts the generator
        made = network(network.latents(codes))
    assert np.abs(copies - ((made + 1) * 127.5).permute(0, 2, 3, 1).numpy()).max() < 0.6
    for wrong in (images[:, :8, :8], images[:0], images[0]):
        with pytest.raises(
            InputError, match=r"cannot be encoded; the network was trained at 16 px and takes \[N, 16, 16"
        ):
            encode(network, wrong)


def test_a_gan_has_no_encoder(make_set, tmp_path):
    view, out = make_set("faces", {"forge": 40}).view("forge"), tmp_path / "out"
    out.mkdir()
    architecture = DCGAN(DCGANSettings(latent=4, generator_width=4, discriminator_width=4), 16)
    settings = TrainingSettings(kimg=0.04, batch=16, health_every_kimg=1)
    train(
        Training("dcgan", "dcgan", architecture, settings, view, 0, Compute("cpu", "fp32"), tmp_path / "w"), out, silent
    )
    with pytest.raises(InputError, match="dcgan has no encoder; name an autoencoder such as vae"):
        autoencoder_of(TrainedGenerator.open(out))


def test_beta_warms_up(make_set, tmp_path):
    """At beta 0 the codes are free; the loss then counts what they hold."""
    view = make_set("faces", {"forge": 40}).view("forge")
    shares = []
    for warm_up in (0, 1000):
        trainer = Trainer(make_training(view, tmp_path / "w", beta=1.0, beta_warm_up=warm_up), "fp32")
        trainer.advance()
        trainer.fetch()
        rate = trainer.values["information"] / (3 * 16 * 16)
        shares.append((trainer.values["loss"] - trainer.values["error"]) / rate)
    assert shares == pytest.approx([1.0, 0.001], rel=1e-2)


# --- what fails


def look(monitor: HealthMonitor, images: torch.Tensor, **readings: float):
    return [
        monitor.observe(Observed(step=300 + i, kimg=i, readings=readings, fixed=images[:64], fresh=images))
        for i in range(1, 8)
    ][-1]


def test_copies_of_training_images_are_called_overfit_and_blurred_unseen_ones_are_not():
    train_images, unseen = photos(300), photos(700, seed=1)
    monitor = HealthMonitor(HealthSettings(), train_images, unseen[:200], seed=0, device=CPU)
    copies = to_float(torch.from_numpy(train_images[:256])).flip(3) + 0.02 * randn(256, 3, 16, 16)  # mirrored ones too
    seen = look(monitor, copies, loss=0.1)
    assert seen.state == "overfit" and "of the forgeries are copies of training images" in seen.reason
    assert seen.readings["copied"] > 0.9
    monitor = HealthMonitor(HealthSettings(), train_images, unseen[:200], seed=0, device=CPU)
    blurred = nn.functional.avg_pool2d(to_float(torch.from_numpy(unseen[200:456])), 3, 1, 1)
    seen = look(monitor, blurred, loss=0.1, information=100.0)
    assert seen.state == "healthy" and seen.readings["copied"] < 0.1
    # without images that nothing was trained on, nothing is said
    monitor = HealthMonitor(HealthSettings(), train_images, None, seed=0, device=CPU)
    assert "copied" not in look(monitor, copies, loss=0.1).readings


def test_a_posterior_collapse_is_named(tmp_path):
    pattern = photos(1, seed=9).astype(int)  # what all images share, as faces do: the mean image is not blank
    with FaceSetWriter(tmp_path / "set", "set", "real", 16, "CC0", {}) as writer:
        images = ((3 * pattern + photos(100)) // 4).astype(np.uint8)
        writer.append(images, [{"id": str(i), "split": "forge"} for i in range(100)])
    out = tmp_path / "out"
    out.mkdir()
    health = HealthSettings(warming_steps=10, patience=1)
    training = make_training(FaceSet.open(tmp_path / "set").view("forge"), tmp_path / "w", beta=1e6, beta_warm_up=0,
                             kimg=1, health_every_kimg=0.2, sample_every_kimg=1, health=health, flip=False)  # fmt: skip
    train(training, out, silent)
    last = json.loads((out / "health.json").read_text())[-1]
    assert last["state"] == "collapsed" and last["readings"]["information"] < 1
    assert "posterior collapse: the codes of images hold" in last["reason"] and "too much alike" in last["reason"]
    readings = {"distance": 1, "diversity": 1, "coverage": 1, "bins_filled": 1, "near_duplicates": 0, "information": 50}
    assert Diagnosis(health).name(readings, step=99, kimg=9).state == "healthy"
