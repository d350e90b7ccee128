"""Every shortcut of handling is planted in one side of a pair and named; honest pairs pass, told or not by content."""

import functools
import re
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.evaluation.audits import handling, learners, periods
from benchmarks.evaluation.audits.file_cues import FileCues, measure
from benchmarks.evaluation.audits.learners import learn_floor, learn_shares
from forge.faces.sources import Item, resolve

# one process: the tests measure the same photos
pytestmark = [pytest.mark.xdist_group("handling"), pytest.mark.e2e]

COUNT, SIDE = 48, 64


def photo(number, side=SIDE):
    """Soft coloured shapes with noise; bright and dark parts reach 0 and 255, as in photos."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(np.clip(rng.normal(128, 80, (6, 6, 3)), 0, 255).astype(np.uint8))
    soft = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float) * 1.2 - 25
    return np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)


def stored(pixels, kind="PNG", **options):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def unchanged(pixels):
    return pixels


@functools.cache
def cues(numbers, change=unchanged, save=stored, side=SIDE):
    return measure([Item(str(i), save(change(photo(i, side)))) for i in numbers])


def jpeg_once(pixels):
    return opened(stored(pixels, "JPEG", quality=75))


def cropped_after_jpeg(pixels):
    return jpeg_once(pixels)[3:-5, 5:-3]


def marked(pixels):
    out = pixels.copy()
    out[-6:, :6] = (200, 30, 90)
    return out


def bordered(pixels):
    out = np.full_like(pixels, 250)
    out[1:-1, 1:-1] = pixels[1:-1, 1:-1]
    return out


def brighter(pixels):
    return np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8)


def clipped(pixels):
    return np.clip(pixels, 5, 250)


def grey(pixels):
    return np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


def with_exif(pixels):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    return stored(pixels, exif=exif)


def with_alpha(pixels):
    return stored(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))


MORE_CHANGES = (brighter, clipped, grey)  # of levels and colours; on one side they are looked for below


@pytest.fixture(scope="module")
def real():
    return cues(range(COUNT))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (jpeg_once, r"JPEG grid \(AUC 1.00 .*quality 7\d in 0 % of real"),
        (marked, "corner mark .*36 pixels bottom left that are the same in every forged image"),
        (bordered, "border .*1 1 1 1 px of one colour"),
        (brighter, "darkest level .*values stop at 3"),
        (clipped, "darkest level .*values stop at 5.*brightest level .*values stop at 250"),
        (grey, "grey stored as colour .*grey in 0 % of real"),
    ],
)
def test_a_planted_change_of_pixels_is_named_on_either_side(real, change, named):
    changed = cues(range(COUNT, 2 * COUNT), change)
    finding = handling.handling(real, changed)
    assert finding.passed is False
    assert re.search(named, finding.sentence), finding.sentence
    assert handling.handling(changed, real).passed is False


@pytest.mark.parametrize(
    ("save", "named"), [(with_exif, "metadata .*EXIF in 0 % of real"), (with_alpha, "pixel mode .*RGBA in 0 % of real")]
)
def test_metadata_and_pixel_mode_in_one_class_are_named(real, save, named):
    finding = handling.handling(real, cues(range(COUNT, 2 * COUNT), save=save))
    assert finding.passed is False and re.search(named, finding.sentence), finding.sentence


def test_a_shifted_grid_is_told_from_an_aligned_one():
    aligned = cues(range(COUNT), jpeg_once)
    shifted = cues(range(COUNT, 2 * COUNT), cropped_after_jpeg, side=SIDE + 8)
    finding = handling.handling(aligned, shifted)
    assert finding.passed is False and "JPEG grid" in finding.sentence
    assert shifted.table["grid_row"].mode()[0] == 5 and shifted.table["grid_column"].mode()[0] == 3


def test_grids_of_many_qualities_are_named_together(real):
    table = real.table.assign(jpeg_quality=range(40, 40 + COUNT))
    finding = handling.handling(real, FileCues(table, real.corners, real.periods))
    assert "a grid of some quality in 0 % of real, 100 % of forged" in finding.sentence


@pytest.mark.parametrize(
    "change",
    [unchanged, jpeg_once, marked, bordered, *(pytest.param(each, marks=pytest.mark.slow) for each in MORE_CHANGES)],
)
def test_two_halves_of_one_set_pass_whatever_was_done_to_both(change):
    finding = handling.handling(cues(range(COUNT), change), cues(range(COUNT, 2 * COUNT), change))
    assert finding.passed is True, finding.sentence
    assert "do not give the class away" in finding.sentence


@pytest.fixture(scope="module")
def faces():
    source = resolve("rendered", seed=3)
    return [opened(item.read()) for item in source.chunk(range(96))]


def gan_like(pixels):
    """Half the resolution, enlarged and smoothed, paler and without black: as a weak generator makes faces."""
    small = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)
    large = np.asarray(small.resize((64, 64), Image.Resampling.NEAREST), float)
    smooth = sum(np.roll(large, shift, axis) for axis in (0, 1) for shift in (-1, 0, 1)) / 6
    return np.clip(20 + 0.8 * smooth, 0, 255).astype(np.uint8)


def test_faces_against_forgeries_of_the_same_pipeline_pass_and_their_content_is_named(faces):
    scaled = [np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.LANCZOS)) for face in faces]
    forged = [gan_like(face) for face in scaled[48:]]
    sides = [measure(Item(str(i), stored(face)) for i, face in enumerate(side)) for side in (scaled[:48], forged)]
    assert handling.handling(*sides).passed is True, handling.handling(*sides).sentence
    finding = handling.content(np.stack(scaled[:48]), np.stack(forged))
    assert finding.passed is None and "sharpness (AUC" in finding.sentence


def test_content_of_two_halves_says_nothing(faces):
    scaled = np.stack([np.asarray(Image.fromarray(face).resize((64, 64))) for face in faces])
    assert "do not give the class away" in handling.content(scaled[:48], scaled[48:]).sentence


def alike_in_a_corner(pixels):
    """As a weak generator makes faces: the more alike, the nearer to the lower left corner."""
    away = np.maximum(np.arange(SIDE), np.arange(SIDE)[::-1, None])  # columns from the left, rows from below
    weight = np.clip(away / 18, 0, 1)[..., None]
    return (weight * pixels + (1 - weight) * 40).astype(np.uint8)


def test_corners_of_a_generator_whose_faces_are_alike_are_no_mark(real, monkeypatch):
    forged = cues(range(COUNT, 2 * COUNT), alike_in_a_corner)
    assert handling.handling(real, forged).passed is True
    monkeypatch.setattr(learners, "BESIDE", 0.0)  # what a mark has beside it is what tells them
    assert "corner mark" in handling.handling(real, forged).sentence


def halved(pixels):
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC))


def test_files_that_were_halved_and_enlarged_are_named_by_their_own_pixels():
    images = [photo(i, 2 * SIDE) for i in range(2 * 24)]
    made = [*images[:24], *map(halved, images[24:])]
    files = [measure(Item(str(i), stored(image)) for i, image in enumerate(side)) for side in (made[:24], made[24:])]
    small = np.stack([halved(image)[::2, ::2] for image in images])  # the same for both sides at the test's size
    finding = handling.content(small[:24], small[24:], files=tuple(files))
    assert finding.passed is None and re.search("tell the class: fine detail of the files .AUC 1.00", finding.sentence)
    assert "do not give the class away" in handling.content(small[:24], small[24:], files=(files[0], files[0])).sentence


def reduced(pixels):
    return np.asarray(Image.fromarray(pixels).resize((72, 72), Image.Resampling.LANCZOS))


def jpeg_then_reduced(pixels):
    return reduced(opened(stored(pixels, "JPEG", quality=60)))


def test_jpeg_that_was_resized_is_told_by_the_period_of_its_blocks():
    changes = (reduced, jpeg_then_reduced, jpeg_then_reduced)
    plain, coded, others = (
        np.stack([periods.spectrum(change(photo(i + COUNT * side, 96))) for i in range(COUNT)])
        for side, change in enumerate(changes)
    )
    label = np.repeat([False, True], COUNT)
    value, interval = handling.judge_apart(label, np.concatenate([plain, coded]), periods.learn_period, level=0.9998)
    assert value > 0.95 and interval.low > 0.5
    period, forged = periods.period_of(np.concatenate([plain, coded]), label)
    assert forged and 6 / period == pytest.approx(round(6 / period), abs=0.05)  # 8 pixels at 72 / 96, or a part
    assert not periods.period_of(np.concatenate([coded, plain]), label)[1]
    value, interval = handling.judge_apart(label, np.concatenate([coded, others]), periods.learn_period, level=0.9998)
    assert interval.low <= 0.5


def test_periods_of_files_are_named_and_fail_nothing(real):
    images = np.stack([photo(i) for i in range(2 * COUNT)])  # of which nothing is told
    coded = cues(range(COUNT, 2 * COUNT), jpeg_once)
    finding = handling.content(images[:COUNT], images[COUNT:], files=(real, coded))
    words = r"periodic grid of the files \(AUC .*, every \d\.\d pixels or a multiple in forged files: JPEG blocks"
    assert finding.passed is None and re.search(words, finding.sentence), finding.sentence


def test_a_spectrum_has_the_waves_of_a_grid_and_nothing_elsewhere():
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (32, 32, 1)), np.ones((6, 6, 3))).astype(np.uint8)
    strength = periods.spectrum(blocks)
    waves = periods.FREQUENCIES[strength > 1]
    # edges every 6 pixels: 1/6 and 2/6
    assert {round(6 * float(wave)) for wave in waves} == {1, 2}
    assert np.abs(6 * waves - np.round(6 * waves)).max() < 0.15
    assert not periods.spectrum(np.full((40, 60, 3), 90, np.uint8)).any()
    features = np.stack([strength, np.zeros_like(strength)] * 4)
    period, forged = periods.period_of(features, np.array([True, False] * 4))
    assert forged and 6 / period == pytest.approx(round(6 / period), abs=0.05)


def test_what_is_chosen_among_hundreds_is_tested_on_others():
    rng = np.random.default_rng(0)
    label = np.repeat([False, True], 60)
    called = [0, 0]
    for _ in range(40):
        features = rng.normal(0, 1, (120, len(periods.FREQUENCIES)))
        value, interval = handling.judge_apart(label, features, periods.learn_period, level=0.95)
        called[value < 0.5] += not interval.low <= 0.5 <= interval.high
    assert sum(called) <= 6  # 5 % of 40, and chance
    one_clip = np.array(["a"] * 60 + ["b"] * 60, dtype=object)
    value, interval = handling.judge_apart(label, features, periods.learn_period, level=0.95, groups=one_clip)
    assert value == 0.5 and interval.low <= 0.5 <= interval.high


def test_colour_and_mean_image_are_named():
    base = np.stack([photo(i) for i in range(2 * COUNT)])
    tinted, moved = base[COUNT:].copy(), base[COUNT:].copy()
    tinted[..., 2] //= 2
    moved[:, 16:40, 16:40] //= 3
    assert "colour (AUC" in handling.content(base[:COUNT], tinted).sentence
    assert "mean image (AUC" in handling.content(base[:COUNT], moved).sentence


def test_cues_are_read_as_they_were_stored(real, tmp_path):
    real.save(tmp_path)
    again = FileCues.load(tmp_path)
    assert again.table.equals(real.table) and np.array_equal(again.corners, real.corners)
    assert np.array_equal(again.periods, real.periods)


def test_files_that_cannot_be_decoded_are_left_out():
    items = [Item("a", stored(photo(0))), Item("b", b"no image"), Item("c", stored(photo(1)))]
    assert len(measure(items).table) == 2


def test_frames_of_few_clips_are_few_images():
    """Ten clips of which each was saved once: what tells them is ten clips, not two hundred frames."""
    rng = np.random.default_rng(0)
    label = np.repeat([False, True], 100)
    clip = np.repeat(np.arange(20), 10)
    cue = rng.integers(0, 1000, 20)[clip].astype(str)  # a value of its own for each clip
    groups = np.array([f"clip {i}" for i in clip], dtype=object)
    alone, _ = handling.judge(label, cue, learn_shares, level=0.999)
    value, interval = handling.judge(label, cue, learn_shares, level=0.999, groups=groups)
    assert alone > 0.99 and value < 0.6 and interval.method == "Newcombe over identities"


@pytest.mark.parametrize("clips", [1, 3])
def test_fewer_clips_than_folds_are_judged_too(clips):
    label = np.repeat([False, True], 12)
    groups = np.array([f"{side} {i % clips}" for side, i in zip(label, range(24), strict=True)], dtype=object)
    cue = np.where(label, "jpeg", "png")
    value, interval = handling.judge(label, cue, learn_shares, level=0.95, groups=groups)
    # of one clip a class nothing can be learned from others, and no score tells the classes apart
    assert value == (0.5 if clips == 1 else 1.0) and 0 <= interval.low <= value <= interval.high <= 1


def test_a_person_on_both_sides_is_one_group():
    names = pd.Series(["anna", "ben", None, "cluster-0000003"])
    real, forged = np.split(handling.groups_of(names, names), 2)
    assert list(real[:3]) == list(forged[:3]) and real[2] is None
    assert real[3] != forged[3]  # copies of a side are numbered within it
    label = np.repeat([False, True], 40)
    people = np.array([f"person {i % 10}" for i in range(80)], dtype=object)
    fold = handling._folds(label, people)
    assert all(len(set(fold[people == name])) == 1 for name in people)
    assert all(set(fold[label == forged]) == set(range(handling.FOLDS)) for forged in (False, True))


def test_scattered_darkest_levels_are_content_and_a_floor_is_handling():
    rng = np.random.default_rng(0)
    label = np.repeat([False, True], 200)
    real = np.where(rng.random(200) < 0.4, 0, rng.integers(1, 30, 200))
    for forged, found in ((real + 3, True), (rng.integers(4, 40, 200), False), (np.maximum(real, 5), True)):
        value, _ = handling.judge(label, np.concatenate([real, forged]).astype(str), learn_floor, level=0.999)
        assert (value > 0.6) is found
