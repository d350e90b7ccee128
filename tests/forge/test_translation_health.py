"""Health of translations: each failure mode on constructed cases, and the readings of real trainings (case 22)."""

from __future__ import annotations

import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_health import discs
from test_translation import made, photos, training
from torch.nn.functional import interpolate

from forge.faces.tensors import to_float
from forge.generators.translation.cyclegan import cycle_errors
from forge.training.monitor.health import FAILURE_MODES, Diagnosis, decide, state_title
from forge.training.monitor.metrics import diversity, shrink
from forge.training.monitor.signs import hides_source
from forge.training.monitor.thresholds import HealthSettings, TranslationThresholds
from forge.training.monitor.translation import (
    DomainClassifier,
    common_diversity,
    luminance_correlation,
    mean_change,
    paired_readings,
    unpaired_readings,
)
from forge.training.steps.translating import Translating
from forge.training.trainer import Trainer

# of forgeries that look like real images, so that nothing but the translation decides
FINE = {"distance": 1.5, "diversity": 1.0, "coverage": 0.9, "bins_filled": 1.0, "near_duplicates": 0.0}
FACES = to_float(torch.from_numpy(photos(32, 32)))


def named(readings: dict[str, float], *, ticks: int = 6, **diagnosis):
    """The state after some ticks of the same readings."""
    judge = Diagnosis(TranslationThresholds(warming_steps=0, patience=3), **diagnosis)
    return [judge.name(FINE | readings, step=10 * i, kimg=i) for i in range(1, ticks + 1)][-1]


def paired(images: torch.Tensor, faces: torch.Tensor, start: torch.Tensor | None = None, hole=None):
    return paired_readings(images, faces, outputs=images, targets=faces, start=start, hole=hole)


def test_a_translator_of_identical_domains_that_gives_back_its_input_does_nothing():
    health = named(unpaired_readings(FACES, FACES))
    assert health.state == "does_nothing" and "only where both domains look alike" in health.reason
    assert health.readings["change"] == 0


class View:
    """Some faces, read as those of a FaceView."""

    def __init__(self, faces):
        self.faces = faces

    def __len__(self):
        return len(self.faces)

    def read(self, index):
        return self.faces[index]


def test_faces_are_drawn_once_before_any_is_drawn_again_held_out_ones_first():
    faces = photos(10)
    method = SimpleNamespace(sources=lambda: [View(faces[:4]), View(faces[4:])])
    numbers = {face.tobytes(): number for number, face in enumerate(faces)}

    def drawn(count):
        images, seeds = Translating.drawn(method, count)
        assert len(images) == len(seeds) == count
        return [numbers[image.tobytes()] for image in images]

    assert len(set(drawn(3))) == 3 and set(drawn(4)) == {0, 1, 2, 3}
    seven = drawn(7)
    assert len(set(seven)) == 7 and {0, 1, 2, 3} < set(seven)
    every = drawn(25)
    assert {every.count(number) for number in range(10)} == {2, 3}


def test_the_images_of_a_look_are_of_different_faces_however_many_are_made_at_a_time():
    faces = photos(10)
    method = SimpleNamespace(
        sources=lambda: [View(faces[:4]), View(faces[4:])],
        translator=SimpleNamespace(conditions=lambda images, seeds: torch.from_numpy(images)),
        context=SimpleNamespace(device="cpu"),
    )
    method.drawn = partial(Translating.drawn, method)

    def batches(size):
        torch.manual_seed(3)
        return [conditions for (conditions,) in Translating.batches(method, 10, size)]

    few = batches(3)
    assert [len(part) for part in few] == [3, 3, 3, 1]
    assert len({face.numpy().tobytes() for part in few for face in part}) == 10
    assert torch.equal(torch.cat(few), torch.cat(batches(10)))


def test_a_small_change_that_a_classifier_of_the_domains_sees_is_something():
    glasses = FACES.clone()
    glasses[:, :, 12:14, 8:24] -= 0.3
    readings = unpaired_readings(glasses, FACES)
    assert 0 < readings["change"] < 0.03
    assert named(readings).state == "does_nothing" and named(readings | {"domain_moved": 0.8}).state == "healthy"


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_inverted_colours_are_named(kind):
    readings = paired(-FACES, FACES) if kind == "paired" else unpaired_readings(-FACES, FACES)
    assert readings["luminance_correlation"] == pytest.approx(-1)
    health = named(readings)
    assert health.state == "colours_inverted" and "correlates with -1.00" in health.reason
    # other colours at the same brightness are no inversion
    assert named(unpaired_readings(FACES.flip(1), FACES)).state == "healthy"


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_one_output_for_all_inputs_is_named(kind):
    same = FACES[:1].expand_as(FACES) + 0.02 * torch.randn_like(FACES)
    readings = paired(same, FACES) if kind == "paired" else unpaired_readings(same, FACES)
    assert named(readings).state == "one_output" and readings["outputs_diversity"] < 0.1
    assert named(readings | {"near_duplicates": 1.0}).state == "one_output"  # rather than collapsed


