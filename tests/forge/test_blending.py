from __future__ import annotations

import colorsys

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import convolve, distance_transform_edt, gaussian_filter1d, map_coordinates, zoom

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.tampering import landmark_search, tamper
from forge.tampering.landmarks import AVERAGE, OUTLINES, TEMPLATE, find_landmarks, fit_template
from forge.tampering.ops import brighten, downscale_upscale, move, moved_points, sharpen, shift_hsv, shift_rgb
from forge.tampering.self_blended import SelfBlended, SelfBlending, blend
from forge.tampering.soft_mask import _windowed_gaussian, elastic_field, soft_mask
from forge.tampering.tamper import tamper_set

NAME = "self-blended"
AVERAGED = SelfBlended(landmarks="average")


def blend_set(real, out, *, counts, seed, on_progress, settings=None):
    return tamper_set(
        SelfBlending(settings or SelfBlended()),
        real,
        out,
        name="self-blended",
        counts=counts,
        seed=seed,
        on_progress=on_progress,
    )


def pictures(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (count, 8, 8, 3))
    return np.clip(zoom(coarse, (1, side / 8, side / 8, 1), order=1), 0, 255).astype(np.uint8)


def unknown(count: int) -> np.ndarray:
    return np.full((count, 5, 2), np.nan)


def planes(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, 3, 1).astype(np.float32)


def face_set(path, splits: dict[str, int], *, kind="real", attributes=None, side: int = 32) -> FaceSet:
    attributes = {"gender": "string", "age": "int64"} if attributes is None else attributes
    with FaceSetWriter(
        path, name=path.name, kind=kind, resolution=side, licence="CC0", provenance={}, attributes=attributes
    ) as writer:
        for number, (split, count) in enumerate(splits.items()):
            rows = [
                {"id": f"{split}-{i}", "split": split, "identity": f"p{i}", "gender": "f", "age": None if i == 1 else i}
                for i in range(count)
            ]
            writer.append(pictures(count, side, number), rows)
    return FaceSet.open(path)


# the blend


@pytest.mark.parametrize("altered", ["either", "source"])
def test_a_blend_does_not_depend_on_its_company(altered):
    settings = SelfBlended(altered=altered)
    images, seeds = pictures(6, 64), [3, 1, 4, 1, 5, 9]
    landmarks = np.array([AVERAGE * 64 + shift for shift in range(6)])
    landmarks[2] = np.nan
    together = blend(images, landmarks, seeds, settings)
    order = np.array([5, 0, 3, 2, 4, 1])
    shuffled = blend(images[order], landmarks[order], [seeds[i] for i in order], settings)
    for i in range(6):
        alone = blend(images[i : i + 1], landmarks[i : i + 1], seeds[i : i + 1], settings)
        for part in ("forged", "target", "source", "mask", "average"):
            assert np.array_equal(getattr(alone, part)[0], getattr(together, part)[i])
            assert np.array_equal(getattr(shuffled, part)[np.flatnonzero(order == i)[0]], getattr(together, part)[i])
    assert together.average.tolist() == [False, False, True, False, False, False]


def test_the_seed_decides_and_real_images_stay_as_they_were():
    images = pictures(4, 32)
    before = images.copy()
    images.setflags(write=False)
    first, again, other = (blend(images, unknown(4), [seed] * 4, AVERAGED).forged for seed in (1, 1, 2))
    assert np.array_equal(first, again) and np.array_equal(images, before)
    assert all((first[i] != other[i]).any() for i in range(4))


def test_blends_follow_the_formula_and_are_exact_inside_and_outside():
    images = pictures(24, 48)
    made = blend(images, unknown(24), range(24), AVERAGED)
    weight = made.mask[..., None]
    exact = weight * made.source + (1 - weight) * made.target
    assert np.abs(made.forged - exact).max() <= 0.5 + 1e-9
    outside = made.mask == 0
    assert outside.any() and np.array_equal(made.forged[outside], made.target[outside])
    inside = made.mask > 1 - 1e-12
    assert inside.any((1, 2)).sum() >= 6  # ratio 1 in half of the images
    assert np.array_equal(made.forged[inside], made.source[inside])


