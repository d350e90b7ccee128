import os
import pickle
import subprocess
import sys
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forge.core.errors import InputError, UnknownNameError
from forge.core.registry import allow_files
from forge.faces.faceset import FaceSet
from forge.faces.imaging.decode import Unusable, decode
from forge.faces.sources import SOURCES, base, resolve
from forge.faces.sources.base import Source
from forge.faces.writer import FaceSetWriter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120


def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


def folder_of(root, *names):
    for seed, name in enumerate(names):
        save(root / name, seed)
    return root


def items(source):
    return list(source.chunk(range(len(source))))


def listed(source):
    return [item.file for item in items(source)]


# --- resolve -------------------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="source or folder 'fairfase' is not known; did you mean 'fairface'"):
        resolve("fairfase")
    with pytest.raises(UnknownNameError, match="did you mean 'celeba'"):
        resolve("celebra:/tmp")


@pytest.mark.parametrize("text", ["/no/such/place", "./nowhere", "", "a b"])
def test_neither_a_source_nor_a_path(text):
    with pytest.raises(InputError, match="is neither a known source nor an existing path; known: celeba, digits"):
        resolve(text)


def test_a_file_is_not_a_folder(tmp_path):
    save(tmp_path / "one.jpg")
    with pytest.raises(InputError, match=r"one\.jpg' is a file; give the folder"):
        resolve(str(tmp_path / "one.jpg"))


def test_layouts_are_recognised(tmp_path):
    folder_of(tmp_path / "fairface", "train/1.jpg")
    (tmp_path / "fairface/fairface_label_train.csv").write_text("file,age\ntrain/1.jpg,20-29\n")
    folder_of(tmp_path / "celeba", "img_align_celeba/000001.jpg")
    (tmp_path / "celeba/identity_CelebA.txt").write_text("000001.jpg 7\n")
    (tmp_path / "celeba/list_attr_celeba.txt").write_text("1\nYoung\n000001.jpg 1\n")
    folder_of(tmp_path / "lfw_home/lfw_funneled", "Ada_Byron/Ada_Byron_0001.jpg")
    folder_of(tmp_path / "own", "ada/1.jpg", "bob/1.jpg")
    for path, name in (
        ("fairface", "fairface"), ("celeba", "celeba"), (".", "celeba"), ("lfw_home", "lfw"),
        ("lfw_home/lfw_funneled", "lfw"), ("own", "folder"), ("fairface/train", "folder"),
    ):  # fmt: skip
        assert resolve(str(tmp_path / path)).name == name
    assert resolve(f"folder:{tmp_path / 'fairface'}").name == "folder"


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    folder_of(tmp_path / "rendered", "a.png")
    monkeypatch.chdir(tmp_path)
    assert resolve("rendered").name == "rendered"
    assert resolve("./rendered").name == "folder"


def test_a_face_set_is_used_as_it_is(tmp_path):
    with FaceSetWriter(tmp_path / "set", name="t", kind="real", resolution=4, licence="", provenance={}) as writer:
        writer.append(np.zeros((1, 4, 4, 3), np.uint8), [{"id": "0", "split": "train"}])
    assert isinstance(resolve(str(tmp_path / "set")), FaceSet)
    with pytest.raises(InputError, match="is a FaceSet and takes no option 'seed'"):
        resolve(str(tmp_path / "set"), seed=1)


def test_options_reach_the_source_or_are_refused(tmp_path):
    assert resolve("rendered", seed=3, count=7).settings()["seed"] == 3
    with pytest.raises(InputError, match="source 'rendered' has no option 'sead'; it takes: seed, count"):
        resolve("rendered", sead=3)
    with pytest.raises(InputError, match="source 'digits' takes no path"):
        resolve(f"digits:{tmp_path}")
    with pytest.raises(InputError, match="needs a folder: --data fairface:PATH"):
        resolve("fairface")


def test_a_file_with_a_source_runs_only_where_allowed(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from forge.faces.sources.folder import FolderSource\nclass Mine(FolderSource):\n    name = 'mine'\n"
    )
    photos = folder_of(tmp_path / "photos", "a.png")
    allow_files([f"{plugin}:Mine"])
    assert resolve(f"{plugin}:Mine:{photos}").name == "mine"
    allow_files([], anew=True)
    with pytest.raises(InputError, match="only this command may name code"):
        resolve(f"{plugin}:Mine:{photos}")


@pytest.mark.parametrize("name", ["rendered", "folder", "fairface", "lfw", "celeba", "digits"])
def test_every_source_says_what_is_owed(name):
    source_class = SOURCES.load(name)
    assert issubclass(source_class, Source)
    assert source_class.name == name
    if name != "folder":
        assert source_class.licence
        assert source_class.citation or name == "rendered"


