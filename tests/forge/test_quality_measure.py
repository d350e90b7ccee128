"""All metrics at once: equal n on every side, the same answer whatever the order, and a floor that fits."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.quality import built_in
from forge.quality.face_rate import FaceRate
from forge.quality.measure import Comparison, Labels, Quality, common_n, compare, drawn, measure
from forge.quality.obedience import Obedience
from forge.quality.result import Share
from forge.quality.sliced_wasserstein import sliced_wasserstein

pytestmark = pytest.mark.e2e


def pictures(count, side=32, seed=0):
    """Coloured noise with a random brightness in each quarter, uint8 [count, side, side, 3]."""
    rng = np.random.default_rng(seed)
    quarters = rng.integers(40, 216, (count, 2, 2, 3)).repeat(side // 2, axis=1).repeat(side // 2, axis=2)
    return (quarters + rng.integers(-40, 40, quarters.shape)).astype(np.uint8)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No face detector, few directions, and two steps of classifiers: other tests try the real ones."""

    def found(images, *, n, seed):
        n = min(n, len(images))
        return FaceRate(at_90=Share.of(n, n), at_95=Share.of(n - 1, n), resize="none")

    monkeypatch.setattr("forge.quality.face_rate.face_rate", found)
    monkeypatch.setattr(
        "forge.quality.sliced_wasserstein.sliced_wasserstein", partial(sliced_wasserstein, patches=16, directions=32)
    )
    monkeypatch.setattr("forge.quality.usefulness._steps", lambda images: 2)


@pytest.fixture(scope="module")
def sets():
    reference, held_out, forged = (pictures(48, seed=seed) for seed in (1, 2, 3))
    return reference, held_out, (forged // 2 + 64)[:40]


def test_n_is_the_same_everywhere_and_the_smallest_set_decides(sets):
    reference, held_out, forged = sets
    quality = measure(forged, reference, held_out=held_out, n=2048, face_n=24)
    counts = (
        quality.n,
        quality.sliced_wasserstein.n,
        quality.spectrum.n,
        quality.ms_ssim.n,
        quality.ms_ssim_reference.n,
    )
    assert counts == (40,) * 5
    assert (quality.neighbourhood.n, quality.kernel_random_features.n, quality.memorisation.n) == (40,) * 3
    assert (quality.memorisation.n_held_out, quality.memorisation.n_training) == (40, 48)
    assert quality.face_rate.at_90.n == 24 and quality.resolution == 32
    assert quality.space.extractor.sha256 and quality.obedience == {} and quality.inception is None
    assert common_n(30, a=reference, b=forged) == 30


def test_the_order_of_images_does_not_matter_but_the_seed_does(sets):
    reference, held_out, forged = sets
    shuffle = np.random.default_rng(0).permutation
    once = measure(forged, reference, held_out=held_out, n=32)
    assert measure(shuffle(forged), shuffle(reference), held_out=shuffle(held_out), n=32) == once
    assert measure(forged, reference, held_out=held_out, n=32, seed=1).candidate_digest != once.candidate_digest
    assert Quality.model_validate_json(once.model_dump_json()) == once


def test_a_draw_has_no_image_twice(sets):
    chosen = drawn(sets[0], 20, seed=0)
    assert len({image.tobytes() for image in chosen}) == 20
    assert len(drawn(sets[0], 99, seed=0)) == 48


def test_floor_is_reused_only_where_it_fits(sets):
    reference, held_out, forged = sets
    floor = measure(held_out, reference, n=32)
    comparison = compare(forged, reference, held_out, floor=floor, n=32)
    assert comparison == compare(forged, reference, held_out, n=32)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison
    with pytest.raises(InputError, match="floor was measured with n 32, not 40"):
        compare(forged, reference, held_out, floor=floor)
    with pytest.raises(InputError, match="floor was measured with seed 0, not 1"):
        compare(forged, reference, held_out, floor=floor, n=32, seed=1)
    with pytest.raises(InputError, match="with reference_digest"):
        compare(forged, held_out, reference, floor=floor, n=32)


def test_rows_show_every_metric_beside_its_floor(sets):
    reference, held_out, forged = sets
    rows = {row.metric: row for row in compare(forged, reference, held_out, n=32).rows()}
    assert rows["copying C_T, z"].floor == 0 and rows["face found, p >= .90"].value == 1
    for name in ("Fréchet, random features", "spectrum, log10 difference"):
        assert rows[name].value > rows[name].floor and rows[name].better == "lower"
    assert len(rows) >= 13 and all(row.n == 32 for row in rows.values())


def test_copies_are_seen(sets):
    reference, held_out, _ = sets
    comparison = measure(reference[:32], reference, held_out=held_out, n=32)
    assert comparison.memorisation.authentic.value == 0 and comparison.memorisation.c_t < -3
    other = measure(held_out, reference, training=held_out, n=32)
    assert other.memorisation.authentic.value == 0


def test_labels_need_held_out_images_and_unknown_ones_are_left_out(sets, monkeypatch):
    reference, held_out, forged = sets
    names = [np.resize(["a", "b", ""], len(images)) for images in (forged, reference, held_out)]
    with pytest.raises(InputError, match="needs held-out images"):
        measure(forged, reference, labels={"kind": Labels(*names)})
    comparison = measure(forged, reference, held_out=held_out, labels={"kind": Labels(*names)}, n=32)
    obeyed = comparison.obedience["kind"]
    assert isinstance(obeyed, Obedience) and set(obeyed.classes) == {"a", "b"}
    assert (obeyed.n_training, obeyed.agreement.n) == (32, 27)
    with pytest.raises(InputError, match="48 labels"):
        measure(forged, reference, held_out=held_out, labels={"kind": Labels(names[1], *names[1:])})


def test_too_little_is_refused(sets):
    reference, _, forged = sets
    with pytest.raises(InputError, match="candidate has 15 images"):
        measure(forged[:15], reference)
    with pytest.raises(InputError, match="n is 8"):
        measure(forged, reference, n=8)
    with pytest.raises(InputError, match="differ in resolution"):
        measure(forged, reference, training=pictures(20, side=16))
    with pytest.raises(InputError, match=r"FID needs torch-fidelity|is not a file"):
        measure(forged, reference, fid_weights=Path("nowhere.pth"))


def test_progress_is_told(sets):
    events = []
    measure(sets[2], sets[0], n=16, on_progress=events.append)
    notes = [metric.title for metric in built_in()]
    assert [event.done for event in events] == list(range(1, len(notes) + 1)) and events[-1].total == len(notes)
    assert [event.note for event in events] == notes
