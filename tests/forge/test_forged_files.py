"""Forgeries that are files: what is recognised, how splits are made, and which files are chosen."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from forge.core.errors import InputError
from forge.faces.forged_files import LEAST, ForgedFiles, divide
from forge.faces.prepare import prepare

COUNTS = {"train": 60, "val": 20, "test": 20}


def images(folder, count, start=0, side=16):
    """Write random images that are no copies of each other."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3))
        Image.fromarray(coarse.repeat(side // 4, 0).repeat(side // 4, 1).astype(np.uint8)).save(
            folder / f"{number:04d}.png"
        )


def shares(own, units=None, known=None):
    units = units or [f"u{number}" for number in range(len(own))]
    split = divide(own, units, COUNTS, seed=0, known=known or {})
    assert divide(own, units, COUNTS, seed=0, known=known or {}) == split
    return split


def test_files_without_splits_are_divided_by_the_counts_and_units_stay_together():
    units = [f"clip{number // 5}" for number in range(200)]
    split = shares([None] * 200, units)
    for clip in set(units):
        assert len({each for each, unit in zip(split, units, strict=True) if unit == clip}) == 1
    count = Counter(split)
    assert abs(count["train"] - 120) <= 5 and abs(count["val"] - 40) <= 5 and abs(count["test"] - 40) <= 5
    assert divide([None] * 200, units, COUNTS, seed=1, known={}) != split


def test_own_splits_are_kept():
    own = ["train"] * 50 + ["val"] * 20 + ["test"] * 30
    assert shares(own) == own


def test_of_train_and_val_the_latter_is_the_test_and_val_comes_from_train():
    split = shares(["train"] * 80 + ["val"] * 40)
    assert set(split[80:]) == {"test"} and Counter(split[:80]) == {"train": 60, "val": 20}


def test_of_train_and_test_val_comes_from_train_and_of_val_and_test_train_comes_from_val():
    split = shares(["train"] * 80 + ["test"] * 40)
    assert set(split[80:]) == {"test"} and Counter(split[:80]) == {"train": 60, "val": 20}
    split = shares(["val"] * 80 + ["test"] * 40)
    assert set(split[80:]) == {"test"} and Counter(split[:80]) == {"train": 60, "val": 20}


def test_a_set_of_one_split_is_divided_as_one_of_none():
    assert shares(["test"] * 100) == shares([None] * 100)


def test_a_file_without_a_split_among_others_is_divided():
    split = shares(["train"] * 50 + ["val"] * 20 + ["test"] * 30 + [None] * 100)
    assert Counter(split[100:]) == {"train": 60, "val": 20, "test": 20}


def test_people_of_the_real_faces_are_in_their_split():
    known = {"u0": "forge", "u1": "test", "u2": "val"}
    split = shares(["train"] * 50 + ["val"] * 20 + ["test"] * 30, known=known)
    assert split[:4] == ["train", "test", "val", "train"]


def test_a_plain_folder_is_chosen_from_and_prepared_by_its_splits(tmp_path):
    images(tmp_path / "files", 90)
    (tmp_path / "files" / "labels.csv").write_text(
        "file,identity\n" + "".join(f"{number:04d}.png,p{number // 3}\n" for number in range(60))
    )
    files = ForgedFiles.open(tmp_path / "files")
    assert files.summary == "a folder of 90 images" and files.names_people
    counts = {"train": 20, "val": 10, "test": 10}
    faces = prepare(
        files.chosen("theirs", counts, 0, {"p0": "test"}), tmp_path / "set", resolution=16, kind="forged", name="theirs"
    )
    # as many as are asked for and some to spare, in splits that share no person
    assert min(faces.card.splits.values()) >= LEAST
    assert all(faces.card.splits[split] <= count * 1.1 + LEAST for split, count in counts.items())
    table = faces.table
    assert table["identity"].notna().all() and (table.groupby("identity")["split"].nunique() == 1).all()
    assert set(table.loc[table["identity"] == "p0", "split"]) <= {"test"}
    singles = table[~table["source_file"].isin([f"{number:04d}.png" for number in range(60)])]
    assert (singles["identity"] == "theirs/" + singles["source_file"]).all()


def test_copies_lie_in_the_split_of_the_first(tmp_path):
    images(tmp_path / "files", 60)
    for number in range(60, 70):  # copies under names that sort last
        (tmp_path / "files" / f"{number:04d}.png").write_bytes((tmp_path / "files" / "0000.png").read_bytes())
    source = ForgedFiles.open(tmp_path / "files").chosen("theirs", COUNTS, 0, {})
    faces = prepare(source, tmp_path / "set", resolution=16, kind="forged", name="theirs", dedupe=False)
    whole = faces.table.assign(copy=lambda rows: rows["source_sha256"])
    assert (whole.groupby("copy")["split"].nunique() == 1).all() and whole["copy"].duplicated().any()


def test_of_a_public_set_the_forgeries_alone_are_taken_with_its_splits(tmp_path):
    for number, (split, side) in enumerate([(s, c) for s in ("train", "val") for c in ("ai", "nature")]):
        images(tmp_path / "imagenet_ai_0419_biggan" / split / side, 50, start=100 * number)
    files = ForgedFiles.open(tmp_path)
    assert files.summary.startswith("GenImage: ") and len(files.source) == 100
    chosen = files.chosen("genimage", COUNTS, 0, {})
    by_file = {item.file: split for item, split in zip(chosen.chunk(range(len(chosen))), chosen.assigned, strict=True)}
    assert all("/ai/" in file for file in by_file)
    assert {split for file, split in by_file.items() if "/val/" in file} == {"test"}
    assert {split for file, split in by_file.items() if "/train/" in file} == {"train", "val"}


def test_of_folders_real_and_fake_the_forgeries_are_taken(tmp_path):
    images(tmp_path / "0_real", 30)
    images(tmp_path / "1_fake", 40, start=100)
    files = ForgedFiles.open(tmp_path)
    assert len(files.source) == 40 and all(file.startswith("1_fake/") for file in files.source.files)


def test_a_folder_called_forged_keeps_the_people_of_its_label_file(tmp_path):
    images(tmp_path / "forged", 30)
    assert not ForgedFiles.open(tmp_path / "forged").names_people
    (tmp_path / "forged" / "labels.csv").write_text("file,identity\n0000.png,p0\n0001.png,p0\n")
    assert ForgedFiles.open(tmp_path / "forged").groups[:3] == ["p0", "p0", None]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: images(root, 3), "holds 3 forgeries; at least 20"),
        (lambda root: (images(root / "real", 30), images(root / "other", 30)), "30 real and 0 forged"),
        (lambda root: images(root / "real", 30), "30 real and 0 forged"),
        (lambda root: images(root / "imagenet_ai_0419_biggan" / "val" / "nature", 30), "holds no forgeries"),
    ],
)
def test_what_cannot_stand_for_a_generator_is_refused(tmp_path, make, words):
    make(tmp_path / "files")
    with pytest.raises(InputError, match=words):
        ForgedFiles.open(tmp_path / "files")