def test_importing_the_sources_is_cheap():
    code = (
        "import sys; from forge.faces.sources import SOURCES; [SOURCES.load(n) for n in SOURCES.entries]; "
        "import forge.faces.ingest; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'matplotlib', 'pandas', 'scipy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "[]"


# --- folder --------------------------------------------------------------------------------------------------------


def test_a_folder_lists_images_only_sorted(tmp_path):
    folder_of(tmp_path, "b.png", "a.JPG", "sub/c.webp", ".hidden.jpg", ".dir/d.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "README").write_text("no image")
    assert listed(resolve(str(tmp_path))) == ["a.JPG", "b.png", "sub/c.webp"]


def test_link_loops_end_and_links_are_followed(tmp_path):
    folder_of(tmp_path / "in", "a.png", "sub/b.png")
    folder_of(tmp_path / "elsewhere", "c.png")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/self.png").symlink_to(tmp_path / "in/self.png")
    (tmp_path / "in/gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "in/more").symlink_to(tmp_path / "elsewhere")
    source = resolve(str(tmp_path / "in"))
    assert listed(source) == ["a.png", "gone.png", "more/c.png", "self.png", "sub/b.png"]
    reasons = {}
    for item in items(source):
        try:
            decode(item.read())
        except Unusable as verdict:
            reasons[item.file] = verdict.reason
    assert reasons == {"gone.png": "missing", "self.png": "unreadable"}
    assert len(source.fingerprint()) == 64


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_shows(tmp_path):
    folder_of(tmp_path, "a.png", "secret/b.png")
    (tmp_path / "secret").chmod(0)
    try:
        assert listed(resolve(str(tmp_path))) == ["a.png", "secret"]
    finally:
        (tmp_path / "secret").chmod(0o700)


def test_names_in_any_script_and_names_that_are_no_text(tmp_path):
    folder_of(tmp_path, "Ünï ツ 😀.png", "new\nline.png")
    os.rename(tmp_path / "new\nline.png", os.fsencode(tmp_path) + b"/bytes\xff.png")  # noqa: PTH104
    source = resolve(str(tmp_path))
    assert sorted(listed(source)) == sorted(["Ünï ツ 😀.png", "bytes\\xff.png"])
    for item in pickle.loads(pickle.dumps(items(source))):
        item.file.encode("utf-8")
        assert decode(item.read()).image.size == (24, 24)
    assert len(source.fingerprint()) == 64


def test_identities_from_folders(tmp_path):
    folder_of(tmp_path, "ada/1.png", "ada/deep/2.png", "bob/1.png", "loose.png")
    source = resolve(str(tmp_path), identities="folders")
    assert [(item.file, item.identity) for item in items(source)] == [
        ("ada/1.png", "ada"), ("ada/deep/2.png", "ada"), ("bob/1.png", "bob"), ("loose.png", None),
    ]  # fmt: skip
    assert [item.identity for item in items(resolve(str(tmp_path)))] == [None] * 4
    with pytest.raises(InputError, match="identities 'people' is not known; use labels or folders"):
        resolve(str(tmp_path), identities="people")


LABELS = 'identity,file,hat,"note"\nada,a.png,yes,"one, two"\n,./sub/b.png,,ö\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_csv(tmp_path, encoding):
    folder_of(tmp_path, "a.png", "sub/b.png", "unlabelled.png")
    (tmp_path / "labels.csv").write_text(LABELS, encoding=encoding)
    source = resolve(str(tmp_path))
    assert list(source.attributes) == ["hat", "note"]
    assert [(item.identity, dict(item.attributes)) for item in items(source)] == [
        ("ada", {"hat": "yes", "note": "one, two"}), (None, {"note": "ö"}), (None, {}),
    ]  # fmt: skip


def test_labels_parquet(tmp_path):
    folder_of(tmp_path, "a.png", "b.png")
    table = pd.DataFrame({"file": ["b.png", "a.png"], "identity": ["p1", None], "age": [30, 40]})
    table.to_parquet(tmp_path / "labels.parquet")
    source = resolve(str(tmp_path))
    assert [(item.identity, dict(item.attributes)) for item in items(source)] == [
        (None, {"age": "40"}), ("p1", {"age": "30"}),
    ]  # fmt: skip
    (tmp_path / "labels.csv").write_text("file\na.png\n")
    with pytest.raises(InputError, match=r"has both labels\.csv and labels\.parquet"):
        resolve(str(tmp_path))


def test_accents_composed_or_not_are_the_same_name(tmp_path):
    folder_of(tmp_path, "Zoe\u0308.png")
    (tmp_path / "labels.csv").write_text("file,identity\nZo\u00eb.png,zoe\n")
    assert [item.identity for item in items(resolve(str(tmp_path)))] == ["zoe"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name,age\na.png,3\n", "has no column 'file'; its columns are: name, age"),
        (b"", "has no column 'file'; its columns are: none"),
        (b"file,age\na.png,3\nb.png,4\nc.png,5\n", "names 2 of 3 files that are no images .* the first is 'b.png'"),
        (b"file,age\na.png,3\n./a.png,4\n", "row 3: a.png is there twice"),
        (b"file,age,age\na.png,3,4\n", "has the column 'age' 2 times"),
        (b"file,age\na.png\n", "row 2: 1 cells, but the header has 2"),
        (b"file,age\na.png,3,4\n", "row 2: 3 cells, but the header has 2"),
        (b"file,who\na.png,Zo\xeb\n", r"is not UTF-8 \(byte 17"),
        (b"\xff\xfef\0i\0l\0e\0", "is not UTF-8"),
        (b'file,age\na.png,"3\n', "is not CSV"),
        (b"file\n../a.png\n", "must name a file inside"),
        (b"file\n/etc/passwd\n", "must name a file inside"),
        (b"file,age\n,3\n", "must name a file inside"),
    ],
)
def test_wrong_labels_have_one_sentence(tmp_path, content, sentence):
    folder_of(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        resolve(str(tmp_path))
    assert "labels.csv" in str(caught.value)


def test_a_parquet_file_that_is_none(tmp_path):
    folder_of(tmp_path, "a.png")
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(InputError, match=r"labels\.parquet is not readable as Parquet"):
        resolve(str(tmp_path))


def test_the_fingerprint_sees_files_labels_and_settings(tmp_path):
    folder_of(tmp_path, "a.png", "b.png")
    seen = [resolve(str(tmp_path)).fingerprint()]
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert resolve(str(tmp_path)).fingerprint() == seen[0]  # a copy of a folder is the same photos
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:-1] + b"x")  # as long as before
    os.utime(tmp_path / "a.png", ns=(1, 1))
    seen.append(resolve(str(tmp_path)).fingerprint())
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    seen.append(resolve(str(tmp_path)).fingerprint())
    (tmp_path / "labels.csv").write_text("file,x\na.png,1\n")
    seen.append(resolve(str(tmp_path)).fingerprint())
    (tmp_path / "labels.csv").write_text("file,x\na.png,2\n")
    seen.append(resolve(str(tmp_path)).fingerprint())
    seen.append(resolve(str(tmp_path), identities="folders").fingerprint())
    assert len(set(seen)) == len(seen)


def test_the_fingerprint_of_a_large_folder_looks_at_times(tmp_path, monkeypatch):
    folder_of(tmp_path, "a.png")
    monkeypatch.setattr(base, "_WHOLE_BYTES", 0)
    seen = resolve(str(tmp_path)).fingerprint()
    assert resolve(str(tmp_path)).fingerprint() == seen
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert resolve(str(tmp_path)).fingerprint() != seen
    (tmp_path / "a.png").unlink()
    source = resolve(str(folder_of(tmp_path, "b.png")))
    (tmp_path / "b.png").unlink()
    assert len(source.fingerprint()) == 64  # a file that went away meanwhile is no reason to stop


def test_a_draw_is_repeatable_in_order_and_another_with_another_seed(tmp_path):
    source = resolve(str(folder_of(tmp_path, *(f"{i:02}.png" for i in range(30)))))
    draw = list(source.pick(10, 0))
    assert draw == sorted(set(draw))
    assert len(draw) == 10
    assert draw == list(source.pick(10, 0)) != list(source.pick(10, 1))
    assert list(source.pick(None, 0)) == list(source.pick(99, 0)) == list(range(30))


# --- the known sets ------------------------------------------------------------------------------------------------


def test_fairface(tmp_path):
    folder_of(tmp_path, "train/2.jpg", "train/1.jpg", "val/1.jpg")
    (tmp_path / "fairface_label_train.csv").write_text(
        "file,age,race\ntrain/2.jpg,20-29,Black\ntrain/1.jpg,3-9,Latino_Hispanic\ntrain/9.jpg,3-9,White\n"
    )
    (tmp_path / "fairface_label_val.csv").write_text("file,age,race\nval/1.jpg,30-39,Indian\n")
    source = resolve(str(tmp_path))
    assert listed(source) == ["train/2.jpg", "train/1.jpg", "train/9.jpg", "val/1.jpg"]
    assert list(source.attributes) == ["age", "race"]
    assert dict(items(source)[3].attributes) == {"age": "30-39", "race": "Indian"}
    with pytest.raises(Unusable, match="missing"):
        items(source)[2].read()
    (tmp_path / "fairface_label_val.csv").write_text("file,age\nval/1.jpg,30-39\n")
    with pytest.raises(InputError, match="different columns"):
        resolve(str(tmp_path))


def test_lfw(tmp_path, monkeypatch):
    names = [f"{person}/{person}_{i:04}.jpg" for person in ("Ada_Byron", "Prince") for i in (1, 2)]
    folder_of(tmp_path / "lfw_home/lfw_funneled", *names)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    source = resolve("lfw")
    assert [(item.file, item.identity) for item in items(source)] == [(name, name.split("/")[0]) for name in names]
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"does not exist; download https://.* and unpack it there"):
        resolve("lfw")
    (tmp_path / "empty/lfw_home/x").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no folders Name_Name/Name_Name_0001\.jpg; download"):
        resolve("lfw")


