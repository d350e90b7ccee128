"""Fits and tests that each condition requires, and the stages that follow."""

import pytest
from requested import compose

from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.matrix import planned_fits
from benchmarks.protocol import TrainSet
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError

THREE = ("dcgan", "gan", "cgan")


def made(*assignments, generators=THREE, detectors=("dct", "random")):
    condition = ("hair",) if "cgan" in generators else ()
    overrides = parse_assignments(assignments)
    return compose(generators=generators, detectors=detectors, preset="smoke", condition=condition, overrides=overrides)


def texts(*assignments, generators=THREE, detector="dct"):
    fits = planned_fits(made(*assignments, generators=generators), detector)
    return {str(fit.train_set): (fit.tests, fit.perturbations) for fit in fits}


def test_by_default_every_generator_is_trained_on_and_tested_and_families_are_left_out():
    plain = "conditions.unseen=false"
    assert texts(plain) == dict.fromkeys((*THREE, "cgan+dcgan+gan"), (THREE, ("none",)))
    assert texts(plain, "conditions.seen=false") == dict.fromkeys(THREE, (THREE, ("none",)))
    assert texts(generators=("gan",)) == {"gan": (("gan",), ("none",))}
    assert texts() == texts("conditions.unseen=true") == texts(plain) | texts(UNSEEN)
    # no family would be left to train on; nobody asked for it
    assert texts(FAMILIES.replace("dense-gan", "conv-gan")) == texts(plain)


FAMILIES = "generators={dcgan: {family: conv-gan}, cgan: {family: conv-gan}, gan: {family: dense-gan}}"
UNSEEN = "conditions={matrix: false, seen: false, unseen: true}"


def test_unseen_leaves_out_a_family_and_tests_on_its_generators():
    assert texts(UNSEEN, FAMILIES) == {
        "gan": (("dcgan", "cgan"), ("none",)),
        "cgan+dcgan": (("gan",), ("none",)),
    }
    # a generator whose family is not known is a family of its own, together with its snapshots
    assert texts(UNSEEN)["cgan+dcgan"] == (("gan",), ("none",)) and len(texts(UNSEEN)) == 3
    snapshots = texts(UNSEEN, generators=("dcgan", "dcgan@2k", "gan"))
    assert snapshots == {"gan": (("dcgan", "dcgan@2k"), ("none",)), "dcgan+dcgan@2k": (("gan",), ("none",))}


def test_wild_changes_the_test_images_of_left_out_families():
    assert texts(UNSEEN, FAMILIES, "conditions.wild=true") == {
        "gan": (("dcgan", "cgan"), ("none", "wild")),
        "cgan+dcgan": (("gan",), ("none", "wild")),
    }
    limited = made(UNSEEN, FAMILIES, "conditions={wild: true, only: {wild: [dct]}}")
    assert {fit.perturbations for fit in planned_fits(limited, "random")} == {("none",)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("conditions={wild: true, unseen: false}",), "changes the test images of `unseen`"),
        (("conditions.wild=true", FAMILIES.replace("dense-gan", "conv-gan")), "needs generators of two families"),
        (("conditions.robust=[wild]",), "set conditions.wild=true"),
    ],
)
def test_wild_is_refused_where_it_has_no_trainings(settings, message):
    with pytest.raises(InputError, match=message):
        prepare_run(made(*settings))


def test_snapshots_are_tested_with_the_family_that_is_left_out():
    planned = texts(UNSEEN, FAMILIES, "conditions.snapshots={dcgan: [1, 2]}")
    assert planned["gan"] == (("dcgan", "cgan", "dcgan@1k", "dcgan@2k"), ("none",))


def test_trainings_of_two_conditions_are_shared():
    # of two families, leaving one out is training on the other
    two = texts("conditions.unseen=true", "conditions.seen=false", generators=("dcgan", "gan"))
    assert two == {"dcgan": (("dcgan", "gan"), ("none",)), "gan": (("dcgan", "gan"), ("none",))}
    assert texts("conditions.matrix=false", generators=("gan",)) == texts(generators=("gan",))


def test_one_family_leaves_nothing_to_train_on():
    assert texts(UNSEEN, generators=("gan",)) == {}
    assert texts(UNSEEN, FAMILIES.replace("dense-gan", "conv-gan")) == {}


