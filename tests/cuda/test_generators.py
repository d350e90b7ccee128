"""Generators on a GPU: they compute what a CPU computes, graphs play the same game, and a killed training goes on."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from forge.core.compute import Compute
from forge.core.errors import BenchError
from forge.core.execution import Execution
from forge.core.progress import silent
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.labels import Condition
from forge.generators.sample import synthesize
from forge.training import batches, trainer
from forge.training.settings import TrainingSettings
from forge.training.steps.denoising import DenoisingSettings
from forge.training.task import Training, hold_out
from forge.training.train import train
from forge.training.trainer import Trainer

SMALL: dict[str, dict[str, Any]] = {
    "gan": {"latent": 16, "generator_widths": [32], "discriminator_widths": [32]},
    "dcgan": {"latent": 16, "generator_width": 8, "discriminator_width": 8},
    "cgan": {"latent": 16, "generator_width": 8, "discriminator_width": 8},
    "stylegan-lite": {"latent": 16, "style": 16, "channels_base": 256, "channels_min": 8, "channels_max": 16},
}
DENOISERS: dict[str, dict[str, Any]] = {
    "flow": {"widths": [16, 16], "embedding": 16, "steps": 3},
    "ddpm": {"widths": [16, 16], "embedding": 16, "steps": 3, "attention": True},
}
RECIPE = {
    "kimg": 0.64, "batch": 16, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.1, "penalty_every": 2, "log_every": 5,
    "ema_kimg": 0.2, "sample_every_kimg": 0.5,
}  # fmt: skip
SEVERAL = {  # what a step may also do
    "dcgan, adapted augmentation": ("dcgan", {"augment": ("colour", "translation"), "augment_target": 0.6}),
    "stylegan-lite, path lengths": ("stylegan-lite", {"path_length": 2.0}),
    "dcgan, two moves each": ("dcgan", {"d_steps": 2, "g_steps": 2}),
    "gan, relativistic": ("gan", {"objective": "relativistic", "r2_gamma": 0.1}),
}


def make_training(faces, device, work, name: str, precision="fp32", **settings) -> Training:
    architecture, view = GENERATORS.load(name), faces("real").view("forge")
    condition = codes = None
    classes: tuple[tuple[int, ...], ...] = ()
    if name == "cgan":
        condition, view, codes = Condition.of(view, ["letter"])
        classes = (condition.classes,)
    return Training(
        name, name, architecture(architecture.Settings(**SMALL[name]), 32, *classes),
        TrainingSettings(**RECIPE | settings), view, 3, Compute(str(device), precision), work, condition=condition,
        codes=codes,
    )  # fmt: skip


def play(training: Training, steps: int, precision: str = "fp32") -> list[dict[str, float]]:
    playing = Trainer(training, precision)
    readings = []
    for _ in range(steps):
        playing.advance(measure=True)
        readings.append(playing.readings.fetch())
    return readings


def assert_close(first: list[dict[str, float]], second: list[dict[str, float]], tolerance: float = 1e-3) -> None:
    for step, (ours, other) in enumerate(zip(first, second, strict=True)):
        assert ours == pytest.approx(other, rel=tolerance, abs=tolerance), f"step {step}"


def distance(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value.cpu() - reference).norm() / reference.norm())


@pytest.mark.parametrize("name", SMALL)
def test_networks_and_their_gradients_agree_with_a_cpu(faces, device, tmp_path, name):
    training = make_training(faces, device, tmp_path, name)
    architecture, count = training.architecture, 16
    torch.manual_seed(0)
    networks = [architecture.generator().eval(), architecture.discriminator()]
    latents = architecture.latents(count, torch.device("cpu"))
    labels = () if training.codes is None else (torch.from_numpy(training.codes[:count]),)
    results = []
    for place in (torch.device("cpu"), device):
        generator, discriminator = (copy.deepcopy(network).to(place) for network in networks)
        torch.manual_seed(1)  # noise inputs
        images = generator(latents.to(place), *(part.to(place) for part in labels))
        logits = discriminator(images, *(part.to(place) for part in labels))
        gradient = torch.autograd.grad(logits.sum(), list(generator.parameters()), allow_unused=True)
        flat = torch.cat([part.flatten() for part in gradient if part is not None])
        results.append([part.detach() for part in (images, logits, flat)])
    for on_cpu, on_device in zip(*results, strict=True):
        assert distance(on_device, on_cpu) < 1e-3


@pytest.mark.parametrize("name", DENOISERS)
def test_graphs_of_denoising_do_what_eager_steps_do(faces, device, tmp_path, monkeypatch, name):
    kind = GENERATORS.load(name)
    readings = {}
    for graph in (False, True):
        monkeypatch.setattr(trainer, "execution_of", lambda kind, name, graph=graph: Execution(graph=graph))
        settings = DenoisingSettings(kimg=0.64, batch=16, warm_up=4)
        training = Training(
            name, name, kind(kind.Settings(**DENOISERS[name]), 32), settings, faces("real").view("forge"), 3,
            Compute(str(device), "fp32"), tmp_path / str(graph),
        )  # fmt: skip
        readings[graph] = play(training, 16)
    assert_close(readings[False], readings[True], 1e-2)
    assert len({step["loss"] for step in readings[True]}) > 12  # replayed graphs draw new numbers at every step


@pytest.mark.parametrize("name", [*SMALL, *SEVERAL])
def test_steps_in_bf16_are_finite(faces, device, tmp_path, name):
    plain, settings = SEVERAL.get(name, (name, {}))
    readings = play(make_training(faces, device, tmp_path, plain, "bf16", **settings), 24, "bf16")
    assert all(math.isfinite(value) for step in readings for value in step.values())
    assert len({step["g_loss"] for step in readings}) > 20  # replayed graphs draw new numbers at every step


@pytest.mark.parametrize("name", [*SMALL, *SEVERAL])
def test_graphs_play_the_game_that_eager_steps_play(faces, device, tmp_path, monkeypatch, name):
    plain, settings = SEVERAL.get(name, (name, {}))
    readings = {}
    for graph in (False, True):
        monkeypatch.setattr(trainer, "execution_of", lambda architecture, name, graph=graph: Execution(graph=graph))
        readings[graph] = play(make_training(faces, device, tmp_path, plain, **settings), 24)
    assert_close(readings[True], readings[False])


@pytest.mark.parametrize("name", SMALL)
def test_a_training_that_continues_from_its_checkpoint_has_the_same_losses(faces, device, tmp_path, name):
    training = make_training(faces, device, tmp_path, name)
    whole = play(training, 24)
    first, second = Trainer(training, "fp32"), Trainer(training, "fp32")
    for _ in range(13):
        first.advance()
    second.unpack({key: tensor.cpu() for key, tensor in first.pack().items()}, first.step)
    second.readings.restore(first.readings.fetch())
    continued = []
    for _ in range(11):
        second.advance(measure=True)
        continued.append(second.readings.fetch())
    assert_close(continued, whole[13:])


def test_a_set_larger_than_the_device_s_share_streams_the_same_images(faces, device, tmp_path, monkeypatch):
    training = make_training(faces, device, tmp_path, "cgan")
    resident = play(training, 24)
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    assert_close(play(training, 24), resident)


@pytest.mark.parametrize("name", SMALL)
def test_a_whole_training_publishes_a_generator_whose_faces_a_cpu_makes_too(faces, device, tmp_path, name):
    training = make_training(faces, device, tmp_path / "work", name, "auto")
    out = tmp_path / "out"
    out.mkdir()
    train(hold_out(training), out, silent)
    trained = TrainedGenerator.open(out)
    assert trained.card.precision == ("bf16" if device.type == "cuda" else trained.card.precision)
    sets = [
        synthesize(trained, tmp_path / where, counts={"test": 100}, seed=1, on_progress=silent, device=where)
        for where in {"cpu", str(device)}
    ]
    first, last = (made.view().read().astype(int) for made in (sets[0], sets[-1]))
    assert first.std() > 0
    assert np.abs(first - last).max() <= 2 and np.abs(first - last).mean() < 0.05


def test_a_batch_that_does_not_fit_names_one_that_does(faces, device, tmp_path):
    if device.type != "cuda":
        pytest.skip("the memory of a CPU cannot be limited for one test")
    training = make_training(faces, device, tmp_path / "work", "dcgan", batch=320)
    wide = GENERATORS.load("dcgan")
    settings = wide.Settings(latent=16, generator_width=512, discriminator_width=512)
    training = Training(**vars(training) | {"architecture": wide(settings, 32)})
    free = torch.cuda.mem_get_info(device)[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (6 << 30) / free), device)
    try:
        with pytest.raises(BenchError, match=r"too small for batch 320 of dcgan at 32 px; batch \d+ fits"):
            train(training, tmp_path, silent)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()
