"""Schedules: their ends, their shape, and what of a training follows them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forge.core.compute import Compute
from forge.generators import GENERATORS
from forge.training.averaging import AveragedWeights
from forge.training.schedule import ScheduleSettings, cosine
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.trainer import Trainer

NETWORK = {"latent": 8, "generator_width": 4, "discriminator_width": 4, "discriminator_norm": "none"}


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_cosine_begins_and_ends_as_asked_and_is_half_way_in_the_middle(start, end):
    assert cosine(start, end, 0.0) == pytest.approx(start, abs=1e-12)
    assert cosine(start, end, 1.0) == pytest.approx(end, abs=1e-12)
    assert cosine(start, end, 0.5) == pytest.approx((start + end) / 2, abs=1e-12)
    assert cosine(start, None, 0.7) == start


def test_the_shape_is_r3gan_s():
    """Its `cosine_decay_with_warmup`: base + (1 - decay) (final - base), decay = (1 + cos(pi t)) / 2."""
    for progress in (0.1, 0.25, 0.9):
        decay = 0.5 * (1 + math.cos(math.pi * progress))
        assert cosine(2.0, 0.2, progress) == pytest.approx(2.0 + (1 - decay) * (0.2 - 2.0))
    assert cosine(0.0, 1.0, 0.1) == pytest.approx(0.0245, abs=1e-4)  # as the docstring says


def trainer_of(view, tmp_path, **settings) -> Trainer:
    chosen = {"kimg": 0.16, "batch": 16, "r1_gamma": 0.5, "penalty_every": 1, "beta1": 0.0, "beta2": 0.9}
    architecture = GENERATORS.load("dcgan")
    training = Training(
        name="dcgan",
        reference="dcgan",
        architecture=architecture(architecture.Settings(**NETWORK), 16),
        settings=TrainingSettings(**(chosen | settings)),
        view=view,
        seed=0,
        compute=Compute("cpu", "fp32"),
        work=tmp_path,
    )
    return Trainer(training, "fp32")


def test_rates_penalties_and_beta2_follow_their_schedules(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}).view("forge")
    schedule = {"lr": 0.25, "penalty": 0.1, "beta2": 0.99, "ema": 4.0}
    trainer = trainer_of(view, tmp_path, schedule=schedule, generator_lr=0.002)
    method, seen = trainer.method, []
    for step in range(trainer.steps):
        trainer.advance()
        group = method.generator_optimizer.param_groups[0]
        seen.append((group["lr"], group["betas"], method._penalty_factor))
        progress = step / 10
        assert seen[-1][0] == pytest.approx(cosine(0.002, 0.0005, progress))
        assert seen[-1][1] == (0.0, pytest.approx(cosine(0.9, 0.99, progress)))
        assert seen[-1][2] == pytest.approx(cosine(1.0, 0.1, progress))
        assert method.ema_factor(progress) == pytest.approx(cosine(1.0, 4.0, progress))
    assert seen[0] == (0.002, (0.0, 0.9), 1.0)


def test_the_penalty_s_gradient_is_scaled_by_its_schedule(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}).view("forge")
    gradients = []
    for factor in (1.0, 0.25):
        method = trainer_of(view, tmp_path).method
        method._penalty_factor = factor
        torch.manual_seed(0)
        method.discriminator.zero_grad()
        method._penalise(torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16), None)
        gradients.append(method.discriminator.blocks[0][0].weight.grad)
    assert torch.allclose(gradients[1], gradients[0] / 4)


def test_a_factor_on_the_half_life_is_another_half_life():
    networks = [torch.nn.Linear(3, 3) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    averages = [
        AveragedWeights(networks[0], half_life=100, ramp=10.0),
        AveragedWeights(networks[1], half_life=400, ramp=10.0),
    ]
    for network, average, factor in zip(networks, averages, (4.0, 1.0), strict=True):
        with torch.no_grad():
            network.weight.add_(1)
        average.update(10_000, 16, factor)
    assert torch.equal(averages[0].network.weight, averages[1].network.weight)


def test_no_schedule_changes_nothing_and_can_be_a_graph(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}).view("forge")
    weights = []
    for schedule in (None, {}, {"lr": 1.0, "penalty": 1.0}):
        trainer = trainer_of(view, tmp_path, schedule=schedule)
        for _ in range(3):
            trainer.advance()
        weights.append(torch.cat([p.flatten() for p in trainer.method.generator.parameters()]))
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])
    assert trainer_of(view, tmp_path, schedule={"ema": 2.0}).method.capturable
    assert not trainer_of(view, tmp_path, schedule={"lr": 0.5}).method.capturable


def test_values_outside_of_their_range_are_refused():
    for wrong in ({"lr": 0}, {"penalty": -1}, {"beta2": 1}, {"ema": 0}, {"gamma": 1}):
        with pytest.raises(ValidationError):
            ScheduleSettings(**wrong)
