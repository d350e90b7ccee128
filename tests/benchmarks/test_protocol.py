"""The protocol as types: names that are read as they are written, conditions of tests, the choice of an interval."""

import pandas as pd
import pytest

from benchmarks.protocol import (
    PRIMARIES,
    Condition,
    GeneratorId,
    Protocol,
    TestGrid,
    TrainSet,
    choose_interval,
    column_of,
    condition_of,
    condition_of_column,
    meaning_of_column,
    order_of_columns,
    phrase_of_column,
    protocol_of_scores,
)
from forge.core.errors import InputError


@pytest.mark.parametrize("text", ["dcgan", "cgan+dcgan", "dcgan:200", "cgan+dcgan:equalised", "dcgan@24k:shuffled"])
def test_a_training_is_read_as_it_is_written(text):
    assert str(TrainSet.parse(text)) == text


def test_the_order_of_generators_does_not_matter():
    assert TrainSet.of("gan", "dcgan", "gan") == TrainSet.parse("dcgan+gan") == TrainSet.parse("gan+dcgan")


FAMILIES = {"cgan": "conv-gan", "dcgan": "conv-gan", "gan": "dense-gan"}
FOUR = TestGrid(
    frozenset({"cgan", "dcgan", "gan", "other"}),
    frozenset({"gan@2k"}),
    frozenset({"external:mine"}),
    Protocol(families=FAMILIES),
    frozenset({"paired:gan"}),
)


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "condition", "column"),
    [
        ("dcgan", "dcgan", "seen", "same"),
        ("dcgan+gan", "gan", "seen", ""),
        ("cgan+dcgan+gan+other", "gan", "seen", "union"),
        ("dcgan", "gan", "matrix", "cross"),
        ("dcgan+gan", "cgan", "matrix", ""),
        ("cgan+gan+other", "dcgan", "unseen", "leave-one-out"),
        ("gan+other", "dcgan", "matrix", ""),
        ("elsewhere", "gan", "unseen", "leave-one-out"),
    ],
)
def test_tests_of_protocol_1_keep_its_columns_whatever_their_families(trained_on, tested_on, condition, column):
    grid = TestGrid(FOUR.generators, protocol=Protocol(1, FAMILIES))
    train_set = TrainSet.parse(trained_on)
    assert condition_of(train_set, tested_on, "none", grid) is Condition(condition)
    assert column_of(train_set, tested_on, "none", grid) == column
    assert not column or condition_of_column(column) is Condition(condition)
    alone = TestGrid(frozenset({"gan"}), protocol=Protocol(1))
    assert column_of(TrainSet.parse("elsewhere"), "gan", "none", alone) == "same"


@pytest.mark.parametrize(
    ("word", "condition"), [("leave-one-out", "unseen"), ("cross", "matrix"), ("same", "seen"), ("union", "seen")]
)
def test_words_of_protocol_1_in_stored_results_are_read(word, condition):
    assert Condition(word) is Condition(condition)
    with pytest.raises(ValueError, match="crossed"):
        Condition("crossed")


def test_a_family_holds_snapshots_and_what_is_not_named_is_its_own():
    protocol = Protocol(families={"dcgan": "conv-gan", "gan@2k": "odd"})
    assert [protocol.family(name) for name in ("dcgan", "dcgan@24k", "gan@2k", "gan@4k", "new")] == [
        "conv-gan", "conv-gan", "odd", "gan", "new",
    ]  # fmt: skip
    scores = pd.DataFrame({"generator": ["", "a", "a", "b"], "family": ["", "fa", "fa", ""], "trained_on": "elsewhere"})
    assert protocol_of_scores(scores).families == {"a": "fa"}
    assert TestGrid.of_scores(scores).families == {"fa", "b"}
    assert protocol_of_scores(scores.drop(columns="family")) == Protocol()


