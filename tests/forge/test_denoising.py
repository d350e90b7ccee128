"""The diffusion family: formulas, solvers, schedules, averaged weights, exact resume, labels, and failure modes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
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
from forge.faces.tensors import to_float
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.blocks.unet import UNet, UNetSettings, time_waves
from forge.generators.ddpm import DDPM, DDPMSettings, ddim, schedule, split
from forge.generators.denoiser import Diffusion
from forge.generators.flow import Flow, FlowSettings, between, integrate, step_times
from forge.generators.labels import Condition
from forge.generators.sample import regenerate, synthesize
from forge.training.callbacks import checkpoint as saving
from forge.training.monitor.health import Diagnosis
from forge.training.monitor.metrics import smoothness
from forge.training.monitor.observe import HealthMonitor, Observed
from forge.training.monitor.thresholds import HealthSettings
from forge.training.settings import TrainingSettings
from forge.training.steps import method_of
from forge.training.steps.denoising import Denoising, DenoisingSettings
from forge.training.task import Guidance, Training
from forge.training.train import train
from forge.training.trainer import Trainer

CPU = torch.device("cpu")
TINY = {"widths": (8, 8), "embedding": 8, "steps": 3}
KINDS = {"flow": Flow, "ddpm": DDPM}


def build(name: str, classes: tuple[int, ...] = (), resolution: int = 16, **network) -> Diffusion:
    kind = KINDS[name]
    return kind(kind.Settings(**(TINY | network)), resolution, classes)


def make_training(view, work: Path, name: str = "flow", *, columns=(), network=None, **settings) -> Training:
    condition, codes, classes = None, None, ()
    if columns:
        condition, view, codes = Condition.of(view, columns)
        classes = condition.classes
    chosen = {"kimg": 0.32, "batch": 16, "log_every": 3, "sample_every_kimg": 0.16, "ema_kimg": 0.1, "warm_up": 5}
    chosen["health_every_kimg"] = 0.16
    return Training(
        name=name,
        reference=name,
        architecture=build(name, classes, **(network or {})),
        settings=DenoisingSettings(**chosen | settings),
        view=view,
        seed=1,
        compute=Compute("cpu", "fp32"),
        work=work,
        condition=condition,
        codes=codes,
    )


class Fixed(nn.Module):
    """A network that keeps what it was asked, and returns a function of it."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, images, times, labels=None):
        self.asked.append((images, times))
        return self.answer(images, times)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_of_flow_matching_is_the_error_of_the_velocity():
    images, noise, times = randn(4, 3, 16, 16), randn(4, 3, 16, 16, seed=1), torch.tensor([0.0, 0.25, 0.5, 1.0])
    generator = build("flow").generator()
    generator.network = Fixed(lambda places, times: 0.5 * places)
    losses = generator.loss(images, times, noise)
    for i, t in enumerate(times.tolist()):
        place = (1 - t) * noise[i] + t * images[i]
        assert torch.allclose(generator.network.asked[0][0][i], place)
        assert losses[i].item() == pytest.approx(float(((0.5 * place - (images[i] - noise[i])) ** 2).mean()))
    assert torch.equal(between(noise, images, torch.zeros(4)), noise)
    assert torch.equal(between(noise, images, torch.ones(4)), images)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_loss_of_diffusion_is_the_error_of_what_it_predicts(prediction):
    images, noise, times = randn(3, 3, 16, 16), randn(3, 3, 16, 16, seed=1), torch.tensor([0.1, 0.5, 1.0])
    generator = build("ddpm", prediction=prediction).generator()
    generator.network = Fixed(lambda places, times: torch.zeros_like(places))
    losses = generator.loss(images, times, noise)
    for i, t in enumerate(times.tolist()):
        alpha, sigma = (float(value) for value in schedule(torch.tensor(t)))
        assert torch.allclose(generator.network.asked[0][0][i], alpha * images[i] + sigma * noise[i])
        target = noise[i] if prediction == "epsilon" else alpha * noise[i] - sigma * images[i]
        assert losses[i].item() == pytest.approx(float(target.square().mean()))


