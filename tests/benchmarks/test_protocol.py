"""The protocol as types: names that are read as they are written, conditions of tests, the choice of an interval."""

import pytest

from benchmarks.protocol import (
    PRIMARIES,
    Condition,
    GeneratorId,
    TestGrid,
    TrainSet,
    choose_interval,
    column_of,
    condition_of,
    meaning_of_column,
    order_of_columns,
    phrase_of_column,
)
from forge.errors import InputError


@pytest.mark.parametrize("text", ["dcgan", "cgan+dcgan", "dcgan:200", "cgan+dcgan:equalised", "dcgan@24k:shuffled"])
def test_a_training_is_read_as_it_is_written(text):
    assert str(TrainSet.parse(text)) == text


def test_the_order_of_generators_does_not_matter():
    assert TrainSet.of("gan", "dcgan", "gan") == TrainSet.parse("dcgan+gan") == TrainSet.parse("gan+dcgan")


FOUR = TestGrid(frozenset({"cgan", "dcgan", "gan", "other"}), frozenset({"gan@2k"}), frozenset({"external:mine"}))


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "perturbation", "condition", "column"),
    [
        ("dcgan", "dcgan", "none", "same", "same"),
        ("dcgan+gan", "gan", "none", "same", ""),  # no condition asks for it
        ("cgan+dcgan+gan+other", "gan", "none", "union", "union"),
        ("dcgan", "gan", "none", "cross", "cross"),
        ("dcgan+gan", "cgan", "none", "cross", ""),
        ("cgan+dcgan+gan", "other", "none", "leave-one-out", "leave-one-out"),
        ("elsewhere", "gan", "none", "leave-one-out", "leave-one-out"),
        ("FaceForensics++", "gan", "none", "leave-one-out", "leave-one-out"),
        ("deepfakes+face2face", "gan", "none", "leave-one-out", "leave-one-out"),
        ("dcgan", "dcgan", "jpeg75", "robust", "robust"),
        ("dcgan", "gan", "noise5", "robust", "robust"),
        ("dcgan:200", "dcgan", "none", "budget", "budget 200"),
        ("dcgan:200", "dcgan", "jpeg75", "budget", "budget 200"),
        ("dcgan:equalised", "dcgan", "equalised", "equalised", "equalised"),
        ("dcgan:equalised", "dcgan", "none", "robust", ""),
        ("dcgan:shuffled", "dcgan", "none", "shuffled", ""),
        ("dcgan", "gan@2k", "none", "snapshots", ""),
        ("cgan+dcgan+gan+other", "external:mine", "none", "external", "external"),
        ("elsewhere", "external:mine", "none", "external", "external"),
        ("dcgan", "external:mine", "none", "external", ""),
        ("cgan+dcgan+gan+other:200", "external:mine", "none", "external", ""),
    ],
)
def test_every_test_has_one_condition_and_at_most_one_column(trained_on, tested_on, perturbation, condition, column):
    train_set = TrainSet.parse(trained_on)
    assert condition_of(train_set, tested_on, perturbation, FOUR) is Condition(condition)
    assert column_of(train_set, tested_on, perturbation, FOUR) == column
    assert not column or meaning_of_column(column)


def test_of_two_generators_training_on_one_is_leaving_the_other_out():
    two = TestGrid(frozenset({"dcgan", "gan"}))
    assert condition_of(TrainSet.of("gan"), "dcgan", "none", two) is Condition.LEAVE_ONE_OUT
    assert condition_of(TrainSet.of("gan"), "gan", "none", two) is Condition.SAME
    assert condition_of(TrainSet.of("gan", "dcgan"), "gan", "none", two) is Condition.UNION


def test_with_one_generator_what_was_trained_elsewhere_shares_its_column():
    alone = TestGrid(frozenset({"dcgan"}))
    elsewhere = TrainSet.parse("elsewhere")
    assert (
        column_of(elsewhere, "dcgan", "none", alone)
        == column_of(TrainSet.of("dcgan"), "dcgan", "none", alone)
        == "same"
    )
    assert not condition_of(elsewhere, "dcgan", "none", alone).seen
    assert column_of(TrainSet.of("dcgan"), "gan", "none", alone) == "leave-one-out"  # of a detector from elsewhere


