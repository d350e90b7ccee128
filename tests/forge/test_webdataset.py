"""FaceSets as WebDataset shards, and shards of this and other programs as sources of faces."""

from __future__ import annotations

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from forge.core.errors import CorruptError, InputError, UnknownNameError
from forge.faces.faceset import FaceSet
from forge.faces.ingest import Intake, take
from forge.faces.sources import resolve
from forge.faces.sources.webdataset import WebDatasetSource
from forge.faces.webdataset import export_webdataset
from forge.faces.writer import FaceSetWriter


def write(path, kind, counts, seed, *, masks=False):
    rng = np.random.default_rng(seed)
    with FaceSetWriter(
        path, name=path.name, kind=kind, resolution=16, licence=f"licence of {kind}", masks=masks,
        provenance={"generator": "dcgan"} if kind == "forged" else {}, attributes={"age": "int64", "hat": "string"},
    ) as writer:  # fmt: skip
        for split, count in counts.items():
            rows = [
                {"id": f"{split}.{i}", "split": split, "identity": f"p{i}" if i else None, "age": 20 + i if i else None,
                 "hat": "ja, grün" if i else "no"} for i in range(count)
            ]  # fmt: skip
            images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
            writer.append(images, rows, (images[..., 0] > 99) * np.uint8(255) if masks else None)
    return FaceSet.open(path)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    photos = write(root / "photos", "real", {"train": 4, "test": 3}, 1)
    return photos, write(root / "fakes", "forged", {"test": 2}, 2, masks=True)


@pytest.fixture(scope="module")
def shards(sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "out"
    assert export_webdataset(sets, out) == 9
    return out


def tar(path, members):
    """Write a tar file with members in this order."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path.parent


def picture(value, format="PNG"):  # noqa: A002 - as Pillow calls it
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(stream, format)
    return stream.getvalue()


def items(source):
    return list(source.chunk(range(len(source))))


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def grouped(path):
    """Samples as the library groups them: key and extension parted at the first dot of the name."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as file:
        for member in file:
            key, extension = member.name.split(".", 1)
            samples.setdefault(key, {})[extension] = file.extractfile(member).read()
    return samples


def test_shards_hold_every_pixel_label_and_mask(sets, shards):
    assert sorted(path.name for path in shards.iterdir()) == ["README.md", "test-000000.tar", "train-000000.tar"]
    samples = grouped(shards / "test-000000.tar")
    assert list(samples) == ["00-0000004", "00-0000005", "00-0000006", "01-0000000", "01-0000001"]
    pixels = np.concatenate([faces.view("test").read() for faces in sets])
    assert all(np.array_equal(opened(each["png"]), face) for each, face in zip(samples.values(), pixels, strict=True))
    labels = [json.loads(each["json"]) for each in samples.values()]
    assert [each["label"] for each in labels] == ["real"] * 3 + ["forged"] * 2
    assert labels[0] == {"id": "test.0", "split": "test", "hat": "no", "source": "photos", "label": "real"}
    assert labels[4]["age"] == 21 and labels[4]["generator"] == "dcgan" and labels[4]["hat"] == "ja, grün"
    masks = [opened(each["mask.png"]) for each in samples.values() if "mask.png" in each]
    assert np.array_equal(masks, sets[1].view().read_masks())
    assert "Synthetic" in Image.open(io.BytesIO(samples["01-0000000"]["png"])).text["Source"]
    assert "licence of forged" in (shards / "README.md").read_text()


def test_the_same_sets_give_the_same_bytes_and_small_shards_the_same_samples(sets, shards, tmp_path):
    export_webdataset(sets, tmp_path / "again")
    for path in shards.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    with tarfile.open(shards / "train-000000.tar") as file:
        members = file.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    # noise of 64 px is 12 kB a file: 100 of them pass 1 MiB
    with FaceSetWriter(tmp_path / "noise", name="n", kind="real", resolution=64, licence="", provenance={}) as writer:
        noise = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), dtype=np.uint8)
        writer.append(noise, [{"id": f"{i}", "split": "train"} for i in range(100)])
    faces = FaceSet.open(tmp_path / "noise")
    assert export_webdataset([faces], tmp_path / "many", images="webp", shard_bytes=1 << 20) == 100
    parts = sorted((tmp_path / "many").glob("*.tar"))
    assert len(parts) == 2 and all(path.stat().st_size <= (1 << 20) + 10240 for path in parts)
    samples = {key: each for path in parts for key, each in grouped(path).items()}
    assert np.array_equal([opened(each["webp"]) for each in samples.values()], faces.view().read())


def test_what_cannot_be_exported_is_refused(sets, tmp_path):
    with pytest.raises(InputError, match="named twice"):
        export_webdataset([sets[0], sets[0]], tmp_path / "a")
    with pytest.raises(UnknownNameError, match="format of images 'jpg'"):
        export_webdataset(sets, tmp_path / "a", images="jpg")
    with pytest.raises(InputError, match="at least 1048576"):
        export_webdataset(sets, tmp_path / "a", shard_bytes=1000)
    with pytest.raises(InputError, match="exists already"):
        export_webdataset(sets, tmp_path)
    with pytest.raises(InputError, match="no images in split 'train'"):
        export_webdataset(sets, tmp_path / "a", split="train")
    assert not (tmp_path / "a").exists()


