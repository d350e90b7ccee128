"""The seam between the loop and what it trains: methods without a discriminator, and with two generators.

Both are defined here alone, as a plug-in's file would define them.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from stopping import Stopped, stop_after
from torch import Tensor, nn

from forge.core.checkpoint import load_checkpoint
from forge.core.compute import Compute
from forge.core.errors import BenchError, InputError
from forge.core.progress import silent
from forge.generators.artifact import TrainedGenerator
from forge.generators.base import Architecture, NetworkSettings
from forge.generators.dcgan import DCGAN, Discriminator, Generator
from forge.generators.sample import regenerate, synthesize
from forge.training.callbacks import checkpoint, monitoring
from forge.training.monitor.health import Action
from forge.training.settings import LoopSettings, TrainingSettings
from forge.training.steps import METHODS, method_of
from forge.training.steps.adversarial import Adversarial
from forge.training.steps.base import TrainingMethod
from forge.training.task import Training
from forge.training.train import train
from forge.training.trainer import Callback, Trainer

pytestmark = pytest.mark.e2e


class DenoisingSettings(LoopSettings):
    lr: float = 1e-2
    noise: float = 0.5


class Denoising(TrainingMethod):
    """An autoencoder that removes noise; images are made by its decoder."""

    Settings = DenoisingSettings
    remedy = "lower generator.training.lr"

    def __init__(self, context):
        super().__init__(context)
        size = context.training.architecture.resolution
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * size**2, 8)).to(context.device)
        self.generator = context.training.architecture.generator().to(context.device)
        weights = itertools.chain(self.encoder.parameters(), self.generator.parameters())
        self.optimizer = torch.optim.Adam(weights, context.training.settings.lr)

    def networks(self):
        return {"generator": self.generator, "encoder": self.encoder}

    def optimizers(self):
        return {"adam": self.optimizer}

    def step(self, plan, batches):
        real = self.real_images(batches[0])
        self.context.random.local()
        noisy = real + self.context.training.settings.noise * torch.randn_like(real)
        loss = (self.generator(self.encoder(noisy)) - real).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.context.readings.record("loss", loss)


class Decoder(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.dense, self.norm, self.size = nn.Linear(8, 3 * size**2), nn.BatchNorm1d(8), size

    def forward(self, latents: Tensor) -> Tensor:
        return self.dense(self.norm(latents)).tanh().unflatten(1, (3, self.size, self.size))


class Autoencoder(Architecture):
    citation, resolutions, family, trained_by = "-", (16,), "autoencoder", Denoising
    Settings = NetworkSettings

    def generator(self):
        return Decoder(self.resolution)

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)


class Teams(TrainingMethod):
    """Two generators against one discriminator, in two batches a step; the first generator is published."""

    Settings = TrainingSettings
    batches_per_step = 2

    def __init__(self, context):
        super().__init__(context)
        architecture, settings = context.training.architecture, context.training.settings
        self.generators = [architecture.generator(), architecture.generator()]
        self.generator, self.discriminator = self.generators[0], architecture.discriminator()
        self.steps_done = torch.zeros(())
        self.g_optimizers = [torch.optim.Adam(g.parameters(), settings.generator_lr) for g in self.generators]
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.discriminator_lr)

    def networks(self):
        return {"generator": self.generators[0], "second": self.generators[1], "discriminator": self.discriminator}

    def optimizers(self):
        return {"g0_adam": self.g_optimizers[0], "g1_adam": self.g_optimizers[1], "d_adam": self.d_optimizer}

    def scalars(self):
        return {"steps_done": self.steps_done}

    def step(self, plan, batches):
        self.steps_done.add_(1)
        architecture = self.context.training.architecture
        for number, (batch, network, optimizer) in enumerate(
            zip(batches, self.generators, self.g_optimizers, strict=True)
        ):
            self.context.random.shared(number)
            forged = network(architecture.latents(len(batch.pixels), self.context.device))
            self.d_optimizer.zero_grad()
            real_logits = self.discriminator(self.real_images(batch))
            loss = nn.functional.softplus(-real_logits).mean()
            (loss + nn.functional.softplus(self.discriminator(forged.detach())).mean()).backward()
            self.d_optimizer.step()
            optimizer.zero_grad()
            g_loss = nn.functional.softplus(-self.discriminator(forged)).mean()
            g_loss.backward()
            optimizer.step()
            self.context.readings.record(f"g{number}_loss", g_loss)


class Twins(Architecture):
    citation, resolutions, family, trained_by = "-", (16,), "twins", Teams
    Settings = NetworkSettings

    def generator(self):
        return Generator(8, 4, self.resolution, "nearest")

    def discriminator(self):
        return Discriminator(4, "none", self.resolution)

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)


def make_training(kind: type[Architecture], view, work: Path, **settings) -> Training:
    chosen = {"kimg": 0.96, "batch": 16, "log_every": 3, "sample_every_kimg": 0.3, "ema_kimg": 0.1}
    chosen |= {"health_every_kimg": 0.2} | settings  # seldom: a look takes longer than many steps
    return Training(
        name="mine",
        reference="mine.py:Mine",
        architecture=kind(kind.Settings(), 16),
        settings=method_of(kind).Settings(**chosen),
        view=view,
        seed=1,
        compute=Compute("cpu", "fp32"),
        work=work,
    )


@pytest.mark.parametrize("kind", [Autoencoder, Twins])
def test_another_method_trains_in_the_same_loop_and_continues_to_the_same_bytes(make_set, tmp_path, monkeypatch, kind):
    view = make_set("faces", {"forge": 100}).view("forge")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    train(make_training(kind, view, tmp_path / "a", snapshots_kimg=(0.48,)), straight, silent)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(make_training(kind, view, tmp_path / "b", snapshots_kimg=(0.48,)), resumed, stop_after(400))
    state = load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[1]
    assert 0 < state["step"] < 60
    train(make_training(kind, view, tmp_path / "b", snapshots_kimg=(0.48,)), resumed, silent)
    for name in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / name).read_bytes() == (resumed / name).read_bytes(), name
    assert (straight / "snapshots" / "0.48k" / "generator.json").is_file()
    losses = [json.loads(line) for line in (resumed / "log.jsonl").read_text().splitlines()]
    assert losses[-1]["kimg"] == 0.96 and any(name.endswith("loss") for name in losses[0])
    trained = TrainedGenerator.open(resumed, implementation=kind)
    assert trained.family == kind.family
    assert (
        trained.card.parameters.keys()
        == method_of(kind)(Trainer(make_training(kind, view, tmp_path / "c"), "fp32").method.context).networks().keys()
    )
    faces = synthesize(trained, tmp_path / "set", counts={"test": 5}, seed=0, on_progress=silent)
    assert (regenerate(trained, faces, 3) == faces.read([3])[0]).all()


def test_the_autoencoder_learns_and_is_watched_without_a_discriminator(make_set, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    view = make_set("faces", {"forge": 100}).view("forge")
    train(make_training(Autoencoder, view, tmp_path / "w", health_every_kimg=0), out, silent)  # as by default
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]
    looks = json.loads((out / "health.json").read_text())
    assert len(looks) == 20 and all(look["state"] in ("warming", "healthy") for look in looks)
    assert "distance" in looks[-1]["readings"] and not any(name.startswith("d_") for name in looks[-1]["readings"])


def test_a_failed_training_names_its_own_remedy(make_set, tmp_path, monkeypatch):
    monkeypatch.setattr(monitoring, "decide", lambda health, settings, roll_backs: Action("stop", "made up", 1.0, 0))
    view = make_set("faces", {"forge": 100}).view("forge")
    with pytest.raises(BenchError, match=r"was stopped: made up; lower generator.training.lr, or try another seed"):
        train(make_training(Autoencoder, view, tmp_path / "w"), tmp_path, silent)


def test_what_is_not_adversarial_has_no_discriminator_and_says_so(make_set, tmp_path):
    made = Autoencoder(NetworkSettings(), 16)
    with pytest.raises(InputError, match="Autoencoder has no discriminator, since its training is not adversarial"):
        made.discriminator()

    class Forgetful(Architecture):
        generator = latents = lambda self: None

    assert Forgetful.__abstractmethods__ == {"discriminator"}


def test_a_method_is_a_registered_name_or_a_class():
    assert METHODS.names() == ["adversarial", "autoencoding", "contrastive", "cycle", "denoising", "paired"]
    assert method_of(DCGAN) is Adversarial
    wrong = type("Wrong", (Twins,), {"trained_by": nn.Module})
    with pytest.raises(InputError, match=r"one of adversarial, .*denoising, paired, or a subclass of .*TrainingMethod"):
        method_of(wrong)
    with pytest.raises(InputError, match="training method 'adversrial' is not known; did you mean 'adversarial'"):
        method_of(type("Wrong", (Twins,), {"trained_by": "adversrial"}))


def test_adversarial_steps_refuse_the_settings_of_another_method(make_set, tmp_path):
    training = make_training(Autoencoder, make_set("faces", {"forge": 100}).view("forge"), tmp_path / "w")
    with pytest.raises(InputError, match="has DenoisingSettings, which are not the settings of an adv"):
        Trainer(training, "fp32", method=Adversarial)


def test_callbacks_are_called_at_their_moments(make_set, tmp_path):
    moments = []

    class Recorder(Callback):
        def __getattribute__(self, name):
            if not name.startswith("__"):
                moments.append(name)
            return super().__getattribute__(name)

    view = make_set("faces", {"forge": 100}).view("forge")
    training = make_training(Autoencoder, view, tmp_path / "w", kimg=0.032)
    training.work.mkdir()
    trainer = Trainer(training, "fp32", callbacks=[Recorder()])
    trainer.run()
    trainer.save()
    assert moments == ["setup", "on_start", "on_step", "on_step", "on_end", "state_dict"]
    moments.clear()
    again = Trainer(training, "fp32", callbacks=[Recorder()])
    again.restore(*load_checkpoint(training.work / "checkpoint.safetensors"))
    again.rewind(tmp_path / "none", stream=1, lr_factor=0.5)
    again.publish(tmp_path)
    assert moments == ["setup", "load_state_dict", "on_rewind", "state_dict", "on_publish"]
    assert again.step == 0 and again.method.optimizer.param_groups[0]["lr"] == 0.005


def test_the_memory_is_tried_with_the_method_s_own_step(make_set, tmp_path):
    training = make_training(Twins, make_set("faces", {"forge": 100}).view("forge"), tmp_path / "w")
    Teams.trial_step(training)("fp32")
