"""The truth of rendered people: photos with one label changed, and how far translations are from them."""

from __future__ import annotations

import io
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.halves import halve
from forge.faces.prepare import prepare
from forge.faces.sources.counterfactual import VALUES, faces_with, has_truth, photographs_with
from forge.faces.sources.rendered import RenderedSource
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.translate import translate_set
from forge.generators.translation.fastcut import FastCUT, FastCUTSettings
from forge.quality.sets import Ask, translations_of
from forge.quality.translations import Translations
from forge.quality.truth import TruthMetric, truth
from forge.rendering import render_person_images

NUMBERS = list(range(0, 80, 4))  # one photo of each of 20 people


@pytest.fixture(scope="module")
def originals():
    return [render_person_images(3, number, 1)[0] for number in NUMBERS]


@cache
def photographed(column, value):
    return list(photographs_with(RenderedSource(seed=3), NUMBERS, column, value))


def differences(column, value, other):
    """Mean absolute differences of photos with two values, [n, 144, 144] in grey levels, where both show theirs."""
    pairs = zip(photographed(column, value), photographed(column, other), strict=True)
    decoded = [
        [np.asarray(Image.open(io.BytesIO(file)), int) for file, _ in pair]
        for pair in pairs
        if pair[0][1] and pair[1][1]
    ]
    return np.array([np.abs(one - two).mean(2) for one, two in decoded])


@pytest.mark.parametrize("column", VALUES)
def test_people_with_the_label_that_they_have_are_photographed_as_they_were(column, originals):
    for value in VALUES[column]:
        for original, (file, shown) in zip(originals, photographed(column, value), strict=True):
            if original.attributes[column] == value:
                assert file == original.jpeg and shown
    # everybody can have a beard; glasses are not always worn, and the bald have no colour of hair
    shares = {value: np.mean([shown for _, shown in photographed(column, value)]) for value in VALUES[column]}
    limits = {"beard": (1, 1), "glasses": (0.4, 1), "hair_colour": (0.7, 1)}[column]
    assert all(limits[0] <= share <= limits[1] for share in shares.values())


def test_glasses_change_the_photo_at_the_eyes_alone():
    changes = differences("glasses", "none", "sun")
    assert 8 <= len(changes) < 20  # two thirds of the owners wear them
    for difference in changes:
        rows = np.flatnonzero((difference > 60).any(1))
        assert rows.max() - rows.min() < 70 and np.median(difference) < 8  # of 144 pixels


def test_a_beard_changes_the_lower_half_of_a_face_and_no_hair():
    changed = differences("beard", "none", "full").mean(0)
    assert changed[80:].mean() > 3 * changed[:50].mean() and changed[:40].mean() < 4


def test_another_colour_of_hair_changes_the_top_of_a_photo():
    changed = differences("hair_colour", "black", "blond").mean(0)
    assert changed[:50].mean() > 1.5 * changed[90:].mean()


@pytest.mark.parametrize(("column", "value"), [("smile", "yes"), ("glasses", "round"), ("hair_colour", "none")])
def test_other_labels_and_values_are_refused(column, value):
    with pytest.raises(UnknownNameError):
        photographed(column, value)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    splits = {"forge": 0.4, "train": 0.3, "test": 0.3}
    source = RenderedSource(seed=3, count=80, images_per_person=2, size=64)
    real = prepare(source, folder / "real", resolution=32, splits=splits, workers=1)
    return halve(real, folder / "halved", silent)


@pytest.mark.e2e
def test_faces_of_a_set_are_prepared_as_the_set_was(people):
    ids = people.table["id"].tolist()[::-3]
    for value in VALUES["glasses"]:
        images, shown = faces_with(people, ids, "glasses", value)
        labels = people.table.set_index("id")["glasses"][ids].to_numpy()
        rows = {key: number for number, key in enumerate(people.table["id"])}
        same = labels == value
        assert (
            np.array_equal(images[same], people.read([rows[key] for key in np.array(ids)[same]])) and shown[same].all()
        )


def test_only_sets_of_rendered_people_have_a_truth(people, make_set):
    assert has_truth(people, "glasses", "sun") and not has_truth(people, "gender", "male")
    assert not has_truth(people, "hair_colour", "none")
    other = make_set("photos", {"train": 4})
    assert not has_truth(other, "glasses", "sun")
    with pytest.raises(InputError, match="no set of rendered people"):
        faces_with(other, ["train-0"], "glasses", "sun")


@pytest.mark.e2e
def test_translations_know_their_truth_also_of_faces_that_were_taken_again(people, tmp_path):
    fastcut = FastCUT(FastCUTSettings(generator_width=4, blocks=1, discriminator_width=4), 32)
    write_generator(
        tmp_path, raw=fastcut.generator(), averaged=fastcut.generator(), discriminator=fastcut.discriminator(),
        card={
            "name": "fastcut", "architecture": "fastcut", "family": "translation", "resolution": 32, "seed": 0,
            "settings": fastcut.settings.model_dump(mode="json"), "condition": None, "kimg": 0.0, "training": {},
            "precision": "fp32", "parameters": {"generator": 1}, "domains": {"glasses": ["none", "sun"]},
            "data": {"name": "people", "digest": people.card.digest, "licence": "CC0", "images": 40},
        },
    )  # fmt: skip
    trained = TrainedGenerator.open(tmp_path)
    counts = {"train": 30, "test": 30}  # more than there are sources, so that faces are taken again
    forged = translate_set(trained, people, tmp_path / "set", counts=counts, seed=0, on_progress=silent)
    pairs = translations_of(forged, people, Ask(), trained.architecture)
    chosen = np.array([5, 59, 0, 31])
    targets, shown = pairs.truth(chosen)
    assert targets.shape == (4, 32, 32, 3) and shown.dtype == bool
    of_part = pairs.of(chosen).truth(np.arange(4))
    assert np.array_equal(of_part[0], targets) and np.array_equal(of_part[1], shown)
    assert forged.table["copy"].max() > 0
    # moved as the source was: what the glasses leave alone is in the same place
    every, shown = pairs.truth(np.arange(60))
    apart = np.abs(every.astype(int) - pairs.sources).mean(3)[shown]
    assert np.median(apart) < 6 and (apart.max((1, 2)) > 40).mean() > 0.6
    measured = TruthMetric().measure(SimpleNamespace(translations=pairs))
    rows = TruthMetric().rows(measured, None, 60)
    assert [row.reference for row in rows] == ["the photo itself"] * 2 and rows[0].floor > rows[1].floor
    # another architecture, another label: nothing is known
    assert translations_of(forged, people, Ask()).truth is None


def test_who_does_nothing_is_as_far_as_the_photo_and_who_makes_the_truth_is_there():
    sources = np.full((3, 16, 16, 3), 100, np.uint8)
    targets = sources.copy()
    targets[:, 4:8] = 200
    shown = np.array([True, True, False])

    def measured(forged):
        return truth(Translations(forged, sources, truth=lambda some: (targets[some], shown[some])))

    nothing, perfect = measured(sources), measured(targets)
    assert nothing.changed.value == nothing.changed.reference == pytest.approx(100 / 255)
    assert (perfect.changed.value, perfect.elsewhere.value, perfect.n, perfect.share) == (0, 0, 2, 0.25)
    inverted = measured(255 - sources)
    assert inverted.elsewhere.value == pytest.approx(55 / 255) and inverted.changed.value == pytest.approx(45 / 255)
    assert truth(Translations(sources, sources)) is None  # not known
    assert truth(Translations(sources, sources, truth=lambda some: (targets[some], shown[some] & False))) is None