def test_the_changed_copy_is_either_or_always_the_source():
    images = pictures(40, 32)
    either = blend(images, unknown(40), range(40), AVERAGED)
    unchanged = (either.target == images).all((1, 2, 3))
    assert 8 < unchanged.sum() < 32
    settings = AVERAGED.model_copy(update={"altered": "source"})
    source = blend(images, unknown(40), range(40), settings)
    assert np.array_equal(source.target, images)
    assert np.array_equal(source.forged[source.mask == 0], images[source.mask == 0])
    assert (source.source != images).any((1, 2, 3)).all()


def test_nothing_changed_gives_the_face_back():
    still = SelfBlended(
        landmarks="average", rgb_shift=0, hue=0, saturation=0, value=0, brightness=0, contrast=0, downscale=(1,),
        sharpen=(0, 0), lightness=(1, 1), shift=(0, 0), scale=1,
    )  # fmt: skip
    images = pictures(8, 32)
    assert np.array_equal(blend(images, unknown(8), range(8), still).forged, images)


@pytest.mark.parametrize("side", [32, 64, 96])
def test_masks_lie_in_0_to_1_and_end_where_the_face_does(side):
    settings = SelfBlended(landmarks="average")
    made = blend(pictures(16, side), unknown(16), range(16), settings)
    assert made.mask.min() >= 0 and made.mask.max() <= 1
    highest = made.mask.max((1, 2))
    assert {round(float(value), 6) for value in highest} == {0.25, 0.5, 0.75, 1.0}
    # the largest outline, moved as far as the source moves, the waves go and the blur reaches
    face = fit_template(unknown(1), side)
    corners = face.outline(np.array([1]))[0]
    ticks = np.arange(side) + 0.5
    edges = np.roll(corners, -1, 0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], 1) / np.linalg.norm(edges, axis=1, keepdims=True)
    grid = np.stack(np.meshgrid(ticks, ticks), -1)
    beyond = np.max((grid @ normals.T) - (normals * corners).sum(1), axis=-1)
    frame = np.array([5.4, 4.2]) * face.unit[0] / 192
    reach = settings.waves * face.unit[0] + 12.5 * frame.max() + 1
    reach += max(settings.shift) * face.unit[0] + (1 / 0.95 - 1) * side
    assert (made.mask[:, beyond > reach] == 0).all()
    middle = np.round(AVERAGE[2] * side).astype(int)  # the nose
    assert (made.mask[:, middle[1], middle[0]] > 0.2).all()


def test_settings_are_strict():
    for wrong in ({"downscale": (0.5,)}, {"sharpen": (0.5, 0.2)}, {"ratios": ()}, {"ratios": (0, 1)}, {"strange": 1}):
        with pytest.raises(ValidationError):
            SelfBlended(**wrong)


# colour, detail and place


def test_hsv_shifts_are_those_of_colorsys():
    rng = np.random.default_rng(0)
    images = planes(rng.integers(0, 256, (3, 5, 5, 3)))
    hue, saturation, value = np.array([30.0, -45.0, 0.0]), np.array([20.0, -15.0, 0.0]), np.array([-10.0, 25.0, 0.0])
    shifted = shift_hsv(images, hue, saturation, value)
    for n, y, x in np.ndindex(3, 5, 5):
        h, s, v = colorsys.rgb_to_hsv(*(images[n, :, y, x] / 255))
        s = np.clip(s + saturation[n] / 255, 0, 1)
        v = np.clip(v + value[n] / 255, 0, 1)
        expected = np.array(colorsys.hsv_to_rgb((h + hue[n] / 360) % 1, s, v)) * 255
        np.testing.assert_allclose(shifted[n, :, y, x], expected, atol=2e-3)
    grey = planes(np.full((1, 2, 2, 3), 90))
    np.testing.assert_allclose(shift_hsv(grey, np.array([90.0]), np.array([99.0]), np.zeros(1)), grey)


