"""Runs in which no generator is trained, and detectors that were fitted elsewhere."""

import json
import shutil

import pytest
from synthetic import TINY

from forge.faces.faceset import FaceSet

pytestmark = pytest.mark.e2e


def test_blends_are_a_test_column_and_a_fitted_detector_is_used_as_it_is(bench, tmp_path):
    assert bench("run", "-g", "self-blended", "-d", "dct", "--name", "first", *TINY)[0] == 0
    results = json.loads((tmp_path / "reports" / "first" / "results.json").read_text())
    assert results["generators"][0]["trained"] is False
    fit = next(stage for stage in results["stages"] if stage["name"] == "fit dct@self-blended")
    stored = next((tmp_path / "runs").rglob(f"fit-{fit['key'][:16]}*/detector"))
    shutil.copytree(stored, tmp_path / "shelf" / "mine")
    blended = next(FaceSet.open(card.parent) for card in (tmp_path / "runs").rglob("faces/card.json")
                   if json.loads(card.read_text())["kind"] == "forged")  # fmt: skip
    assert set(blended.table["split"]) == {"train", "val", "test"}

    # its settings.trained_on is self-blended: the cell is `same`, and equal to that of the run that fitted it
    code, _, err = bench("run", "-g", "self-blended", "-d", "shelf/mine,random", "--name", "second", *TINY)
    assert (code, err) == (0, "")
    again = json.loads((tmp_path / "reports" / "second" / "results.json").read_text())
    for condition in ("seen", "paired"):
        (first,) = (cell for cell in results["cells"] if cell["condition"] == condition)
        cells = {cell["detector"]: cell for cell in again["cells"] if cell["condition"] == condition}
        assert cells["mine"]["auc"] == first["auc"] and cells["mine"]["trained_on"] == "self-blended"
    assert bench("show", "second")[0] == 0

    code, _, err = bench("run", "-g", "self-blended", "-d", "shelf/mine", *TINY, "--resolution", "64")
    assert code == 2 and "was fitted at 16 px and does not resize; use --resolution 16" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("-g", "self-blended", "-d", "disc-raw"),
            "self-blended has none; name a generator that has one: disc-raw@dcgan",
        ),
        (("-g", "flow,self-blended", "-d", "disc-raw"), "flow, self-blended has none; name a generator that has one"),
        (("-g", "gan,flow", "-d", "disc-raw@flow"), "flow has none; name a generator that has one"),
        (
            ("-g", "gan,self-blended", "-d", "disc-raw@self-blended"),
            "self-blended has none; name a generator that has",
        ),
        (("-g", "self-blended@2k", "-d", "dct"), "is not trained and has no snapshots; use self-blended"),
        (("-g", "self-blended", "-d", "dct", "--set", "generator.network.hue=999"), "less than or equal to 180"),
    ],
)
def test_what_makes_no_sense_without_a_training_is_said(bench, arguments, sentence):
    code, _, err = bench("run", *arguments, *TINY)
    assert code == 2 and sentence in err
