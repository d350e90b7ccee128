import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.workflow.stages.prepare import least_photos
from forge.core.errors import InputError
from forge.core.progress import ProgressEvent
from forge.faces.crop import FaceCrop, FaceFinder
from forge.faces.faceset import FaceSet
from forge.faces.prepare import prepare
from forge.faces.sources import resolve

pytestmark = pytest.mark.e2e

FACES = Path(os.environ.get("BENCH_FACES", Path(__file__).parents[2].parent / "shared/faces")) / "fairface"
needs_photos = pytest.mark.skipif(
    not FACES.is_dir(), reason=f"there are no photos at {FACES}; set BENCH_FACES to the folder that holds fairface/"
)
HALVES = {"train": 0.5, "test": 0.5}


def photo(seed, side=40):
    """A smooth random picture: as different from those of other seeds as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def photos(root, count, *, suffix="png", first=0):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        photo(i).save(root / f"{i:03}.{suffix}")
    return root


def make(root, out, **options):
    source = {name: options.pop(name) for name in ("identities",) if name in options}
    return prepare(resolve(str(root), **source), out, **{"resolution": 32, "workers": 1, **options})


def rejected(faces):
    path = faces.path / "rejected.csv"
    return {} if not path.is_file() else pd.read_csv(path, keep_default_na=False).set_index("file").to_dict("index")


def test_pixels_rows_and_card(tmp_path):
    photos(tmp_path / "in", 30)
    photo(99, 80).convert("L").save(tmp_path / "in/zz.jpg", quality=83)
    faces = make(tmp_path / "in", tmp_path / "out")
    assert len(faces) == 31
    assert faces.verify() == []
    expected = np.asarray(photo(4).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(faces.read([4])[0], expected)
    row = faces.table.iloc[30]
    assert row["source_file"] == "zz.jpg"
    assert (row["source_format"], row["source_width"], row["source_height"]) == ("JPEG", 80, 80)
    assert row["source_jpeg_quality"] == 83
    assert row["source_bytes"] == (tmp_path / "in/zz.jpg").stat().st_size
    assert faces.table["id"].is_unique
    assert faces.table["identity"].isna().all()
    assert faces.card.kind == "real"
    assert faces.card.splits == {"forge": 12, "test": 6, "train": 10, "val": 3}
    assert faces.card.provenance["source"]["fingerprint"] == resolve(str(tmp_path / "in")).fingerprint()
    assert str(tmp_path) not in (faces.path / "card.json").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_all_bad_files_in_one_folder(tmp_path):
    root = photos(tmp_path / "in", 24)
    whole = (root / "000.png").read_bytes()
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.jpg").write_text("I am text")
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "notes.txt").write_text("skipped, not rejected")
    photo(50, 31).save(root / "small.png")
    Image.new("RGB", (64, 64), (7, 7, 7)).save(root / "blank.png")
    Image.new("1", (10_001, 10_000)).save(root / "bomb.png")
    photo(51).save(root / "Ünï ツ.png")
    photo(52).save(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.png"))
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "self.png").symlink_to(root / "self.png")
    (root / "loop").symlink_to(root)
    photo(3).save(root / "near.jpg", quality=50)
    (root / "same.png").write_bytes(whole)
    faces = make(root, tmp_path / "out")
    assert {file: row["reason"] for file, row in rejected(faces).items()} == {
        "empty.jpg": "empty",
        "text.jpg": "not an image",
        "cut.png": "truncated",
        "small.png": "too small",
        "blank.png": "blank",
        "bomb.png": "too many pixels",
        "gone.png": "missing",
        "self.png": "unreadable",
        "near.jpg": "near duplicate",
        "same.png": "exact duplicate",
    }
    assert rejected(faces)["near.jpg"]["detail"] == "of 003.png"
    assert faces.rejected_files(2) == list(rejected(faces))[:2]
    assert rejected(faces)["same.png"]["detail"] == "of 000.png"
    assert sum(faces.card.rejected.values()) == 10
    assert {"Ünï ツ.png", "\\xff\\xfe.png"} <= set(faces.table["source_file"])
    assert len(faces) == 26


def test_three_images_are_too_few_and_nothing_is_left(tmp_path):
    root = photos(tmp_path / "in", 3)
    (root / "text.jpg").write_text("I am text")
    with pytest.raises(InputError) as caught:
        make(root, tmp_path / "out")
    assert (
        "3 of 4 images are usable, at least 20 are needed; rejected: 1 not an image (e.g. text.jpg: not an image"
        in str(caught.value)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_the_least_number_of_images_can_be_raised(tmp_path):
    root = photos(tmp_path / "in", 26)
    with pytest.raises(InputError, match="26 of 26 images are usable, at least 27 are needed"):
        make(root, tmp_path / "out", min_images=least_photos({"forge": 0.6, "train": 0.2, "val": 0.06, "test": 0.14}))
    assert least_photos({"forge": 0.9, "train": 0.1}) == 20 == least_photos({"forge": 0.0, "test": 1.0})
    assert len(make(root, tmp_path / "out", min_images=1)) == 26


def test_copies_do_not_count_as_images(tmp_path):
    root = photos(tmp_path / "in", 15)
    for i in range(10):
        photo(i).save(root / f"copy{i}.jpg", quality=80)
    with pytest.raises(InputError, match="15 of 25 images are usable, at least 20 are needed; rejected: 10 duplicate"):
        make(root, tmp_path / "out")
    assert len(make(root, tmp_path / "out", dedupe=False)) == 25


def test_a_folder_without_images(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"source 'folder' has no images in .*/in"):
        make(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"resolution": 8}, r"resolution is 8; it must be 16\.\.1024 pixels"),
        ({"count": 5}, "count is 5; at least 20"),
        ({"crop": "tight"}, r"crop 'tight' is not known; known: face, ff\+\+, none"),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"min_side": 0}, "min_side is 0; it must be at least 1 pixel"),
        ({"splits": {"train": 0.7}}, "sum to 0.7"),
    ],
)
def test_wrong_arguments(tmp_path, options, sentence):
    photos(tmp_path / "in", 20)
    with pytest.raises(InputError, match=sentence):
        make(tmp_path / "in", tmp_path / "out", **options)


def test_an_output_that_is_there(tmp_path):
    photos(tmp_path / "in", 20)
    make(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="out exists already"):
        make(tmp_path / "in", tmp_path / "out")


def test_a_label_column_with_a_reserved_name(tmp_path):
    root = photos(tmp_path / "in", 20)
    (root / "labels.csv").write_text("file,split\n000.png,train\n")
    with pytest.raises(InputError, match="label column 'split' is a column every set has"):
        make(root, tmp_path / "out")


def test_the_same_set_with_one_worker_or_two(tmp_path, monkeypatch):
    monkeypatch.setattr("forge.faces.taken.ALONE", 0)  # a set this small is not worth another process
    root = photos(tmp_path / "in", 150)
    photo(5).save(root / "zz.jpg", quality=50)
    (root / "labels.csv").write_text("file,hat\n000.png,yes\n")
    events: list[ProgressEvent] = []
    first = make(root, tmp_path / "one", on_progress=events.append)
    two = make(root, tmp_path / "two", workers=2)
    assert first.card.digest == two.card.digest
    assert first.card.files == two.card.files
    assert [(event.done, event.total) for event in events] == [(64, 151), (128, 151), (151, 151)]
    assert make(root, tmp_path / "three", seed=1).card.digest != first.card.digest
    monkeypatch.setattr("forge.faces.prepare._MANY", 100)
    make(root, tmp_path / "four", on_progress=events.append)
    assert events[-1].note == "searching near duplicates" and events[-1].total == 68


def test_splits_do_not_depend_on_names_or_order(tmp_path):
    photos(tmp_path / "in", 40)
    first = make(tmp_path / "in", tmp_path / "one")
    for path in (tmp_path / "in").iterdir():
        path.rename(path.with_name(path.name[::-1].replace("gnp.", "x.", 1) + ".png"))
    other = make(tmp_path / "in", tmp_path / "other")
    splits = [faces.table.set_index("source_sha256")["split"].sort_index() for faces in (first, other)]
    assert splits[0].equals(splits[1])


def test_people_never_straddle_splits(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(200):
        person = tmp_path / "in" / f"person{rng.integers(40)}"
        person.mkdir(parents=True, exist_ok=True)
        photo(i).save(person / f"{i}.png")
    faces = make(tmp_path / "in", tmp_path / "out", identities="folders")
    assert faces.table.groupby("identity")["split"].nunique().max() == 1
    assert faces.table["identity"].nunique() == len(list((tmp_path / "in").iterdir()))
    for name, fraction in {"forge": 0.4, "train": 0.3, "val": 0.1, "test": 0.2}.items():
        assert abs(faces.card.splits[name] / 200 - fraction) < 0.05


def two_names_for_one_photo(tmp_path):
    """Thirty people of two photos each; the second of each even one is also there under the next person's name."""
    lines = ["file,identity"]
    root = tmp_path / "in"
    root.mkdir()
    for i in range(60):
        photo(i).save(root / f"{i:03}.png")
        lines.append(f"{i:03}.png,p{i // 2}")
    for i in range(1, 60, 4):
        photo(i).save(root / f"copy{i:03}.jpg", quality=60)
        lines.append(f"copy{i:03}.jpg,p{i // 2 + 1}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("dedupe", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_people_who_share_a_photo_stay_together(tmp_path, dedupe, seed):
    faces = make(two_names_for_one_photo(tmp_path), tmp_path / "out", dedupe=dedupe, seed=seed, splits=HALVES)
    split = faces.table.groupby("identity")["split"].first()
    assert all(split[f"p{i}"] == split[f"p{i + 1}"] for i in range(0, 30, 2))
    assert len(faces) == (60 if dedupe else 75)
    assert faces.card.provenance["preparation"]["duplicates_across_identities"] == 15
    if dedupe:
        assert rejected(faces)["copy001.jpg"]["detail"] == "of 001.png, which has another identity"


def test_copies_that_stay_share_a_cluster_and_a_split(tmp_path):
    root = photos(tmp_path / "in", 40)
    for i in range(10):
        photo(i).save(root / f"copy{i}.jpg", quality=60)
        photo(i).resize((50, 50)).save(root / f"third{i}.png")
    faces = make(root, tmp_path / "out", dedupe=False, splits=HALVES)
    assert len(faces) == 60
    assert rejected(faces) == {}
    table = faces.table.set_index("source_file")
    for i in range(10):
        three = table.loc[[f"00{i}.png", f"copy{i}.jpg", f"third{i}.png"]]
        assert three["identity"].notna().all()
        assert three["identity"].nunique() == three["split"].nunique() == 1
    assert table["identity"].nunique() == 10
    assert pd.isna(table.loc["020.png", "identity"])


def test_count_draws_from_all_of_the_source(tmp_path):
    root = photos(tmp_path / "in", 60)
    faces = make(root, tmp_path / "out", count=20)
    drawn = faces.table["source_file"].tolist()
    assert len(drawn) == 20
    assert drawn == sorted(drawn)
    assert drawn[-1] > "030.png"


def test_an_interrupt_leaves_nothing(tmp_path):
    photos(tmp_path / "in", 70)

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "in", tmp_path / "out", on_progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_rendered_people(tmp_path):
    faces = prepare(
        resolve("rendered", seed=2, images_per_person=2, size=64), tmp_path / "out", resolution=32, count=24, workers=1
    )
    assert len(faces) + sum(faces.card.rejected.values()) == 24
    assert faces.table.groupby("identity")["split"].nunique().max() == 1
    assert set(faces.card.attributes) < set(faces.table.columns)
    assert faces.table["source_jpeg_quality"].between(60, 95).all()


def test_digits_keep_those_that_look_alike(tmp_path):
    faces = prepare(resolve("digits"), tmp_path / "out", resolution=32, count=300, workers=1)
    assert len(faces) == 300
    assert sorted(set(faces.table["digit"])) == [str(i) for i in range(10)]


@needs_photos
def test_real_photos_with_and_without_face_search(tmp_path):
    whole = prepare(resolve(str(FACES)), tmp_path / "whole", resolution=64, count=40, workers=1)
    assert len(whole) == 40
    assert set(whole.table["source_format"]) == {"JPEG"}
    assert whole.card.licence == "CC BY 4.0"
    faces = prepare(resolve(str(FACES)), tmp_path / "faces", resolution=64, count=40, crop="face", workers=1)
    assert len(faces) >= 36
    assert set(faces.card.rejected) <= {"no face", "face cut off"}
    assert faces.card.provenance["preparation"]["crop"]["threshold"] == 0.95
    large = [Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC) for image in faces.view().read()]
    face_landmarks = [landmarks / 256 for landmarks in FaceFinder(FaceCrop()).find(large) if landmarks is not None]
    assert len(face_landmarks) >= 0.9 * len(faces)
    assert np.median(np.abs(np.stack(face_landmarks) - FaceCrop().template)) < 0.03
    assert FaceSet.open(faces.path).verify() == []


@needs_photos
def test_few_real_photos_are_alike(tmp_path):
    faces = prepare(resolve(str(FACES)), tmp_path / "out", resolution=64, count=1500, workers=2)
    assert faces.card.rejected.get("near duplicate", 0) <= 5
    assert len(faces) >= 1490
    assert json.loads((faces.path / "card.json").read_text())["count"] == len(faces)


def test_files_that_are_not_read_are_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("forge.faces.sources.folder.can_read_videos", lambda: False)
    root = photos(tmp_path / "photos", 22)
    (root / "a.HEIC").write_bytes(b"x")
    (root / "b.mp4").write_bytes(b"x")
    faces = make(root, tmp_path / "faces")
    assert faces.card.rejected == {"not read": 2}
    assert rejected(faces)["a.HEIC"]["detail"] == "a HEIC photo; convert it to PNG or JPEG"
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.HEIC").write_bytes(b"x")
    with pytest.raises(InputError, match=r"it holds 1 files that are not read, e.g. a.HEIC, a HEIC photo"):
        make(tmp_path / "phone", tmp_path / "none")