def test_brightness_contrast_and_tint_are_clipped_sums():
    images = planes(np.array([[[[0, 100, 250]]]]))
    np.testing.assert_allclose(brighten(images, np.array([0.1]), np.array([-0.5])).ravel(), [25.5, 75.5, 150.5])
    np.testing.assert_allclose(shift_rgb(images, np.array([[-9.0, 9, 9]])).ravel(), [0, 109, 255])


def test_sharpening_is_a_convolution():
    images = planes(pictures(2, 16))
    alpha, lightness = np.array([0.2, 0.45]), np.array([0.5, 0.9])
    sharp = sharpen(images, alpha, lightness)
    for n in range(2):
        kernel = np.full((3, 3), -1.0)
        kernel[1, 1] = 8 + lightness[n]
        kernel = (1 - alpha[n]) * np.pad([[1.0]], 1) + alpha[n] * kernel
        for channel in range(3):
            expected = np.clip(convolve(images[n, channel].astype(float), kernel, mode="mirror"), 0, 255)
            np.testing.assert_allclose(sharp[n, channel], expected, atol=1e-2)


@pytest.mark.parametrize(("side", "factor"), [(16, 2.0), (16, 4.0), (15, 2.0), (16, 1.5), (8, 1.0)])
def test_coarsening_is_nearest_down_and_linear_up(side, factor):
    images = planes(np.random.default_rng(1).integers(0, 256, (1, side, side, 3)))
    few = int(side / factor)
    kept = [min(int(i * side / few), side - 1) for i in range(few)]
    small = images[0][:, kept][:, :, kept]
    place_ = np.clip((np.arange(side) + 0.5) * few / side - 0.5, 0, few - 1)
    at = np.stack(np.meshgrid(place_, place_, indexing="ij"))
    for channel in range(3):
        expected = map_coordinates(small[channel].astype(float), at, order=1)
        np.testing.assert_allclose(downscale_upscale(images, np.array([factor]))[0, channel], expected, atol=1e-3)


def test_moving_is_linear_interpolation_and_takes_points_along():
    images = planes(np.random.default_rng(2).integers(0, 256, (1, 12, 12, 3)))
    scale, shift = np.array([[1.1, 0.9]]), np.array([[1.5, -2.0]])
    y, x = ((np.arange(12) - 5.5 - shift[0, axis]) / scale[0, axis] + 5.5 for axis in (0, 1))
    at = np.stack(np.meshgrid(y, x, indexing="ij"))
    for channel in range(3):
        expected = map_coordinates(images[0, channel].astype(float), at, order=1, mode="mirror")
        np.testing.assert_allclose(move(images, scale, shift)[0, channel], expected, atol=1e-3)
    spot = np.zeros((1, 3, 40, 40), np.float32)
    spot[..., 10, 22] = 1
    scale, shift = np.array([[1.2, 0.8]]), np.array([[3.0, -4.0]])
    moved = move(spot, scale, shift)[0, 0]
    seen = [(np.indices((40, 40))[axis] * moved).sum() / moved.sum() + 0.5 for axis in (1, 0)]
    wanted = moved_points(np.array([[[22.5, 10.5]]]), scale, shift, 40)[0, 0]
    np.testing.assert_allclose(seen, wanted, atol=0.3)


# the face


def test_outlines_are_convex_and_hold_the_landmarks():
    for outline in OUTLINES:
        edges = np.roll(outline, -1, 0) - outline
        after = np.roll(edges, -1, 0)
        assert (edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0] > 0).all()  # always turns right: clockwise
        normals = np.stack([edges[:, 1], -edges[:, 0]], 1)
        assert ((normals * outline).sum(1) > TEMPLATE @ normals.T).all()
    np.testing.assert_allclose(OUTLINES[0][:, 0], -OUTLINES[0][::-1, 0])


