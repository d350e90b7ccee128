"""FaceSets as Hugging Face datasets, and datasets on the disk as sources of faces."""

from __future__ import annotations

import io
import json
import pickle
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from forge.core.errors import BenchError, CorruptError, InputError, UnknownNameError
from forge.faces.faceset import FaceSet
from forge.faces.hugging_face import export_dataset, to_dataset
from forge.faces.ingest import Intake, take
from forge.faces.sources import resolve
from forge.faces.sources.hugging_face import HuggingFaceSource
from forge.faces.writer import FaceSetWriter

pytestmark = pytest.mark.xdist_group("datasets")  # one process imports the library


def write(path, kind, counts, seed):
    rng = np.random.default_rng(seed)
    with FaceSetWriter(
        path, name=path.name, kind=kind, resolution=16, licence=f"licence of {kind}", citation="Ünal 2020",
        provenance={"generator": "dcgan"} if kind == "forged" else {}, attributes={"age": "int64", "hat": "string"},
    ) as writer:  # fmt: skip
        for split, count in counts.items():
            images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
            rows = [
                {"id": f"{split}-{i}", "split": split, "identity": f"p{i}" if i else None, "age": 20 + i,
                 "hat": "no" if i else None} for i in range(count)
            ]  # fmt: skip
            writer.append(images, rows)
    return FaceSet.open(path)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return write(root / "photos", "real", {"train": 4, "test": 3}, 1), write(root / "fakes", "forged", {"test": 2}, 2)


@pytest.fixture(scope="module")
def saved(sets, tmp_path_factory):
    """Both sets as save_to_disk writes them, and as Parquet files."""
    root = tmp_path_factory.mktemp("saved")
    assert export_dataset(sets, root / "disk") == 9
    assert export_dataset(sets[:1], root / "parquet", parquet=True) == 7
    return root


def test_a_dataset_has_every_pixel_and_label(sets, saved):
    made = datasets.load_from_disk(str(saved / "disk"))
    assert isinstance(made, datasets.DatasetDict) and {name: len(part) for name, part in made.items()} == {
        "train": 4,
        "test": 5,
    }
    test = made["test"]
    assert test.features["label"].names == ["real", "forged"] and isinstance(test.features["image"], datasets.Image)
    assert test["label"][:] == [0, 0, 0, 1, 1] and test["age"][:] == [20, 21, 22, 20, 21]
    assert test["identity"][:2] == [None, "p1"] and test["hat"][:2] == [None, "no"]
    assert test["source"][2:4] == ["photos", "fakes"] and test["generator"][2:4] == [None, "dcgan"]
    pixels = np.concatenate([faces.view("test").read() for faces in sets])
    assert all(np.array_equal(np.asarray(row["image"]), face) for row, face in zip(test, pixels, strict=True))
    assert "licence of real; licence of forged" in test.info.license
    assert "Ünal 2020" in (saved / "disk/README.md").read_text(encoding="utf-8")
    assert not datasets.are_progress_bars_disabled()


def test_a_split_alone_and_what_cannot_be_joined(sets, tmp_path):
    made = to_dataset(sets[0], split="train", cache=tmp_path)
    assert list(made) == ["train"] and len(made["train"]) == 4
    with pytest.raises(InputError, match=r"no images in split 'val'"):
        to_dataset(sets[0], split="val", cache=tmp_path)
    with pytest.raises(InputError, match="at least one"):
        to_dataset()
    with pytest.raises(InputError, match="exists already"):
        export_dataset(sets, tmp_path)


def items(source):
    return list(source.chunk(range(len(source))))


def opened(item):
    return np.asarray(Image.open(io.BytesIO(item.read())))


