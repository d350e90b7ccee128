"""Edits of faces: what lies outside the mask stays, seeds decide, nobody gets another real person's face."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.imaging.jpeg import coded
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.rendering import render_person_images
from forge.tampering import donors as donor_module
from forge.tampering.base import BINARY, TRIES, Donor, Edited, EditSettings, LocalEdit, Photo, TamperBatch
from forge.tampering.copy_move import copied_from
from forge.tampering.donors import CANDIDATES, Donors, DonorSet
from forge.tampering.landmarks import TEMPLATE, fit_template
from forge.tampering.regions import draw_region, enclosed
from forge.tampering.retouch import displacement, guided_filter
from forge.tampering.splice import with_colours_of
from forge.tampering.tamper import tamper_set
from forge.tampering.warp import inverse, mapped, pixel_middles, read_at

EVERY = ("copy-move", "inpaint", "retouch", "self-blended", "splice")
LOCAL = ("copy-move", "inpaint", "retouch", "splice")
FREE = ("ellipse", "bezier", "polygon", "strokes")
COUNT, SIDE = 8, 64
# where the renderer's faces are in their frame, pixels
LANDMARKS = np.repeat((TEMPLATE * 15 + [32, 29])[None], COUNT, axis=0)


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    return np.stack([face.image for face in render_person_images(3, 0, COUNT, size=SIDE, images_per_person=2)])


@pytest.fixture(autouse=True)
def no_search(monkeypatch, people):
    """Rendered donors without MTCNN, which the tests of the landmarks run."""
    rendered = DonorSet(
        lambda numbers: people[numbers], SIDE, LANDMARKS, [f"rendered-{n}" for n in range(COUNT)], [""] * COUNT, False
    )
    monkeypatch.setattr(donor_module, "rendered_people", lambda side: rendered)


def method(generator: str, **settings):
    implementation = GENERATORS.load(generator)
    return implementation(implementation.Settings(**settings))


def batch(people, seeds=range(COUNT)) -> TamperBatch:
    face = fit_template(LANDMARKS, SIDE)
    given = [[Donor(people[(n + 2) % COUNT], face[0], f"i{(n + 2) % COUNT}")] for n in range(COUNT)]
    return TamperBatch(people, LANDMARKS, list(seeds), given)


@pytest.mark.parametrize("generator", LOCAL)
def test_pixels_outside_the_mask_stay_and_some_inside_change(generator, people):
    tampered = method(generator).tamper(batch(people))
    outside = tampered.masks == 0
    assert np.array_equal(tampered.images[outside], people[outside])
    for image, mask, before, row in zip(tampered.images, tampered.masks, people, tampered.rows, strict=True):
        truth = mask >= BINARY
        assert truth.any() and not truth.all() and (image != before).any()
        assert row["altered"] == truth.mean() and row["outline"] == "found" and row["region"]
        assert isinstance(json.loads(row["edit"]), dict)


@pytest.mark.parametrize("generator", EVERY)
def test_each_face_is_altered_by_its_seed_alone(generator, people):
    whole, again = method(generator).tamper(batch(people)), method(generator).tamper(batch(people, seeds=[9] * COUNT))
    for n in (0, 5):
        donors = batch(people).donors[n : n + 1]
        alone = method(generator).tamper(TamperBatch(people[n : n + 1], LANDMARKS[n : n + 1], [n], donors))
        assert np.array_equal(alone.images[0], whole.images[n]) and np.array_equal(alone.masks[0], whole.masks[n])
        assert alone.rows[0] == whole.rows[n]
    assert not np.array_equal(whole.images, again.images)


@pytest.mark.parametrize("generator", LOCAL)
def test_a_re_encoded_forgery_is_the_jpeg_of_the_other_one(generator, people):
    plain, coded_again = (method(generator, background=b).tamper(batch(people)) for b in ("original", "re-encoded"))
    assert np.array_equal(plain.masks, coded_again.masks)
    for before, after, row in zip(plain.images, coded_again.images, coded_again.rows, strict=True):
        assert np.array_equal(after, coded(before, json.loads(row["edit"])["jpeg_quality"]))


@pytest.mark.parametrize("side", [32, 128])
def test_other_sizes(side):
    images = np.stack([face.image for face in render_person_images(4, 0, 2, size=side, images_per_person=1)])
    points = np.full((2, 5, 2), np.nan)  # no face found: the average one's place
    face = fit_template(points, side)
    for generator in LOCAL:
        given = [[Donor(images[1 - n], face[0], "other")] for n in range(2)]
        tampered = method(generator).tamper(TamperBatch(images, points, [0, 1], given))
        assert np.array_equal(tampered.images[tampered.masks == 0], images[tampered.masks == 0])
        assert {row["outline"] for row in tampered.rows} == {"average"}


def test_a_copy_is_found_where_it_was_taken_from(people):
    plain = method("copy-move", blending=("alpha",), angle=0, scale=(1, 1), feather=(0, 0), area=(0.03, 0.05))
    tampered = plain.tamper(batch(people))
    for image, mask, before, row in zip(tampered.images, tampered.masks, people, tampered.rows, strict=True):
        affine = np.array(json.loads(row["edit"])["affine"])
        source = copied_from(mask, affine)
        assert abs(source.mean() - row["altered"]) < 0.25 * row["altered"]
        laid = read_at(before, mapped(pixel_middles(SIDE), inverse(affine)))
        assert abs(image[mask == 255] - laid[mask == 255]).max() <= 1


def test_free_shapes_have_the_area_that_is_asked_for():
    face, source = fit_template(LANDMARKS[:1], SIDE)[0], np.random.default_rng(0)
    for name in FREE[:3]:
        shares = np.array(
            [enclosed(draw_region(name, face, SIDE, (0.02, 0.2), source).outlines[0]) for _ in range(200)]
        )
        shares /= SIDE**2
        assert 0.02 <= shares.min() < 0.025 and 0.16 < shares.max() <= 0.2
        assert abs(np.log(shares).mean() - np.log([0.02, 0.2]).mean()) < 0.2  # as many small ones as large ones
    covered = [
        (draw_region(name, face, 256, (0.05, 0.05), source).coverage(256).mean(), name)
        for name in FREE
        for _ in range(30)
    ]
    assert np.median([share for share, name in covered if name != "strokes"]) == pytest.approx(0.05, rel=0.05)
    assert all(0 < share < 0.2 for share, _ in covered)


def test_regions_of_the_face_follow_its_landmarks():
    here, source = fit_template(LANDMARKS[:1], SIDE)[0], np.random.default_rng(0)
    shifted = fit_template(LANDMARKS[:1] + np.array([5, -3]), SIDE)[0]
    for name in ("face", "eyes", "nose", "mouth"):
        first, second = (draw_region(name, face, SIDE, (0, 0), np.random.default_rng(7)) for face in (here, shifted))
        np.testing.assert_allclose(second.rim - first.rim, np.tile([5, -3], (len(first.rim), 1)), atol=1e-9)
        assert not first.avoids_features(here)
    # the middles of the parts are inside them
    mouth = draw_region("mouth", here, SIDE, (0, 0), source).coverage(SIDE)
    x, y = LANDMARKS[0, 3:].mean(0).astype(int)
    assert mouth[y, x] == 1 and mouth[0, 0] == 0


def test_free_shapes_leave_eyes_nose_and_mouth_alone(people):
    middle_of_parts = np.floor(LANDMARKS[0]).astype(int)
    for generator in ("copy-move", "inpaint"):
        tampered = method(generator).tamper(batch(people))
        assert (tampered.masks[:, middle_of_parts[:, 1], middle_of_parts[:, 0]] < BINARY).all()


def test_retouching_moves_what_it_says():
    face = fit_template(LANDMARKS[:1], SIDE)[0]
    y, x = np.floor(LANDMARKS[0]).astype(int)[3][::-1]
    up, down = (displacement("smile", face, SIDE, strength)[y, x, 1] for strength in (0.1, -0.1))
    assert up > 1 and down < -1  # read from below: the corner goes up
    right_jaw = np.floor(face.at(np.array([[0.9, 1.0]]))[0]).astype(int)
    assert displacement("face", face, SIDE, 0.1)[right_jaw[1], right_jaw[0], 0] > 1  # read from outside: thinner
    assert abs(displacement("eyes", face, SIDE, 0.3)).max() < 5


def test_the_guided_filter_keeps_edges_and_removes_grain():
    noise = np.random.default_rng(0).normal(0, 4, (32, 32, 1))
    step = np.where(np.arange(32) < 16, 60.0, 180.0)[None, :, None]
    smooth = guided_filter(step + noise, 3)
    assert (smooth - step)[:, :12].std() < 0.4 * noise.std()
    assert abs((smooth[:, 15] - smooth[:, 16]).mean()) > 100


def test_a_region_takes_on_the_colours_around_it(people):
    inside = np.zeros((SIDE, SIDE), bool)
    inside[20:40, 20:40] = True
    tinted = people[1] * np.array([0.6, 0.8, 0.7]) + 30
    matched = with_colours_of(people[0], tinted, inside)
    assert abs(matched[inside].mean(0) - people[0][inside].mean(0)).max() < 4


# donors
def chooser(people, choice, identities, *, rendered=False) -> Donors:
    candidates = DonorSet(lambda numbers: people[numbers], SIDE, LANDMARKS, [f"i{n}" for n in range(COUNT)], identities)
    return Donors(choice, candidates, rendered=rendered)


TWO_EACH = [f"p{n // 2}" for n in range(COUNT)]


def test_a_real_face_never_goes_onto_another_real_person(people):
    with pytest.raises(InputError, match="never done here"):
        chooser(people, "others", TWO_EACH)
    for generator in ("auto", "identity"):
        donors = chooser(people, generator, TWO_EACH)
        for n in range(COUNT):
            assert donors.of(f"i{n}", TWO_EACH[n], LANDMARKS[n], 0)[0].name == f"i{n ^ 1}"
    rendered = chooser(people, "others", TWO_EACH, rendered=True)
    for n in range(COUNT):
        assert rendered.of(f"i{n}", TWO_EACH[n], LANDMARKS[n], n)[0].name not in (f"i{n}", f"i{n ^ 1}")


def test_an_identity_with_one_image_gets_a_rendered_donor_or_none(people):
    mixed = ["p0", "p0", *(f"p{n}" for n in range(2, COUNT))]
    assert chooser(people, "auto", mixed).of("i5", "p5", LANDMARKS[5], 0)[0].name.startswith("rendered-")
    assert chooser(people, "auto", [""] * COUNT).of("i5", "", LANDMARKS[5], 0)[0].name.startswith("rendered-")
    assert chooser(people, "identity", mixed).of("i5", "p5", LANDMARKS[5], 0) == ()


def test_with_donors_of_one_identity_people_with_one_image_are_left_out(people, tmp_path):
    identities = ["a", "b", "a", "b", "c", "d", "", ""]
    some = faces(tmp_path / "some", people, identities=identities)
    same = method("splice", donors="identity", landmarks="average")
    made = tamper_set(same, some, tmp_path / "made", name="splice", counts={"train": 4}, seed=0, on_progress=silent)
    assert set(made.table["identity"]) == {"a"} and set(made.table["made_from"]) == {"i0", "i2"}
    nobody = faces(tmp_path / "nobody", people, identities=list("abcdefgh"))
    with pytest.raises(InputError, match="people with two images or more, and split 'train' has none"):
        tamper_set(same, nobody, tmp_path / "no", name="splice", counts={"train": 4}, seed=0, on_progress=silent)


def test_donors_with_the_most_similar_landmarks_are_offered(people):
    points = LANDMARKS + np.random.default_rng(0).normal(0, 2, LANDMARKS.shape)
    candidates = DonorSet(lambda numbers: people[numbers], SIDE, points, [f"i{n}" for n in range(COUNT)], TWO_EACH)
    # turned into another place and size: the shape is what counts
    offered = candidates.nearest(points[6] * 1.3 + 4, np.arange(COUNT), 0)
    assert offered[0].name == "i6" and len({donor.name for donor in offered}) == min(CANDIDATES, COUNT)
    unknown = np.full_like(points, np.nan)
    unplaced = DonorSet(lambda numbers: people[numbers], SIDE, unknown, list("abcdefgh"), TWO_EACH)
    assert len(unplaced.nearest(points[0], np.arange(3), 0)) == 3


def test_of_rendered_donors_the_one_that_looks_most_alike_is_laid_in(people):
    placed = fit_template(LANDMARKS, SIDE)
    for n in range(COUNT):
        darker = (people[n] * 0.9).astype(np.uint8) + 10  # brightness is matched when it is laid in
        others = [Donor(people[m], placed[0], f"i{m}", same_set=False) for m in range(COUNT) if m != n]
        donors = [*others, Donor(darker, placed[0], "alike", same_set=False)]
        edit = method("splice").edit(Photo(people[n], placed[0], donors), np.random.default_rng(n))
        assert edit.parameters["donor"] == "alike"


def test_a_grey_photo_takes_no_colour_and_no_colour_becomes_stronger(people):
    inside = np.ones((SIDE, SIDE), bool)
    grey = np.repeat(people[0].mean(2, keepdims=True), 3, 2).astype(np.uint8)
    matched = with_colours_of(grey, people[1].astype(float), inside)
    assert np.ptp(matched, axis=2).max() < 1
    # mid greys, so that nothing is clipped
    pale, vivid = (64 + image * 0.5 for image in (people[1] * 0.2 + people[1].mean(2, keepdims=True) * 0.8, people[0]))

    def spread(image):
        return (image @ np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]])).std((0, 1))

    assert (spread(vivid) > 1.5 * spread(pale)).all()
    assert (spread(with_colours_of(vivid.astype(np.uint8), pale, inside)) <= 1.01 * spread(pale)).all()


def test_a_rendered_face_as_a_whole_stays_out_of_photos(people):
    face = fit_template(LANDMARKS, SIDE)[0]
    given = [[Donor(people[n - 3], face, "rendered", same_set=False)] for n in range(COUNT)]
    photos = TamperBatch(people, LANDMARKS, list(range(COUNT)), given)
    assert "face" not in {row["region"] for row in method("splice").tamper(photos).rows}
    assert {row["region"] for row in method("splice", regions=("face",)).tamper(photos).rows} == {"face"}


# a generator in one file
class Bar(LocalEdit[EditSettings]):
    citation = "-"

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        alpha = np.zeros((photo.side, photo.side))
        alpha[: int(source.integers(2, 9))] = 1
        return Edited(np.full(photo.image.shape, 255.0), alpha, "bar", {"white": True})


class Never(Bar):
    def edit(self, photo, source):
        return None


class Everything(Bar):
    def edit(self, photo, source):
        return Edited(255.0 - photo.image, np.ones(photo.image.shape[:2]), "all")


def faces(path, images, *, provenance=None, identities=None) -> FaceSet:
    with FaceSetWriter(path, "real", "real", SIDE, "CC0", provenance or {}, {}) as writer:
        rows = [
            {"id": f"i{n}", "split": ("train", "test")[n % 2], "identity": (identities or [""] * COUNT)[n]}
            for n in range(COUNT)
        ]
        writer.append(images, rows)
    return FaceSet.open(path)


def test_a_set_has_masks_and_says_what_was_done(people, tmp_path):
    real = faces(tmp_path / "real", people)
    counts = {"train": 6, "test": 3}
    made = tamper_set(Bar(EditSettings(landmarks="average")), real, tmp_path / "a", name="bar", counts=counts, seed=1,
                      on_progress=silent)  # fmt: skip
    assert made.verify() == [] and made.has_masks and made.card.splits == counts and made.card.name == "bar"
    assert made.card.provenance["settings"]["background"] == "original"
    table = made.table
    assert set(table["region"]) == {"bar"} and set(table["edit"]) == {'{"white": true}'}
    assert list(table["copy"])[:6] == [0, 0, 0, 0, 1, 1]
    masks = made.read_masks(range(9))
    np.testing.assert_allclose(table["altered"], (masks >= BINARY).mean((1, 2)))


@pytest.mark.parametrize("generator", LOCAL)
def test_sets_of_every_kind_are_made_again_to_the_byte(generator, people, tmp_path):
    rendered = faces(tmp_path / "real", people, provenance={"source": {"name": "rendered"}}, identities=TWO_EACH)
    settings = {"landmarks": "average"} | ({"methods": ("harmonic",)} if generator == "inpaint" else {})
    first, again = (
        tamper_set(method(generator, **settings), rendered, tmp_path / name, name=generator, counts={"test": 4}, seed=3,
                   on_progress=silent)
        for name in "ab"
    )  # fmt: skip
    assert first.card.digest == again.card.digest and first.card.provenance["generator"] == generator
    if generator == "splice":
        people_of = {f"i{n}": identity for n, identity in enumerate(TWO_EACH)}
        for _, row in first.table.iterrows():
            assert people_of[json.loads(row["edit"])["donor"]] != row["identity"]


def test_what_alters_nothing_or_everything_is_refused(people):
    for broken in (Never, Everything):
        with pytest.raises(InputError, match=f"changed nothing in {TRIES} draws"):
            broken(EditSettings()).tamper(batch(people))
    grey = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    for generator in ("copy-move", "inpaint"):
        with pytest.raises(InputError, match="a photo of one colour cannot be edited"):
            method(generator).tamper(TamperBatch(grey, LANDMARKS[:1], [0]))


def test_settings_that_make_no_sense_are_refused():
    for generator, wrong in (
        ("splice", {"regions": ()}),
        ("splice", {"regions": ("chin",)}),
        ("splice", {"donors": "anyone"}),
        ("inpaint", {"patch": 4}),
        ("copy-move", {"scale": (1.5, 0.5)}),
        ("copy-move", {"area": (0.0, 0.1)}),
        ("inpaint", {"area": (0.3, 1.5)}),
        ("retouch", {"at_once": (2, 1)}),
        ("retouch", {"jpeg_quality": (0, 50)}),
    ):
        with pytest.raises(ValidationError):
            method(generator, **wrong)