def test_celeba(tmp_path):
    root = folder_of(tmp_path / "celeba", "img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg")
    (root / "list_attr_celeba.txt").write_text("2\nSmiling Young\n000001.jpg  1 -1\n000002.jpg -1  1\n")
    with pytest.raises(InputError, match=r"has no identity_CelebA\.txt; get img_align_celeba\.zip"):
        resolve(f"celeba:{tmp_path}")
    (root / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n")
    source = resolve(f"celeba:{tmp_path}")
    assert [(item.file, item.identity, dict(item.attributes)) for item in items(source)] == [
        ("img_align_celeba/000001.jpg", "2880", {"Smiling": "yes", "Young": "no"}),
        ("img_align_celeba/000002.jpg", "2937", {"Smiling": "no", "Young": "yes"}),
    ]
    (root / "list_attr_celeba.txt").write_text("2\nSmiling Young\n000001.jpg  1\n")
    with pytest.raises(InputError, match=r"list_attr_celeba\.txt, line 3: not a file and 2 values of 1 or -1"):
        items(resolve(f"celeba:{tmp_path}"))


def test_rendered_chunks_do_not_depend_on_where_they_are_cut():
    source = resolve("rendered", seed=5, count=6, images_per_person=2, size=32)
    whole = [(item.file, item.read(), item.identity) for item in source.chunk(range(6))]
    parts = pickle.loads(pickle.dumps([source.chunk([0, 1]), source.chunk([3]), source.chunk([2, 4, 5])]))
    apart = sorted((item.file, item.read(), item.identity) for part in parts for item in part)
    assert apart == whole
    assert len({identity for _, _, identity in whole}) == 3
    assert decode(whole[0][1]).image.size == (32, 32)
    assert set(next(iter(source.chunk([0]))).attributes) == set(source.attributes)
    assert list(source.pick(9, 0)) == list(range(9))
    assert source.fingerprint() != resolve("rendered", seed=6, count=6, images_per_person=2, size=32).fingerprint()


@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("count", 0), ("images_per_person", 0), ("size", 33)])
def test_rendered_options_out_of_range(option, value):
    with pytest.raises(InputError, match=f"source 'rendered': {option} is {value}; it must be"):
        resolve("rendered", **{option: value})


