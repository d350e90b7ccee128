"""`bench detect` beyond a run's name: where it looked, detectors in folders, imported weights, and its two helps."""

import json
import os
import shutil
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from finished import finished_run
from PIL import Image
from synthetic import make_scores

from benchmarks import load
from benchmarks.cli.commands.detect import detect
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.inference.photo_scores import PhotoScores
from benchmarks.inference.predictor import Predictor, caution
from benchmarks.inference.threshold import Threshold
from benchmarks.report.digests import write_sums
from benchmarks.serve.index import RunIndex
from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.discriminator import FromScratch
from detect.discriminator_source import Blueprint
from detect.scoring import read_scores
from detect.training.calibration import Calibration
from forge.core.errors import InputError, UnknownNameError
from forge.core.files import read_json, write_json
from forge.core.registry import allow_files
from forge.generators import GENERATORS


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """What `bench detect` reads of a run, in a folder with photos."""
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def done(finished, bench, monkeypatch):
    """`bench` beside the finished run."""
    monkeypatch.chdir(finished)
    yield bench
    shutil.rmtree(finished / "pictures", ignore_errors=True)


@pytest.mark.parametrize(("before", "during"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_from_before_torch_is_loaded(before, during, monkeypatch):
    seen = []

    def load_module(name):
        seen.append((name, os.environ["OMP_WAIT_POLICY"]))
        return SimpleNamespace(detect=lambda *arguments: None)

    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")  # so that the test leaves the environment as it was
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr("benchmarks.cli.groups.import_module", load_module)
    detect("mine", ["me.png"])
    assert seen == [("benchmarks.cli.detect", during)]


def test_explained_photos_are_written_and_named(done, finished):
    code, out, err = done("detect", "mine", "me.png", "more", "-d", "disc-scratch", "--explain")
    assert (code, err) == (0, "")
    written = Path("pictures/mine/disc-scratch@dcgan")
    assert {file.name for file in written.iterdir()} == {"me.png", "me-2.png"}  # of two folders
    assert all(str(file) in out for file in written.iterdir()) and "Where it looked" in out
    picture = Image.open(written / "me.png")
    assert picture.height >= 256 and picture.width >= 2 * 256
    assert "gradients" in picture.text["Source"] and picture.text["Source"].startswith("me.png: left as disc-scratch")
    left, right = np.asarray(picture)[:, :256].astype(int), np.asarray(picture)[:, -256:].astype(int)
    assert np.abs(left - right).max() > 50

    code, out, _ = done("detect", "mine", "me.png", "-d", "disc-scratch", "--explain-to", "looks", "--json")
    (row,) = json.loads(out)["images"]
    assert code == 0 and row["looked"] == str(Path("looks/me.png")) and Path(row["looked"]).is_file()
    shutil.rmtree("looks")


def test_a_detector_that_cannot_say_where_it_looked_says_so(done):
    code, out, _ = done("detect", "mine", "me.png", "-d", "dct", "--explain")
    assert code == 0 and "dct cannot say which pixels its score depends on" in " ".join(out.split())
    assert not list(Path("pictures").rglob("*.png"))


def test_pictures_stay_out_of_the_store(done):
    Path("file").write_text("")
    for path, message in (("runs/x", "lies among the stored results"), ("file", "file is not a folder")):
        code, out, err = done("detect", "mine", "me.png", "-d", "disc-scratch", "--explain-to", path)
        assert code == 2 and message in err and err.count("\n") == 1 and out == ""


def test_a_detector_in_a_folder_judges_at_one_half(done):
    folder = next(file.parent for file in Path("runs/results").glob("fit-*/detector/network.json"))
    shutil.copytree(folder, "own", dirs_exist_ok=True)
    code, out, err = done("detect", "own", "me.png", "you.png", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "") and answer["detector"] == "disc-scratch" and answer["trained_on"] == "dcgan"
    assert all(row["called"] == ("forged" if row["probability"] >= 0.5 else "real") for row in answer["images"])
    code, out, _ = done("detect", "own", "me.png")
    assert code == 0 and "even odds by its calibration" in " ".join(out.split())
    code, _, err = done("detect", "own", "me.png", "-d", "dct")
    assert code == 2 and "own is one detector already" in err
    shutil.rmtree("own")


def test_a_discriminator_from_a_file_is_built_only_if_its_file_is_named(done, monkeypatch):
    Path("mine.py").write_text("from forge.generators.dcgan import DCGAN\n\n\nclass Mine(DCGAN):\n    citation = 'x'\n")
    reference = "mine.py:Mine"
    allow_files([reference])
    GENERATORS.load(reference)
    detector = FromScratch(FromScratch.Settings(), 16)
    detector.blueprint = Blueprint(reference, {}, 16)
    detector.network = detector.build().eval()
    card = DetectorCard(
        name="disc-scratch", family="disc-scratch", citation="", variant="", settings=detector.settings.model_dump(),
        resolution=16, seed=0, trained_on="mine", data=[], calibration={"a": 1.0, "b": 0.0}, parameters=1, facts={},
        history=[],
    )  # fmt: skip
    TrainedDetector(detector, card).save(Path("from-file"))
    for name in [name for name in sys.modules if name.startswith("bench_plugin_mine")]:
        monkeypatch.delitem(sys.modules, name)  # as in a process of its own
    code, _, err = done("detect", "from-file", "me.png")
    assert code == 2 and f"name that file: --generator {reference}" in err
    code, out, err = done("detect", "from-file", "me.png", "--generator", reference, "--json")
    assert (code, err) == (0, "") and "score" in json.loads(out)["images"][0]
    code, _, err = done("detect", "from-file", "me.png", "--generator", "no.py:Mine")
    assert code == 2 and "no.py" in err
    shutil.rmtree("from-file")


def test_of_a_run_with_several_seeds_the_first_one_is_asked(done):
    results = read_json(Path("reports/mine/results.json"))
    threshold = next(cell["threshold"] for cell in results["cells"] if cell["detector"] == "dct")
    later = [{**cell, "seed": 1, "threshold": threshold + 1} for cell in results["cells"]]
    stages = [{**stage, "name": f"{stage['name']} #{seed}"} for stage in results["stages"] for seed in (0, 1)]
    for stage in stages[1::2]:
        stage["key"] = "f" * 64
    changed = {"seeds": [0, 1], "cells": results["cells"] + later, "stages": stages}
    write_json(Path("reports/twice/results.json"), results | changed)
    shutil.copy("reports/mine/scores.parquet", "reports/twice")
    write_sums(Path("reports/twice"))
    code, out, err = done("detect", "twice", "me.png", "--json")
    once = done("detect", "mine", "me.png", "--json")[1]
    assert (code, err) == (0, "") and json.loads(out)["images"] == json.loads(once)["images"]
    (run,) = [run for run in RunIndex(Path("reports"), Path("runs")).runs() if run.name == "twice"]
    assert [choice.ready for choice in run.choices] == [True, True]
    shutil.rmtree("reports/twice")


def test_a_run_that_is_called_like_a_command_is_reached_by_its_path(done):
    shutil.copytree("reports/mine", "reports/import", dirs_exist_ok=True)
    code, out, _ = done("detect", str(Path("reports/import")), "me.png", "--json")
    assert code == 0 and json.loads(out)["detector"] == "dct"
    assert done("detect", "import", "me.png")[0] == 2  # the command, which wants a file too
    shutil.rmtree("reports/import")


def test_both_commands_have_help(bench):
    code, out, _ = bench("detect", "--help")
    flat = " ".join(out.split())
    assert code == 0 and "images" in flat and "--explain" in flat and "named by its path" in flat
    assert "import Turn weights" in flat and "bench detect import meso4" in flat
    code, out, _ = bench("detect", "import", "-h")
    assert code == 0 and "nothing in the file is ever run" in " ".join(out.split()) and "--out" in out
    code, _, err = bench("detect")
    assert code == 2 and "missing argument" in err and " - " not in err
    code, _, err = bench("detect", "mine", "x.png", "--explian")
    assert code == 2 and "--explain" in err


@pytest.fixture
def published(monkeypatch):
    """A stand-in for `import_published` that notes what it is asked for."""
    requests = []

    def import_published(name, file, directory, resolution=None, backbone=None):
        requests.append((name, file, directory, resolution))
        if not file.is_file():
            raise InputError(f"weights file {file} does not exist")
        card = SimpleNamespace(name=name, parameters=27_977, resolution=resolution or 256, seen=[])
        return SimpleNamespace(card=card)

    monkeypatch.setattr("benchmarks.cli.detect.import_published", import_published)
    return requests


def test_import_says_how_to_go_on(bench, published, tmp_path):
    (tmp_path / "weights.h5").write_text("")
    code, out, err = bench("detect", "import", "meso4", "weights.h5")
    assert (code, err) == (0, "") and published == [("meso4", Path("weights.h5"), Path("meso4-published"), None)]
    assert "meso4, 27,977 values, judges 256 px faces" in out
    assert "bench detect meso4-published PHOTO" in out and "--detector meso4-published" in out and "not fitted" in out
    bench("detect", "import", "npr", "weights.h5", "--out", "here", "--resolution", "128")
    assert published[-1] == ("npr", Path("weights.h5"), Path("here"), 128)


def test_import_replaces_nothing_and_passes_refusals_on(bench, published, tmp_path):
    (tmp_path / "meso4-published").mkdir()
    (tmp_path / "meso4-published" / "thesis.txt").write_text("years of work")
    code, _, err = bench("detect", "import", "meso4", "weights.h5")
    assert code == 2 and "meso4-published exists already; choose another place with --out" in err and not published
    code, _, err = bench("detect", "import", "meso4", "gone.h5", "--out", "new")
    assert code == 2 and err == "error: weights file gone.h5 does not exist\n"


def test_a_failed_audit_is_said_before_any_verdict(done, finished):
    file, sums = finished / "reports/mine/results.json", finished / "reports/mine/SHA256SUMS"
    before, digests = file.read_text(), sums.read_text()
    sums.unlink()  # whoever changes a report may do that too
    results = json.loads(before)
    results["audits"] = [
        {"audit": "metadata", "passed": False, "sentence": "File sizes tell the classes.", "numbers": {}}
    ]
    file.write_text(json.dumps(results))
    try:
        code, out, _ = done("detect", "mine", "me.png", "-d", "disc-scratch")
        assert code == 0 and out.startswith("SHORTCUT, do not rely on these numbers: metadata.")
        code, out, _ = done("detect", "mine", "me.png", "-d", "disc-scratch", "--json")
        assert json.loads(out)["warnings"][0].endswith("File sizes tell the classes.")
        code, out, _ = done("list", "runs", "--json")
        assert json.loads(out)[0]["warnings"] == "SHORTCUT"
    finally:
        file.write_text(before)
        sums.write_text(digests)


def test_a_folder_is_read_by_the_rule_of_data_prepare(done, finished, tmp_path):
    folder = tmp_path / "photos"
    (tmp_path / "linked").mkdir()
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("a.png", "._b.png", ".ipynb_checkpoints/c.png", "../linked/d.png"):
        shutil.copy(finished / "me.png", folder / name)
    (folder / "elsewhere").symlink_to(tmp_path / "linked")
    (folder / "e.HEIC").write_bytes(bytes(4) + b"ftypheic" + bytes(20))
    code, out, _ = done("detect", "mine", str(folder), "-d", "dct", "--json")
    rows = {Path(row["file"]).relative_to(folder).as_posix(): row for row in json.loads(out)["images"]}
    assert code == 0 and set(rows) == {"a.png", "elsewhere/d.png", "e.HEIC"}
    assert rows["e.HEIC"]["problem"] == "not read: a HEIC photo; convert it to PNG or JPEG"
    code, out, _ = done("detect", "mine", str(folder / "e.HEIC"), "-d", "dct", "--json")
    assert code == 2 and "a HEIC photo; convert it" in json.loads(out)["images"][0]["problem"]


def test_enlarged_photos_and_first_frames_are_said(done, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # no cell is wrapped
    frames = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (4, 6, 3), dtype=np.uint8)) for i in range(2)]
    frames[0].save(tmp_path / "two.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].resize((40, 40)).save(tmp_path / "one.png")
    code, out, _ = done("detect", "mine", str(tmp_path / "two.webp"), str(tmp_path / "one.png"), "-d", "dct", "--json")
    two, one = json.loads(out)["images"]
    assert code == 0 and two["note"] == "enlarged 4 times, first of 2 frames" and "note" not in one
    _, out, _ = done("detect", "mine", str(tmp_path / "two.webp"), "-d", "dct")
    assert "enlarged 4 times" in " ".join(out.split())


def test_the_verdicts_come_with_threshold_its_source_and_error_rates(done):
    code, out, err = done("detect", "mine", "me.png", "you.png", "more", "-d", "dct", "--json")
    answer = json.loads(out)
    cell = next(cell for cell in read_json(Path("reports/mine/results.json"))["cells"] if cell["detector"] == "dct")
    assert (code, err) == (0, "") and answer["threshold"]["score"] == cell["threshold"]
    scores = read_scores(Path("reports/mine/scores.parquet"))
    test = scores[(scores.detector == "dct") & (scores.split == "test")]
    for rate in answer["called_forged"]:
        part = test[test.generator == ("" if rate["name"] == "real" else rate["name"])]
        assert (rate["images"], rate["called"]) == (len(part), (part.score >= cell["threshold"]).sum())
        assert rate["low"] <= rate["called"] / rate["images"] <= rate["high"]
    assert [rate["name"] for rate in answer["called_forged"]] == ["real", "dcgan"]
    code, out, _ = done("detect", "mine", "me.png", "you.png", "more", "-d", "dct")
    flat = " ".join(out.split())
    assert f"Forged means a score of {cell['threshold']:.4g} or more" in flat and "(20 real, 20 forged)" in flat
    assert "of 20 real" in flat and answer["summary"] in flat and answer["summary"].startswith("3 photos: ")


def test_a_false_positive_rate_can_be_asked_for(done):
    scores = read_scores(Path("reports/mine/scores.parquet"))
    val = scores[(scores.detector == "dct") & (scores.split == "val") & (scores.label == 0)].score
    code, out, err = done("detect", "mine", "me.png", "-d", "dct", "--max-fpr", "0.1", "--json")
    threshold = json.loads(out)["threshold"]
    assert (code, err) == (0, "") and (val >= threshold["score"]).sum() == 2
    assert "at most 10 %" in threshold["rule"] and "20 real" in threshold["rule"]
    for bound, message in (("0.01", "cannot be kept on 20 real"), ("0", "between 0 and 1"), ("nan", "between 0 and 1")):
        code, out, err = done("detect", "mine", "me.png", "-d", "dct", "--max-fpr", bound)
        assert code == 2 and out == "" and message in err and err.count("\n") == 1


def test_results_go_to_files_that_other_programs_read(done):
    Path("odd").mkdir()
    shutil.copy("me.png", "odd/=1+1.png")
    Path("odd/b\x1b[31m\nroken.png").write_bytes(b"\x89PNG")
    frames = []
    for out in ("scores.csv", "scores.parquet", "scores.json"):
        code, said, err = done("detect", "mine", "me.png", "odd", "-d", "dct", "--out", out)
        assert (code, err) == (0, "") and "3 photos" in said and "1 not used" in said
    frames = [pd.read_csv("scores.csv"), pd.read_parquet("scores.parquet")]
    rows = json.loads(Path("scores.json").read_text())["images"]
    assert all(row["file"].isprintable() for row in rows) and rows[1]["file"] != rows[2]["file"]
    for frame in frames:
        assert list(frame["file"]) == [row["file"] for row in rows]
        assert np.allclose(frame["score"].dropna(), [row["score"] for row in rows if "score" in row])
        assert frame["score"].isna().sum() == 1 and set(frame["detector"]) == {"dct"}
    assert "odd/=1+1.png" in Path("scores.csv").read_text()
    code, printed, _ = done("detect", "mine", "me.png", "odd", "-d", "dct", "--format", "csv")
    assert code == 0 and printed == Path("scores.csv").read_text()
    for arguments, message in (
        (("--format", "parquet"), "needs a file"),
        (("--format", "xml"), "xml"),
        (("--out", "scores.txt"), "ends in none of"),
        (("--out", "nowhere/scores.csv"), "its folder does not exist"),
        (("--json", "--format", "csv"), "exclude each other"),
    ):
        code, out, err = done("detect", "mine", "me.png", *arguments)
        assert code == 2 and message in err and err.count("\n") == 1
    shutil.rmtree("odd")


def test_many_photos_are_read_in_batches_and_processes_with_the_same_result(done, monkeypatch, finished):
    for number in range(9):
        shutil.copy("me.png" if number % 2 else "you.png", f"more/{number}.png")
    once = done("detect", "mine", "more", "-d", "disc-scratch", "--format", "csv")[1]
    monkeypatch.setattr("benchmarks.inference.photos.AT_ONCE", 2)
    monkeypatch.setattr("benchmarks.inference.photos._SPAWNED_FROM", 3)
    monkeypatch.setattr("benchmarks.inference.photo_scores.COUNTED", 0)  # else each process loads torch
    again = done("detect", "mine", "more", "-d", "disc-scratch", "--format", "csv", "--workers", "2")[1]
    one, other = (pd.read_csv(StringIO(text)) for text in (once, again))
    assert list(one["file"]) == list(other["file"]) and len(one) == 10
    assert np.allclose(one["score"], other["score"], rtol=0, atol=1e-6)
    frame = load("mine", reports="reports").detect(["more"], detector="disc-scratch", store="runs", device="cpu")
    assert np.allclose(frame["score"], one["score"]) and any("Forged means" in note for note in frame.attrs["notes"])
    with pytest.raises(UnknownNameError, match="crop 'square' is not known"):
        load("mine", reports="reports").detect(["more"], crop="square", store="runs", device="cpu")
    trained = load("mine", reports="reports").detector("disc-scratch", store="runs")
    assert trained.name == "disc-scratch" and trained.trained_on == "dcgan"
    for number in range(9):
        Path(f"more/{number}.png").unlink()


@pytest.mark.parametrize("trained_on", ["elsewhere", "dcgan"])
def test_the_rule_of_a_threshold_says_where_the_detector_was_trained(trained_on):
    scores = make_scores({("dct", trained_on): {"dcgan": 2.0}}, n=40)
    cell = evaluate(scores)[0]
    trained = SimpleNamespace(calibration=Calibration(1.0, 0.0))
    rule = Threshold.of_run(trained.calibration, cell, scores).rule
    assert ("trained elsewhere" in rule) == (trained_on == "elsewhere")
    assert ("balanced accuracy" in rule) == (trained_on != "elsewhere")
    threshold = Threshold.of_run(trained.calibration, cell, scores)
    predictor = Predictor(trained, "dct", trained_on, threshold, "none", "run")
    assert caution(predictor).startswith("It was trained elsewhere" if trained_on == "elsewhere" else "Trained on")


def test_equal_scores_leave_a_threshold_that_no_photo_reaches():
    scores = make_scores({("dct", "dcgan"): {"dcgan": 2.0}}, n=40).assign(score=1.0)
    cell = SimpleNamespace(detector="dct", trained_on="dcgan", seed=0, threshold=1.0)
    trained = SimpleNamespace(calibration=Calibration(0.0, 0.0))
    threshold = Threshold.of_run(trained.calibration, cell, scores, max_fpr=0.1)
    assert threshold.score == np.inf and threshold.probability == 1.0
    assert "Forged means no photo" in threshold.sentences()[0]
    predictor = Predictor(SimpleNamespace(), "dct", "dcgan", threshold, "none", "run")
    assert json.loads(PhotoScores(predictor, []).json())["threshold"]["score"] is None


def test_a_script_learns_of_verdicts_by_the_exit_code(done):
    Path("empty").mkdir()
    Path("odd").mkdir()
    Path("odd/broken.png").write_bytes(b"\x89PNG")
    shutil.copy("me.png", "odd/me.png")
    code, out, err = done("detect", "mine", "odd", "-d", "dct", "--json")
    answer = json.loads(out)
    broken, me = answer["images"]
    assert (code, err) == (0, "") and "problem" in broken and me["verdict"] == me["called"] == "real"
    assert answer["verdicts"]["error_rate"] == 0.05 and answer["verdicts"]["prior"] == 0.5
    assert [part["name"] for part in answer["verdicts"]["on_test_images"]] == ["real", "dcgan"]
    for outcome, expected in (("real", 3), ("problem", 3), ("forged", 0), ("cannot-say", 0)):
        assert done("detect", "mine", "odd", "-d", "dct", "--json", "--fail-on", outcome)[0] == expected
    assert done("detect", "mine", "odd", "-d", "dct", "--fail-on", "forged", "--fail-on", "real")[0] == 3
    rare = json.loads(done("detect", "mine", "odd", "-d", "dct", "--json", "--prior", "0.01", "--no-reencode")[1])
    assert rare["images"][1]["probability"] < me["probability"] and "reencoded" not in rare["images"][1]
    for arguments, message in (
        (("odd", "--fail-on", "fake"), "--fail-on 'fake' is not known"),
        (("odd", "--error-rate", "0"), "--error-rate must lie between 0 and 1"),
        (("odd", "--error-rate", "1.5"), "--error-rate must lie between 0 and 1"),
        (("odd", "--error-rate", "0.01"), "needs 99 validation images of each class, and has 20"),
        (("odd", "--prior", "1"), "--prior is the share of forgeries"),
        (("empty",), "there are no images in empty"),
        (("odd/broken.png",), "none of the 1 files could be used"),
    ):
        code, _, err = done("detect", "mine", *arguments)
        assert code == 2 and message in err and err.count("\n") == 1
    shutil.rmtree("empty")
    shutil.rmtree("odd")


def test_a_saved_detector_abstains_as_in_its_run(done):
    load("mine", reports="reports").save_detector("kept", "disc-scratch", store="runs")
    of_run = json.loads(done("detect", "mine", "me.png", "-d", "disc-scratch", "--json")[1])
    of_folder = json.loads(done("detect", "kept", "me.png", "--json")[1])
    for name in ("score", "p_real", "p_forged", "reencoded"):
        assert of_folder["images"][0][name] == of_run["images"][0][name]
    Path("kept/validation.json").unlink()
    code, out, _ = done("detect", "kept", "me.png")
    assert code == 0 and "It cannot abstain because of a score: no validation scores lie beside it" in " ".join(
        out.split()
    )
    code, _, err = done("detect", "kept", "me.png", "--error-rate", "0.1")
    assert code == 2 and "`bench run -d kept` measures some" in err
    shutil.rmtree("kept")
