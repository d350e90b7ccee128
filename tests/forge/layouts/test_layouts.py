"""Layouts of public test sets, each built in small and recognised."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge.core.errors import InputError
from forge.faces.layouts import LAYOUTS, recognise
from forge.faces.sources.listed import ListedSource


def build(root: Path, *files: str, texts: dict[str, object] | None = None) -> Path:
    """Make empty files below a folder, and files with a text or JSON."""
    for file in (*files, *(texts or {})):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    for file, content in (texts or {}).items():
        (root / file).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


SIDES = ("0_real", "1_fake")


def files_of(entries):
    return [entry.file for entry in entries]


def test_genimage_has_a_column_a_generator_and_uses_its_validation_images(tmp_path):
    build(
        tmp_path,
        *(
            f"{generator}/{split}/{name}/{number}.png"
            for generator in ("imagenet_ai_0419_biggan", "Midjourney/imagenet_midjourney")
            for split in ("train", "val")
            for name in ("ai", "nature")
            for number in range(3)
        ),
    )
    test_set = recognise(tmp_path)
    assert test_set.summary() == "GenImage: 2 subsets, 6 real and 6 forged, split val"
    assert test_set.subsets() == ["biggan", "midjourney"]
    tested = test_set.of_split("val")
    assert files_of(tested.side("forged", "biggan")) == [
        f"imagenet_ai_0419_biggan/val/ai/{number}.png" for number in range(3)
    ]
    assert {entry.generator for entry in tested.side("real", "biggan")} == {None}


def test_forensynths_has_a_column_a_set_whatever_its_classes_and_wrappers(tmp_path):
    build(
        tmp_path,
        *(
            f"CNN/test/{name}/{side}/a.png"
            for name in ("progan/cat", "progan/dog", "biggan")
            for side in ("0_real", "1_fake")
        ),
        "CNN/test/biggan/0_real/.ipynb_checkpoints/a.png",
        "CNN/test/biggan/1_fake/._a.png",
        "CNN/test/biggan/1_fake/b.jpg_large",
    )
    test_set = recognise(tmp_path)
    assert test_set.layout == "class-folders"
    assert test_set.summary() == "Folders real and fake: 2 subsets, 3 real and 3 forged, split test"
    assert len(test_set.side("real", "progan")) == 2 and len(test_set.side("forged", "biggan")) == 1
    assert list(test_set.unread) == ["CNN/test/biggan/1_fake/b.jpg_large"]


def test_a_root_of_one_class_is_a_set_of_that_class(tmp_path):
    test_set = recognise(build(tmp_path / "1_fake", "a.png", "b.png"))
    assert [entry.label for entry in test_set.entries] == ["forged", "forged"] and test_set.subsets() == []


def test_frames_below_a_class_belong_to_their_clip(tmp_path):
    test_set = recognise(build(tmp_path, "fake/frames/0000_fake/000.png", "real/frames/0000/000.png"))
    assert [entry.group for entry in test_set.entries] == ["clip fake/frames/0000_fake", "clip real/frames/0000"]


@pytest.mark.parametrize("split_folders", [True, False])
def test_kaggle_by_folders_and_by_tables_where_one_is_real(tmp_path, split_folders):
    if split_folders:
        build(
            tmp_path,
            *(f"real_vs_fake/real-vs-fake/{s}/{c}/1.jpg" for s in ("train", "valid", "test") for c in ("real", "fake")),
        )
        table = ",original_path,id,label,label_str,path\n0,x,1,1,real,test/real/1.jpg\n1,x,1,0,fake,test/fake/1.jpg\n"
    else:
        build(tmp_path, "images/1.jpg", "images/2.jpg")
        table = "path,label\nimages/1.jpg,1\nimages/2.jpg,0\nimages/3.jpg,0\n"
    build(tmp_path, texts={"test.csv": table})
    test_set = recognise(tmp_path)
    assert test_set.summary() == "Kaggle real and fake faces: 1 real and 1 forged, split test"
    assert test_set.missing == ([] if split_folders else ["images/3.jpg"])
    if split_folders:
        build(tmp_path, texts={"test.csv": "path,label\ntest/real/1.jpg,0\n"})
        with pytest.raises(InputError, match=r"row 2: .*real/1.jpg is forged and lies in a folder of real images"):
            recognise(tmp_path)


FF = [
    *(f"original_sequences/youtube/c23/frames/{clip}/{n:04d}.png" for clip in ("000", "003", "010") for n in range(2)),
    *(f"manipulated_sequences/{m}/c23/frames/000_003/{n:04d}.png" for m in ("Deepfakes", "FaceSwap") for n in range(2)),
    *(f"manipulated_sequences/{m}/c23/frames/003_000/0000.png" for m in ("Deepfakes", "FaceSwap")),
]


def test_faceforensics_shares_real_clips_and_groups_a_pair_of_ids(tmp_path):
    masks = [f"manipulated_sequences/Deepfakes/c23/masks/000_003/{n:04d}.png" for n in range(2)]
    lists = {"splits/test.json": [["000", "003"]], "splits/train.json": [["010", "011"]], "splits/val.json": []}
    build(tmp_path, *FF, *masks, "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4", texts=lists)
    test_set = recognise(tmp_path)
    assert test_set.summary() == "FaceForensics++: 2 subsets, 4 real and 6 forged, split test"
    assert {entry.split for entry in test_set.entries} == {"test", "train"}
    assert test_set.missing == ["011"] and "1 videos have extracted frames" in test_set.notes[0]
    tested = test_set.of_split("test")
    # real 000 and 003 and both swaps between them show two people: one unit of the bootstrap
    assert {entry.group for entry in tested.entries} == {"000"}
    assert files_of(tested.side("real", "Deepfakes")) == files_of(tested.side("real", "FaceSwap")) == sorted(FF)[-6:-2]
    assert [entry.mask for entry in tested.side("forged", "Deepfakes")] == [*masks, None]


def test_compressions_of_faceforensics_are_columns_with_real_clips_of_their_own(tmp_path):
    actors = [
        "original_sequences/actors/c23/videos/01__walk.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walk__X.mp4",
    ]
    build(tmp_path, *FF, *(file.replace("c23", "c40") for file in FF if "FaceSwap" not in file), *actors)
    test_set = recognise(tmp_path)
    assert test_set.subsets() == ["DeepFakeDetection c23", "Deepfakes c23", "Deepfakes c40", "FaceSwap c23"]
    assert all("/c40/" in file for file in files_of(test_set.side("real", "Deepfakes c40")))
    assert files_of(test_set.side("real", "DeepFakeDetection c23")) == actors[:1]
    assert {entry.group for entry in test_set.side("forged", "DeepFakeDetection c23")} == {"actor 01"}


def test_a_list_of_faceforensics_that_is_no_list_of_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"test.json must be a list of pairs of ids"):
        recognise(build(tmp_path, *FF, texts={"test.json": {"000": "003"}}))


CELEB = [
    "Celeb-real/id0_0000.mp4",
    "Celeb-synthesis/id0_id1_0000.mp4",
    "YouTube-real/00000.mp4",
    "Celeb-real/id1_0001.mp4",
]


def test_celebdf_tests_on_its_list(tmp_path):
    lines = [f"1 {CELEB[2]}", f"1 {CELEB[0]}", f"0 {CELEB[1]}", "1 Celeb-real/id9_0000.mp4", ""]
    test_set = recognise(build(tmp_path, *CELEB, texts={"List_of_testing_videos.txt": "\n".join(lines)}))
    assert test_set.summary() == "Celeb-DF: 2 real and 1 forged, split test"
    assert test_set.missing == ["Celeb-real/id9_0000.mp4"]
    groups = {entry.file: entry.group for entry in test_set.entries}
    assert groups[CELEB[0]] == groups[CELEB[1]] == "id0" and groups[CELEB[2]] == "clip YouTube-real 00000"
    build(tmp_path, texts={"List_of_testing_videos.txt": "0 Celeb-real/id0_0000.mp4\n"})
    with pytest.raises(InputError, match=r"line 1: .* calls a video of Celeb-real forged"):
        recognise(tmp_path)


def test_dfdc_groups_a_forgery_with_its_original(tmp_path):
    labels = {
        "a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
        "b.mp4": {"label": "REAL", "split": "train", "original": None},
        "c.mp4": {"label": "REAL", "split": "train"},
    }
    build(tmp_path, "part_0/a.mp4", "part_0/frames/b/000.png", texts={"part_0/metadata.json": labels})
    build(tmp_path, "test/x.mp4", texts={"test/labels.csv": "filename,label\nx.mp4,1\n"})
    test_set = recognise(tmp_path)
    assert test_set.summary() == "DFDC: 0 real and 1 forged, split test"
    assert {entry.group for entry in test_set.side("real")} == {"original b"} and test_set.missing == ["part_0/c.mp4"]
    assert {entry.group for entry in test_set.of_split("train").side("forged")} == {"original b"}
    build(tmp_path, texts={"part_0/metadata.json": {"a.mp4": {"label": "MAYBE"}}})
    with pytest.raises(InputError, match=r"the label of 'a.mp4' is 'MAYBE'; it must be REAL or FAKE"):
        recognise(tmp_path)


def test_deepfakebench_resolves_foreign_paths_and_counts_what_is_missing_or_twice(tmp_path):
    frames = [r"datasets\FF\youtube\c23\frames\000\000.png", r"datasets\FF\youtube\c23\frames\000\001.png"]
    real = {"test": {"c23": {"000": {"label": "FF-real", "frames": [*frames, frames[0]]}}}}
    fake = "/data/rgb/FF/Deepfakes/c23/frames/000_003/000.png"
    forged = {"test": {"c23": {"000_003": {"label": "FF-DF", "frames": [fake, fake.replace("000.png", "009.png")]}}}}
    clip = {"label": "simswap_Fake", "frames": ["FF/simswap/0/0.png"]}
    flat = {"simswap_Fake": {"train": {"0": clip}, "test": {"0": clip}}, "simswap_Real": real}
    build(
        tmp_path,
        "FF/youtube/c23/frames/000/000.png",
        "FF/youtube/c23/frames/000/001.png",
        "FF/Deepfakes/c23/frames/000_003/000.png",
        "FF/simswap/0/0.png",
        texts={
            "json/FF-DF.json": {"FF-DF": {"FF-real": real, "FF-DF": forged}},
            "json/simswap.json": {"simswap": flat},
        },
    )
    test_set = recognise(tmp_path)
    assert test_set.summary() == "DeepfakeBench: 2 subsets, 2 real and 2 forged, split test"
    assert test_set.subsets() == ["FF-DF", "simswap"]
    assert test_set.missing == [fake.replace("000.png", "009.png")]
    assert test_set.duplicates == ["FF/youtube/c23/frames/000/000.png"]  # once in each file is no duplicate
    build(
        tmp_path, texts={"json/x.json": {"x": {"x_Fake": {"test": {"0": {"label": "x_Fake", "frames": frames[:1]}}}}}}
    )
    with pytest.raises(InputError, match=r"000.png is listed as real and as forged"):
        recognise(tmp_path)


def test_deepfakebench_without_its_frames_says_what_to_give(tmp_path):
    listed = {"x": {"x_Fake": {"test": {"0": {"label": "x_Fake", "frames": ["a/b.png"]}}}}}
    with pytest.raises(InputError, match=r"none of the 1 files that they name, e.g. 'a/b.png'; give a folder"):
        recognise(build(tmp_path, texts={"x.json": listed}))


ROWS = [
    "real,faces/a.png,p1",
    "Fake,faces\\b.png,p1",
    "1,./faces/c.png,p2",
    "0,faces/d.png,",
    "1,faces/c.png,p2",
    "1,faces/z.png,",
]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_manifest_takes_words_numbers_and_backslashes(tmp_path, delimiter):
    text = "\n".join(["label,path,identity", *ROWS]).replace(",", delimiter)
    test_set = recognise(build(tmp_path, *(f"faces/{name}.png" for name in "abcd"), texts={"manifest.csv": text}))
    assert [(entry.file[6:7], entry.label, entry.group) for entry in test_set.entries] == [
        ("a", "real", "p1"), ("b", "forged", "p1"), ("c", "forged", "p2"), ("d", "real", None),
    ]  # fmt: skip
    assert (test_set.missing, test_set.duplicates) == (["faces/z.png"], ["faces/c.png"])


def test_a_parquet_manifest_has_columns_by_generator_and_masks(tmp_path):
    build(tmp_path, "r.png", "a.png", "b.png", "masks/a.png")
    rows = {
        "path": ["r.png", "a.png", "b.png"], "label": [0, 1, 1], "generator": [None, "gan", "flow"],
        "split": ["test", "test", "test"], "video": [None, "v", None], "mask": [None, "masks/a.png", None],
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "manifest.parquet")
    test_set = recognise(tmp_path)
    assert test_set.summary() == "Manifest: 2 subsets, 1 real and 2 forged, split test"
    assert files_of(test_set.side("real", "gan")) == ["r.png"] == files_of(test_set.side("real", "flow"))
    (forged,) = test_set.side("forged", "gan")
    assert (forged.group, forged.mask, forged.generator) == ("clip v", "masks/a.png", "gan")
    source = ListedSource(tmp_path, [forged], masked=True)
    assert source.masked and source.chunk([0])[0].mask == str(tmp_path / "masks/a.png")
    (shared,) = ListedSource(tmp_path, test_set.side("real", "gan"), shared=True).chunk([0])
    assert shared.identity == "image r.png"  # one unit in the mean over columns that share it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,1\n", "has no column 'path'; its columns are: 'file', 'label'"),
        ("path,label\na.png,maybe\n", r"row 2: label 'maybe' must be real or forged"),
        ("path,label\n../a.png,1\n", "row 2: path '../a.png' must name a file inside"),
        ("path,label\nC:\\a.png,1\n", "must name a file inside"),
        ("path,label,split\na.png,1,dev\n", "split 'dev' must be train, val or test"),
        ("path,label\na.png,1\na.png,0\n", "row 3: 'a.png' is real here and forged above"),
        ("path,label,mask\na.png,1,m.png\n", "the mask 'm.png' is not there"),
        ("path,label\nnowhere.png,1\n", "lists 1 files and none is usable: 'nowhere.png' is not there"),
        ("path,label\n0_real/a.png,1\n1_fake/a.png,0\n", "labels are the wrong way round, 2 of 2 files"),
        ("path,label\na.png\n", "row 2: 1 cells, but the header has 2"),
        ("", "is empty; its first line must name the columns"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path, text, message):
    build(tmp_path, "a.png", "0_real/a.png", "1_fake/a.png", texts={"manifest.csv": text})
    with pytest.raises(InputError, match=message):
        recognise(tmp_path)


def test_links_and_loops_are_entered_once(tmp_path):
    build(tmp_path / "set", "0_real/a.png", "1_fake/b.png")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "0_real" / "linked.png").symlink_to(tmp_path / "set" / "1_fake" / "b.png")
    assert recognise(tmp_path / "set").summary() == "Folders real and fake: 2 real and 1 forged"


def test_a_folder_of_no_layout_is_refused_with_what_it_holds(tmp_path):
    build(tmp_path, "holiday/a.jpg", "holiday/b.jpg")
    with pytest.raises(InputError, match=r"2 images and videos in 2 folders, at the top the folders holiday.*manifest"):
        recognise(tmp_path)
    with pytest.raises(InputError, match="does not exist; give the folder of a test set"):
        recognise(tmp_path / "nowhere")


@pytest.mark.parametrize("name", LAYOUTS.entries)
def test_every_layout_says_what_it_looks_like(name):
    layout = LAYOUTS.load(name)
    assert layout.title and layout.tree and layout.__doc__