def test_times_of_flow_matching_are_logit_normal_and_those_of_diffusion_uniform():
    torch.manual_seed(0)
    times = build("flow", time_mean=0.5, time_deviation=0.7).generator().times(20000, CPU)
    logits = torch.logit(times.double())
    assert logits.mean().item() == pytest.approx(0.5, abs=0.02) and logits.std().item() == pytest.approx(0.7, abs=0.02)
    uniform = build("ddpm").generator().times(20000, CPU)
    assert np.abs(np.histogram(uniform, bins=10, range=(0, 1))[0] / 2000 - 1).max() < 0.1


MEAN, DEVIATION = 0.7, 0.3


def gaussian_velocity(places, time):
    """E[x - z | x_t] for x of N(m, s^2) and z of N(0, 1): both are jointly normal with x_t."""
    variance = (1 - time) ** 2 + (time * DEVIATION) ** 2
    return MEAN + (time * DEVIATION**2 - (1 - time)) / variance * (places - time * MEAN)


def test_euler_with_the_exact_velocity_of_a_gaussian_arrives_at_it():
    """The flow from N(0, 1) to N(m, s^2) keeps quantiles: z arrives at m + s z."""
    start = randn(1000)
    exact = MEAN + DEVIATION * start
    errors = [
        (integrate(gaussian_velocity, start, steps=steps, solver="euler") - exact).abs().max().item()
        for steps in (100, 200, 400)
    ]
    assert errors[2] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1) and errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_heun_is_of_second_order():
    start = randn(1000)
    exact = MEAN + DEVIATION * start
    errors = [
        (integrate(gaussian_velocity, start, steps=steps, solver="heun") - exact).abs().max().item()
        for steps in (20, 40, 80)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15) and errors[1] / errors[2] == pytest.approx(4, rel=0.15)


def test_shifted_steps_are_short_near_noise_and_solve_the_same_equation():
    assert step_times(5) == pytest.approx(np.linspace(0, 1, 6))
    lengths = np.diff(step_times(1000, 3.0)) * 1000
    assert lengths[0] == pytest.approx(1 / 3, rel=0.01) and lengths[-1] == pytest.approx(3, rel=0.01)
    assert (np.diff(lengths) > 0).all() and lengths.sum() == pytest.approx(1000)
    start = randn(1000)
    exact = MEAN + DEVIATION * start
    errors = [
        (integrate(gaussian_velocity, start, steps=steps, solver="heun", shift=3.0) - exact).abs().max().item()
        for steps in (100, 200)
    ]
    assert errors[1] < 0.01 and errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_a_generator_samples_with_the_shift_of_its_settings():
    generator, noise = build("flow", steps=4, shift=3.0).generator(), randn(2, 3, 16, 16).float()
    with torch.no_grad():
        shifted = generator.sample(generator.predictor(None), noise)
        expected = integrate(generator.predictor(None), noise, steps=4, solver="euler", shift=3.0)
        plain = build("flow", steps=4).generator()
        plain.load_state_dict(generator.state_dict())
        equal = plain.sample(plain.predictor(None), noise)
    assert torch.equal(shifted, expected)
    assert torch.equal(equal, integrate(generator.predictor(None), noise, steps=4, solver="euler"))


@pytest.mark.parametrize(
    ("name", "network"), [("flow", {}), ("flow", {"solver": "heun"}), ("ddpm", {}), ("ddpm", {"prediction": "epsilon"})]
)
def test_the_last_predictions_alone_have_a_gradient(name, network):
    generator = build(name, **network).generator()
    for weight in generator.parameters():  # an untrained last layer is 0
        torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(weight.numel()))
    latents = randn(2, 3 * 16 * 16).float()

    def gradient(images):
        found = torch.autograd.grad(images.square().mean(), list(generator.parameters()), allow_unused=True)
        return torch.cat([torch.zeros(1) if part is None else part.flatten() for part in found])

    evaluations, whole = generator.evaluations, generator(latents)
    sampled = [generator.differentiable(latents, steps=steps) for steps in (1, evaluations)]
    assert all(torch.equal(images, whole) for images in sampled)
    assert evaluations == (6 if network.get("solver") == "heun" else 3)
    all_of_them, last = gradient(whole), gradient(sampled[0])
    assert torch.equal(gradient(sampled[1]), all_of_them)
    assert last.abs().max() > 0 and not torch.allclose(last, all_of_them, rtol=1e-2)


