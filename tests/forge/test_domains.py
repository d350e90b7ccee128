"""Domains of an unpaired translation: what is refused, what is left out, and how a smaller domain is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forge.core.compute import Compute
from forge.core.errors import BenchWarning, InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.halves import halve, source_half
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.generators.domains import Domains
from forge.training.batches import Batches
from forge.training.steps import method_of
from forge.training.task import Training, hold_out


def labelled(folder, counts, column="gender", types="string", resolution=16, other=(), extra=("forge",)):
    """A set with images of each value, red for the first, green for the second and so on, all a little different."""
    rng = np.random.default_rng(1)
    with FaceSetWriter(folder, "people", "real", resolution, "CC0", {}, {column: types, "same": "string"}) as writer:
        for split in extra:
            for number, (value, count) in enumerate([*counts.items(), *other]):
                images = np.zeros((count, resolution, resolution, 3), np.uint8)
                images[..., number % 3] = 120
                images += (
                    rng.integers(0, 60, (count, 4, 4, 3))
                    .repeat(resolution // 4, 1)
                    .repeat(resolution // 4, 2)
                    .astype(np.uint8)
                )
                rows = [
                    {"id": f"{split}-{value}-{i}", "split": split, "identity": f"{split}{value}{i // 2}", column: value,
                     "same": "x"}
                    for i in range(count)
                ]  # fmt: skip
                if count:
                    writer.append(images, rows)
    return FaceSet.open(folder)


def unpaired_training(faces, work, name="fastcut", domains=None, network=None, **settings):
    kind = GENERATORS.load(name)
    resolution = faces.resolution
    narrow = {"generator_width": 4, "blocks": 1, "discriminator_width": 8} | (network or {})
    found, view = Domains.of(faces.view("forge"), domains or {})
    architecture = kind(kind.Settings(**narrow), resolution)
    chosen = {"kimg": 0.96, "batch": 8, "log_every": 3, "sample_every_kimg": 0.3, "ema_kimg": 0.1}
    chosen |= {"health_every_kimg": 0.1} | settings  # seldom: a look takes longer than many steps
    if name == "fastcut":
        chosen = {"head_width": 16, "sites": 8} | chosen
    return Training(
        name="mine", reference=name, architecture=architecture, settings=method_of(architecture).Settings(**chosen),
        view=view, seed=1, compute=Compute("cpu", "fp32"), work=work, domains=found,
    )  # fmt: skip


def test_the_two_most_frequent_values_of_a_common_column_are_the_default(tmp_path):
    faces = labelled(tmp_path / "a", {"Male": 30, "Female": 40}, other=[("other", 10)])
    domains, view = Domains.of(faces.view("forge"), {})
    assert domains == Domains("gender", "Female", "Male") and domains.swapped == Domains("gender", "Male", "Female")
    assert len(view) == 70 and len(domains.sources(view)) == 40 and len(domains.targets(view)) == 30
    assert set(domains.targets(view).rows["gender"]) == {"Male"}
    assert Domains.from_json(domains.to_json()) == domains
    assert domains.moved(faces) == {"gender": "Male"}


@pytest.mark.parametrize(
    ("requested", "error", "sentence"),
    [
        ({"gendre": ["Female", "Male"]}, UnknownNameError, "label column 'gendre' is not known; did you mean 'gender'"),
        (
            {"gender": ["Femal", "Male"]},
            UnknownNameError,
            "value of gender 'Femal' is not known; did you mean 'Female'",
        ),
        ({"same": ["x", "y"]}, InputError, "label column 'same' has only 'x'; a translation needs two values"),
        ({"gender": ["Male", "Male"]}, InputError, "both domains are gender 'Male'; name two different values"),
        ({"gender": ["Female"]}, InputError, "must name one label column and two values"),
        ({"gender": ["Female", "Male"], "same": ["x", "y"]}, InputError, "must name one label column and two values"),
        # in the set, but not in the split that is learned from
        ({"gender": ["Female", "late"]}, InputError, "no image to learn from has gender 'late'.*Female 40, Male 30"),
    ],
)
def test_wrong_domains_are_refused_with_column_and_value(tmp_path, requested, error, sentence):
    faces = labelled(tmp_path / "a", {"Female": 40, "Male": 30})
    rows = [{"id": "late", "split": "test", "gender": "late", "same": "x"}]
    with FaceSetWriter(tmp_path / "b", "b", "real", 16, "CC0", {}, {"gender": "string", "same": "string"}) as writer:
        writer.append(faces.read(range(70)), faces.table[["id", "split", "gender", "same"]].to_dict("records"))
        writer.append(faces.read([0]), rows)
    with pytest.raises(error, match=sentence):
        Domains.of(FaceSet.open(tmp_path / "b").view("forge"), requested)


def test_a_set_without_labels_says_how_to_name_domains(make_set):
    with pytest.raises(InputError, match=r"no label column .* to translate between .*generator\.domains="):
        Domains.of(make_set("plain", {"forge": 20}).view("forge"), {})


@pytest.mark.parametrize(
    ("types", "values", "requested", "label"),
    [
        ("int64", (3, 7), ["3", "7"], 7),
        ("float64", (0.5, 2.0), ["0.5", "2"], 2.0),
        ("string", ("True", "False"), ["yes", "no"], "False"),  # as YAML reads a bare True and False
        ("string", ("yes", "no"), ["yes", "no"], "no"),
    ],
)
def test_values_are_text_whatever_the_type_of_the_column(tmp_path, types, values, requested, label):
    faces = labelled(tmp_path / "a", dict.fromkeys(values, 10), types=types)
    domains, view = Domains.of(faces.view("forge"), {"gender": requested})
    assert len(view) == 20 and domains.moved(faces) == {"gender": label}


def test_a_column_of_whole_numbers_with_gaps_keeps_its_values(tmp_path):
    types = {"gender": "int64"}
    with FaceSetWriter(tmp_path / "a", "a", "real", 16, "CC0", {}, types) as writer:
        rows = [{"id": str(i), "split": "forge", "gender": (3, 7, None)[i % 3]} for i in range(30)]
        writer.append(np.zeros((30, 16, 16, 3), np.uint8), rows)
    domains, view = Domains.of(FaceSet.open(tmp_path / "a").view("forge"), {"gender": ["3", "7"]})
    assert len(view) == 20 and len(domains.sources(view)) == 10


@pytest.mark.parametrize("few", [20, 1])
def test_all_images_are_seen_and_the_smaller_domain_goes_round(tmp_path, few, recwarn):
    faces = labelled(tmp_path / "a", {"many": 400, "few": few})
    training = unpaired_training(faces, tmp_path / "work", domains={"gender": ["many", "few"]}, batch=16)
    assert any(issubclass(w.category, BenchWarning) and "one image alone" in str(w.message) for w in recwarn) == (
        few == 1
    )
    assert hold_out(training).held_out is None or len(training.domains.targets(hold_out(training).view)) == few
    views = method_of(training.architecture).views(training)
    assert [len(view) for view in views] == [400, few]
    batches = Batches(training, slice(0, 16), views)
    shown = [[], []]
    for number in range(50):  # 25 batches of each domain: one epoch of the larger one
        pixels = batches.take(number).pixels
        assert len(pixels) == 16
        shown[number % 2] += [image.numpy().tobytes() for image in pixels]
    assert len(set(shown[0])) == 400 and len(set(shown[1])) == few
    reds = [image for image in shown[0] if image in set(shown[1])]
    assert not reds  # no image of one domain is ever taken for the other
    assert max(shown[1].count(image) for image in set(shown[1])) <= -(-400 // few) + 5


def test_a_batch_follows_from_its_number_alone(tmp_path):
    faces = labelled(tmp_path / "a", {"many": 40, "few": 5})
    training = unpaired_training(faces, tmp_path / "work", batch=16)
    views = method_of(training.architecture).views(training)
    first, later = (Batches(training, slice(0, 16), views) for _ in range(2))
    expected = [first.take(number).pixels for number in range(12)]
    assert all(torch.equal(later.take(number).pixels, expected[number]) for number in (11, 3, 10))


def test_held_out_images_are_of_both_domains_and_of_none_that_is_small(tmp_path):
    faces = labelled(tmp_path / "a", {"many": 700, "few": 30})
    training = hold_out(unpaired_training(faces, tmp_path / "work", domains={"gender": ["many", "few"]}))
    assert len(training.held_out) == 35 and set(training.held_out.rows["gender"]) == {"many"}
    assert len(training.view) == 695 and len(training.domains.targets(training.view)) == 30
    both = hold_out(unpaired_training(labelled(tmp_path / "b", {"a": 400, "b": 600}), tmp_path / "work"))
    assert dict(both.held_out.rows["gender"].value_counts()) == {"b": 30, "a": 20}
    assert not set(both.held_out.index) & set(both.view.index)


def test_a_split_without_a_face_to_translate_is_refused(tmp_path):
    faces = labelled(tmp_path / "a", {"a": 20, "b": 20}, extra=("forge", "test"))
    domains, _ = Domains.of(faces.view("forge"), {})
    views = {"test": faces.view("test"), "forge": faces.view("forge")}
    assert {split: len(view) for split, view in domains.sources_of(views).items()} == {"test": 20, "forge": 20}
    views["test"] = domains.targets(views["test"])
    with pytest.raises(InputError, match="split 'test' has no face with gender 'a' to translate; prepare more photos"):
        domains.sources_of(views)


def test_the_half_that_will_be_translated_is_known_before_the_set_is_halved(tmp_path):
    faces = labelled(tmp_path / "a", {"a": 20, "b": 20}, extra=("forge", "test"))
    halved = halve(faces, tmp_path / "halved", silent)
    assert set(source_half(faces, "test").rows["id"]) == set(halved.view("test-source").rows["id"])