def test_conditions_say_what_they_mean_and_columns_have_an_order():
    assert all(condition.meaning for condition in Condition) and set(PRIMARIES) <= set(Condition)
    assert [condition for condition in Condition if condition.seen] == ["same", "union"]
    names = ["budget 1000", "budget 50", "external", "cross", "leave-one-out", "same"]
    assert order_of_columns(names) == ["leave-one-out", "cross", "same", "external", "budget 50", "budget 1000"]
    assert phrase_of_column("leave-one-out") == "on generators left out of its training"
    assert phrase_of_column("budget 50") == "in the column budget 50"


@pytest.mark.parametrize(
    ("name", "base", "kimg"),
    [("dcgan@24k", "dcgan", 24.0), ("a@b@1.5k", "a@b", 1.5), ("dcgan", "dcgan", None), ("dcgan@k", "dcgan@k", None),
     ("@3k", "@3k", None)],
)  # fmt: skip
def test_a_snapshot_is_known_by_its_name(name, base, kimg):
    assert GeneratorId.parse(name) == GeneratorId(base, kimg) and str(GeneratorId.parse(name)) == name


def test_what_nothing_was_trained_on_stands_beside():
    trained = [TrainSet.parse("dcgan"), TrainSet.parse("gan"), TrainSet.parse("gan@2k")]
    grid = TestGrid.of(["", "dcgan", "dcgan@6k", "gan@2k", "other@6k", "new", "external:mine"], trained)
    # gan@2k was trained on; nothing was trained on "other" and "new", and nothing is known of a training of "other"
    assert grid == TestGrid(frozenset({"dcgan", "gan@2k"}), frozenset({"dcgan@6k"}), frozenset({"external:mine"}))
    assert TestGrid.of(["a", "b"], [TrainSet.parse("elsewhere")]).generators == {"a", "b"}


@pytest.mark.parametrize(
    ("real", "forged", "variance", "repeated", "people", "method"),
    [
        (200, 200, 0.1, False, 0, "DeLong"),
        (199, 2000, 0.1, False, 0, "Newcombe"),
        (2000, 199, 0.1, False, 0, "Newcombe"),
        (2000, 2000, 0.0, False, 0, "Newcombe"),
        (2000, 2000, 0.1, True, 30, "bootstrap over identities"),
        (2000, 2000, 0.1, True, 29, "Newcombe over identities"),
        (199, 2000, 0.1, True, 100, "Newcombe over identities"),
    ],
)
def test_the_interval_suits_the_images(real, forged, variance, repeated, people, method):
    assert choose_interval(real, forged, variance=variance, repeated=repeated, people=people) == method


@pytest.mark.parametrize(
    ("train_set", "short"),
    [("gan", "gan"), ("cgan+dcgan+gan", "all"), ("cgan+gan", "all but dcgan"), ("cgan+gan:50", "cgan+gan:50")],
)
def test_train_sets_are_short_among_the_generators_of_a_run(train_set, short):
    assert TrainSet.parse(train_set).shortened(["gan", "dcgan", "cgan"]) == short


def test_what_a_variant_says():
    assert TrainSet.parse("gan:200").images == 200 and TrainSet.parse("gan").images is None
    assert TrainSet.parse("gan:equalised").perturbation == "equalised"
    assert TrainSet.parse("gan:200").perturbation == "none"


@pytest.mark.parametrize("text", ["FaceForensics++", "+gan", "gan:few", "gan:0", "my: photos", ":200"])
def test_a_name_from_elsewhere_is_one_name(text):
    assert TrainSet.parse(text).generators == (text,) and str(TrainSet.parse(text)) == text


def test_nothing_is_no_training():
    with pytest.raises(InputError, match="trained_on is empty"):
        TrainSet.parse("")
