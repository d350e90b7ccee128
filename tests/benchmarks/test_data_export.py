"""`bench data export --format`: a Hugging Face dataset of several sets, and refusals."""

import pytest

from forge.core import extras
from forge.faces.sources import resolve

pytestmark = pytest.mark.xdist_group("datasets")  # one process imports the library


@pytest.fixture
def paths(make_set):
    return [str(make_set(kind, {"test": 3}, kind=kind).path) for kind in ("real", "forged")]


def test_sets_leave_together_and_come_back(bench, paths, tmp_path):
    code, out, err = bench("data", "export", paths[0], "out", "--and", paths[1], "--format", "huggingface")
    assert (code, err) == (0, "") and '6 images in out: datasets.load_from_disk("out")' in out
    assert len(resolve(str(tmp_path / "out"), label="forged")) == 3
    code, out, _ = bench("data", "export", paths[0], "pq", "--format", "parquet", "--split", "test")
    assert code == 0 and (tmp_path / "pq/data/test-00000-of-00001.parquet").is_file()


def test_shards_leave_together_and_come_back(bench, paths, tmp_path):
    code, out, err = bench(
        "data",
        "export",
        paths[0],
        "out",
        "--and",
        paths[1],
        "--format",
        "webdataset",
        "--images",
        "webp",
        "--shard",
        "1",
    )
    assert (code, err) == (0, "") and "6 images in 1 shards of out; bench data prepare webdataset:out reads" in out
    assert len(resolve(str(tmp_path / "out"), label="forged")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "parqet"), "did you mean 'parquet'"),
        (("--and", "."), "is not a FaceSet"),
        (("--format", "parquet", "--split", "val"), "no images in split 'val'"),
        (("--format", "webdataset", "--split", "val"), "no images in split 'val'"),
        (("--format", "webdataset", "--images", "jpg"), "format of images 'jpg' is not known"),
        (("--format", "png", "--shard", "3"), "--shard needs --format webdataset, not png"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(bench, paths, tmp_path, arguments, message):
    code, out, err = bench("data", "export", paths[0], "out", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_png_files_are_of_a_set_alone_and_the_extra_is_named(bench, paths, monkeypatch):
    code, _, err = bench("data", "export", paths[0], "out", "--and", paths[1])
    assert code == 2 and "use --format huggingface" in err
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    code, _, err = bench("data", "export", paths[0], "out", "--format", "parquet")
    assert code == 2 and "pip install 'deepfake-bench[datasets]'" in err
