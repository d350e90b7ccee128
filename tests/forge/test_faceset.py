import builtins
import json
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forge.core.errors import CorruptError, InputError
from forge.core.files import digest_json, read_signed_json, write_signed_json
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.writer import FaceSetWriter


def write(path, count=23, *, resolution=8, per_shard=10, block=7, seed=0):
    """A set of `count` random images in shards of `per_shard`, appended `block` at a time; returns set and images."""
    images = np.random.default_rng(seed).integers(0, 256, (count, resolution, resolution, 3), dtype=np.uint8)
    splits = ("train", "val", "test")
    rows = [
        {"id": f"{i}", "split": splits[i % 3], "identity": f"p{i // 2}", "glasses": "no", "source_width": 9}
        for i in range(count)
    ]
    with FaceSetWriter(
        path, name="t", kind="real", resolution=resolution, licence="CC0", provenance={"a": 1},
        attributes={"glasses": "string"}, shard_bytes=per_shard * resolution**2 * 3,
    ) as writer:  # fmt: skip
        for start in range(0, count, block):
            writer.append(images[start : start + block], rows[start : start + block])
        writer.reject("x.jpg", "truncated", "half")
    return FaceSet.open(path), images


@pytest.fixture
def faces(tmp_path):
    return write(tmp_path / "set")[0]


def test_round_trip_in_any_order_across_shards(tmp_path):
    faces, images = write(tmp_path / "set")
    assert sorted(name for name in faces.card.files if name.startswith("images")) == [
        "images-00000.npy", "images-00001.npy", "images-00002.npy",
    ]  # fmt: skip
    assert np.array_equal(faces.view().read(), images)
    order = [22, 0, 9, 10, 9, 19, 20]
    assert np.array_equal(faces.read(order), images[order])
    assert np.array_equal(np.concatenate(list(faces.view("val").batches(3))), images[1::3])
    assert faces.view("val").rows["id"].tolist() == [str(i) for i in range(1, 23, 3)]
    assert faces.card.splits == {"test": 7, "train": 8, "val": 8}
    assert faces.card.rejected == {"truncated": 1}
    assert faces.table["source_width"].tolist() == [9] * 23
    assert faces.table["source_jpeg_quality"].isna().all()
    assert faces.verify() == []


