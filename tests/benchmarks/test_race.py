"""Arms races: which stages a race has, what its page says, and a whole one of one round."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from requested import compose
from synthetic import SPARING, call_bench, html_of, make_results, make_scores

from benchmarks.evaluation.run_facts import GeneratorFacts, QualityRow
from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.request import command_of
from benchmarks.experiment.resolve import resolve
from benchmarks.report.sections.race import RaceSection
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stages.fit import Fit
from benchmarks.workflow.stages.tune import Tune
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.generators.artifact import TrainedGenerator
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.training.monitor.observe import HealthMonitor
from forge.training.settings import TrainingSettings
from forge.training.task import Guidance, Training
from forge.training.train import train


def planned(*settings, generators=("dcgan",), detectors=("npr", "dct")):
    overrides = parse_assignments(["race.rounds=2", *settings])
    return prepare_run(compose(generators=generators, detectors=detectors, preset="smoke", overrides=overrides)).stages


def test_each_round_goes_on_from_the_last_against_the_detector_before_it():
    stages = planned()
    tunes = {stage.label: stage for stage in stages if isinstance(stage, Tune)}
    assert set(tunes) == {"dcgan-r1", "dcgan-r2", "dcgan-plain-r1", "dcgan-plain-r2", "dcgan-random-r1"}
    first, second = tunes["dcgan-r1"], tunes["dcgan-r2"]
    assert first.base.label == "dcgan" and second.base is first
    assert (first.detector.label, second.detector.label) == ("npr@dcgan", "npr@dcgan+dcgan-r1")
    assert tunes["dcgan-plain-r2"].detector is None and tunes["dcgan-plain-r2"].base is tunes["dcgan-plain-r1"]
    untrained = tunes["dcgan-random-r1"].detector
    assert untrained.request.settings["max_images"] == 2 and untrained.key != first.detector.key
    # everything stands after what it needs, once
    keys = [stage.key for stage in stages]
    assert len(set(keys)) == len(keys)
    for number, stage in enumerate(stages):
        assert {each.key for each in stage.inputs.values()} <= set(keys[:number]), stage.name
    # the attacked fits are those that are scored
    report = stages[-1]
    assert {"npr@dcgan", "npr@dcgan+dcgan-r1", "npr@dcgan+dcgan-r1+dcgan-r2", "dct@dcgan"} <= {
        fit.label for fit in report.fits
    }
    assert first.detector in report.fits and untrained not in report.fits


def test_a_detector_that_is_no_network_is_random_by_its_labels():
    tunes = {stage.label: stage for stage in planned("race.detector=dct") if isinstance(stage, Tune)}
    assert tunes["dcgan-random-r1"].detector.label == "dct@dcgan:shuffled"
    assert tunes["dcgan-r1"].detector.label == "dct@dcgan"


def test_detectors_may_learn_from_the_newest_round_alone():
    fits = {stage.label for stage in planned("race.fits=newest") if isinstance(stage, Fit)}
    assert fits >= {"npr@dcgan", "npr@dcgan-r1", "npr@dcgan-r2"} and "npr@dcgan+dcgan-r1" not in fits


def test_a_race_without_controls_has_its_rounds_alone():
    tunes = {stage.label for stage in planned("race.controls=false") if isinstance(stage, Tune)}
    assert tunes == {"dcgan-r1", "dcgan-r2"}


def test_the_command_of_a_race_names_its_rounds():
    made = compose(generators=("dcgan",), detectors=("npr",), preset="smoke", overrides={})
    request = made.request.model_copy(update={"rounds": 2})
    assert "--rounds 2" in command_of(request) and resolve(request).race.rounds == 2


@pytest.mark.parametrize(
    ("settings", "generators", "error", "sentence"),
    [
        (("race.rounds=21",), ("dcgan",), InputError, "less than or equal to 20"),
        (("race.detector=xception",), ("dcgan",), UnknownNameError, "xception"),
        (("race.weight=0",), ("dcgan",), InputError, "greater than 0"),
        (("conditions.attacked={pgd: [4]}",), ("dcgan",), InputError, "in another run"),
        ((), ("vae",), InputError, "cannot be trained against a detector"),
        ((), ("splice",), InputError, "cannot be trained against a detector"),
        ((), ("dcgan@1k",), InputError, "begins with a whole training"),
    ],
)
def test_impossible_races_are_refused(settings, generators, error, sentence):
    with pytest.raises(error, match=sentence):
        planned(*settings, generators=generators, detectors=("npr", "random"))


def a_training(make_set, tmp_path, name, **options):
    faces = make_set("faces", {"forge": 64}) if not (tmp_path / "sets/faces").exists() else options.pop("faces")
    settings = TrainingSettings(kimg=0.2, batch=16, ema_kimg=0.02, sample_every_kimg=1, generator_lr=0.005)
    architecture = DCGAN(DCGANSettings(latent=8, generator_width=4, discriminator_width=4), 16)
    return faces, Training(
        name=name, reference="dcgan", architecture=architecture, settings=settings, view=faces.view("forge"), seed=0,
        compute=Compute("cpu", "fp32"), work=tmp_path / f"work-{name}", **options,
    )  # fmt: skip


def finished(training, out):
    out.mkdir()
    train(training, out, silent)
    return TrainedGenerator.open(out)


def test_a_guided_training_begins_with_weights_and_follows_the_further_loss(make_set, tmp_path):
    faces, first = a_training(make_set, tmp_path, "first")
    base = finished(first, tmp_path / "first")
    latents = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))

    def brightness(trained):
        with torch.no_grad():
            return float(trained.generator()(latents).mean())

    results = {}
    for name, weight in (("plain", 0.0), ("dark", 30.0)):
        guidance = Guidance(lambda images: images.mean() + 1, weight, {"what": "brightness"}) if weight else None
        _, training = a_training(make_set, tmp_path, name, faces=faces, start=base, guidance=guidance)
        results[name] = brightness(finished(training, tmp_path / name))
    # a little training on changes little; the further loss darkens
    assert abs(results["plain"] - brightness(base)) < 0.2 and results["dark"] < results["plain"] - 0.1


def test_faces_of_a_training_that_goes_on_need_not_be_tellable(make_set, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(HealthMonitor, "start_check", lambda self, images, *, tellable: asked.append(tellable))
    faces, first = a_training(make_set, tmp_path, "first")
    base = finished(first, tmp_path / "first")
    _, training = a_training(make_set, tmp_path, "next", faces=faces, start=base)
    finished(training, tmp_path / "next")
    assert asked == [True, False]


def test_a_checkpoint_of_another_guidance_is_not_continued(make_set, tmp_path):
    faces, first = a_training(make_set, tmp_path, "first")
    base = finished(first, tmp_path / "first")
    guidance = Guidance(lambda images: images.mean(), 1.0, {"detector": "a"})
    identities = []
    for options in ({}, {"start": base}, {"start": base, "guidance": guidance}):
        _, training = a_training(make_set, tmp_path, "next", faces=faces, **options)
        identities.append(json.dumps(training.identity("fp32"), sort_keys=True))
    assert len(set(identities)) == 3


def facts(name, **values):
    distance = values.pop("distance", 20.0)
    row = QualityRow(metric="sliced Wasserstein x 1000", value=distance, floor=10, better="lower", n=9)
    common = {"kimg": 1, "parameters": {}, "precision": "fp32", "seconds": 1, "log": [], "weights_sha256": ""}
    return GeneratorFacts(name=name, quality=[row], **common, **values)


def content(again, *, distance=20.0):
    """A race of one round: npr has 0.99 before, 0.5 after, and `again` when it is fitted anew."""
    far = {0.99: 3.3, 0.6: 0.36, 0.5: 0.0}
    scores = make_scores(
        {
            ("npr", "dcgan"): {"dcgan": far[0.99], "dcgan-r1": far[0.5], "dcgan-plain-r1": far[0.99]},
            ("npr", "dcgan+dcgan-r1"): {"dcgan": far[0.99], "dcgan-r1": far[again], "dcgan-plain-r1": far[0.99]},
            ("dct", "dcgan"): {"dcgan": far[0.99], "dcgan-r1": far[0.99], "dcgan-plain-r1": far[0.99]},
        }
    )
    generators = [
        facts("dcgan"),
        facts("dcgan-r1", base="dcgan", round=1, against="npr", distance=distance),
        facts("dcgan-plain-r1", base="dcgan", round=1, against=""),
    ]
    results = make_results(scores).model_copy(update={"generators": generators})

    class Run:
        whole = results

    Run.results = results
    return RaceSection().build(Run)


def test_the_page_says_who_won():
    made = content(0.99)
    assert [table.detector for table in made.tables] == ["npr", "dct"] and made.tables[0].attacked
    assert made.generators == ["dcgan", "dcgan-r1", "dcgan-plain-r1"]
    (first, before), (second, after) = made.tables[0].lines
    assert (first, second) == (0, 1) and before[1].fresh and not after[1].fresh
    assert "The detector won" in made.sentences[-1] and "finds it again" in made.sentences[-1]
    assert "other detectors have 0.9" in made.sentences[0] and "trained on without it: 0.9" in made.sentences[0]
    assert "The generator won" in content(0.6).sentences[-1]
    assert "worse faces" in content(0.6, distance=60.0).sentences[-1]


def test_a_run_without_a_race_has_no_such_section():
    class Run:
        results = make_results(make_scores({("npr", "dcgan"): {"dcgan": 1.0}}))

    assert RaceSection().build(Run) is None


@pytest.mark.e2e
def test_a_race_of_one_round_ends_with_its_page(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    code, _, err = bench(
        "run", "-g", "dcgan", "-d", "meso4,cosines=dct", "--preset", "smoke", "--rounds", "1", "--set", "race.kimg=1",
        "--set", "data.count=160", "--set", "images={train: 32, val: 16, test: 24}",
        "--set", "generator.training.kimg=1",
        "--set", "detectors.meso4.max_images=64", "--name", "race", "--quiet", *SPARING,
    )  # fmt: skip
    assert (code, err) == (0, "")
    results = json.loads((tmp_path / "reports/race/results.json").read_text())
    known = {g["name"]: (g["base"], g["round"], g["against"]) for g in results["generators"]}
    assert known == {
        "dcgan": ("", 0, None), "dcgan-r1": ("dcgan", 1, "meso4"), "dcgan-plain-r1": ("dcgan", 1, ""),
        "dcgan-random-r1": ("dcgan", 1, "random weights"),
    }  # fmt: skip
    trained = {(cell["detector"], cell["trained_on"]) for cell in results["cells"]}
    assert {("meso4", "dcgan"), ("meso4", "dcgan+dcgan-r1"), ("cosines", "dcgan+dcgan-r1")} <= trained
    assert {cell["tested_on"] for cell in results["cells"]} == set(known)
    assert "Arms race" in html_of(tmp_path / "reports/race")
    assert "## Arms race" in (tmp_path / "reports/race/report.md").read_text()
    code, out, _ = bench("reproduce", "race")
    assert code == 0 and "DIFFERS" not in out
    assert np.isfinite([cell["auc"] for cell in results["cells"]]).all()
