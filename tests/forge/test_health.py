"""The health of a training: states on trainings that really go wrong, the start check, resume, policies, formulas."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, wasserstein_distance

from forge.core.compute import Compute, derive_seed
from forge.core.errors import InputError
from forge.faces.tensors import to_float
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.training.monitor.health import FAILURE_MODES, Diagnosis, Health, decide, state_title
from forge.training.monitor.metrics import RealReference, diversity, rank, shrink, sliced_wasserstein
from forge.training.monitor.observe import HealthMonitor, Observed, aside, gradient_norm
from forge.training.monitor.thresholds import HealthSettings
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.trainer import Trainer

pytestmark = pytest.mark.e2e

CPU = torch.device("cpu")
TINY = HealthSettings(warming_steps=100)


def discs(count: int, seed: int) -> np.ndarray:
    """Soft discs of random colour, size and place on random backgrounds, uint8 [count, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    centre, radius = rng.uniform(5, 10, (count, 2, 1, 1)), rng.uniform(2.5, 6, (count, 1, 1))
    distance = np.hypot(rows - centre[:, 0], columns - centre[:, 1])
    inside = (1 / (1 + np.exp((distance - radius) * rng.uniform(0.7, 2, (count, 1, 1)))))[..., None]
    back, front = rng.uniform(0, 255, (2, count, 1, 1, 3))
    return (inside * front + (1 - inside) * back).round().astype(np.uint8)


class View:
    """What a training reads of a set."""

    def __init__(self, images: np.ndarray):
        self.images, self.faces = images, SimpleNamespace(resolution=16)

    def __len__(self):
        return len(self.images)

    def read(self, index=slice(None)):
        return self.images[index]


class Play:
    """A tiny training with its monitor: `tick` plays some steps and observes."""

    def __init__(self, images=1024, *, seed=0, network=None, health=TINY, **settings):
        data = discs(images, 1)
        width = {"latent": 8, "generator_width": 8, "discriminator_width": 8, "discriminator_norm": "none"}
        recipe = {
            "batch": 16, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.1,
            "penalty_every": 8, "ema_kimg": 0.5, "flip": False,
        }  # fmt: skip
        view = View(data)
        self.seed, self.architecture = seed, DCGAN(DCGANSettings(**width | (network or {})), 16)
        training = Training(
            "tiny", "dcgan", self.architecture, TrainingSettings(**recipe | settings), view, seed,
            Compute("cpu", "fp32"), Path("unused"),
        )  # fmt: skip
        self.trainer, self.ticks = Trainer(training, "fp32"), 0
        self.monitor = HealthMonitor(health, data, discs(256, 2), seed=seed, device=CPU)

    @torch.no_grad()
    def samples(self, *label: str | int) -> torch.Tensor:
        network = self.trainer.settled()
        torch.manual_seed(derive_seed(self.seed, *label))
        return network(self.architecture.latents(256, CPU))

    def observed(self, steps: int = 40) -> Observed:
        right = []
        for _ in range(steps):
            self.trainer.advance()
            right.append(self.trainer.readings["d_accuracy"].clone())
        self.ticks += 1
        readings = {name: float(value) for name, value in self.trainer.readings.items()}
        readings |= {
            "d_accuracy": float(torch.stack(right).mean()),
            "d_grad_norm": gradient_norm(self.trainer.method.discriminator.parameters()),
        }
        fresh = self.samples("fresh", self.ticks)
        discriminate = aside(self.trainer.method.discriminator)
        return Observed(self.trainer.step, self.trainer.kimg, readings, self.samples("fixed"), fresh, discriminate)

    def tick(self) -> Health:
        return self.monitor.observe(self.observed())


def states(ticks: int, *args, **kwargs) -> list[str]:
    play = Play(*args, **kwargs)
    return [play.tick().state for _ in range(ticks)]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_healthy_training_has_no_failure_mode_and_passes_the_start_check(seed):
    play = Play(seed=seed)
    play.monitor.start_check(play.samples("start"))
    healths = [play.tick() for _ in range(8)]
    assert {health.state for health in healths} <= {"warming", "healthy"}
    assert healths[0].state == "warming" and healths[-1].state == "healthy"
    assert healths[-1].readings["diversity"] > 0.9 > healths[0].readings["diversity"]
    assert healths[-1].readings["distance"] < healths[0].readings["distance"] / 2


def test_a_discriminator_that_dominates_is_named():
    states_seen = states(6, r1_gamma=0.0, discriminator_lr=5e-3, generator_lr=1e-5)
    assert states_seen[:2] == ["warming"] * 2  # accuracy near one is normal at first
    assert states_seen[-1] == "d_dominates" and not {"collapsed", "d_at_chance"} & set(states_seen)


def test_a_discriminator_that_learns_nothing_is_at_chance():
    states_seen = states(6, discriminator_lr=1e-7, generator_lr=1e-7)
    assert states_seen[-1] == "d_at_chance" and set(states_seen) == {"warming", "d_at_chance"}


def test_forgeries_that_are_all_alike_are_a_collapse():
    """One latent number and four channels cannot make different pictures."""
    play = Play(network={"latent": 1, "generator_width": 4})
    healths = [play.tick() for _ in range(8)]
    assert healths[-1].state == "collapsed" and {health.state for health in healths} == {"warming", "collapsed"}
    assert healths[-1].readings["near_duplicates"] > 0.9 and "near-duplicates" in healths[-1].reason


def test_a_learning_rate_of_one_diverges_at_the_first_tick():
    health = Play(discriminator_lr=1.0, generator_lr=1.0).tick()
    assert health.state == "diverged" and "loss is" in health.reason
    json.dumps(asdict(health), allow_nan=False)


def test_sixteen_training_images_are_learned_by_heart():
    play = Play(16, r1_gamma=0.0, network={"discriminator_width": 24}, discriminator_lr=3e-3, generator_lr=4e-3)
    healths = [play.tick() for _ in range(7)]
    assert healths[-1].state == "overfit" and healths[0].state == "warming"
    assert healths[-1].readings["d_memory"] > 0.9 > healths[0].readings["d_memory"]
    assert healths[-1].readings["d_sign_gap"] == pytest.approx(
        healths[-1].readings["d_sign_train"] - healths[-1].readings["d_sign_held_out"]
    )


def test_resume_makes_the_same_decisions_to_the_bit():
    play = Play(health=HealthSettings(warming_steps=0, patience=2), generator_lr=1e-7, discriminator_lr=1e-7)
    seen = [play.observed(10) for _ in range(6)]
    straight = [play.monitor.observe(observation) for observation in seen]
    assert {health.state for health in straight} >= {"warming", "d_at_chance"}

    def monitor():
        return HealthMonitor(play.monitor.settings, discs(1024, 1), discs(256, 2), seed=0, device=CPU)

    killed, again, forgetful = monitor(), monitor(), monitor()
    resumed = [killed.observe(observation) for observation in seen[:2]]
    again.load_state_dict(json.loads(json.dumps(killed.state_dict(), allow_nan=False)))
    resumed += [again.observe(observation) for observation in seen[2:]]
    assert resumed == straight
    assert again.state_dict() == play.monitor.state_dict()
    assert [forgetful.observe(observation) for observation in seen[2:]] != straight[2:]  # the memory matters


def test_looking_changes_nothing():
    play = Play(network={"discriminator_norm": "batch"})
    before = {name: tensor.clone() for name, tensor in play.trainer.pack().items()}
    discriminate = aside(play.trainer.method.discriminator)
    images = torch.rand(32, 3, 16, 16)
    first = discriminate(images)
    assert torch.equal(first, discriminate(images)) and not first.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in play.trainer.pack().items())
    assert torch.equal(
        first, play.trainer.method.discriminator(images).detach()
    )  # the batch's own statistics, as in the game