def test_digits():
    from sklearn.datasets import load_digits

    source = resolve("digits")
    assert len(source) == 1797
    item = source.chunk([3])[0]
    assert item.attributes == {"digit": str(load_digits().target[3])}
    small = np.asarray(Image.open(BytesIO(item.read())).resize((8, 8), Image.Resampling.BOX)).astype(float)
    assert np.corrcoef(small.ravel(), load_digits().images[3].ravel())[0, 1] > 0.95


def test_pictures_and_videos_that_are_not_read_are_named(tmp_path, monkeypatch):
    names = ("a.HEIC", "b.mp4", "c.jpg_large", "d.png!w700", "e.JPG", "notes.txt", "._f.jpg", "sub/g.heif")
    for name in (*names, ".ipynb_checkpoints/h-checkpoint.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("forge.faces.sources.folder.can_read_videos", lambda: False)
    source = resolve(str(tmp_path))
    assert source.files == ["e.JPG"]
    assert list(source.unread) == ["a.HEIC", "b.mp4", "c.jpg_large", "d.png!w700", "sub/g.heif"]
    assert "HEIC photo" in source.unread["a.HEIC"] and "video" in source.unread["b.mp4"]
    assert source.unread["c.jpg_large"] == "its name ends in .jpg_large; rename it"