def test_too_few_images_of_a_split_are_refused_with_its_name(tmp_path):
    images(tmp_path / "files", 25)
    files = ForgedFiles.open(tmp_path / "files")
    with pytest.raises(InputError, match=r"'theirs': 5 usable images for split val .* at least 10 are needed"):
        files.chosen("theirs", COUNTS, 0, {})


def test_masks_of_the_layout_come_with_the_forgeries(tmp_path):
    images(tmp_path / "f", 45)
    images(tmp_path / "r", 20, start=500)
    rows = ["path,label,mask", *(f"r/{number:04d}.png,real," for number in range(500, 520))]
    (tmp_path / "m").mkdir()
    for number in range(45):
        mask = np.zeros((16, 16), np.uint8)
        mask[: number % 16 + 1] = 255
        Image.fromarray(mask).save(tmp_path / "m" / f"{number:04d}.png")
        rows.append(f"f/{number:04d}.png,fake,m/{number:04d}.png")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    files = ForgedFiles.open(tmp_path)
    masked = files.with_masks()
    assert files.has_masks and not files.source.masked and masked.source.masked
    assert masked.source.fingerprint() != files.source.fingerprint() and masked.summary.endswith(", with masks")
    chosen = masked.chosen("theirs", {"train": 20, "val": 10, "test": 10}, 0, {})
    faces = prepare(chosen, tmp_path / "set", resolution=16, splits={"train": 0.5, "val": 0.25, "test": 0.25})
    assert faces.has_masks
    view = faces.view("test")
    for file, mask in zip(view.rows["source_file"], view.read_masks(), strict=True):
        rows_altered = int(file[2:6]) % 16 + 1
        assert (mask[:rows_altered] == 255).all() and not mask[rows_altered:].any()
    (tmp_path / "manifest.csv").write_text("\n".join([*rows[:-1], "f/0044.png,fake,"]))
    assert not ForgedFiles.open(tmp_path).has_masks  # one without a mask