def test_checked_generators_carry_the_family_of_their_architecture_and_evaluation_reads_it():
    planned = prepare_run(made("conditions.unseen=true"))
    evaluate = next(stage for stage in planned.stages if stage.action == "evaluate")
    assert evaluate.settings["families"] == {"dcgan": "conv-gan", "gan": "dense-gan", "cgan": "conv-gan"}
    assert {stage.label for stage in planned.stages if stage.action == "fit"} >= {"dct@gan", "dct@cgan+dcgan"}
    renamed = prepare_run(made("conditions.unseen=true", "generators.cgan.family=mine"))
    keys = [[stage.key for stage in run.stages if stage.action in ("train", "tamper")] for run in (planned, renamed)]
    assert keys[0] == keys[1]  # a family is no reason to train again
    assert "dct@dcgan+gan" in {stage.label for stage in renamed.stages if stage.action == "fit"}


def test_what_asks_for_the_union_shares_one_training():
    planned = texts(
        "conditions={matrix: false, unseen: false, robust: [jpeg75, blur1], equalised: true, budget: [50], "
        "shuffled: [dct]}"
    )
    union = "cgan+dcgan+gan"
    assert planned == {
        union: (THREE, ("none", "jpeg75", "blur1")),
        f"{union}:equalised": (THREE, ("equalised",)),
        f"{union}:50": (THREE, ("none",)),
        f"{union}:shuffled": (THREE, ("none",)),
    }


def test_a_condition_can_be_limited_to_some_detectors():
    limited = ("conditions={matrix: false, robust: [jpeg75], budget: [50], only: {budget: [random]}}",)
    assert "cgan+dcgan+gan:50" not in texts(*limited)
    assert "cgan+dcgan+gan:50" in texts(*limited, detector="random")


def test_stages_of_a_union_read_every_generator_and_val_of_no_other():
    planned = prepare_run(made("conditions={matrix: false, unseen: true}", generators=("dcgan", "gan", "gan@2k")))
    stages = {stage.name: stage for stage in planned.stages}
    fit = stages["fit dct@gan+gan@2k"]  # a snapshot is of the family of its training
    assert set(fit.inputs) == {"real", "forged gan", "forged gan@2k"}
    splits = {name: [item["split"] for item in stage.settings["asked"]] for name, stage in stages.items()
             if name.startswith("score dct@gan+gan@2k on")}  # fmt: skip
    assert splits == {
        "score dct@gan+gan@2k on real": ["val", "test"],
        "score dct@gan+gan@2k on gan": ["val"],
        "score dct@gan+gan@2k on gan@2k": ["val"],
        "score dct@gan+gan@2k on dcgan": ["test"],
    }


def test_a_discriminator_of_a_left_out_generator_is_never_used():
    planned = prepare_run(
        made("conditions={matrix: false, unseen: true}", generators=("gan", "dcgan", "self-blended"),
             detectors=("disc-raw",))
    )  # fmt: skip
    judges = {stage.name: stage.adversary.subject for stage in planned.stages if stage.action == "fit"}
    assert judges == {
        "fit disc-raw@dcgan+self-blended": "dcgan",
        "fit disc-raw@gan+self-blended": "gan",
        "fit disc-raw@dcgan+gan": "dcgan",  # the last one listed
        "fit disc-raw@dcgan+gan+self-blended": "dcgan",
    }


def test_equalised_images_are_fitted_and_scored_alike():
    planned = prepare_run(made("conditions={matrix: false, equalised: true}", generators=("gan",), detectors=("dct",)))
    stages = {stage.name: stage for stage in planned.stages}
    fit = stages["fit dct@gan:equalised"]
    assert {item.name for item in fit.inputs.values()} == {"perturb rendered equalised", "perturb gan equalised"}
    assert {item["perturbation"] for item in stages["score dct@gan:equalised on gan"].settings["asked"]} == {
        "equalised"
    }
    names = [stage.name for stage in planned.stages]
    assert names.index("perturb gan equalised") < names.index(fit.name)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("conditions.robust=[jpg75]", "did you mean 'jpeg75'"),
        ("conditions.budget=[0]", "greater than 0"),
        ("conditions.equalised=blur1", "valid boolean"),
        ("conditions.shuffled=[xception]", "'xception' is not a detector of this run"),
        ("conditions.only={budgets: [dct]}", "did you mean 'budget'"),
        ("conditions.only={budget: [xception]}", "'xception' is not a detector of this run"),
        ("conditions.unsen=true", "did you mean 'unseen'"),
        ("conditions={matrix: false, seen: false}", "asks for no training"),
        ("conditions.unseen=true", "generators of two families or more"),
    ],
)
def test_what_cannot_be_asked_is_said(assignment, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_run(made(assignment, generators=("gan",), detectors=("dct",)))


def test_a_training_of_the_union_sorts_its_names():
    assert str(TrainSet.of(*THREE)) == "cgan+dcgan+gan"
