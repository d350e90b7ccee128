"""Adversarial training: images that a network errs more on, a fit on them, and the alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

import detect.training.loop
import detect.training.state
import detect.training.validation
from detect.attacks.apply import apply
from detect.attacks.pgd import PGDSettings, ProjectedGradient
from detect.attacks.target import Target
from detect.training.adversarial import AdversarialSettings, harder, robust_scores
from detect.training.consistency import ConsistencySettings, inconsistency
from detect.training.settings import NetworkSettings
from forge.core.compute import Compute
from forge.core.registry import allow_files, load_from_file

TINY = f"{Path(__file__).parents[1] / 'tiny.py'}:Tiny"
allow_files([TINY])
Tiny = load_from_file("detector", TINY)

WEIGHTS = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (8, 8, 3))).float()
CPU = Compute("cpu", "fp32")


def batch(channels: int = 3) -> torch.Tensor:
    return torch.randint(30, 220, (8, 8, 8, channels), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def total(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels[..., :3] * WEIGHTS).sum()


def source() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_pgd_finds_the_worst_image_of_a_linear_loss() -> None:
    made = harder(total, batch(), AdversarialSettings(attack="pgd", epsilon=4), source())
    torch.testing.assert_close(made, batch().float() + 4 * WEIGHTS.sign(), atol=1e-4, rtol=0)


def test_n_fgsm_takes_one_step_from_its_start_and_is_not_projected() -> None:
    settings = AdversarialSettings(epsilon=4, spread=2)
    change = harder(total, batch(), settings, source()) - batch()
    assert 8 < float(change.abs().max()) <= 12
    # the start is symmetric: what is left of the mean is the step along the sign of the weights
    assert float((change * WEIGHTS.sign()).mean()) == pytest.approx(4, abs=0.3)


def test_masks_and_the_rest_of_the_batch_stay_as_they_are() -> None:
    pixels = batch(channels=4)
    made = harder(total, pixels, AdversarialSettings(share=0.5), source())
    changed = (made != pixels).flatten(1).any(1)
    assert torch.equal(made[..., 3], pixels[..., 3].float())
    assert int(changed.sum()) == 4 and 0 < int(changed[:4].sum()) < 4  # of both halves, which are the classes


def test_validation_attacks_move_each_class_towards_the_other() -> None:
    def logits(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels * WEIGHTS).sum(dim=(1, 2, 3))

    clean = logits(batch().float()).double()
    for single in (True, False):
        up, down = (robust_scores(logits, batch(), sign, 2, single=single) for sign in (1.0, -1.0))
        expected = 2 * float(WEIGHTS.abs().sum())
        torch.testing.assert_close(up - clean, torch.full_like(clean, expected), rtol=1e-3, atol=0)
        torch.testing.assert_close(clean - down, torch.full_like(clean, expected), rtol=1e-3, atol=0)


def test_settings_without_it_are_those_of_before() -> None:
    assert "adversarial" not in NetworkSettings().model_dump(mode="json")
    stored = NetworkSettings(adversarial={"epsilon": 3}).model_dump(mode="json")
    assert NetworkSettings.model_validate(stored).adversarial == AdversarialSettings(epsilon=3)
    for wrong in ({"epsilon": 0}, {"epsilon": 256}, {"attack": "fgsm"}, {"share": 0}, {"stepps": 3}):
        with pytest.raises(ValidationError):
            NetworkSettings(adversarial=wrong)


def fitted(data, context, **settings):
    quick = {"batch": 8, "epochs": 6, "learning_rate": 0.02, "patience": None, "dropout": 0.0}
    detector = Tiny(Tiny.Settings(**(quick | settings)), data.resolution)
    return detector, detector.fit(data, context)


def robust_auc(detector, sets, epsilon: float) -> float:
    real, forged = (faces.view("test").read() for faces in sets)
    attack = ProjectedGradient(PGDSettings(steps=20))
    changed = apply(attack, forged, Target(detector, CPU), name="pgd", epsilon=epsilon).images
    scores = detector.score(np.concatenate([real, changed]), CPU)
    return float(roc_auc_score(np.repeat([0, 1], [len(real), len(forged)]), scores))


@pytest.mark.e2e
@pytest.mark.parametrize("attack", ["n-fgsm", pytest.param("pgd", marks=pytest.mark.slow)])
def test_a_hardened_network_keeps_more_under_attack(attack: str, data, context, sets) -> None:
    # the artefact is a checkerboard of 12 grey levels, which an attack of 10 nearly undoes
    plain, _ = fitted(data, context(work="plain"))
    hardening = {"attack": attack, "epsilon": 6, "steps": 3}
    hardened, summary = fitted(data, context(work="hard"), epochs=12, adversarial=hardening)
    assert robust_auc(hardened, sets, 10) > robust_auc(plain, sets, 10) + 0.05
    last = summary.history[-1]
    assert last["val_auc_pgd"] <= last["val_auc_fgsm"] + 0.02 <= last["val_auc"] + 0.04
    assert summary.facts["catastrophic_overfitting"] is False and summary.facts["best_val_auc_pgd"] > 0.5


@pytest.mark.e2e
def test_a_hardened_fit_resumes_bit_for_bit(data, context, tmp_path, monkeypatch) -> None:
    for name, value in (("CHECKPOINT_SECONDS", 0.0), ("CHECKPOINT_SHARE", 1e9)):
        monkeypatch.setattr(detect.training.state, name, value)
    monkeypatch.setattr(detect.training.loop, "TICK_SECONDS", 0.0)
    settings = {"epochs": 3, "dropout": 0.2, "adversarial": {"epsilon": 4}}
    whole, summary = fitted(data, context(work="whole"), **settings)

    class Stop(BaseException):
        pass

    def stop(event) -> None:
        if event.done >= 80:
            raise Stop

    with pytest.raises(Stop):
        fitted(data, context(work="cut", on_progress=stop), **settings)
    resumed, again = fitted(data, context(work="cut"), **settings)
    assert again.history == summary.history and again.facts == summary.facts
    images = data.val_real.read()[:4]
    assert np.array_equal(resumed.score(images, CPU), whole.score(images, CPU))


def test_resistance_to_single_steps_alone_is_told(data, context, monkeypatch) -> None:
    aucs = {"val_auc_fgsm": 0.9, "val_auc_pgd": 0.4}
    monkeypatch.setattr(detect.training.validation, "robust_aucs", lambda *views, **options: aucs)
    _, summary = fitted(data, context(), epochs=1, adversarial={"epsilon": 2})
    assert summary.facts["catastrophic_overfitting"] is True


def roc_auc(detector, sets) -> float:
    scores = [detector.score(faces.view("test").read(), CPU) for faces in sets]
    return float(roc_auc_score(np.repeat([0, 1], [len(part) for part in scores]), np.concatenate(scores)))


def test_inconsistency_is_the_variance_of_the_noise_through_a_linear_logit() -> None:
    def logits(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels[..., :3] * WEIGHTS).sum(dim=(1, 2, 3))

    pixels = torch.full((4096, 8, 8, 4), 128, dtype=torch.uint8)
    value = inconsistency(logits, pixels, ConsistencySettings(noise=3), source())
    # the difference is the weighted sum of independent noise
    assert float(value) == pytest.approx(9 * float(WEIGHTS.square().sum()), rel=0.1)


@pytest.mark.e2e
def test_a_consistent_fit_is_less_moved_by_noise(data, context, sets) -> None:
    plain, _ = fitted(data, context(work="plain"))
    steady, _ = fitted(data, context(work="steady"), consistency={"weight": 30.0, "noise": 8})
    images = sets[1].view("test").read()
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 8, images.shape), 0, 255).astype(np.uint8)

    def moved(detector) -> float:
        return float(np.abs(detector.score(noisy, CPU) - detector.score(images, CPU)).mean())

    assert moved(steady) < 0.8 * moved(plain)
    assert roc_auc(steady, sets) > 0.9
    assert "consistency" not in plain.settings.model_dump() and steady.settings.consistency is not None
