"""`bench detect published`: reported figures beside those of a run."""

import json
from types import SimpleNamespace

import pytest

from benchmarks.cli.published import compared
from detect.importers import IMPORTERS
from forge.core.errors import InputError

from .synthetic import cell


def results(*cells, published="cnndetection", file="blur_jpg_prob0.5.pth"):
    fit = SimpleNamespace(name="resnet", facts={"published": published, "file": file})
    return SimpleNamespace(name="run", detectors=[fit], cells=cells)


def measured(name, **values):
    plain = cell(0.9, 0.8, 1.0, detector="resnet", trained_on="elsewhere", tested_on=f"external:{name}", n=50)
    return type(plain).model_validate(plain.model_dump() | values)


def test_a_run_fills_in_the_values_of_the_sets_and_of_the_file_it_tested():
    importer = IMPORTERS.load("cnndetection")
    rows = compared("cnndetection", importer, results(measured("stylegan2", accuracy=0.71, ap=0.98), measured("mine")))
    filled = [row for row in rows if row["reproduced"] is not None]
    assert [(row["test_set"], row["metric"], row["reproduced"]) for row in filled] == [
        ("StyleGAN2", "accuracy", 0.71),
        ("StyleGAN2", "AP", 0.98),
    ]
    assert all(row["weights"] == "blur_jpg_prob0.5.pth" and row["images"] == [50, 50] for row in filled)
    assert all(row["reproduced"] is None for row in compared("cnndetection", importer, None))
    auc = compared(
        "deepfakebench-xception",
        IMPORTERS.load("deepfakebench-xception"),
        results(measured("celeb-df-v2"), published="deepfakebench-xception", file="xception_best.pth"),
    )
    assert {row["test_set"]: row["reproduced"] for row in auc if row["reproduced"]} == {"Celeb-DF v2": 0.9}


def test_a_run_without_the_detector_is_refused():
    with pytest.raises(InputError, match=r"has no detector that was imported as safe; run it with --detector safe-pub"):
        compared("safe", IMPORTERS.load("safe"), results())


def test_the_list_names_every_importer(bench):
    code, out, err = bench("detect", "published")
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line and not line.startswith(" ")] == sorted(IMPORTERS.entries)
    rows = json.loads(bench("detect", "published", "--json")[1])
    assert {row["name"] for row in rows if row["backbone"]} == {"capsule", "univfd", "rine"}
    shown = json.loads(bench("detect", "published", "cnndetection", "--json")[1])
    assert shown["reported"][0]["reported"] == 1.0 and shown["reported"][0]["reproduced"] is None
    assert bench("detect", "published", "nprr")[0] == 2 and bench("detect", "published", "--run", "x")[0] == 2
