"""Masks beside the images of a set: kept exactly, part of its digest, checked; a set without is as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest

from forge.core.errors import CorruptError, InputError
from forge.core.files import digest_file, read_signed_json, write_signed_json
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter

SIDE = 8


def contents(count: int = 10):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    masks = rng.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)
    return images, masks, [{"id": str(i), "split": ("train", "test")[i % 2]} for i in range(count)]


def write(path, *, masks: bool = True, shard_bytes: int = 3 * 3 * SIDE**2) -> FaceSet:
    images, drawn, rows = contents()
    with FaceSetWriter(path, "set", "forged", SIDE, "CC0", {}, shard_bytes=shard_bytes, masks=masks) as writer:
        for part in (slice(0, 4), slice(4, 10)):  # neither is a whole number of shards
            writer.append(images[part], rows[part], drawn[part] if masks else None)
    return FaceSet.open(path)


def resign(path, **entries) -> None:
    """Write a card whose own digest is right."""
    write_signed_json(path / "card.json", read_signed_json(path / "card.json") | entries)


def test_masks_come_back_as_they_were_given(tmp_path):
    faces, (images, masks, _) = write(tmp_path / "set"), contents()
    assert faces.has_masks and faces.verify() == []
    assert len([name for name in faces.card.files if name.startswith("masks-")]) == 4
    assert (faces.read_masks([9, 0, 3]) == masks[[9, 0, 3]]).all() and (faces.read(range(10)) == images).all()
    view = faces.view("test")
    assert (view.read_masks() == masks[1::2]).all() and (view.read_masks(slice(1, 3)) == masks[[3, 5]]).all()
    assert isinstance(faces._mask_shards[0], np.memmap)
    with pytest.raises(IndexError):
        faces.read_masks([10])


def test_the_digest_covers_masks_and_not_how_they_are_stored(tmp_path):
    faces, whole, bare = (
        write(tmp_path / "a"),
        write(tmp_path / "b", shard_bytes=1 << 20),
        write(tmp_path / "c", masks=False),
    )
    assert faces.card.digest == whole.card.digest != bare.card.digest
    assert (whole.read_masks(range(10)) == faces.read_masks(range(10))).all()


def test_a_set_without_masks_says_nothing_of_them(tmp_path):
    faces = write(tmp_path / "set", masks=False)
    stored = json.loads((tmp_path / "set" / "card.json").read_text())
    assert "masks" not in stored and stored["schema_version"] == 1 and not faces.has_masks
    # the digest that this set had before sets could have masks
    assert faces.card.digest == "84e3eb2668fd99f187a188a2bb57e395364f18de7faa6c6af7c8b09a7fbeecc0"
    for ask in (lambda: faces.read_masks([0]), lambda: faces.view("test").read_masks()):
        with pytest.raises(InputError, match="has no masks; synthesize it again with masks"):
            ask()


def test_a_version_that_knows_no_masks_would_refuse_the_set(tmp_path):
    assert write(tmp_path / "set").card.schema_version == 2


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (None, "masks are missing"),
        (np.zeros((10, SIDE, SIDE), bool), r"masks must be uint8 \(10, 8, 8\), not bool"),
        (np.zeros((10, SIDE, SIDE, 1), np.uint8), "not uint8"),
        (np.zeros((9, SIDE, SIDE), np.uint8), "not uint8"),
    ],
)
def test_wrong_masks_are_refused_and_nothing_is_published(tmp_path, masks, message):
    images, _, rows = contents()
    with (
        pytest.raises(ValueError, match=message),
        FaceSetWriter(tmp_path / "set", "set", "forged", SIDE, "CC0", {}, masks=True) as writer,
    ):
        writer.append(images, rows, masks)
    assert not (tmp_path / "set").exists()


def test_masks_that_were_not_announced_are_refused(tmp_path):
    images, masks, rows = contents()
    with (
        pytest.raises(ValueError, match="begun without masks"),
        FaceSetWriter(tmp_path / "set", "set", "forged", SIDE, "CC0", {}) as writer,
    ):
        writer.append(images, rows, masks)


def test_a_changed_mask_is_named(tmp_path):
    faces = write(tmp_path / "set")
    file = tmp_path / "set" / "masks-00001.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert faces.verify() == ["masks-00001.npy was changed: its digest is not the card's"]
    entry = {"bytes": len(data), "sha256": digest_file(file)}
    resign(tmp_path / "set", files=read_signed_json(tmp_path / "set" / "card.json")["files"] | {file.name: entry})
    assert FaceSet.open(tmp_path / "set").verify() == [
        "card.json was changed: its digest is not that of the images and rows"
    ]


def test_missing_and_truncated_masks_are_seen_when_the_set_is_opened(tmp_path):
    write(tmp_path / "set")
    file = tmp_path / "set" / "masks-00000.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(CorruptError, match=r"masks-00000.npy has \d+ bytes, not"):
        FaceSet.open(tmp_path / "set")
    file.unlink()
    with pytest.raises(CorruptError, match=r"masks-00000.npy is missing"):
        FaceSet.open(tmp_path / "set")
    files = read_signed_json(tmp_path / "set" / "card.json")["files"]
    del files[file.name]
    resign(tmp_path / "set", files=files)
    faces = FaceSet.open(tmp_path / "set")
    with pytest.raises(CorruptError, match=r"masks-00000.npy is missing"):
        faces.read_masks([0])
    assert any("masks-00000.npy is missing" in sentence for sentence in faces.verify())


@pytest.mark.parametrize("stored", [np.zeros((2, SIDE, SIDE), np.uint8), np.zeros((3, SIDE, SIDE), np.int8), None])
def test_masks_of_another_shape_than_their_images_are_damage(tmp_path, stored):
    write(tmp_path / "set")
    file = tmp_path / "set" / "masks-00002.npy"
    if stored is None:
        file.write_bytes(b"no array")
    else:
        np.save(file, stored)
    entry = {"bytes": file.stat().st_size, "sha256": digest_file(file)}
    resign(tmp_path / "set", files=read_signed_json(tmp_path / "set" / "card.json")["files"] | {file.name: entry})
    faces = FaceSet.open(tmp_path / "set")
    with pytest.raises(CorruptError, match=r"is damaged: masks-00002.npy"):
        faces.read_masks([0])
    assert any("masks-00002.npy" in sentence for sentence in faces.verify())