def test_the_gradient_of_the_last_prediction_is_that_of_a_step_from_a_given_state():
    generator, latents = build("flow").generator(), randn(2, 3 * 16 * 16).float()
    network = generator.network
    torch.nn.init.normal_(network.exit.weight, std=0.05)
    with torch.no_grad():
        state = latents.reshape(2, 3, 16, 16)
        for step in range(2):
            state = state + (1 / 3) * network(state, torch.full((2,), step / 3), None)
    expected = (state + (1 / 3) * network(state, torch.full((2,), 2 / 3), None)).clamp(-1, 1).mean()
    weights = list(network.exit.parameters())
    found = torch.autograd.grad(generator.differentiable(latents, steps=1).mean(), weights)
    for one, other in zip(found, torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_a_further_loss_of_samples_moves_them(make_set, tmp_path):
    view = make_set("faces", {"forge": 40}).view("forge")
    means = []
    for weight in (0.0, 30.0):
        guidance = Guidance(lambda images: images.mean() + 1, weight, {"what": "brightness"})
        training = replace(
            make_training(view, tmp_path / f"w{weight}", kimg=0.6, sample_every_kimg=0.6, health_every_kimg=0.6),
            guidance=guidance,
        )
        out = tmp_path / f"out{weight}"
        out.mkdir()
        train(training, out, silent)
        with torch.no_grad():
            means.append(float(TrainedGenerator.open(out).generator()(randn(16, 3 * 16 * 16).float()).mean()))
    assert means[1] < means[0] - 0.2


def test_a_straight_path_needs_one_step():
    assert torch.allclose(integrate(lambda place, time: torch.full_like(place, 2.0), randn(5), steps=1, solver="euler"),
                          randn(5) + 2)  # fmt: skip


def test_the_schedule_ends_at_image_and_noise_and_falls_between():
    alpha, sigma = schedule(torch.linspace(0, 1, 1001))
    assert alpha.dtype == torch.float64 and torch.allclose(alpha**2 + sigma**2, torch.ones(1, dtype=torch.float64))
    assert (alpha[0], sigma[0]) == (1, 0) and (alpha[-1], sigma[-1]) == (0, 1)
    assert (alpha.diff() < 0).all()
    # Nichol and Dhariwal 2021, equation 17, at the middle of 4,000 steps
    f = [math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0.5, 0)]
    assert alpha[500].item() ** 2 == pytest.approx(f[0] / f[1])


@pytest.mark.parametrize("time", [0.02, 0.5, 0.98, 1.0])
def test_image_and_noise_follow_from_an_exact_prediction(time):
    image, noise = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    alpha, sigma = (float(value) for value in schedule(torch.tensor(time, dtype=torch.float64)))
    noisy, v = alpha * image + sigma * noise, alpha * noise - sigma * image
    of_v = split(noisy, v, alpha, sigma, "v")
    assert torch.allclose(of_v[0], image) and torch.allclose(of_v[1], noise)
    if alpha:
        of_noise = split(noisy, noise, alpha, sigma, "epsilon")
        assert torch.allclose(of_noise[0], image) and torch.allclose(of_noise[1], noise)
        assert torch.allclose(alpha * of_v[1] - sigma * of_v[0], v)  # and back


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("steps", [1, 7])
def test_ddim_with_exact_predictions_returns_the_one_image_there_is(prediction, steps):
    """If all images are x, the noise is known: e = (x_t - alpha x) / sigma."""
    image = randn(2, 3, 4, 4).clamp(-1, 1)

    def predict(noisy, time):
        alpha, sigma = (float(value) for value in schedule(torch.tensor(time, dtype=torch.float64)))
        noise = (noisy - alpha * image) / sigma
        return noise if prediction == "epsilon" else alpha * noise - sigma * image

    assert torch.allclose(ddim(predict, randn(2, 3, 4, 4, seed=1), steps=steps, prediction=prediction), image)