def test_shards_are_a_source_of_the_same_faces(sets, shards):
    source = resolve(str(shards), label="real")
    assert isinstance(source, WebDatasetSource) and list(source.attributes) == ["hat", "age"]
    listed = items(source)
    # shards by name: test before train
    faces = np.concatenate([sets[0].view(split).read() for split in ("test", "train")])
    assert all(np.array_equal(opened(item.read()), face) for item, face in zip(listed, faces, strict=True))
    assert [item.identity for item in listed] == [None, "p1", "p2", None, "p1", "p2", "p3"]
    assert listed[0].file == "test-000000/00-0000004" and listed[0].attributes == {"hat": "no"}
    assert listed[1].attributes == {"hat": "ja, grün", "age": "21"}
    only = resolve(f"webdataset:{shards}", split="train")
    assert len(only) == 4 and only.fingerprint() != source.fingerprint()
    assert source.fingerprint() == resolve(str(shards), label="real").fingerprint()
    taken = take(pickle.loads(pickle.dumps(source.chunk(range(7)))), Intake(16, min_side=1))  # as in a worker
    assert np.array_equal(taken.images, faces)


def test_wrong_choices_are_refused(shards):
    with pytest.raises(InputError, match=r"labelled forged, real; choose with --set data.options.label=real"):
        resolve(str(shards))
    with pytest.raises(UnknownNameError, match=r"label of the dataset 'rael' is not known; did you mean 'real'"):
        resolve(str(shards), label="rael")
    with pytest.raises(UnknownNameError, match="split of the dataset 'trian'"):
        resolve(str(shards), split="trian")


def test_shards_of_other_programs_are_read(tmp_path):
    root = tar(
        tmp_path / "set" / "00000.tar",
        [("./__index__", b"1"), ("./a.JPG", picture(1, "JPEG")), ("./a.cls", b"3\n"), ("./a.txt", b"a caption"),
         ("./b.jpg", picture(2, "JPEG")), ("./b.cls", b"4"), ("./c.json", b'{"age": 7, "x": {"y": 1}}'),
         ("./sub/d.webp", picture(3, "WEBP")), ("./noext", b""), ("./.hidden", b"")],
    )  # fmt: skip
    source = resolve(str(root))
    assert isinstance(source, WebDatasetSource) and list(source.attributes) == ["cls", "age"]
    a, b, c, d = items(source)
    assert [item.file for item in (a, b, c, d)] == ["00000/./a", "00000/./b", "00000/./c", "00000/./sub/d"]
    assert opened(a.content).max() == 1 and a.attributes == {"cls": "3"} and opened(d.content).max() == 3
    assert c.content == b"" and c.attributes == {"age": "7"}  # a sample without an image is rejected when it is read
    assert take([c], Intake(8, min_side=1)).rejected[0][0] == "00000/./c"
    assert len(resolve(str(root), label="4")) == 1 and source.licence == "not stated"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("a.jpg", b"1"), ("a.jpg", b"2")], r"00000.tar holds 'a.jpg' twice; write the shard again, each key once"),
        ([("a.jpg", b"1"), ("b.jpg", b"2"), ("a.json", b"{}")], r"sample 'a' do not lie together; .* sorted"),
        ([("a.jpg", b"1"), ("a.png", b"2")], r"sample 'a' has the images jpg, png; choose with --set .*image=jpg"),
        ([("me.01.jpg", b"1"), ("me.02.jpg", b"2")], r"ends at the first dot, so that me.01.jpg and me.02.jpg are one"),
        ([("a.jpg", b"1"), ("a.json", b"[1]")], "a.json holds no object of labels"),
        ([("a.jpg", b"1"), ("a.json", b"{")], r"a.json is not .*JSON.*; write the shard again"),
        ([("a.jpg", b"1"), ("a.cls", b"\xff")], "no UTF-8 text"),
        ([("a.jpg", b"1"), ("a.json", b" " * (1 << 20) + b"{}")], "labels of 'a' are larger than 1 MiB"),
    ],
)  # fmt: skip
def test_samples_that_mean_nothing_are_refused_in_a_sentence(tmp_path, members, sentence):
    with pytest.raises((InputError, CorruptError), match=sentence):
        resolve(str(tar(tmp_path / "set" / "00000.tar", members)))


def test_a_chosen_image_and_a_mask_beside_it(tmp_path):
    root = tar(tmp_path / "s" / "0000.tar", [("a.jpg", picture(1)), ("a.mask.png", picture(9)), ("a.png", picture(2))])
    (item,) = items(resolve(str(root), image=".PNG"))
    assert opened(item.content).max() == 2


def test_damaged_shards_are_refused_in_a_sentence(shards, tmp_path):
    whole = (shards / "train-000000.tar").read_bytes()
    for number, (content, sentence) in enumerate(
        (
            (b"no tar", "no tar file, or is damaged"),
            (b"", "no tar file, or is damaged"),
            (whole[:530], "is cut in '00-0000000.json'"),
            (whole[:1024], "has no end, it was cut"),  # behind the first member
            (whole[:1200], "has no end, it was cut"),  # within the second header
            (whole[:100] + b"9" * 20 + whole[120:], "no tar file, or is damaged"),
        )
    ):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "a-000000.tar").write_bytes(content)
        with pytest.raises(CorruptError, match=sentence):
            resolve(str(root))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a-0000.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"a-0000.tar.gz is compressed; unpack it"):
        resolve(f"webdataset:{tmp_path / 'packed'}")
    with pytest.raises(InputError, match="holds no tar files"):
        resolve(f"webdataset:{tmp_path}")