def test_protocols_do_not_mix():
    Protocol(2).refuse_other(Protocol(2, FAMILIES), ("a", "b"))
    with pytest.raises(InputError, match=r"a was measured by protocol 2 and b by protocol 1.*never ranked together"):
        Protocol(2).refuse_other(Protocol(1), ("a", "b"))
    with pytest.raises(InputError, match="protocol 3 is not known"):
        Protocol(3)
    assert Protocol(2, FAMILIES).family("cgan") == "conv-gan"


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "perturbation", "condition", "column"),
    [
        ("dcgan", "dcgan", "none", "seen", ""),  # the diagonal of the matrix is in no mean
        ("dcgan+gan", "gan", "none", "seen", ""),  # no condition asks for it
        ("cgan+dcgan+gan+other", "gan", "none", "seen", "seen"),
        ("dcgan", "gan", "none", "matrix", "matrix"),
        ("dcgan", "cgan", "none", "matrix", "matrix"),
        ("dcgan+gan", "cgan", "none", "matrix", ""),
        ("cgan+dcgan+gan", "other", "none", "unseen", "unseen"),
        ("gan+other", "cgan", "none", "unseen", "unseen"),
        ("gan+other", "dcgan", "none", "unseen", "unseen"),
        ("cgan+gan+other", "dcgan", "none", "matrix", ""),  # leaves its twin in
        ("elsewhere", "gan", "none", "unseen", "unseen"),
        ("FaceForensics++", "gan", "none", "unseen", "unseen"),
        ("deepfakes+face2face", "gan", "none", "unseen", "unseen"),
        ("dcgan", "dcgan", "jpeg75", "robust", "robust"),
        ("dcgan", "gan", "noise5", "robust", "robust"),
        ("gan+other", "dcgan", "wild", "wild", "wild"),
        ("elsewhere", "dcgan", "wild", "wild", "wild"),
        ("gan", "dcgan", "wild", "wild", ""),
        ("dcgan", "dcgan", "wild", "wild", ""),
        ("gan+other:200", "dcgan", "wild", "wild", ""),
        ("dcgan:200", "dcgan", "none", "budget", "budget 200"),
        ("dcgan:200", "dcgan", "jpeg75", "robust", ""),
        ("dcgan:equalised", "dcgan", "equalised", "equalised", "equalised"),
        ("dcgan:equalised", "dcgan", "none", "robust", ""),
        ("dcgan:shuffled", "dcgan", "none", "shuffled", ""),
        ("dcgan", "gan@2k", "none", "snapshots", ""),
        ("cgan+dcgan+gan+other", "external:mine", "none", "external", "external"),
        ("elsewhere", "external:mine", "none", "external", "external"),
        ("cgan+dcgan+gan+other", "paired:gan", "none", "paired", "paired"),
        ("elsewhere", "paired:gan", "none", "paired", "paired"),
        ("dcgan", "paired:gan", "none", "paired", ""),
        ("dcgan:200", "paired:gan", "none", "paired", ""),
        ("dcgan", "external:mine", "none", "external", ""),
        ("cgan+dcgan+gan+other:200", "external:mine", "none", "external", ""),
    ],
)
def test_every_test_has_one_condition_and_at_most_one_column(trained_on, tested_on, perturbation, condition, column):
    train_set = TrainSet.parse(trained_on)
    assert condition_of(train_set, tested_on, perturbation, FOUR) is Condition(condition)
    assert column_of(train_set, tested_on, perturbation, FOUR) == column
    assert not column or meaning_of_column(column)


def test_of_two_families_training_on_one_is_leaving_the_other_out():
    two = TestGrid(frozenset({"dcgan", "gan"}))
    assert condition_of(TrainSet.of("gan"), "dcgan", "none", two) is Condition.UNSEEN
    assert condition_of(TrainSet.of("gan"), "gan", "none", two) is Condition.SEEN
    assert condition_of(TrainSet.of("gan", "dcgan"), "gan", "none", two) is Condition.SEEN
    twins = TestGrid(frozenset({"dcgan", "cgan"}), protocol=Protocol(families=FAMILIES))
    assert column_of(TrainSet.of("cgan"), "dcgan", "none", twins) == "matrix"  # nothing is left out of one family
    assert column_of(TrainSet.parse("elsewhere"), "dcgan", "none", twins) == "seen"


def test_a_twin_that_is_not_tested_itself_counts_as_seen_of_its_family():
    alone = TestGrid(frozenset({"dcgan"}), protocol=Protocol(families=FAMILIES))
    assert condition_of(TrainSet.of("cgan"), "dcgan", "none", alone) is Condition.MATRIX
    assert condition_of(TrainSet.of("gan"), "dcgan", "none", alone) is Condition.UNSEEN


def test_with_one_generator_what_was_trained_elsewhere_shares_its_column():
    alone = TestGrid(frozenset({"dcgan"}))
    elsewhere = TrainSet.parse("elsewhere")
    assert (
        column_of(elsewhere, "dcgan", "none", alone)
        == column_of(TrainSet.of("dcgan"), "dcgan", "none", alone)
        == "seen"
    )
    assert not condition_of(elsewhere, "dcgan", "none", alone).seen
    assert column_of(TrainSet.of("dcgan"), "gan", "none", alone) == "unseen"  # of a detector from elsewhere


def test_conditions_say_what_they_mean_and_columns_have_an_order():
    assert all(condition.meaning for condition in Condition) and all(meaning_of_column(name) for name in PRIMARIES)
    assert [condition for condition in Condition if condition.seen] == ["seen"]
    names = ["budget 1000", "budget 50", "external", "matrix", "unseen", "seen"]
    assert order_of_columns(names) == ["unseen", "matrix", "seen", "external", "budget 50", "budget 1000"]
    assert order_of_columns(["robust", "union", "leave-one-out"]) == ["leave-one-out", "union", "robust"]
    assert phrase_of_column("unseen") == "on generators of families left out of its training"
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
