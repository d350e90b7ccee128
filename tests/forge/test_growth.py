"""Growth: both networks are continuous at the switch, and what they compute follows from the step."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from forge.core.compute import Compute
from forge.generators.stylegan_lite import StyleGANLite
from forge.generators.stylegan_settings import StyleGANSettings
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.trainer import Trainer

SMALL = {"latent": 8, "style": 8, "channels_base": 128, "channels_min": 4, "channels_max": 8}


def trainer_of(view, work: Path, share: float | None = 0.5, **settings) -> Trainer:
    chosen = {"kimg": 0.16, "batch": 8, "r1_gamma": 0.1, "penalty_every": 4, "ema_kimg": 0.02}
    return Trainer(
        Training(
            name="stylegan-lite",
            reference="stylegan-lite",
            architecture=StyleGANLite(StyleGANSettings(**SMALL, growth=share), 32),
            settings=TrainingSettings(**(chosen | settings)),
            view=view,
            seed=0,
            compute=Compute("cpu", "fp32"),
            work=work,
        ),
        "fp32",
    )


@pytest.fixture
def half_way(make_set, tmp_path) -> Trainer:
    """A trainer at the switch: 10 of 20 steps are done, all at half the resolution."""
    trainer = trainer_of(make_set("faces", {"forge": 64}, resolution=32).view("forge"), tmp_path)
    for _ in range(10):
        trainer.advance()
    return trainer


def test_the_switch_changes_neither_images_nor_logits(half_way):
    method, latents = half_way.method, torch.randn(4, 8)
    generator, discriminator = method.generator.eval(), method.discriminator
    assert not generator.grown and not discriminator.grown
    with torch.no_grad():
        torch.manual_seed(0)  # of the noise inputs
        images = generator(latents)
        logits = discriminator(images)
        half_way.method.begin_step(0.5)
        assert generator.grown and discriminator.grown
        torch.manual_seed(0)
        after = generator(latents)
        assert torch.allclose(after, images, atol=1e-6)
        assert torch.allclose(discriminator(after), logits, atol=1e-6)
        assert images.shape == (4, 3, 32, 32)
        assert images.std() > 0.01


def test_only_half_of_the_networks_trains_before_the_switch_and_all_of_them_after(half_way):
    def finest(network):
        return {key: value.clone() for key, value in network.named_parameters() if is_finest(network, key)}

    def is_finest(network, key):
        last = 0 if hasattr(network, "half_entry") else len(network.blocks) - 1
        return key.startswith((f"blocks.{last}.", "entry."))

    method = half_way.method
    networks = (method.generator, method.discriminator)
    before = [finest(network) for network in networks]
    for network, weights in zip(networks, before, strict=True):
        optimizer = method.generator_optimizer if network is method.generator else method.discriminator_optimizer
        for key, parameter in network.named_parameters():
            assert (parameter in optimizer.state) == (key not in weights), key
    for _ in range(10):
        half_way.advance()
    for network, weights in zip(networks, before, strict=True):
        still = [key for key, value in finest(network).items() if torch.equal(value, weights[key])]
        # a noise strength may not have moved yet; all else has
        assert not [key for key in still if "noise" not in key]


def test_averaged_weights_need_no_switch(half_way):
    network, latents = half_way.averaged.network, torch.randn(2, 8)
    assert network.grown
    with torch.no_grad():
        torch.manual_seed(0)
        whole = network(latents)
        network.follow(0.0)
        torch.manual_seed(0)
        assert torch.allclose(network(latents), whole, atol=1e-6)
        network.follow(1.0)


def test_the_stage_follows_from_the_step(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}, resolution=32).view("forge")
    trainer, stages = trainer_of(view, tmp_path, share=0.33), []
    for _ in range(20):
        trainer.advance()
        stages.append(trainer.method.generator.grown)
    assert stages == [False] * 7 + [True] * 13  # step 7 begins when 0.35 of the steps are done


@pytest.mark.e2e
def test_a_training_continued_around_the_switch_gives_the_same_bytes(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}, resolution=32).view("forge")
    straight, stopped = trainer_of(view, tmp_path / "straight"), {}
    for step in range(1, 21):
        straight.advance()
        if step in (9, 10, 11):
            stopped[step] = {name: tensor.clone() for name, tensor in straight.pack().items()}
    expected = straight.pack()
    for step, tensors in stopped.items():
        continued = trainer_of(view, tmp_path / f"continued from {step}")
        continued.unpack(tensors, step)
        for _ in range(20 - step):
            continued.advance()
        assert continued.pack().keys() == expected.keys()
        for name, tensor in continued.pack().items():
            assert torch.equal(tensor, expected[name]), (step, name)


def test_without_growth_there_is_no_second_entry():
    plain = StyleGANLite(StyleGANSettings(**SMALL), 32)
    assert plain.discriminator().half_entry is None
    assert not any("half_entry" in name for name in plain.discriminator().state_dict())
    plain.generator().follow(0.0)
    assert plain.generator().grown


@pytest.mark.parametrize("wrong", [{"generator": "residual"}, {"spectral": True}, {"growth": 1.0}, {"growth": 0}])
def test_what_cannot_grow_is_refused(wrong):
    with pytest.raises(ValidationError):
        StyleGANSettings(**({"growth": 0.3} | wrong))