def test_some_columns_are_those_of_the_rows(faces):
    view = FaceView(faces, np.array([22, 0, 7]))
    names = ["split", "id", "source_width"]
    pd.testing.assert_frame_equal(view.columns(names), view.rows[names])
    assert view.splits.tolist() == view.rows["split"].tolist()


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 21])
def test_shard_boundaries(tmp_path, count):
    faces, images = write(tmp_path / "set", count)
    assert np.array_equal(faces.view().read(), images)
    shards = [np.load(faces.path / name) for name in sorted(faces.card.files) if name.startswith("images")]
    assert [len(shard) for shard in shards] == [10] * (count // 10) + ([count % 10] if count % 10 else [])
    assert np.array_equal(np.concatenate(shards), images)
    assert faces.verify() == []


def test_digest_is_of_contents_not_of_how_they_were_written(tmp_path):
    first, _ = write(tmp_path / "one", per_shard=10, block=7)
    other, _ = write(tmp_path / "other", per_shard=4, block=23)
    changed, _ = write(tmp_path / "changed", seed=1)
    assert first.card.digest == other.card.digest != changed.card.digest


@pytest.mark.parametrize("name", ["images-00000.npy", "images-00002.npy", "table.parquet", "rejected.csv"])
def test_verify_finds_a_changed_byte(faces, name):
    path = faces.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [sentence for sentence in FaceSet.open(faces.path).verify() if name in sentence]


@pytest.mark.parametrize("field", ["digest", "count"])
def test_verify_finds_a_changed_card(faces, field):
    path = faces.path / "card.json"
    card = read_signed_json(path)
    card[field] = card[field] + 1 if field == "count" else "0" * 64
    path.write_text(json.dumps(card | {"sha256": digest_json({})}))
    with pytest.raises(CorruptError, match="changed after it was written"):
        FaceSet.open(faces.path)
    write_signed_json(path, card)
    assert FaceSet.open(faces.path).verify()


def test_a_card_that_is_no_card(faces):
    path = faces.path / "card.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(CorruptError, match=r"card\.json is not readable as JSON"):
        FaceSet.open(faces.path)
    write_signed_json(path, json.loads(whole) | {"resolution": "wide"})
    with pytest.raises(CorruptError, match="resolution"):
        FaceSet.open(faces.path)


@pytest.mark.parametrize("name", ["images-00001.npy", "table.parquet", "rejected.csv"])
def test_missing_or_cut_file(faces, name):
    path = faces.path / name
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(CorruptError, match=rf"{name} has \d+ bytes, not \d+"):
        FaceSet.open(faces.path)
    path.unlink()
    with pytest.raises(CorruptError, match=f"{name} is missing"):
        FaceSet.open(faces.path)


def test_not_a_set_and_a_newer_one(faces, tmp_path):
    with pytest.raises(InputError, match=r"is not a FaceSet: it has no card\.json"):
        FaceSet.open(tmp_path / "nothing")
    path = faces.path / "card.json"
    write_signed_json(path, read_signed_json(path) | {"schema_version": 3})
    with pytest.raises(InputError, match="schema 3, this version reads up to 2"):
        FaceSet.open(faces.path)


def test_an_error_inside_the_block_publishes_nothing(tmp_path):
    def fail():
        with FaceSetWriter(
            tmp_path / "set", name="t", kind="real", resolution=4, licence="", provenance={}
        ) as writer:  # fmt: skip
            writer.append(np.zeros((1, 4, 4, 3), np.uint8), [{"id": "0", "split": "train"}])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_set_is_not_seen_and_not_in_the_way(tmp_path):
    left = tmp_path / ".set.deadbeef.partial"
    left.mkdir()
    (left / "images-00000.npy").write_bytes(b"half")
    faces, images = write(tmp_path / "set")
    assert np.array_equal(faces.view().read(), images)
    assert (left / "images-00000.npy").read_bytes() == b"half"


def test_an_existing_set_is_not_overwritten(faces):
    digest = faces.card.digest
    with pytest.raises(InputError, match="exists already"):
        write(faces.path, 3)
    assert FaceSet.open(faces.path).card.digest == digest


def test_unknown_split_and_position(faces):
    with pytest.raises(InputError, match="no images in split 'forge'; it has: test 7, train 8, val 8"):
        faces.view("forge")
    for position in (-1, 23):
        with pytest.raises(IndexError):
            faces.read([position])


def test_wrong_images_are_refused(tmp_path):
    with FaceSetWriter(tmp_path / "set", name="t", kind="real", resolution=4, licence="", provenance={}) as writer:
        for wrong in (
            np.zeros((1, 4, 4, 3), np.float32),
            np.zeros((1, 5, 4, 3), np.uint8),
            np.zeros((2, 4, 4, 3), np.uint8),
        ):
            with pytest.raises(ValueError, match="images must be uint8"):
                writer.append(wrong, [{"id": "0", "split": "train"}])


def test_a_label_must_not_have_the_name_of_a_core_column(tmp_path):
    with pytest.raises(InputError, match="label column 'split'"):
        FaceSetWriter(
            tmp_path / "set", name="t", kind="real", resolution=4, licence="", provenance={},
            attributes={"split": "string"},
        )  # fmt: skip


def test_opening_a_million_images_reads_the_card_alone(tmp_path, monkeypatch):
    faces, _ = write(tmp_path / "set", 10)
    count, edge = 1_000_000, 64
    shard, table = faces.path / "images-00000.npy", faces.path / "table.parquet"
    with shard.open("wb") as file:  # a real header, then a hole of 12 GB that takes no space
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, edge, edge, 3)}
        )
        file.truncate(file.tell() + count * edge * edge * 3)
    card = read_signed_json(faces.path / "card.json")
    card |= {"count": count, "resolution": edge}
    card["files"][shard.name]["bytes"] = shard.stat().st_size
    write_signed_json(faces.path / "card.json", card)

    opened = []
    for module, name in ((builtins, "open"), (np, "load"), (pq, "read_table"), (os, "open")):
        original = getattr(module, name)

        def spy(path, *args, original=original, **kwargs):
            opened.append(str(path))
            return original(path, *args, **kwargs)

        monkeypatch.setattr(module, name, spy)
    million = FaceSet.open(faces.path)
    assert len(million) == count
    assert not [path for path in opened if path.endswith((".npy", ".parquet"))]
    assert million.read([0, 999_999]).shape == (2, edge, edge, 3)
    assert {path for path in opened if path.endswith(".npy")} == {str(shard)}
    assert str(table) not in opened
