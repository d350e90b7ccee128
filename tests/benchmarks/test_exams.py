"""Which trainings and tests each condition asks for, and the stages that follow."""

import pytest
from requested import compose

from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.matrix import exams
from benchmarks.protocol import TrainSet
from benchmarks.workflow.runner import prepare_run
from forge.errors import InputError

THREE = ("dcgan", "gan", "cgan")


def made(*assignments, generators=THREE, detectors=("dct", "random")):
    condition = ("hair",) if "cgan" in generators else ()
    overrides = parse_assignments(assignments)
    return compose(generators=generators, detectors=detectors, preset="smoke", condition=condition, overrides=overrides)


def texts(*assignments, generators=THREE, detector="dct"):
    found = exams(made(*assignments, generators=generators), detector)
    return {str(exam.training): (exam.tests, exam.perturbations) for exam in found}


def test_by_default_every_generator_is_trained_on_and_tested():
    assert texts() == dict.fromkeys((*THREE, "cgan+dcgan+gan"), (THREE, ("none",)))
    assert texts("conditions.union=false") == dict.fromkeys(THREE, (THREE, ("none",)))
    assert texts(generators=("gan",)) == {"gan": (("gan",), ("none",))}


def test_leave_one_out_tests_on_what_was_left_out():
    assert texts("conditions.cross=false", "conditions.leave_one_out=true") == {
        "cgan+gan": (("dcgan",), ("none",)),
        "cgan+dcgan": (("gan",), ("none",)),
        "dcgan+gan": (("cgan",), ("none",)),
        "cgan+dcgan+gan": (THREE, ("none",)),  # the detector for photos
    }
    # of two generators, leaving one out is training on the other
    two = texts("conditions.leave_one_out=true", "conditions.union=false", generators=("dcgan", "gan"))
    assert two == {"dcgan": (("dcgan", "gan"), ("none",)), "gan": (("dcgan", "gan"), ("none",))}
    assert texts("conditions.leave_one_out=true", "conditions.cross=false", generators=("gan",)) == {}


def test_what_asks_for_the_union_shares_one_training():
    found = texts("conditions={cross: false, robust: [jpeg75, blur1], equalised: true, budget: [50], shuffled: [dct]}")
    union = "cgan+dcgan+gan"
    assert found == {
        union: (THREE, ("none", "jpeg75", "blur1")),
        f"{union}:equalised": (THREE, ("equalised",)),
        f"{union}:50": (THREE, ("none",)),
        f"{union}:shuffled": (THREE, ("none",)),
    }


def test_a_condition_can_be_limited_to_some_detectors():
    limited = ("conditions={cross: false, robust: [jpeg75], budget: [50], only: {budget: [random]}}",)
    assert "cgan+dcgan+gan:50" not in texts(*limited)
    assert "cgan+dcgan+gan:50" in texts(*limited, detector="random")


def test_stages_of_a_union_read_every_generator_and_val_of_no_other():
    planned = prepare_run(made("conditions={cross: false, leave_one_out: true}", generators=("dcgan", "gan", "gan@2k")))
    stages = {stage.name: stage for stage in planned.stages}
    fit = stages["fit dct@dcgan+gan"]
    assert set(fit.inputs) == {"real", "forged dcgan", "forged gan"}
    asked = {name: [one["split"] for one in stage.settings["asked"]] for name, stage in stages.items()
             if name.startswith("score dct@dcgan+gan on")}  # fmt: skip
    assert asked == {
        "score dct@dcgan+gan on real": ["val", "test"],
        "score dct@dcgan+gan on dcgan": ["val"],
        "score dct@dcgan+gan on gan": ["val"],
        "score dct@dcgan+gan on gan@2k": ["test"],
    }


def test_a_discriminator_of_a_left_out_generator_is_never_used():
    planned = prepare_run(
        made("conditions={cross: false, leave_one_out: true}", generators=("gan", "dcgan", "self-blended"),
             detectors=("disc-raw",))
    )  # fmt: skip
    judges = {stage.name: stage.adversary.subject for stage in planned.stages if stage.kind == "fit"}
    assert judges == {
        "fit disc-raw@dcgan+self-blended": "dcgan",
        "fit disc-raw@gan+self-blended": "gan",
        "fit disc-raw@dcgan+gan": "dcgan",  # the last one listed
        "fit disc-raw@dcgan+gan+self-blended": "dcgan",
    }


def test_equalised_images_are_fitted_and_scored_alike():
    planned = prepare_run(made("conditions={cross: false, equalised: true}", generators=("gan",), detectors=("dct",)))
    stages = {stage.name: stage for stage in planned.stages}
    fit = stages["fit dct@gan:equalised"]
    assert {one.name for one in fit.inputs.values()} == {"perturb rendered equalised", "perturb gan equalised"}
    assert {one["perturbation"] for one in stages["score dct@gan:equalised on gan"].settings["asked"]} == {"equalised"}
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
        ("conditions.leave_on_out=true", "did you mean 'leave_one_out'"),
        ("conditions.cross=false", "asks for no training"),
    ],
)
def test_what_cannot_be_asked_is_said(assignment, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_run(made(assignment, generators=("gan",), detectors=("dct",)))


def test_a_training_of_the_union_sorts_its_names():
    assert str(TrainSet.of(*THREE)) == "cgan+dcgan+gan"