def reals(count: int = 300) -> np.ndarray:
    return discs(count, 1)


def untrained() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(256, 3, 16, 16).mul(0.1).tanh()


WRONG = {
    "the same picture": (reals(1).repeat(64, axis=0), untrained()),
    "one even colour": (reals() // 255, untrained()),
    "no numbers": (reals(), untrained().index_fill(0, torch.tensor([3]), float("nan"))),
    r"values of 255 and more, real images are -1 to 1": (
        reals(),
        torch.linspace(0, 255, 768).reshape(3, 16, 16).repeat(256, 1, 1, 1),
    ),
    r"shape \[3, 32, 32\], training images have \[3, 16, 16\]": (reals(), torch.zeros(256, 3, 32, 32)),
    "a small classifier tells .* are the training images photos": (reals(), to_float(torch.from_numpy(discs(256, 5)))),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_the_start_check_names_what_is_wrong(message):
    images, forged = WRONG[message]
    with pytest.raises(InputError, match=message):
        HealthMonitor(TINY, images, None, seed=0, device=CPU).start_check(forged)


def test_single_images_may_reach_far():
    # eight channels at 256 px: a style-based generator begins at 5 in half of its images, and at 60 in one of 128
    forged = untrained()
    forged[:2] *= 60 / forged[:2].abs().amax()
    HealthMonitor(TINY, reals(), None, seed=0, device=CPU).start_check(forged)


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="8 training images are too few to watch a training; use 16"):
        HealthMonitor(TINY, reals(8), None, seed=0, device=CPU)


def observed(**changes) -> Observed:
    images = changes.pop("fresh", untrained())
    plan = {"step": 500, "kimg": 8.0, "readings": {}, "fixed": images, "discriminator": lambda x: x.mean(dim=(1, 2, 3))}
    return Observed(fresh=images, **plan | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"readings": {"g_grad_norm": float("inf")}}, "the generator's gradient norm is inf"),
        ({"readings": {"d_loss": -2e3}}, "the discriminator's loss is -2e+03, beyond 1000"),
        ({"fresh": untrained() / 0, "discriminator": lambda x: torch.zeros(len(x))}, "forged images contain values"),
        ({"discriminator": lambda x: torch.full((len(x),), float("nan"))}, "a logit of the discriminator is nan"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_divergence_even_while_warming(changes, reason):
    health = HealthMonitor(TINY, reals(), None, seed=0, device=CPU).observe(observed(step=1, **changes))
    assert health.state == "diverged" and reason in health.reason


def test_without_held_out_images_overfitting_is_not_guessed():
    readings = HealthMonitor(TINY, reals(), None, seed=0, device=CPU).observe(observed()).readings
    assert "d_memory" not in readings and "d_sign_gap" not in readings and "d_sign_train" in readings


GOOD = {
    "d_accuracy": 0.7, "distance": 1.5, "diversity": 1.0, "coverage": 0.8, "bins_filled": 1.0, "near_duplicates": 0.0,
}  # fmt: skip
POOR = {"distance": 9.0, "coverage": 0.1}


def diagnose(*ticks: dict[str, float], **settings) -> list[str]:
    diagnosis = Diagnosis(HealthSettings(**{"warming_steps": 0, "patience": 2} | settings))
    return [diagnosis.name(GOOD | t, step=i + 1, kimg=i + 1.0).state for i, t in enumerate(ticks)]


def test_an_even_game_with_good_forgeries_is_healthy():
    assert set(diagnose(*[{"d_accuracy": 0.5}] * 9)) == {"healthy"}
    assert set(diagnose(*[{"d_accuracy": 1.0}] * 9)) == {"healthy"}


@pytest.mark.parametrize(("accuracy", "state"), [(0.5, "d_at_chance"), (1.0, "d_dominates"), (0.75, "warming")])
def test_poor_forgeries_need_a_lopsided_game_to_be_called(accuracy, state):
    assert diagnose(*[POOR | {"d_accuracy": accuracy}] * 4)[-1] == state


def test_progress_buys_time_but_not_for_ever():
    better = [POOR | {"d_accuracy": 1.0, "distance": 40 * 0.8**i} for i in range(6)]
    assert diagnose(*better) == ["warming"] * 3 + ["d_dominates"] * 3  # twice the patience
    assert diagnose(*[POOR | {"d_accuracy": 1.0}] * 3) == ["warming", "warming", "d_dominates"]


def test_one_bad_tick_is_no_failure_mode_and_a_training_can_recover():
    bad = {"near_duplicates": 0.9}
    assert diagnose({}, {}, bad, {}, bad, {}) == ["healthy"] * 6
    assert diagnose({}, {}, bad, bad, bad, {}) == ["healthy"] * 3 + ["collapsed"] * 2 + ["healthy"]


def test_states_of_earlier_versions_are_read():
    settings = HealthSettings(warming_steps=0, patience=2)
    straight, resumed = Diagnosis(settings), Diagnosis(settings)
    for i in range(3):
        straight.name(GOOD | POOR | {"d_accuracy": 0.5}, step=i + 1, kimg=i + 1.0)
    stored = json.loads(json.dumps(straight.state_dict()))
    assert stored["named"] == "d_at_chance"
    lasted = stored["lasted"]
    earlier = {"lasted": {"won": lasted.pop("d_dominates"), "coin toss": lasted.pop("d_at_chance"), **lasted}}
    resumed.load_state_dict(stored | earlier | {"named": "coin toss"})
    assert resumed.state_dict() == straight.state_dict()
    titles = ["discriminator dominates", "discriminator at chance", "collapsed"]
    assert [state_title(state) for state in ("won", "coin toss", "collapsed")] == titles
    assert [state_title(state) for state in ("d_dominates", "d_at_chance", "collapsed")] == titles


def test_nothing_but_divergence_is_called_while_warming():
    assert diagnose(*[{"near_duplicates": 1.0}] * 5, warming_steps=4) == ["warming"] * 5


def test_how_long_the_accuracy_has_been_at_one_is_told():
    diagnosis = Diagnosis(HealthSettings())
    ticks = [diagnosis.name(GOOD | {"d_accuracy": a}, step=1, kimg=k).readings for a, k in ((1, 2), (1, 5), (0.5, 9))]
    assert [(t["kimg_at_one"], t["kimg_at_half"]) for t in ticks] == [(0, 0), (3, 0), (0, 0)]


def health_of(state: str) -> Health:
    return Health(12.0, state, "of a reason", {})


@pytest.mark.parametrize("policy", ["warn", "stop", "roll-back"])
@pytest.mark.parametrize("state", ["warming", "healthy"])
def test_a_training_without_a_failure_mode_goes_on(policy, state):
    action = decide(health_of(state), HealthSettings(policy=policy), 1)
    assert (action.step, action.reason, action.lr_factor, action.stream) == ("continue", "", 0.5, 1)


def test_policies_for_every_failure_mode():
    steps = {
        policy: {state: decide(health_of(state), HealthSettings(policy=policy), 0).step for state in FAILURE_MODES}
        for policy in ("warn", "stop", "roll-back")
    }
    remark = {"hides_source": "warn"}
    assert steps["warn"] == dict.fromkeys(FAILURE_MODES, "warn") | {"diverged": "stop"}
    assert steps["stop"] == dict.fromkeys(FAILURE_MODES, "stop") | remark
    assert steps["roll-back"] == dict.fromkeys(FAILURE_MODES, "roll-back") | {"overfit": "warn"} | remark


def test_roll_backs_lower_the_rate_change_the_stream_and_end():
    settings = HealthSettings(policy="roll-back", roll_backs=2, roll_back_lr=0.5)
    actions = [decide(health_of("collapsed"), settings, n) for n in range(3)]
    assert [(a.step, a.lr_factor, a.stream) for a in actions] == [
        ("roll-back", 0.5, 1),
        ("roll-back", 0.25, 2),
        ("stop", 0.25, 2),
    ]
    assert actions[0].reason == "collapsed at 12.0 thousand images: of a reason; going back, learning rates x 0.5"
    assert actions[2].reason.endswith("it was rolled back 2 times already")


def test_rank_is_the_mann_whitney_statistic():
    a, b = torch.randint(0, 9, (40,)).float(), torch.randint(2, 12, (30,)).float()
    assert rank(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / (40 * 30))


@pytest.mark.parametrize("count", [50, 20])
def test_sliced_wasserstein_agrees_with_scipy(count):
    rng = torch.Generator().manual_seed(0)
    a, b, along = (torch.randn(n, 4, generator=rng) for n in (count, 50, 8))
    along = (along / along.norm(dim=1, keepdim=True)).T
    expected = np.mean([wasserstein_distance(x, y) for x, y in zip((a @ along).T, (b @ along).T, strict=True)])
    assert sliced_wasserstein(a, b, along) == pytest.approx(expected, rel=1e-4 if count == 50 else 0.1)


def test_diversity_is_the_mean_distance_of_pairs():
    images = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert diversity(images) == pytest.approx((2 + 0 + 2) / 3 / 2**0.5)


def test_shrinking_averages():
    images = torch.rand(2, 3, 64, 64)
    assert torch.allclose(shrink(images, 16), images.reshape(2, 3, 16, 4, 16, 4).mean(dim=(3, 5)), atol=1e-6)


def test_unseen_real_images_look_real_and_a_few_repeated_ones_do_not():
    likeness = RealReference(discs(1024, 1), discs(256, 2), seed=0, device=CPU)
    real = likeness.look(to_float(torch.from_numpy(discs(256, 3))))
    assert real.distance < 1.5 * likeness.real_baseline.distance and real.near_duplicates < 0.1
    assert real.bins_different < 0.2 and abs(real.coverage - likeness.real_baseline.coverage) < 0.15
    eight = likeness.look(to_float(torch.from_numpy(discs(8, 3).repeat(32, axis=0))))
    assert eight.near_duplicates == 1 and eight.bins_filled <= 8 / 32 and eight.coverage < real.coverage / 3
    assert eight.diversity > 0.7 * real.diversity  # why diversity alone does not find a collapse to a few modes
