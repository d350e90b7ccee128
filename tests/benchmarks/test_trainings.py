"""What `trained_on` says, and which condition a test is."""

import pytest

from benchmarks.measures.trainings import CONDITIONS, Training
from forge.errors import InputError


@pytest.mark.parametrize("text", ["dcgan", "cgan+dcgan", "dcgan:200", "cgan+dcgan:equalised", "dcgan@24k:shuffled"])
def test_a_training_is_read_as_it_is_written(text):
    assert str(Training.parse(text)) == text


def test_the_order_of_generators_does_not_matter():
    assert Training.of("gan", "dcgan", "gan") == Training.parse("dcgan+gan") == Training.parse("gan+dcgan")


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "perturbation", "condition"),
    [
        ("dcgan", "dcgan", "none", "same"),
        ("dcgan+gan", "gan", "none", "same"),
        ("dcgan", "gan", "none", "cross"),
        ("dcgan+gan", "cgan", "none", "leave-one-out"),
        ("dcgan", "dcgan", "jpeg75", "robust"),
        ("dcgan", "gan", "noise5", "robust"),
        ("dcgan:200", "dcgan", "none", "budget"),
        ("dcgan:equalised", "dcgan", "equalised", "equalised"),
        ("dcgan:equalised", "dcgan", "none", "robust"),
        ("dcgan:shuffled", "dcgan", "none", "shuffled"),
    ],
)
def test_conditions(trained_on, tested_on, perturbation, condition):
    assert Training.parse(trained_on).condition(tested_on, perturbation) == condition and condition in CONDITIONS


def test_what_a_variant_says():
    assert Training.parse("gan:200").images == 200 and Training.parse("gan").images is None
    assert Training.parse("gan:equalised").perturbation == "equalised"
    assert Training.parse("gan:200").perturbation == "none"


@pytest.mark.parametrize("text", ["FaceForensics++", "+gan", "gan:few", "gan:0", "my: photos", ":200"])
def test_a_name_from_elsewhere_is_one_name(text):
    assert Training.parse(text).generators == (text,) and str(Training.parse(text)) == text


def test_nothing_is_no_training():
    with pytest.raises(InputError, match="trained_on is empty"):
        Training.parse("")