def test_an_error_at_the_start_of_ddim_is_not_multiplied():
    wild = ddim(lambda noisy, time: 5 * noisy, randn(2, 3, 4, 4), steps=10, prediction="epsilon")
    assert torch.isfinite(wild).all() and wild.abs().max() <= 1


@pytest.mark.parametrize("options", [{}, {"unshuffle": False, "blocks": 2}, {"attention": True, "widths": (8, 12, 20)}])
def test_the_network_predicts_in_the_shape_of_its_input_and_has_no_buffers(options):
    network = UNet(UNetSettings(**({"widths": (8, 8), "embedding": 8} | options)), (2, 3))
    assert not list(network.buffers()) and not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    images, times, labels = torch.randn(5, 3, 16, 16), torch.rand(5), torch.randint(0, 2, (5, 2))
    assert torch.equal(network(images, times, labels), torch.zeros(5, 3, 16, 16))  # it starts at zero
    torch.manual_seed(0)
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.3)
    whole = network(images, times, labels)
    assert torch.allclose(network(images[2:3], times[2:3], labels[2:3]), whole[2:3], atol=1e-4)  # no batch statistics
    assert not torch.allclose(network(images, 1 - times, labels), whole, atol=1e-3)
    assert not torch.allclose(network(images, times, labels.flip(0) * 0), whole, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network(images, times, labels)
    assert coarse.dtype == torch.float32 and torch.allclose(coarse, whole, atol=0.1 * whole.abs().max().item())


def test_times_are_told_apart_in_fp32():
    waves = time_waves(torch.tensor([0.5, 0.5005], dtype=torch.bfloat16).float())
    assert waves.shape == (2, 64) and waves.dtype == torch.float32
    assert torch.allclose(time_waves(torch.zeros(1))[0], torch.cat([torch.zeros(32), torch.ones(32)]))
    assert (time_waves(torch.tensor([0.5]))[0] - time_waves(torch.tensor([0.501]))[0]).abs().max() > 0.1


def test_family_names_and_interface():
    for name, kind in KINDS.items():
        assert GENERATORS.load(name) is kind and kind.family == "diffusion" and method_of(kind) is Denoising
        made = build(name)
        latents = made.latents(2, CPU)
        images = made.generator()(latents)
        assert latents.shape == (2, 3 * 16 * 16) and images.shape == (2, 3, 16, 16) and images.abs().max() <= 1
        with pytest.raises(InputError, match="has no discriminator, since its training is not adversarial"):
            made.discriminator()


def test_settings_that_cannot_be_are_refused(make_set, tmp_path):
    for wrong in ({"steps": 0}, {"solver": "rk4"}, {"widths": ()}, {"time_deviation": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            FlowSettings(**wrong)
    with pytest.raises(ValidationError, match="prediction"):
        DDPMSettings(prediction="x0")
    with pytest.raises(InputError, match=r"resolution 28 cannot be halved 3 times; .* or a multiple of 8 px"):
        build("flow", resolution=28, widths=(8, 8, 8))
    with pytest.raises(InputError, match="resolution 20 is not possible with Flow"):
        build("flow", resolution=20)
    view = make_set("faces", {"forge": 40}).view("forge")
    training = make_training(view, tmp_path / "w")
    object.__setattr__(training, "settings", TrainingSettings())
    with pytest.raises(InputError, match="has TrainingSettings, which are not the settings of a denoising training"):
        Trainer(training, "fp32")


def test_a_plugin_whose_generator_has_no_loss_is_refused(make_set, tmp_path):
    class Lossless(Flow):
        def generator(self):
            return nn.Linear(1, 1)

    training = make_training(make_set("faces", {"forge": 40}).view("forge"), tmp_path / "w")
    object.__setattr__(training, "architecture", Lossless(FlowSettings(**TINY), 16))
    with pytest.raises(InputError, match=r"its generator\(\) returns Linear; return a subclass of .*Denoiser"):
        Trainer(training, "fp32")


@pytest.mark.e2e
@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_stopped_training_continues_to_the_same_bytes_and_forgeries_can_be_made_again(
    make_set, tmp_path, monkeypatch, name
):
    view = make_set("faces", {"forge": 100}).view("forge")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    train(make_training(view, tmp_path / "a", name), straight, silent)
    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(make_training(view, tmp_path / "b", name), resumed, stop_after(150))
    assert 0 < load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[1]["step"] < 20
    train(make_training(view, tmp_path / "b", name), resumed, silent)
    for file in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / file).read_bytes() == (resumed / file).read_bytes(), file
    lines = [json.loads(line) for line in (resumed / "log.jsonl").read_text().splitlines()]
    assert {"loss", "grad_norm", *(f"quarter{i}_loss" for i in (1, 2, 3, 4))} <= lines[-1].keys()
    trained = TrainedGenerator.open(resumed)
    assert trained.family == "diffusion" and list(trained.card.parameters) == ["generator"]
    faces = synthesize(trained, tmp_path / "set", counts={"test": 70}, seed=0, on_progress=silent)
    assert (regenerate(trained, faces, 66) == faces.read([66])[0]).all()


@pytest.mark.e2e
def test_labels_are_embedded_and_recorded(tmp_path, make_set):
    """Bright and dark images: after a short training the label decides the brightness."""
    from forge.faces.faceset import FaceSet

    faces_of_two_levels(tmp_path / "set")
    view = FaceSet.open(tmp_path / "set").view("forge")
    out = tmp_path / "out"
    out.mkdir()
    health = {"start_accuracy": 0.51}
    training = make_training(view, tmp_path / "w", columns=["level"], kimg=3, lr=1e-2, sample_every_kimg=3,
                             health_every_kimg=3, ema_kimg=0.3, health=health)  # fmt: skip
    train(training, out, silent)
    trained = TrainedGenerator.open(out)
    check_levels(trained, tmp_path / "forged")
    with pytest.raises(InputError, match="cannot be truncated"):
        synthesize(trained, tmp_path / "no", counts={"test": 1}, seed=0, on_progress=silent, truncation=0.5)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["ddpm", pytest.param("flow", marks=pytest.mark.slow)])  # flow has no buffers
def test_averaged_weights_make_images_at_any_number_of_steps(make_set, tmp_path, name):
    """Averaging a schedule's buffers, or weights from the first step on, makes black samples or noise."""
    view = make_set("faces", {"forge": 100}).view("forge")
    trainer = Trainer(make_training(view, tmp_path / "w", name, kimg=2, ema_kimg=10, lr=5e-3), "fp32")
    trainer.run()
    assert not list(trainer.averaged.network.buffers()) and not list(trainer.method.generator.buffers())
    reals = to_float(torch.from_numpy(view.read()))
    for steps in (5, 150):
        made = build(name, steps=steps).generator()
        made.load_state_dict(trainer.averaged.network.state_dict())
        torch.manual_seed(0)
        with torch.no_grad():
            images = made(torch.randn(8, 3 * 16 * 16))
        assert images.std(dim=(1, 2, 3)).min() > 0.3 * reals.std(dim=(1, 2, 3)).mean()  # not blank
        assert images.std(dim=0).mean() > 0.2  # eight images, not one eight times
        assert smoothness(images) > 0.1  # of noise 0: so small a network is on its way
    torch.manual_seed(0)
    times, noise = torch.rand(100), torch.randn(100, 3, 16, 16)
    with torch.no_grad():
        averaged, raw = (
            generator.loss(reals, times, noise).mean()
            for generator in (trainer.averaged.network, trainer.method.generator)
        )
    assert averaged < 1.1 * raw  # the first weights faded


def test_the_learning_rate_warms_up_and_gradients_are_clipped(make_set, tmp_path):
    view = make_set("faces", {"forge": 40}).view("forge")
    trainer = Trainer(make_training(view, tmp_path / "w", warm_up=4, clip=1e-9), "fp32")
    plans = [trainer.method.plan(step, measure=False).rate for step in range(6)]
    assert plans == [0.25, 0.5, 0.75, 1, 1, 1]
    moved = []
    for _ in range(2):
        before = [p.detach().clone() for p in trainer.method.generator.parameters()]
        trainer.advance(measure=True)
        pairs = zip(before, trainer.method.generator.parameters(), strict=True)
        moved.append(max((a - b).abs().max().item() for a, b in pairs))
        assert trainer.method.optimizer.param_groups[0]["lr"] == 1e-3
    assert 0 < moved[0] <= 0.25e-3  # of gradients a tenth of AdamW's epsilon little is left
    assert trainer.readings["grad_norm"] > 1e-9  # read before it is clipped


def test_the_learning_rate_falls_to_zero_in_the_last_share(make_set, tmp_path):
    view = make_set("faces", {"forge": 40}).view("forge")
    trainer = Trainer(make_training(view, tmp_path / "d", warm_up=0, decay=0.5), "fp32")
    rates = []
    for _ in range(trainer.steps):  # 20
        trainer.advance()
        rates.append(trainer.method.optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, 1e-3 * np.minimum(1, (1 - np.arange(20) / 20) / 0.5))
    assert not trainer.method.capturable  # a graph would keep the rate it was captured with
    with pytest.raises(ValidationError, match="decay"):
        DenoisingSettings(kimg=1, decay=1.5)


def photos(count: int) -> np.ndarray:
    """Smooth random images, uint8 [count, 16, 16, 3]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    fine = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def made_of(kind: str) -> torch.Tensor:
    shape = (128, 3, 16, 16)
    return {
        "noise": torch.randn(shape).clamp(-1, 1),
        "blank": torch.rand(128, 3, 1, 1).expand(shape) * 0.02 - 0.9,
        "collapsed": to_float(torch.from_numpy(photos(1).repeat(128, 0))) + 0.01 * torch.randn(shape),
        "healthy": to_float(torch.from_numpy(photos(600)[472:])),
    }[kind]


@pytest.mark.parametrize("kind", ["noise", "blank", "collapsed", "healthy"])
def test_what_fails_without_a_discriminator_is_named(kind):
    torch.manual_seed(0)
    monitor = HealthMonitor(HealthSettings(), photos(400), None, seed=0, device=CPU, watched=128)
    images = made_of(kind)
    looks = [
        monitor.observe(Observed(step=300 + i, kimg=i, readings={"loss": 0.5}, fixed=images[:64], fresh=images))
        for i in range(1, 8)
    ]
    assert looks[-1].state == kind, looks[-1]
    if kind != "healthy":
        words = {"noise": "are noise", "blank": "one even colour", "collapsed": "too much alike"}
        assert words[kind] in looks[-1].reason and looks[0].state != kind  # a sign must last


def test_divergence_is_named_without_a_discriminator():
    monitor = HealthMonitor(HealthSettings(), photos(400), None, seed=0, device=CPU, watched=128)
    images = made_of("healthy")
    look = monitor.observe(Observed(1, 0.1, {"loss": math.nan}, images[:64], images))
    assert look.state == "diverged" and look.reason == "the loss is nan"


def test_the_monitor_s_memory_of_before_still_loads():
    old = Diagnosis(HealthSettings()).state_dict()
    for sign in ("blank", "noise"):
        del old["lasted"][sign]
    diagnosis = Diagnosis(HealthSettings())
    diagnosis.load_state_dict(old)
    assert diagnosis.clear and "noise" in diagnosis.state_dict()["lasted"]
