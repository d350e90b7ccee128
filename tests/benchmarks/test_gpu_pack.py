"""The GPU pack: the same photos give the same bytes, and what it holds is readable."""

import csv
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed import pack
from forge.core.errors import InputError
from forge.core.files import digest_file, read_json
from forge.faces.sources.fairface import FairFaceSource

HEADER = ["file", "age", "gender", "race", "service_test"]
AMPLE = 1 << 20


@pytest.fixture
def photos(tmp_path):
    """FairFace's folder with 12 photos, two of them grey; the order of the label file is not that of the names."""
    folder = tmp_path / "fairface"
    (folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in (30, 2, 11, 7, 5, 100, 1, 9, 8, 4, 3, 6):
        coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((224, 224)).convert("L" if number in (2, 7) else "RGB")
        image.save(folder / f"train/{number}.jpg", quality=75)
        rows.append([f"train/{number}.jpg", f"{number}0-{number}9", "Female", "East Asian", "True"])
    with (folder / pack.LABELS).open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return folder


@pytest.fixture
def build(photos, tmp_path):
    """A function that builds a pack in a folder of the given name without a network."""

    def download(pins, folder):
        for name, pin in pins.items():
            (folder / f"{name}-{pin.version}-py3-none-any.whl").write_bytes(name.encode())

    def call(name, **options):
        out = tmp_path / name
        defaults = {"min_photos": 4, "step": 4, "room": AMPLE, "workers": 1, "download": download}
        return out, pack.build_pack(photos, out, **defaults | options)

    return call


def test_a_second_build_and_two_workers_give_the_same_bytes(build):
    first, card = build("a")
    again, _ = build("a")  # in place of the first
    other, in_two = build("b", workers=2)
    assert again == first and card == in_two == read_json(other / pack.CARD)
    assert (first / pack.FACES).read_bytes() == (other / pack.FACES).read_bytes()
    assert not list(first.parent.glob("*.partial"))


def test_the_archive_tells_nothing_of_who_made_it_and_when(build):
    out, _ = build("a")
    with ZipFile(out / pack.FACES) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == sorted(member.filename for member in members)
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}


def test_the_extracted_folder_is_fairface_with_small_photos(build, photos, tmp_path):
    out, card = build("a")
    assert card["photos"]["number"] == 12
    with ZipFile(out / pack.FACES) as archive:
        archive.extractall(tmp_path / "small")
    small, large = FairFaceSource(tmp_path / "small"), FairFaceSource(photos)
    assert [file.replace(".webp", ".jpg") for file in small.files] == list(large.files)
    assert list(small.attributes) == HEADER[1:]
    items = list(zip(small.chunk(range(12)), large.chunk(range(12)), strict=True))
    assert all(item.attributes == original.attributes and item.attributes for item, original in items)
    for item, original in items:
        with Image.open(BytesIO(item.read())) as image, Image.open(BytesIO(original.read())) as source:
            assert (image.format, image.size, image.mode) == ("WEBP", (128, 128), "RGB")
            expected = source.convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
            assert np.abs(np.asarray(image, float) - np.asarray(expected, float)).mean() < 4


def test_the_card_names_every_file_and_changes_with_the_photos(build):
    out, card = build("a")
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    assert card["files"].keys() == files.keys() - {pack.CARD}
    for name, facts in card["files"].items():
        assert facts == {"bytes": files[name].stat().st_size, "sha256": digest_file(files[name])}
    assert card["packages"].keys() == set(pack.PACKAGES)
    assert build("b", count=5)[1]["digest"] != card["digest"]


def test_the_pack_takes_whole_steps_of_photos_and_stays_within_the_room(build):
    _, whole = build("a")
    room = sum(facts["bytes"] for facts in whole["files"].values()) + pack.CARD_ROOM - 1
    out, card = build("b", room=room)
    assert card["photos"]["number"] == 8
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) <= room
    with ZipFile(out / pack.FACES) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert pack.zip_bytes(contents) == (out / pack.FACES).stat().st_size
    numbers = [row["file"] for row in csv.DictReader(contents[pack.LABELS].decode().splitlines())]
    assert numbers == [f"train/{number}.webp" for number in (30, 2, 11, 7, 5, 100, 1, 9)]
    assert contents.keys() == {pack.LABELS, *numbers}


def test_too_little_room_leaves_the_earlier_pack(build):
    out, card = build("a")
    with pytest.raises(InputError, match=r"with 4 photos needs \d+\.\d\d MiB more than there is room for"):
        build("a", room=pack.CARD_ROOM + 2000)
    assert read_json(out / pack.CARD) == card
    assert not list(out.parent.glob("*.partial"))


def test_too_few_photos_are_counted(build):
    with pytest.raises(InputError, match="has 12 photos of its label file; the GPU pack needs 13"):
        build("a", count=13)


def test_a_damaged_photo_is_named(build, photos):
    (photos / "train/5.jpg").write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"train/5\.jpg cannot be used \(not an image\)"):
        build("a")


def test_a_folder_that_is_no_pack_stays(build, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not a GPU pack"):
        build("a")
    assert (tmp_path / "a/thesis.tex").exists()


def test_a_missing_folder_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BENCH_FACES", str(tmp_path / "nowhere"))
    assert pack.main(["--out", str(tmp_path / "a")]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "nowhere/fairface") in message and "--photos" in message and message.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_the_lock_pins_each_package_with_hashes():
    pins = pack.read_pins(pack.LOCK)
    assert pins.keys() == set(pack.PACKAGES)
    text = pack.LOCK.read_text()
    for name, pin in pins.items():
        assert f"\n{name}=={pin.version} " in text
        assert pin.hashes and all(len(digest) == len("sha256:") + 64 for digest in pin.hashes)
    assert len({digest for pin in pins.values() for digest in pin.hashes}) == sum(len(p.hashes) for p in pins.values())
    assert pins["facenet-pytorch"].version == "2.5.3"


def test_a_package_missing_from_the_lock_is_named(build, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(pack.LOCK.read_text().replace("\nhmmlearn==", "\nhmmfit=="))
    with pytest.raises(InputError, match="no version with hashes of 'hmmlearn'"):
        build("a", lock=lock)


def test_the_tracked_files_are_measured():
    if not (pack.ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert pack.LOCK.stat().st_size < pack.tracked_bytes(pack.ROOT) < pack.TRAVELS
