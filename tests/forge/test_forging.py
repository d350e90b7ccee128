"""One writer for forgeries from latents and from real faces; a local edit with masks goes through it as it is."""

from __future__ import annotations

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.forgeries import Forged, Latents, Sources, Synthesis, write_forgeries
from forge.faces.writer import FaceSetWriter
from forge.tampering.self_blended import SelfBlended, SelfBlending
from forge.tampering.tamper import Making

SIDE = 32


@pytest.fixture
def real(tmp_path) -> FaceSet:
    images = np.random.default_rng(0).integers(0, 200, (12, SIDE, SIDE, 3), dtype=np.uint8)
    rows = [
        {"id": f"r{i}", "split": ("train", "test")[i % 2], "identity": f"p{i // 4}", "age": i if i % 3 else None}
        for i in range(12)
    ]
    with FaceSetWriter(tmp_path / "real", "real", "real", SIDE, "CC0", {}, {"age": "int64"}) as writer:
        writer.append(images, rows)
    return FaceSet.open(tmp_path / "real")


def tampering(real: FaceSet, counts, batch=5) -> Synthesis:
    """A white square on each face, with its mask and the face as it was."""

    def make(part, numbers):
        targets = part.read(numbers)
        images, masks = targets.copy(), np.zeros(targets.shape[:3], np.uint8)
        images[:, 4:12, 8:16] = 255
        masks[:, 4:12, 8:16] = 255
        return Forged(images, [{"edit": f"square-{copy}"} for copy in part.copy_of(numbers)], masks, targets)

    views = {split: real.view(split) for split in counts}
    return Synthesis(
        name="squares", origin=Sources(views, counts, 1, {"age": "int64"}), make=make, batch=batch,
        columns={"edit": "string"}, resolution=SIDE, licence="CC0", provenance={"a": 1}, masks=True,
    )  # fmt: skip


def test_forgeries_of_real_faces_say_what_each_was_made_from_and_where(real, tmp_path):
    events = []
    faces = write_forgeries(
        tampering(real, {"train": 14, "test": 3}), tmp_path / "set", events.append, targets=tmp_path / "targets"
    )
    targets = FaceSet.open(tmp_path / "targets")
    assert [(event.done, event.total) for event in events] == [(5, 17), (10, 17), (14, 17), (17, 17)]
    assert faces.verify() == targets.verify() == [] and faces.has_masks and not targets.has_masks
    assert (faces.card.kind, targets.card.kind) == ("forged", "real")
    assert faces.card.attributes == ["made_from", "copy", "edit", "age"]
    assert targets.card.provenance == {"targets_of": {"a": 1}}
    images, originals, masks = faces.read(range(17)), targets.read(range(17)), faces.read_masks(range(17))
    outside = masks == 0
    assert (images[outside] == originals[outside]).all() and (images[~outside] == 255).all()
    origin, table = real.table.set_index("id"), faces.table
    assert (table["identity"].to_numpy() == origin.loc[table["made_from"], "identity"].to_numpy()).all()
    assert (origin.loc[table["made_from"], "split"].to_numpy() == table["split"].to_numpy()).all()
    positions = real.table.reset_index().set_index("id").loc[table["made_from"], "index"]
    assert (real.read(positions.to_numpy()) == originals).all()
    taken = table["made_from"][:14].to_list()
    assert sorted(taken[:6]) == sorted(taken[6:12]) == sorted(set(taken)) and taken[:6] == taken[6:12]
    assert table["edit"][:14].to_list() == ["square-0"] * 6 + ["square-1"] * 6 + ["square-2"] * 2


def test_the_batch_and_a_thread_that_makes_the_next_one_change_nothing(real, tmp_path):
    sets = [
        write_forgeries(tampering(real, {"train": 14}, batch), tmp_path / f"{batch}{ahead}", silent, ahead=ahead)
        for batch, ahead in ((5, False), (64, True), (1, True))
    ]
    assert len({faces.card.digest for faces in sets}) == 1


def test_forgeries_from_latents_have_their_number(tmp_path):
    def make(part, numbers):
        return Forged(np.full((len(numbers), 8, 8, 3), len(part.split), np.uint8), [{}] * len(numbers))

    synthesis = Synthesis("flat", Latents({"test": 5}), make, 2, {}, 8, "CC0", {})
    table = write_forgeries(synthesis, tmp_path / "set", silent).table
    assert table["latent_index"].to_list() == [0, 1, 2, 3, 4] and table["id"][4] == "flat-test-0000004"
    assert "made_from" not in table


def test_nothing_asked_for_and_splits_without_faces_are_refused(real):
    for counts in ({}, {"train": 0}):
        with pytest.raises(InputError, match="must ask for at least one image a split"):
            Latents(counts)
        with pytest.raises(InputError, match="must ask for at least one image a split"):
            Sources({"train": real.view("train")}, counts, 0)
    with pytest.raises(InputError, match="split 'val' has no real faces"):
        Sources({"val": real.view("train").head(0)}, {"val": 1}, 0)


def test_blends_may_store_their_masks_without_changing_a_pixel(real, tmp_path):
    making = Making(
        name="blends",
        tampering=SelfBlending(SelfBlended(landmarks="average", altered="source")),
        origin=Sources({"train": real.view("train")}, {"train": 9}, 3),
        resolution=SIDE,
        source={},
        licence="CC0",
    )
    sets = [making.write(tmp_path / f"{masks}", silent, masks=masks) for masks in (False, True)]
    bare, masked = sets
    assert not bare.has_masks and masked.has_masks and masked.verify() == []
    assert (bare.read(range(9)) == masked.read(range(9))).all()
    masks = masked.read_masks(range(9))
    positions = real.table.reset_index().set_index("id").loc[masked.table["made_from"], "index"].to_numpy()
    untouched = masks == 0
    assert 0 < untouched.mean() < 1 and masks.max() > 50
    # a weight below 1/510 is stored as 0, and moves a level by less than 1
    difference = np.abs(masked.read(range(9)).astype(int) - real.read(positions).astype(int)).max(axis=3)
    assert difference[untouched].max() <= 1 < difference[~untouched].max()