def test_a_dataset_is_a_source_of_the_same_faces(sets, saved, tmp_path):
    source = resolve(str(saved / "disk"), label="real")
    assert isinstance(source, HuggingFaceSource) and list(source.attributes) == ["age", "hat"]
    assert source.licence == "licence of real; licence of forged" and source.citation == "Ünal 2020"
    listed = items(source)
    assert [item.identity for item in listed] == [None, "p1", "p2", "p3", None, "p1", "p2"]
    assert listed[1].attributes == {"age": "21", "hat": "no"} and len({item.file for item in listed}) == 7
    assert all(np.array_equal(opened(item), face) for item, face in zip(listed, sets[0].view().read(), strict=True))
    only = resolve(f"huggingface:{saved / 'parquet'}", split="test")
    assert all(
        np.array_equal(opened(i), face) for i, face in zip(items(only), sets[0].view("test").read(), strict=True)
    )
    assert (
        len(only) == 3
        and only.fingerprint() != source.fingerprint() == resolve(str(saved / "disk"), label="real").fingerprint()
    )
    assert isinstance(resolve(str(saved / "parquet")), HuggingFaceSource)
    taken = take(pickle.loads(pickle.dumps(source.chunk(range(7)))), Intake(16, min_side=1))  # as in a worker
    assert np.array_equal(taken.images, sets[0].view().read())


def test_real_and_forged_together_and_wrong_choices_are_refused(saved):
    path = str(saved / "disk")
    with pytest.raises(InputError, match=r"labelled forged, real; choose with --set data.options.label=real"):
        resolve(path)
    with pytest.raises(UnknownNameError, match=r"label of the dataset 'rael' is not known; did you mean 'real'"):
        resolve(path, label="rael")
    with pytest.raises(UnknownNameError, match="split of the dataset 'trian'"):
        resolve(path, split="trian")


def parquet(folder, **columns):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "train-00000-of-00001.parquet")
    return folder


def png(value):
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_parquet_files_of_other_programs_are_read(tmp_path):
    (tmp_path / "outside.png").write_bytes(png(9))
    root = parquet(
        tmp_path / "set",
        picture=[
            {"bytes": png(1), "path": "a.png"},
            {"bytes": None, "path": "in.png"},
            {"bytes": None, "path": "../outside.png"},
        ],
        label=["male", "female", "male"],
        size=[1.5, 2.5, 3.5],
    )
    (root / "in.png").write_bytes(png(2))
    source = resolve(str(root))
    first, second, third = items(source)
    assert list(source.attributes) == ["label"] and source.licence == "not stated"
    assert opened(first).max() == 1 and opened(second).max() == 2
    assert third.content == b""  # a path out of the folder is not followed


def test_a_damaged_dataset_is_refused_in_a_sentence(saved, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(saved / "disk", root)
    shard = root / "test/data-00000-of-00001.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptError, match="cannot be read"):
        resolve(str(root), label="real")
    shard.unlink()
    with pytest.raises(CorruptError, match=r"data-00000-of-00001.arrow is missing"):
        resolve(str(root), label="real")
    state = root / "test/state.json"
    for listed, message in (
        ([{"filename": "../../../other.arrow"}], "outside of the dataset"),
        ([], "lists no files"),
        (3, "lists no files"),
    ):  # fmt: skip
        state.write_text(json.dumps({"_data_files": listed}))
        with pytest.raises(CorruptError, match=message):
            resolve(str(root), label="real")
    (root / "dataset_dict.json").write_text('{"splits": 3}')
    with pytest.raises(CorruptError, match="lists no splits"):
        resolve(str(root))
    (root / "dataset_dict.json").write_text("{")
    with pytest.raises(BenchError, match="not readable as JSON"):
        resolve(str(root))
    with pytest.raises(InputError, match="no column of images; its columns are: text"):
        resolve(str(parquet(tmp_path / "text", text=["a"])))
    (tmp_path / "text/train-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptError, match="cannot be read"):
        resolve(str(tmp_path / "text"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no dataset"):
        resolve(f"huggingface:{tmp_path / 'empty'}")
    with pytest.raises(InputError, match="no column 'label'"):
        resolve(str(parquet(tmp_path / "plain", image=[png(1)])), label="real")
