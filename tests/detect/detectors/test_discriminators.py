"""Detectors that start from a generator's discriminator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from detect.artifact import fit_detector, load_trained
from detect.detectors.disc_gradient import InputGradients, as_picture, input_gradients
from detect.detectors.disc_raw import RawDiscriminator, SnapshotEnsemble
from detect.detectors.discriminator import FineTuned, FromScratch
from detect.detectors.registry import DETECTORS
from detect.discriminator_source import Blueprint, DiscriminatorSource, with_weights_of
from detect.scoring import score_view
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.generators import GENERATORS

SHORT = {"batch": 8, "max_images": 16, "validate_every": 8}


def auc(detector, sets):
    scores = [score_view(detector, faces.view("test"), Compute()) for faces in sets]
    return roc_auc_score(np.repeat([0, 1], [len(part) for part in scores]), np.concatenate(scores))


def fitted(kind, data, context, source, **settings):
    detector = kind(kind.Settings(**settings), data.resolution)
    return detector, detector.fit(data, replace(context, discriminator=source))


def test_the_raw_verdict_is_the_negative_logit_of_the_stored_discriminator(data, context, source, sets):
    detector, summary = fitted(RawDiscriminator, data, context(), source)
    judge = source.open().discriminator()
    images = sets[1].view("test").read()
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = -judge(inputs).numpy()
    np.testing.assert_allclose(detector.score(images, Compute()), expected, rtol=1e-5, atol=1e-5)
    assert summary.facts["discriminator"] == "dcgan" and summary.facts["discriminator_kimg"] == 2.0


def test_a_discriminator_that_is_wrong_about_val_is_turned_round(data, context, source, sets, monkeypatch):
    right, _ = fitted(RawDiscriminator, data, context(), source)
    assert auc(right, sets) > 0.95 and right.signs == [1]
    monkeypatch.setattr(
        "detect.detectors.disc_raw.with_weights_of",
        lambda trained, network: torch.nn.Sequential(with_weights_of(trained, network), Negative()).eval(),
    )
    wrong, _ = fitted(RawDiscriminator, data, context(), source)
    assert wrong.signs == [-1] and auc(wrong, sets) == auc(right, sets)


class Negative(torch.nn.Module):
    def forward(self, logits):
        return -logits


def test_the_ensemble_joins_every_kept_moment(data, context, source, sets):
    detector, summary = fitted(SnapshotEnsemble, data, context(), source)
    assert [entry["kimg"] for entry in summary.history] == [1.0, 2.0]
    images = sets[0].view("test").read()
    parts = [fitted(RawDiscriminator, data, context(), replace(source, snapshot=at))[0] for at in (1.0, None)]
    odds = [p.scales[0].a * p.score(images, Compute()) + p.scales[0].b for p in parts]
    np.testing.assert_allclose(detector.score(images, Compute()), np.mean(odds, axis=0), rtol=1e-6)


def test_an_ensemble_without_snapshots_says_how_to_keep_some(data, context, make_training, tmp_path):
    folder = make_training(generator_width=4, discriminator_width=4)
    (folder / "snapshots").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"needs snapshots of the training of dcgan.*snapshots_kimg"):
        fitted(SnapshotEnsemble, data, context(), DiscriminatorSource(folder))


def test_fine_tuning_starts_from_the_game_and_the_control_does_not(data, context, source):
    stored = source.open().discriminator().state_dict()
    for implementation, same in ((FineTuned, True), (FromScratch, False)):
        detector, summary = fitted(
            implementation, data, context(0, implementation.__name__), source, **SHORT, learning_rate=1e-12
        )
        weights = detector.network.state_dict()
        name = "blocks.0.0.weight"
        assert torch.allclose(weights[name], stored[name], atol=1e-6) is same
        assert summary.facts["discriminator_sha256"] == source.open().card.weights_sha256


def test_fine_tuned_scores_are_high_for_forged_from_the_first_step(data, context, source, sets):
    detector, _ = fitted(FineTuned, data, context(), source, **SHORT, learning_rate=1e-12, flip=False, shift=0)
    raw, _ = fitted(RawDiscriminator, data, context(), source)
    images = sets[1].view("test").read()
    assert np.corrcoef(detector.score(images, Compute()), raw.score(images, Compute()))[0, 1] > 0.9


@pytest.mark.parametrize("name", ["disc-raw", "disc-finetune", "disc-gradient", "disc-ensemble"])
def test_without_a_generator_it_says_which_flag_is_missing(name, data, context):
    implementation = DETECTORS.load(name)
    with pytest.raises(InputError, match=f"name the generator: {name}@dcgan"):
        implementation(implementation.Settings(), 32).fit(data, context())


def test_a_discriminator_of_another_resolution_is_refused(source):
    with pytest.raises(InputError, match="takes 32 px and the images have 64 px"):
        Blueprint.of(source.open(), 64)


def test_a_loaded_detector_needs_nothing_of_the_training(data, context, sets, make_training, tmp_path):
    folder = make_training(generator_width=4, discriminator_width=4)
    settings = FineTuned.Settings(**SHORT)
    trained = fit_detector(
        "disc-finetune",
        settings,
        data,
        replace(context(), discriminator=DiscriminatorSource(folder)),
        label="disc-finetune@dcgan",
    )
    trained.save(tmp_path / "stored")
    folder.rename(tmp_path / "gone")
    loaded = load_trained(tmp_path / "stored")
    assert loaded.name == "disc-finetune@dcgan"
    images = sets[0].view("test").read()
    assert np.array_equal(loaded.detector.score(images, Compute()), trained.detector.score(images, Compute()))


@pytest.mark.parametrize(
    ("name", "settings"), [("stylegan-lite", {"channels_base": 256, "channels_max": 16}), ("gan", {})]
)
def test_every_image_is_judged_by_itself(name, settings):
    """A training batch is half real, half forged: statistics over the batch would tell the halves apart."""
    implementation = GENERATORS.load(name)
    network = Blueprint(name, implementation.Settings(**settings).model_dump(mode="json"), 32).build().eval()
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network(images)[:2], network(images[:2]), atol=1e-5, rtol=1e-5)


# gradients


def test_input_gradients_are_those_of_a_formula():
    """For D(x) = sum of x^3 the gradient is 3 x^2; also where gradients are off, as in scoring."""

    class Cubes(torch.nn.Module):
        def forward(self, images):
            return (images**3).sum(dim=(1, 2, 3))

    images = torch.randn(3, 3, 8, 8)
    with torch.inference_mode():
        gradients = input_gradients(Cubes(), images.clone())
    torch.testing.assert_close(gradients, 3 * images**2)


def test_gradients_become_pictures_of_256_levels():
    picture = as_picture(torch.randn(4, 3, 8, 8))
    assert picture.amin() == -1 and picture.amax() == 1
    levels = (picture + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert (as_picture(torch.zeros(1, 3, 4, 4)) == -1).all()


def test_the_critic_behind_the_gradients_does_not_learn(data, context, source):
    detector, _ = fitted(InputGradients, data, context(), source, **SHORT, width=4)
    before, after = source.open().discriminator().state_dict(), detector.network.critic.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