def test_a_constant_image_has_no_correlation_and_is_one_output():
    readings = paired(torch.zeros_like(FACES), FACES)
    assert readings["luminance_correlation"] == 0 and named(readings).state == "one_output"


@pytest.mark.parametrize("task", ["colour", "super-resolution", "inpainting"])
def test_what_needs_no_learning_is_named_and_the_photo_itself_is_not(task):
    translator, faces = made(task), photos(32)
    conditions, real = translator.conditions(faces, range(32)), to_float(torch.from_numpy(faces))
    start, hole = translator.untrained(conditions), translator.hole(conditions)
    health = named(paired(start, real, start, hole))
    assert health.state == "does_nothing" and "0 % of the way" in health.reason
    assert named(paired(real, real, start, hole)).state == "healthy"
    assert named(paired((start + real) / 2, real, start, hole)).state == "healthy"


def test_drawings_give_no_face_without_learning():
    translator = made("edges")
    assert translator.untrained(translator.conditions(photos(2), [0, 1])) is None


def test_what_needs_no_learning_keeps_what_the_condition_knows():
    faces = photos(4)
    for task in ("colour", "super-resolution", "inpainting"):
        translator = made(task)
        conditions = translator.conditions(faces, range(4))
        plain = translator.finish(translator.untrained(conditions), conditions)
        again = translator.finish(torch.randn(4, 3, 32, 32), conditions)
        if task == "colour":
            assert (plain.float().std(3) < 1.5).all()  # grey, but for what the byte of lightness asks
        elif task == "super-resolution":
            sums = [each.reshape(4, 8, 4, 8, 4, 3).int().sum((2, 4)) for each in (plain, again)]
            assert torch.equal(*sums)
        else:
            hole = translator.hole(conditions)[:, 0] > 0
            assert torch.equal(plain[~hole], torch.from_numpy(faces)[~hole])
            inside = plain[0][hole[0]].float()
            assert inside.std(0).max() == 0
            assert (inside[0] - torch.from_numpy(faces)[0][~hole[0]].float().mean(0)).abs().max() <= 0.5


def cycle(there, back, images: torch.Tensor) -> dict[str, float]:
    """Readings of a cycle of two functions."""
    errors = cycle_errors(SimpleNamespace(towards=there, returning=back), images)
    return dict(zip(("cycle_error", "cycle_error_jpeg", "jpeg_error"), errors, strict=True))


def stego(strength: float):
    """A generator that keeps its input as a faint signal over one face, and the way back that reads the signal."""
    face = FACES[:1]

    def there(images: torch.Tensor) -> torch.Tensor:
        return face * 0.8 + strength * images

    return there, lambda images: (images - face * 0.8) / strength


def test_a_cycle_whose_way_back_reads_a_faint_signal_hides_its_source():
    readings = cycle(*stego(0.1), FACES)
    assert readings["cycle_error"] < 0.05 and readings["cycle_error_jpeg"] > 4 * readings["cycle_error"]
    health = named(readings)
    assert health.state == "hides_source" and "JPEG of quality 75" in health.reason


def test_cycles_that_use_what_is_seen_hide_nothing():
    def mirror(images: torch.Tensor) -> torch.Tensor:
        return images.flip(3)

    mirrored = cycle(mirror, mirror, FACES)
    # an exact way back, whose error with JPEG is JPEG's own
    assert mirrored["cycle_error"] < 0.004
    assert mirrored["cycle_error_jpeg"] == pytest.approx(mirrored["jpeg_error"], abs=0.004)
    assert not hides_source(mirrored, 2) and named(mirrored).state == "healthy"
    coarse = cycle(lambda images: images, lambda images: interpolate(shrink(images, 4), scale_factor=8), FACES)
    assert coarse["cycle_error"] > 0.1 and not hides_source(coarse, 2)
    assert not hides_source({"cycle_error": 0.0, "cycle_error_jpeg": 1.0}, 2)  # without JPEG's own error


def test_hiding_is_a_remark_whatever_the_policy():
    health = named(cycle(*stego(0.1), FACES))
    for policy in ("warn", "stop", "roll-back"):
        assert decide(health, HealthSettings(policy=policy), 0).step == "warn"


