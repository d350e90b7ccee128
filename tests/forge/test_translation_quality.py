"""Metrics of translations: formulas, references, and what they say of constructed translations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from test_translation import made, photos

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.halves import halve
from forge.faces.imaging.luma import luminance
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.translate import translate_set, untrained
from forge.quality import built_in, identity
from forge.quality.changed import ChangedMetric, changed
from forge.quality.fidelity import FidelityMetric, fidelity, psnr, ssim
from forge.quality.identity import IdentityMetric, Known, changed_copies, fit_embedding, identity_kept
from forge.quality.kept import Kept
from forge.quality.measure import Comparison, drawn
from forge.quality.metric import AllImages, Labels, Sides
from forge.quality.ms_ssim import ms_ssim
from forge.quality.obedience import ObedienceMetric
from forge.quality.sets import Ask, measure_set, translations_of
from forge.quality.translations import People, Translations

MEAN = np.full((32, 32, 3), 128, np.uint8)


def noisy(images, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def reference_ssim(a, b):
    """scikit-image's `structural_similarity` with Wang's window, from its source (0.26): filters, then a crop."""
    x, y = luminance(a[None])[0].astype(np.float64), luminance(b[None])[0].astype(np.float64)

    def mean(values):
        return gaussian_filter(values, 1.5, truncate=3.5)  # radius int(3.5 * 1.5 + 0.5) = 5

    ux, uy = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - ux * ux, mean(y * y) - uy * uy, mean(x * y) - ux * uy
    c1, c2 = 0.01**2, 0.03**2  # (K L)^2 with L = 1
    similar = ((2 * ux * uy + c1) * (2 * vxy + c2)) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
    return similar[5:-5, 5:-5]


def test_ssim_and_psnr_are_those_of_scikit_image():
    a = photos(4)
    b = noisy(a, 20)
    maps = [reference_ssim(*pair) for pair in zip(a, b, strict=True)]
    assert ssim(a, b) == pytest.approx([each.mean() for each in maps], abs=2e-6)
    holes = np.zeros((4, 32, 32), np.uint8)
    holes[:, 3:14, 10:25] = 255  # in the rim too, where no whole window has its middle
    inside = holes[:, 5:-5, 5:-5] > 0
    assert ssim(a, b, holes) == pytest.approx([m[i].mean() for m, i in zip(maps, inside, strict=True)], abs=2e-6)
    squares = (a.astype(float) - b) ** 2
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 / squares.mean((1, 2, 3))))
    of_holes = [each[hole > 0].mean() for each, hole in zip(squares, holes, strict=True)]
    assert psnr(a, b, holes) == pytest.approx(10 * np.log10(255**2 / np.array(of_holes)))


def test_equal_images_are_as_alike_as_rounding_allows_and_a_missing_hole_has_no_value():
    a = photos(2)
    assert psnr(a, a) == pytest.approx([58.92] * 2, abs=0.01) and ssim(a, a) == pytest.approx([1, 1])
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[0, 10:20, 10:20] = 255
    assert np.isnan(psnr(a, a, masks)).tolist() == np.isnan(ssim(a, a, masks)).tolist() == [False, True]


def test_a_translation_stands_beside_what_needs_no_learning():
    sources = photos(8)
    grey = np.repeat(np.rint(luminance(sources) * 255).astype(np.uint8)[..., None], 3, 3)
    pairs = Translations(noisy(sources, 10), sources, True, grey, "grey photo")
    score = fidelity(pairs, MEAN)
    assert score.psnr.value == pytest.approx(psnr(pairs.forged, sources).mean())
    assert score.psnr.reference == pytest.approx(psnr(grey, sources).mean())
    assert score.ms_ssim.value == pytest.approx(ms_ssim(pairs.forged, sources).mean())
    assert (score.psnr_hole, score.ssim_hole, score.without_learning, score.n) == (None, None, "grey photo", 8)
    # without an image from the condition: the mean face
    alone = fidelity(Translations(pairs.forged, sources, True), MEAN)
    assert alone.without_learning == "mean face"
    assert alone.psnr.reference == pytest.approx(psnr(np.repeat(MEAN[None], 8, 0), sources).mean())


def test_a_hole_has_lines_of_its_own():
    sources, masks = photos(4), np.zeros((4, 32, 32), np.uint8)
    masks[:, 8:20, 8:20] = 255
    forged = sources.copy()
    forged[:, 8:20, 8:20] = 128
    metric, sides = FidelityMetric(), with_pairs(Translations(forged, sources, True, None, "", masks))
    rows = {row.metric: row for row in metric.rows(metric.measure(sides), None, 4)}
    assert rows["PSNR in the hole, dB"].value < rows["PSNR to the photo, dB"].value
    assert rows["SSIM in the hole"].reference == "mean face" and rows["SSIM in the hole"].better == "higher"
    shares = ChangedMetric().rows(ChangedMetric().measure(sides), None, 4)
    assert [row.metric for row in shares] == ["changed share of the photo", "changed share in the hole"]
    assert shares[0].value == pytest.approx(shares[1].value * 144 / 1024)


def test_the_changed_share_is_a_mean_absolute_difference():
    sources = photos(5)
    assert changed(Translations(sources, sources)).value == 0
    score = changed(Translations(255 - sources, sources))
    assert score.value == pytest.approx(np.abs(255 - 2.0 * sources).mean() / 255)
    others = np.roll(sources, 1, 0).astype(float)
    assert score.two_photos == pytest.approx(np.abs(sources - others).mean() / 255) and score.value_hole is None


def people(count, images_each, seed=0):
    """Images of people, each a smooth pattern of its own with some noise, and their names."""
    faces = photos(count, seed=seed).repeat(images_each, 0)
    return noisy(faces, 12, seed + 1), np.array([f"{seed}-{i}" for i in range(count)]).repeat(images_each)


def test_the_embedding_tells_people_apart_and_keeps_changed_copies_together():
    known, held_out = Known(*people(40, 3)), Known(*people(20, 3, seed=7))
    embed = fit_embedding(known, 0)
    vectors = embed(held_out.images)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1) and vectors.shape == (60, 64)
    cosines, groups = vectors @ vectors.T, held_out.groups()
    same = (groups[:, None] == groups) & ~np.eye(60, dtype=bool)
    assert cosines[same].mean() > 0.5 and abs(cosines[groups[:, None] != groups].mean()) < 0.1
    copies = embed(changed_copies(held_out.images, np.random.default_rng(0)))
    assert (vectors * copies).sum(1).mean() > cosines[groups[:, None] != groups].mean() + 0.2
    assert np.array_equal(vectors, fit_embedding(known, 0)(held_out.images))  # the seed decides everything


def test_generators_that_are_measured_against_the_same_photos_share_an_embedding(monkeypatch):
    fitted = []

    def counted(known, seed, *, device):
        fitted.append(seed)
        return fit_embedding(known, seed, device=device)

    monkeypatch.setattr(identity, "fit_embedding", counted)
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
    nobody = np.full(20, "")

    def measured(seed):
        known, held_out = Known(photos[:20].copy(), nobody), Known(photos[20:].copy(), nobody)
        return identity_kept(photos[:20], photos[20:], known, held_out, seed=seed)

    monkeypatch.setattr(identity, "_SCALES", Kept(1))
    first, again, other = measured(7), measured(7), measured(8)
    assert fitted == [7, 8] and first == again != other


def test_identity_is_one_of_the_photo_itself_and_zero_of_somebody_else():
    known, held_out = Known(*people(40, 3)), Known(*people(20, 3, seed=7))
    sources = held_out.images[::3]
    itself = identity_kept(sources, sources, known, held_out, seed=0)
    assert itself.value == pytest.approx(1) and itself.people == 40 and itself.n == 20
    other = identity_kept(np.roll(sources, 1, 0), sources, known, held_out, seed=0)
    assert abs(other.value) < 0.15 and other.same == itself.same and 0.4 < itself.same < 1
    assert 0 < itself.copies < 1
    nobody = Known(known.images, np.full(120, "")), Known(held_out.images, np.full(60, ""))
    alone = identity_kept(sources, sources, *nobody, seed=0)
    assert alone.same is None and alone.people == 0 and alone.value == pytest.approx(1)


def test_a_draw_keeps_people_together_and_counts_nobody_as_single():
    images, names = people(10, 3)
    names[:6] = ""  # two people of whom nothing is known: six photos
    known = Known(images, names).drawn(12, 3)
    counts = np.unique(known.people[known.people != ""], return_counts=True)[1]
    assert len(known.images) == 12 and sum(count == 3 for count in counts) >= len(counts) - 1
    assert len(np.unique(Known(images, names).groups())) == 8 + 6


def with_pairs(pairs, **more):
    images = photos(20, seed=5)
    return Sides(images, images, images, None, AllImages(images, images), translations=pairs, **more)


def test_other_forgeries_have_no_such_lines():
    sides = with_pairs(None)
    for metric in (FidelityMetric(), ChangedMetric(), IdentityMetric()):
        assert metric.measure(sides) is None and metric.rows(None, None, 20) == []
    # without held-out faces there is no reference of an identity, and a blend has no target
    pairs = Translations(photos(20), photos(20))
    assert IdentityMetric().measure(with_pairs(pairs, people=People(np.full(20, ""), np.full(0, "")))) is None
    assert FidelityMetric().measure(with_pairs(pairs)) is None
    assert ChangedMetric().measure(with_pairs(pairs)).value == 0


@pytest.mark.parametrize("role", ["kept", "moved", "obeyed"])
def test_a_label_of_the_source_is_kept_one_of_a_domain_moved_and_another_obeyed(role):
    rng = np.random.default_rng(0)
    names = np.array(["left", "right"])[rng.integers(0, 2, 64)]
    images = np.full((64, 16, 16, 3), 60, np.uint8)
    for image, name in zip(images, names, strict=True):
        image[:, :8] += 120 * (name == "left")
        image[:, 8:] += 120 * (name == "right")
    pairs = Translations(images, images, inherited=frozenset({"side"} if role == "kept" else ()))
    sides = Sides(
        images,
        images,
        images,
        images,
        AllImages(images, images, images),
        {"side": Labels(names, names, names)},
        None if role == "obeyed" else pairs,
    )
    metric = ObedienceMetric()
    scores = metric.measure(sides)
    (row,) = metric.rows(scores, scores, 64)
    assert row.metric == f"label {role}: side"


@pytest.fixture
def translated(tmp_path, make_set):
    """A real set, the same halved, and translations of it by untrained networks."""
    folder, splits = tmp_path, {"forge": 40, "train": 24, "test": 24}
    real = make_set("faces", splits, resolution=32)
    halved = halve(real, folder / "halved", silent)
    sets = {}
    for task in ("inpainting", "colour", "edges"):
        translator = made(task)
        place = folder / task
        place.mkdir()
        write_generator(
            place, raw=translator.generator(), averaged=translator.generator(),
            discriminator=translator.discriminator(),
            card={
                "name": f"pix2pix:{task}", "architecture": f"pix2pix:{task}", "family": "translation",
                "settings": translator.settings.model_dump(mode="json"), "resolution": 32, "condition": None,
                "seed": 0, "kimg": 0.0, "training": {}, "precision": "fp32", "parameters": {"generator": 1},
                "data": {"name": "faces", "digest": real.card.digest, "licence": "CC0", "images": 40},
            },
        )  # fmt: skip
        trained = TrainedGenerator.open(place)
        counts = {"train": 20, "test": 20}
        forged = translate_set(trained, halved, folder / f"{task}-set", counts=counts, seed=3, on_progress=silent)
        sets[task] = trained.architecture, forged
    return real, halved, sets


@pytest.mark.parametrize("task", ["inpainting", "colour", "edges"])
def test_translations_are_laid_beside_the_faces_that_they_were_made_from(translated, task):
    real, halved, sets = translated
    translator, forged = sets[task]
    pairs = translations_of(forged, halved, Ask(), translator)
    at = {key: number for number, key in enumerate(halved.table["id"])}
    assert np.array_equal(pairs.sources, halved.read([at[key] for key in forged.table["made_from"]]))
    assert np.array_equal(pairs.forged, forged.read(range(40))) and pairs.restores
    # ids stay when a set is halved, so that the prepared set has the sources too
    assert np.array_equal(translations_of(forged, real, Ask(), translator).sources, pairs.sources)
    if task == "edges":
        assert pairs.untrained is None
    else:
        outside = np.ones((40, 32, 32), bool) if pairs.masks is None else pairs.masks == 0
        if task == "inpainting":  # the hole of each image is the one that was forged
            assert np.array_equal(pairs.untrained[outside], pairs.sources[outside]) and 0.4 < outside.mean() < 0.96
        assert (pairs.untrained != pairs.sources).any()
    assert pairs.of(np.array([3, 1])).forged.shape == (2, 32, 32, 3)


def test_sets_of_other_photos_have_no_sources_here(translated, make_set):
    _, halved, sets = translated
    other = make_set("strangers", {"forge": 40, "train": 24, "test": 24}, resolution=32, seed=9)  # of equal ids
    assert translations_of(sets["colour"][1], other, Ask()) is None
    assert translations_of(other, halved, Ask()) is None


@pytest.mark.e2e
def test_a_set_is_measured_with_all_of_it(translated, monkeypatch):
    monkeypatch.setattr("forge.quality.face_rate.FaceFinder", NoFaces)
    _, halved, sets = translated
    translator, forged = sets["inpainting"]
    comparison = measure_set(forged, halved, Ask(n=24, face_n=1), translator=translator)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison
    rows = {row.metric: row for row in comparison.rows()}
    assert rows["PSNR in the hole, dB"].reference == "mean colour of the rest" and rows["identity kept"].n == 24
    assert comparison.floor.fidelity is comparison.floor.changed is comparison.floor.identity is None
    # of the images that the other metrics draw, whatever their order
    pairs = translations_of(forged, halved, Ask(), translator)
    chosen = {image.tobytes() for image in drawn(pairs.forged, 24, 0)}
    numbers = np.array([number for number, image in enumerate(pairs.forged) if image.tobytes() in chosen])
    assert len(numbers) == 24
    assert comparison.forged.changed.value == pytest.approx(changed(pairs.of(numbers)).value)


class NoFaces:
    """A face detector that finds nothing."""

    def __init__(self, crop):
        pass

    def chances(self, images):
        return [0.0] * len(images)


def test_small_images_have_no_ssim():
    with pytest.raises(InputError, match="MS-SSIM needs at least 11"):
        fidelity(Translations(photos(2, 8), photos(2, 8), True), np.full((8, 8, 3), 128, np.uint8))
    assert FidelityMetric().measure(with_pairs(Translations(photos(2, 8), photos(2, 8), True))) is None


def test_what_needs_no_learning_is_made_in_blocks_of_any_size():
    translator, faces = made("colour"), photos(70)
    whole = untrained(translator, faces, range(70))
    assert np.array_equal(whole[64:], untrained(translator, faces[64:], range(64, 70)))
    assert untrained(made("edges"), faces, range(70)) is None


def test_every_metric_of_translations_is_registered():
    assert {"fidelity", "changed", "identity"} <= {metric.id for metric in built_in()}