def test_the_outline_follows_the_landmarks():
    angle, unit, centre = 0.4, 20.0, np.array([30.0, 28.0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    face = fit_template((TEMPLATE @ turn * unit + centre)[None], 64)
    assert not face.average[0] and face.unit[0] == pytest.approx(unit)
    np.testing.assert_allclose(face.outline(np.array([0]))[0], OUTLINES[0] @ turn * unit + centre, atol=1e-9)


@pytest.mark.parametrize(
    "nonsense",
    [
        unknown(1)[0],
        TEMPLATE * [-20, 20] + 32,  # mirrored
        TEMPLATE * 2 + 32,  # tiny
        TEMPLATE * 20 + 300,  # outside
        TEMPLATE * [2, 30] + 32,  # squeezed
        np.full((5, 2), 32.0),  # one point
    ],
)
def test_landmarks_no_face_can_have_count_as_none(nonsense):
    face = fit_template(nonsense[None], 64)
    assert face.average[0] and face.unit[0] == pytest.approx(0.3 * 64)


def test_a_plain_mask_is_the_polygon():
    corners = np.array([[[8.0, 4], [20, 4], [20, 26], [8, 26]]])
    none = np.zeros((1, 32, 32, 2))
    sharp = soft_mask(corners, np.zeros(1), np.full((1, 2), 1e-3), np.ones((1, 2)), none, 32)
    expected = np.zeros((32, 32))
    expected[4:26, 8:20] = 1
    np.testing.assert_allclose(sharp[0], expected, atol=1e-9)
    shrunk = soft_mask(corners, np.full(1, 3.0), np.full((1, 2), 1e-3), np.ones((1, 2)), none, 32)
    assert shrunk.sum() == pytest.approx((12 - 6) * (22 - 6))
    soft = soft_mask(corners, np.zeros(1), np.full((1, 2), 4.0), np.full((1, 2), 3.0), none, 32)
    reach = distance_transform_edt(1 - expected)
    assert (soft[0][reach > 8] == 0).all() and (soft[0][reach == 1] > 0).all()


def test_the_blur_is_a_gaussian_cut_off():
    wide = _windowed_gaussian(np.array([30.0]), np.array([2.5]), 64)[0]
    spot = np.zeros(64)
    spot[32] = 1
    np.testing.assert_allclose(wide @ spot, gaussian_filter1d(spot, 2.5, truncate=8), atol=2e-3)
    narrow = _windowed_gaussian(np.array([2.5]), np.array([1e6]), 9)[0]
    np.testing.assert_allclose(narrow[4], [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0], atol=1e-6)


def test_waves_are_smooth_and_bounded():
    field = np.random.default_rng(0).uniform(-1, 1, (5, 2, 9, 9))
    moves = elastic_field(field, np.array([0.0, 1, 2, 4, 8]), 64)
    assert (np.abs(moves).max((1, 2, 3)) <= [0, 1, 2, 4, 8]).all() and np.abs(moves[4]).max() > 1
    assert np.abs(np.diff(moves[4], axis=0)).max() < 0.5


def test_no_landmarks_in_noise():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    told: list[int] = []
    landmarks = find_landmarks(lambda start: images[start : start + 2], 3, told.append)
    assert np.isnan(landmarks).all() and told == [2, 3]


# the set


COUNTS = {"train": 7, "test": 3}


@pytest.fixture
def real(tmp_path):
    return face_set(tmp_path / "real", {"forge": 4, "train": 5, "val": 3, "test": 6})


def test_a_set_of_blends_says_what_it_is(real, tmp_path):
    faces = blend_set(real, tmp_path / "blends", counts=COUNTS, seed=3, on_progress=silent, settings=AVERAGED)
    card = faces.card
    assert faces.verify() == [] and card.kind == "forged" and card.splits == COUNTS and card.name == NAME
    assert card.provenance["generator"] == NAME and card.provenance["seed"] == 3
    assert card.provenance["settings"] == AVERAGED.model_dump(mode="json")
    assert card.provenance["made_from"] == {"name": "real", "digest": real.card.digest, "licence": "CC0"}
    assert card.provenance["faces_not_found"] == {"train": 5, "test": 3} and "CC0" in card.licence
    table, of = faces.table, real.table.set_index("id")
    assert table["id"].is_unique and table["id"][0] == "self-blended-train-0000000"
    origin = of.loc[table["made_from"]]
    assert (origin["split"].to_numpy() == table["split"].to_numpy()).all()
    for column in ("identity", "gender"):
        assert (origin[column].to_numpy() == table[column].to_numpy()).all()
    ages = [None if made == "train-1" or made == "test-1" else int(made[-1]) for made in table["made_from"]]
    assert [None if np.isnan(age) else int(age) for age in table["age"].astype(float)] == ages
    assert set(table["outline"]) == {"average"}


def test_more_blends_than_faces_are_all_different(real, tmp_path):
    faces = blend_set(real, tmp_path / "many", counts={"train": 13}, seed=0, on_progress=silent, settings=AVERAGED)
    table = faces.table
    assert table["made_from"].value_counts().max() == 3 and table["made_from"].nunique() == 5
    assert list(table["copy"]) == [0] * 5 + [1] * 5 + [2] * 3
    images = faces.read(np.arange(13))
    assert len(np.unique(images.reshape(13, -1), axis=0)) == 13


def test_the_same_asked_again_gives_the_same_and_more_begins_alike(real, tmp_path, monkeypatch):
    first = blend_set(real, tmp_path / "a", counts=COUNTS, seed=0, on_progress=silent, settings=AVERAGED)
    monkeypatch.setattr(tamper, "BLOCK", 3)
    again = blend_set(real, tmp_path / "b", counts=COUNTS, seed=0, on_progress=silent, settings=AVERAGED)
    other = blend_set(real, tmp_path / "c", counts=COUNTS, seed=1, on_progress=silent, settings=AVERAGED)
    more = blend_set(real, tmp_path / "d", counts={"test": 9}, seed=0, on_progress=silent, settings=AVERAGED)
    assert first.card.digest == again.card.digest != other.card.digest
    assert np.array_equal(first.view("test").read(), more.view("test").read(slice(0, 3)))


def test_faces_that_are_not_found_are_counted(real, tmp_path):
    faces = blend_set(real, tmp_path / "searched", counts={"val": 4}, seed=0, on_progress=silent)
    assert faces.card.provenance["faces_not_found"] == {"val": 3}
    average = blend_set(real, tmp_path / "average", counts={"val": 4}, seed=0, on_progress=silent, settings=AVERAGED)
    assert np.array_equal(faces.read(range(4)), average.read(range(4)))


def test_found_landmarks_are_used_for_every_copy(real, tmp_path, monkeypatch):
    def everywhere(read, count, told):
        return np.repeat((TEMPLATE * 8 + [16, 13])[None], count, axis=0)

    monkeypatch.setattr(landmark_search, "find_landmarks", everywhere)
    faces = blend_set(real, tmp_path / "found", counts={"val": 7}, seed=0, on_progress=silent)
    assert set(faces.table["outline"]) == {"found"} and faces.card.provenance["faces_not_found"] == {"val": 0}


def test_what_cannot_be_blended_is_named(real, tmp_path):
    def made(faces=real, counts=COUNTS):
        return blend_set(faces, tmp_path / "no", counts=counts, seed=0, on_progress=silent, settings=AVERAGED)

    with pytest.raises(InputError, match="never made from split 'forge'"):
        made(counts={"forge": 1})
    with pytest.raises(InputError, match="at least one image a split"):
        made(counts={"train": 0})
    with pytest.raises(InputError, match="at least one image a split"):
        made(counts={})
    with pytest.raises(InputError, match="no images in split 'val'"):
        made(face_set(tmp_path / "few", {"train": 2}), {"val": 1})
    with pytest.raises(InputError, match="holds forged faces"):
        made(face_set(tmp_path / "forged", {"train": 2}, kind="forged"))
    with pytest.raises(InputError, match="label column 'copy'"):
        made(face_set(tmp_path / "clash", {"train": 2}, attributes={"copy": "string"}))
    assert not (tmp_path / "no").exists()