def test_a_classifier_of_domains_sees_faces_change_sides_and_equal_domains_do_not_differ():
    plain, tinted = (to_float(torch.from_numpy(photos(64, 32, seed))) for seed in (1, 2))
    tinted[:, 0] += 0.5
    judge = DomainClassifier(plain, tinted.clamp(-1, 1), seed=0)
    others = to_float(torch.from_numpy(photos(64, 32, 3)))
    moved = others.clone()
    moved[:, 0] += 0.5
    assert judge.share(moved.clamp(-1, 1)) - judge.share(others) > 0.7
    same = DomainClassifier(plain, to_float(torch.from_numpy(photos(64, 32, 4))), seed=0)
    assert same.share(others) - same.share(others) == 0


def test_a_domain_of_one_face_says_nothing_of_change_and_variety():
    alone = FACES[:1].expand(8, -1, -1, -1)
    assert unpaired_readings(alone * 0.5, alone).keys() == {"luminance_correlation"}


@pytest.mark.parametrize("guided", [True, False])
def test_a_dominating_discriminator_is_harmless_beside_another_loss(guided):
    poor = {"d_accuracy": 0.99, "distance": 6.0}
    health = named(poor, ticks=9, guided=guided)
    assert health.state == ("warming" if guided else "d_dominates")
    assert ("harmless beside another loss" in health.reason) == guided
    fine = named({"d_accuracy": 0.99}, guided=True)
    assert fine.state == "healthy" and "harmless" in fine.reason


def test_the_signs_belong_to_translators_alone():
    judge = Diagnosis(HealthSettings(warming_steps=0, patience=1))
    assert [judge.name(FINE | {"change": 0.0}, step=i, kimg=i).state for i in (1, 2, 3)] == ["healthy"] * 3


def test_every_state_has_a_title_in_words():
    assert not [state for state in FAILURE_MODES if "_" in state_title(state)]


def test_common_diversity_is_that_of_pairs_without_holes_and_of_common_places_with_them():
    images = torch.randn(5, 2, 16, 16)
    assert common_diversity(images) == pytest.approx(diversity(images.flatten(1)), rel=1e-5)
    holes = (torch.rand(5, 1, 16, 16) < 0.4).float()
    apart = []
    for i, j in itertools.combinations(range(5), 2):
        both = (holes[i] * holes[j]).bool().expand(2, 16, 16)
        apart.append(float((images[i] - images[j])[both].square().mean().sqrt()))
    assert common_diversity(images, holes) == pytest.approx(np.mean(apart), rel=1e-5)
    assert common_diversity(images, torch.zeros_like(holes)) == 0


def test_change_and_correlation_are_those_of_numpy():
    a, b = torch.rand(3, 3, 8, 8) * 2 - 1, torch.rand(3, 3, 8, 8) * 2 - 1
    assert mean_change(a, b) == pytest.approx(float(np.abs(a.numpy() - b.numpy()).mean() / 2), rel=1e-5)
    luma = [np.tensordot([0.299, 0.587, 0.114], each.numpy(), (0, 1)).reshape(3, -1) for each in (a, b)]
    expected = np.median([np.corrcoef(x, y)[0, 1] for x, y in zip(*luma, strict=True)])
    assert luminance_correlation(a, b) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("task", ["edges", "inpainting"])
def test_readings_of_a_training_are_the_same_at_each_call_and_change_nothing(task, make_set, tmp_path):
    trainer = Trainer(training(make_set("faces", {"forge": 64}).view("forge"), tmp_path, task), "fp32")
    trainer.advance()
    first, network = torch.get_rng_state(), trainer.settled()
    readings = trainer.generator_readings(network)
    assert readings == trainer.generator_readings(network) and trainer.method.guided
    assert readings.keys() == {"luminance_correlation", "outputs_diversity"} | (
        {"change_of_needed"} if task == "inpainting" else set()
    )
    trainer.advance()
    other = Trainer(training(make_set("faces2", {"forge": 64}).view("forge"), tmp_path, task), "fp32")
    torch.set_rng_state(first)
    other.advance()
    other.advance()
    for a, b in zip(trainer.method.generator.parameters(), other.method.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_without_l1_may_be_dominated(make_set, tmp_path):
    view = make_set("faces", {"forge": 64}).view("forge")
    assert not Trainer(training(view, tmp_path, l1_weight=0), "fp32").method.guided


def test_a_healthy_translation_of_discs_raises_no_sign(tmp_path):
    """Real images as translations of themselves, as far from perfect as a short training leaves them."""
    real = to_float(torch.from_numpy(discs(64, 1)))
    nearly = 0.7 * real + 0.3 * real.mean(0)
    assert named(paired(nearly, real, torch.zeros_like(real))).state == "healthy"
