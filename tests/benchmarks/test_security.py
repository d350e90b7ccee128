"""Score rows of attacks: what stands beside them, the points of security curves, warnings, plans."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requested import compose
from sklearn.metrics import roc_auc_score
from synthetic import make_scores

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.results_of import evaluated
from benchmarks.evaluation.security import is_attack, security_points, warnings_of, with_unchanged
from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.request import command_of
from benchmarks.protocol import AttackId, Condition
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stages.attack import Attack
from forge.core.errors import InputError, UnknownNameError

TRAINED = "a+b"
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(name=NAMES, epsilon=st.none() | st.integers(1, 255) | st.sampled_from([1.5, 0.25]), frames=st.booleans())
def test_an_attack_is_read_as_it_is_written(name, epsilon, frames):
    attack = AttackId(name, epsilon, frames)
    assert AttackId.parse(str(attack)) == attack


@pytest.mark.parametrize("text", ["none", "jpeg75", "attack:", "attack:pgd:four", "attacked:pgd:4", "attack:pgd:4:x"])
def test_other_perturbations_are_no_attacks(text):
    assert AttackId.parse(text) is None


def rows(shift=1.0, *, seed=0):
    """Two detectors on two generators, forgeries of each shifted down by an attack on 40 of 60 images."""
    plain = make_scores({("weak", TRAINED): {"a": 1.0, "b": 2.0}, ("strong", TRAINED): {"a": 3.0, "b": 3.0}}, n=60)
    forged = plain[(plain["split"] == "test") & (plain["generator"] != "")]
    forged = forged.groupby(["detector", "generator"], group_keys=False).head(40)
    parts = [plain]
    parts += [
        forged.assign(perturbation=f"attack:pgd:{epsilon}", score=forged["score"] - shift * epsilon)
        for epsilon in (1, 2)
    ]
    real = plain[(plain["split"] == "test") & (plain["generator"] == "")]
    real = real.groupby("detector", group_keys=False).head(30)
    parts.append(real.assign(perturbation="frame:pgd:1", score=real["score"] + shift))
    return pd.concat(parts, ignore_index=True)


def facts(**changes):
    values = {
        "trained_on": TRAINED, "tested_on": "a", "seed": 0, "attack": "attack:pgd:2", "access": "gradients",
        "images": 40, "psnr": 40.0, "largest": 2, "changed": 1.0, "scored": 3.0, "differentiated": 10.0, "flat": 0.0,
    }  # fmt: skip
    return [AttackFacts(detector=name, **(values | changes)) for name in ("weak", "strong")]


def test_points_are_means_of_aucs_against_unchanged_images():
    table = rows()
    points = {(p.detector, p.attack, p.epsilon, p.frames): p for p in security_points(table, facts())}
    test = table[table["split"] == "test"]
    for name in ("weak", "strong"):
        of_detector = test[test["detector"] == name]
        real = of_detector[(of_detector["generator"] == "") & (of_detector["perturbation"] == "none")]
        for epsilon in (1, 2):
            aucs = []
            for generator in ("a", "b"):
                forged = of_detector[
                    (of_detector["generator"] == generator) & (of_detector["perturbation"] == f"attack:pgd:{epsilon}")
                ]
                label = np.repeat([0, 1], [len(real), len(forged)])
                aucs.append(roc_auc_score(label, np.concatenate([real["score"], forged["score"]])))
            point = points[name, "pgd", epsilon, False]
            assert point.auc == pytest.approx(np.mean(aucs), abs=1e-12) and point.generators == 2
            assert point.low < point.auc < point.high
        # the larger the budget, the lower; before it the same 40 images per generator
        before = points[name, "", 0, False]
        assert before.auc > points[name, "pgd", 1, False].auc > points[name, "pgd", 2, False].auc
    # the framed reals against all forgeries
    framed = points["weak", "pgd", 1, True]
    assert framed.auc < points["weak", "", 0, True].auc and framed.generators == 2
    assert points["weak", "pgd", 2, False].psnr == 40.0 and points["weak", "pgd", 1, False].psnr is None


def test_the_point_before_is_of_the_attacked_images_alone():
    table = rows()
    test = table[(table["split"] == "test") & (table["detector"] == "weak") & (table["perturbation"] == "none")]
    attacked = table[table["perturbation"] == "attack:pgd:1"]
    real = test[test["generator"] == ""]["score"]
    aucs = []
    for generator in ("a", "b"):
        ids = attacked[(attacked["detector"] == "weak") & (attacked["generator"] == generator)]["sample_id"]
        forged = test[(test["generator"] == generator) & test["sample_id"].isin(ids)]["score"]
        assert len(forged) == 40
        aucs.append(roc_auc_score(np.repeat([0, 1], [len(real), 40]), np.concatenate([real, forged])))
    (before,) = [p for p in security_points(table, []) if p.detector == "weak" and not p.attack and not p.frames]
    assert before.auc == pytest.approx(np.mean(aucs), abs=1e-12)


def test_each_attack_is_a_cell_and_changes_no_other():
    table = rows()
    honest = table[~is_attack(table)]
    cells = evaluate(with_unchanged(table))
    attacked = [cell for cell in cells if cell.condition is Condition.ATTACKED]
    assert {(c.perturbation, c.n_real, c.n_forged) for c in attacked} == {
        ("attack:pgd:1", 60, 40), ("attack:pgd:2", 60, 40), ("frame:pgd:1", 30, 60),
    }  # fmt: skip
    assert [c for c in cells if c.condition is not Condition.ATTACKED] == evaluate(honest)
    # the threshold is that of clean validation images
    assert len({(c.detector, c.threshold) for c in cells}) == 2
    with_attacks, without = evaluated(table), evaluated(honest)
    for name in ("comparisons", "audits", "groups", "gaps"):
        assert with_attacks[name] == without[name]


def test_rows_without_attacks_stay_as_they_are():
    table = rows()
    honest = table[~is_attack(table)]
    assert with_unchanged(honest) is honest and security_points(honest, []) == []


def test_masked_gradients_are_named():
    table = rows(0.0)
    stronger = table[table["perturbation"] == "attack:pgd:2"]
    table = pd.concat(
        [table, stronger.assign(perturbation="attack:square:2", score=stronger["score"] - 2)], ignore_index=True
    )
    known = [*facts(flat=0.4), *facts(attack="attack:square:2", access="scores")]
    sentences = warnings_of(security_points(table, known))
    assert any("weak: square, which asks for scores alone, is stronger at 2/255" in text for text in sentences)
    assert any("strong: pgd has no effect at its largest budget" in text for text in sentences)
    assert any("40% of its gradients under pgd are zero" in text for text in sentences)
    assert warnings_of(security_points(rows(), facts())) == []


def planned(*settings, generators=("dcgan", "gan"), detectors=("dct", "random")):
    made = compose(generators=generators, detectors=detectors, preset="smoke", overrides=parse_assignments(settings))
    return prepare_run(made)


def attacks_of(run):
    return [stage for stage in run.stages if isinstance(stage, Attack)]


def test_attacks_are_planned_for_the_fit_on_all_generators():
    run = planned("conditions.attacked={pgd: [4, 1], spectrum-match: []}", "conditions.attacked_images=30")
    stages = attacks_of(run)
    assert {(s.detector.label, s.tested_on, s.name_of_attack) for s in stages} == {
        ("dct@dcgan+gan", "dcgan", "pgd"), ("dct@dcgan+gan", "gan", "pgd"),
        ("dct@dcgan+gan", "dcgan", "spectrum-match"), ("dct@dcgan+gan", "gan", "spectrum-match"),
        # a random score is asked nothing
        ("random@dcgan+gan", "dcgan", "spectrum-match"), ("random@dcgan+gan", "gan", "spectrum-match"),
    }  # fmt: skip
    by_pgd = next(s for s in stages if s.name_of_attack == "pgd")
    assert [(part.perturbation, part.count) for part in by_pgd.parts] == [("attack:pgd:1", 30), ("attack:pgd:4", 30)]
    matching = next(s for s in stages if s.name_of_attack == "spectrum-match" and s.tested_on == "gan")
    # drawn for the attacker, from the same training, in no split of the run
    assert matching.attackers.counts.keys() == {"forge"} and matching.attackers.generator == matching.faces.generator
    assert matching.key != by_pgd.key and matching.attackers in run.stages


def test_a_surrogate_sees_split_forge_alone_and_is_not_shown():
    run = planned("conditions.attacked={transfer: [4]}", "attacks.transfer.surrogate=dct", "attacks.transfer.steps=5")
    (surrogate,) = {stage.surrogate for stage in attacks_of(run)}
    assert surrogate.surrogate and surrogate.label == "dct@dcgan+gan, surrogate"
    assert all(stage.counts.keys() == {"forge"} for stage in surrogate.forged.values())
    assert surrogate.real.action == "prepare"
    report = run.stages[-1]
    assert surrogate not in report.fits and {fit.label for fit in report.fits} >= {"dct@dcgan+gan"}
    # fitted otherwise than the attacked detector of the same name
    assert surrogate.key not in {fit.key for fit in report.fits}
    assert attacks_of(run)[0].request.settings["steps"] == 5


def test_laundering_trains_its_autoencoder_once():
    alone = planned("conditions.attacked={launder: []}")
    (autoencoder,) = {stage.autoencoder for stage in attacks_of(alone)}
    assert autoencoder.architecture == "vae" and autoencoder in alone.stages
    beside = planned("conditions.attacked={launder: []}", generators=("dcgan", "vae"))
    assert {stage.autoencoder for stage in attacks_of(beside)} == {
        s for s in beside.stages if s.action == "train" and s.label == "vae"
    }


def test_latents_move_where_a_forgery_is_made_of_one_alone():
    run = planned("conditions.attacked={latent: []}", generators=("dcgan", "vae", "self-blended"))
    assert {(s.detector.detector, s.tested_on, s.generator.label) for s in attacks_of(run)} == {
        ("dct", "dcgan", "dcgan")
    }


def test_real_faces_are_attacked_once_for_all_generators():
    stages = attacks_of(planned("conditions.attacked={square: [2]}", "conditions.attacked_reals=true"))
    (framed,) = [stage for stage in stages if stage.aim == "frame"]
    assert [part.perturbation for part in framed.parts] == ["frame:square:2"] and framed.tested_on == ""


def test_a_request_with_an_attack_from_a_file_is_written_and_read_again():
    made = compose(
        generators=("dcgan",), detectors=("dct",), preset="smoke",
        overrides=parse_assignments(["conditions.attacked={my.py:Haze: [8], pgd: [4]}"]),
    )  # fmt: skip
    words = shlex.split(command_of(made.request))
    (assignment,) = [word for word in words if word.startswith("conditions.")]
    assert parse_assignments([assignment])["conditions"]["attacked"] == {"my.py:Haze": [8], "pgd": [4]}


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("conditions.attacked={pgd: []}", "needs budgets in grey levels"),
        ("conditions.attacked={pgd: [0]}", "greater than or equal to 1"),
        ("conditions.attacked={pgd: [-4]}", "greater than or equal to 1"),
        ("conditions.attacked={pgd: [256]}", "less than or equal to 255"),
        ("conditions.attacked={pgd: [4, 4]}", "twice"),
        ("conditions.attacked={spectrum-match: [4]}", "takes no budget"),
        ("conditions.attacked={pgd: [four]}", "number"),
    ],
)
def test_impossible_attacks_are_refused_before_any_work(setting, sentence):
    with pytest.raises(InputError, match=sentence):
        planned(setting)


def test_unknown_attacks_and_settings_are_named():
    with pytest.raises(UnknownNameError, match="pgd"):
        planned("conditions.attacked={pdg: [4]}")
    with pytest.raises(UnknownNameError, match="attacks"):
        planned("conditions.attacked={pgd: [4]}", "attacks.apgd.steps=5")
    with pytest.raises(InputError, match="step"):
        planned("conditions.attacked={pgd: [4]}", "attacks.pgd.stepps=5")


def test_a_surrogate_needs_a_generator_that_draws_from_latents():
    with pytest.raises(InputError, match="no generator of this run draws any from latents"):
        planned("conditions.attacked={transfer: [4]}", generators=("self-blended",))


def test_what_is_attacked_was_scored_before(make_set):
    planned = prepare_run(
        compose(
            generators=("dcgan",), detectors=("dct",), preset="smoke", overrides=parse_assignments(
                ["conditions.attacked={spectrum-match: []}", "conditions.attacked_images=20", "images.test=60",
                 "conditions.scored_forgeries={test: 30}", "conditions.score_step=0.004"]
            ),
        )
    )  # fmt: skip
    attack = next(stage for stage in planned.stages if isinstance(stage, Attack))
    scored = next(stage for stage in planned.stages if stage.name == "score dct@dcgan on dcgan")
    assert attack.step == 0.004 and attack.settings["among"] == 30
    faces = make_set("faces", {"val": 20, "test": 60})
    job = SimpleNamespace(faces=lambda stage: faces)
    images = {part.split: view.rows["id"] for part, view in scored.views(job)}
    ((_, attacked),) = attack.views(job)
    assert len(attacked) == 20 and set(attacked.rows["id"]) < set(images["test"])
