"""The command line as people use it: whole runs, exit codes, one sentence for each mistake."""

import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from forked import start_bench
from PIL import Image
from synthetic import TINY

from benchmarks.protocol import PROTOCOL_VERSION

pytestmark = pytest.mark.e2e


def test_a_run_from_nothing_to_a_report_and_on(bench, tmp_path):
    code, out, err = bench(
        "run", "-g", "dcgan", "-d", "xception,dct", "--set", "detectors.xception.max_images=64", *TINY
    )
    assert (code, err) == (0, "")
    name = "dcgan-xception+dct-rendered-smoke"
    report = tmp_path / "reports" / name
    expected = {"index.html", "report.md", "results.json", "results.csv", "scores.parquet", "expected.json"}
    assert expected <= {file.name for file in report.iterdir()}
    assert "AUC" in out and str(Path("reports") / name / "index.html") in out and "\x1b[" not in out
    results = json.loads((report / "results.json").read_text())
    assert [c["detector"] for c in results["cells"]] == ["dct", "xception"]
    assert str(tmp_path) not in (report / "results.json").read_text()
    assert results["data"]["shown"] is True  # rendered people may be shown
    page = (report / "index.html").read_text()
    assert "photo not shown" not in page and "data:image/" in page
    assert "Saliency and frequency maps" in page and "Without saliency maps: dct." in page  # the network's are shown
    assert page.count("The same forgeries in grey") == 1
    assert {"spectrum-dcgan.png", "saliency-dcgan.png"} <= {file.name for file in report.iterdir()}

    before = {file: file.stat().st_mtime_ns for file in report.rglob("*")}
    code, out, _ = bench("run", "-g", "dcgan", "-d", "xception,dct", "--set", "detectors.xception.max_images=64", *TINY)
    assert code == 0 and out.count("cached") == len(results["stages"]) + 1 and "done in" not in out
    assert {file: file.stat().st_mtime_ns for file in report.rglob("*")} == before

    code, out, _ = bench("list", "runs", "--json")
    assert code == 0 and [run["name"] for run in json.loads(out)] == [name]
    code, out, _ = bench("show", name)
    assert code == 0 and "xception" in out

    photo = tmp_path / "me.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(photo)
    (tmp_path / "fake.jpg").write_text("not an image")
    code, out, _ = bench("detect", name, str(photo), str(tmp_path / "fake.jpg"), "--json")
    rows = json.loads(out)["images"]
    assert code == 0 and 0 <= rows[0]["probability"] <= 1 and rows[0]["verdict"] in ("real", "forged")
    assert rows[1]["problem"].startswith("not an image")
    code, out, err = bench("detect", name, str(tmp_path / "fake.jpg"))
    assert code == 2 and "none of the 1 files could be used" in err
    code, _, err = bench("detect", name, "--detector", "dtc", str(photo))
    assert code == 2 and "'dtc' is not known; did you mean 'dct'?" in err
    code, _, err = bench("detect", name, "nowhere.jpg")
    assert code == 2 and "image 'nowhere.jpg' does not exist" in err

    code, out, _ = bench("run", "-g", "dcgan", "-d", "dct", *TINY, "--seed", "1", "--dry-run", "--json")
    states = {row["stage"]: row["state"] for row in json.loads(out)}
    assert states["prepare rendered"] == "cached" and states["train dcgan"] == "run: no result yet"


def test_json_prints_one_object_and_quiet_nothing(bench):
    arguments = ("run", "-g", "dcgan", "-d", "dct", *TINY)
    code, out, _ = bench(*arguments, "--json")
    assert code == 0 and json.loads(out)["cells"][0]["detector"] == "dct"
    code, out, err = bench(*arguments, "--quiet")
    assert (code, out, err) == (0, "", "")


def test_killed_in_training_it_ends_with_the_same_results(bench, tmp_path):
    longer = ("--set", "generator.training.kimg=1.5", "--name", "killed")
    killed = tmp_path / "killed"
    killed.mkdir()
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", *TINY, *longer)
    assert code == 0, err
    for prepared in (tmp_path / "runs/results").glob("prepare-*"):  # the kill is in the training
        shutil.copytree(prepared, killed / "runs/results" / prepared.name)
    process = start_bench(killed, "run", "-g", "dcgan", "-d", "dct", *TINY, *longer)
    while process.is_alive() and not list((killed / "runs").glob("work/*/log.jsonl")):
        time.sleep(0.02)
    process.kill()  # test_mutations.py kills at any moment
    process.join()
    assert not (killed / "reports").exists()
    code, *texts = bench(
        "run", "-g", "dcgan", "-d", "dct", *TINY, *longer, "--store", str(killed / "runs"), "--reports",
        str(killed / "reports"),
    )  # fmt: skip
    out = "".join(texts)
    assert code == 0, out
    assert "prepare rendered: cached" in out and "train dcgan: done" in out
    for name in ("results.csv", "scores.parquet"):
        assert (tmp_path / "reports/killed" / name).read_bytes() == (killed / "reports/killed" / name).read_bytes()


@pytest.mark.parametrize("text", ["{}", "[]", "no json", ""])
def test_a_damaged_report_is_named_and_hides_no_other(text, bench, tmp_path):
    (tmp_path / "reports" / "broken").mkdir(parents=True)
    (tmp_path / "reports" / "broken" / "results.json").write_text(text)
    for verb in ("leaderboard", "report", "show", "reproduce"):
        code, _, err = bench(verb, "broken")
        assert code == 2 and "results.json is" in err and "should not happen" not in err
    code, out, _ = bench("list", "runs")
    assert code == 0 and "broken" in out and "damaged" in out


MISTAKES = [
    (("run", "-g", "dcgna", "-d", "dct"), "generator 'dcgna' is not known; did you mean 'dcgan'"),
    (("run", "-g", "dcgan", "-d", "xcepton"), "detector 'xcepton' is not known; did you mean 'xception'?"),
    (("run", "-g", "dcgan", "-d", "dct", "--preset", "quik"), "preset 'quik' is not known; did you mean 'quick'?"),
    (("run", "-g", "dcgan"), "no detector was named; give --detector NAME (`bench list detectors` shows all)"),
    (("run", "-g", "dcgan", "-d", "dct", "--data", "/nowhere"), "data '/nowhere' is neither a known source nor"),
    (("run", "-g", "dcgan", "-d", "dct", "--set", "data.crop=oval"), "setting 'data.crop' cannot be 'oval'"),
    (("run", "-g", "dcgan", "-d", "dct", "--resolution", "50"), "resolution 50 is not possible with DCGAN"),
    (("run", "-g", "dcgan", "-d", "dct", "--device", "tpu"), "device 'tpu' is not known; use auto, cpu, cuda"),
    (("run", "-g", "dcgan", "-d", "dct", "--precision", "fp8"), "precision 'fp8' is not known; did you mean 'fp32'?"),
    (("run", "none.yaml"), "none.yaml cannot be read: No such file or directory"),
    (("run", "-g", "gone.py:Thing", "-d", "dct"), "there is no file"),
    (("list", "generator"), "list 'generator' is not known; did you mean 'generators'"),
    (("show", "xcepion"), "run 'xcepion' is not known in reports/; no run finished yet"),
    (("show", "no-run", "-g", "dcgan"), "run 'no-run' is not known in reports/; no run finished yet"),
    (("show", "."), ". is neither a report nor a trained generator: it has no results.json and no generator.json"),
    (("show", "dcgan", "--out", "x"), "--out, --against and --backward are for pictures of a trained generator"),
    (("detect", "no-run", "x.jpg"), "run 'no-run' is not known in reports/; no run finished yet"),
    (("data", "verify", "nowhere"), "nowhere is not a FaceSet: it has no card.json; `bench data prepare` makes one"),
    (("data", "prepare", "nowhere"), "nowhere"),
    (("speed", "--only", "warp"), "measurement 'warp' is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(bench, arguments, message):
    code, out, err = bench(*arguments)
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1
    assert "Traceback" not in err and out == ""


def test_debug_shows_the_traceback_and_keeps_the_exit_code(bench):
    code, _, err = bench("run", "-g", "dcgan", "-d", "xcepton", "--debug")
    assert code == 2 and "Traceback" in err and "`bench list detectors` shows all" in err


@pytest.mark.parametrize("name", ["../x", "a/b", " ", "-x", "..", "<b>", "x" * 101])
def test_a_name_that_is_no_folder_is_refused_at_once(bench, tmp_path, name):
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", *TINY, f"--name={name}", "--dry-run")
    assert code == 2 and "cannot name a folder everywhere" in err and not (tmp_path / "reports").exists()


def test_a_plugin_of_the_wrong_kind_is_refused_at_once(bench, tmp_path):
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    code, _, err = bench("run", "-g", "dcgan", "-d", "mine.py:Mine", *TINY, "--dry-run")
    assert code == 2 and "is no detector: it must be a subclass of detect.detectors.base.Detector" in err
    code, _, err = bench("run", "-g", "mine.py:Mine", "-d", "dct", *TINY, "--dry-run")
    assert code == 2 and "is no generator: it must be a subclass of forge.generators.base.Architecture" in err
    code, _, err = bench("run", "-g", "dcgan", "-d", "leaves.py:X", *TINY, "--dry-run")
    assert code == 2 and "running leaves.py failed: SystemExit" in err


LEAVES = """
import sys

from detect.detectors.dct import LogDct


class InFit(LogDct):
    def fit(self, data, context):
        sys.exit(0)


class InInit(LogDct):
    class Settings(LogDct.Settings):
        def model_post_init(self, context):
            sys.exit(0)
"""


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.parametrize(("name", "dry"), [("InFit", False), ("InInit", True)])
def test_a_plugin_that_ends_the_program_is_an_error(bench, tmp_path, name, dry):
    (tmp_path / "leaves.py").write_text(LEAVES)
    command = ("run", "-g", "gan", "-d", f"leaves.py:{name}", *TINY, *(["--dry-run"] if dry else ["--quiet"]))
    code, _, err = bench(*command)
    assert code == 2 and "ends the program (SystemExit(0))" in err and not (tmp_path / "reports").exists()


@pytest.mark.usefixtures("trained_gan")
def test_a_detector_from_a_file_scores_photos_too(bench, tmp_path):
    code = "from detect.detectors.dct import LogDct\n\n\nclass Mine(LogDct):\n    family = 'mine'\n"
    (tmp_path / "mine.py").write_text(code)
    assert bench("run", "-g", "gan", "-d", "mine.py:Mine", *TINY, "--name", "own", "-q")[0] == 0
    Image.new("RGB", (40, 40), (90, 60, 30)).save(tmp_path / "me.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "me.png")
    code, _, err = bench("detect", "own", "me.png")
    assert code == 2 and "was fitted with a detector from a file" in err
    code, out, _ = bench("detect", "own", "me.png", "-d", "mine.py:Mine", "--json")
    assert code == 0 and "probability" in json.loads(out)["images"][0]


def test_a_damaged_set_given_as_data_is_refused(bench, tmp_path):
    assert bench("data", "prepare", "rendered", "--count", "160", "--resolution", "16", "--out", "set")[0] == 0
    shard = next((tmp_path / "set").glob("images-*.npy"))
    changed = bytearray(shard.read_bytes())
    changed[-1] ^= 1
    shard.write_bytes(changed)
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", "--data", "set", *TINY)
    assert code == 1 and "set is damaged: images-00000.npy was changed" in err


def test_usage_errors_exit_with_2(bench):
    assert bench("run", "--sed", "1")[0] == 2
    assert bench("run", "--seed", "-1")[0] == 2
    assert bench("fly")[0] == 2


def test_a_place_that_cannot_be_written_is_named(bench, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", *TINY, "--store", "file/store")
    assert code in (1, 2) and "file/store" in err and err.count("\n") == 1


def test_a_report_folder_that_holds_something_else_is_left_alone(bench, tmp_path):
    other = tmp_path / "reports" / "mine"
    other.mkdir(parents=True)
    (other / "thesis.txt").write_text("years of work")
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", *TINY, "--name", "mine")
    assert code == 2 and "holds something that is not a report; choose another --name" in err
    assert (other / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("trained_gan")
def test_the_report_of_another_run_is_replaced_only_when_asked(bench, tmp_path):
    command = ("run", "-g", "gan", "-d", "dct", *TINY, "--quiet")
    assert bench(*command) == (0, "", "")
    results = next((tmp_path / "reports").glob("*/results.json"))
    before = results.read_bytes()
    code, _, err = bench(*command, "--seed", "1")
    assert code == 2 and "holds the report of another run" in err and "--overwrite" in err
    assert results.read_bytes() == before and err.count("\n") == 1
    name = err.partition("--name ")[2].partition(",")[0]
    assert bench(*command, "--seed", "1", "--name", name) == (0, "", "") and results.read_bytes() == before
    assert bench(*command) == (0, "", "") and results.read_bytes() == before  # the same run is no other
    assert bench(*command, "--seed", "1", "--dry-run")[0] == 0
    assert bench(*command, "--seed", "1", "--overwrite") == (0, "", "")
    assert json.loads(results.read_text())["seed"] == 1


def test_photos_stay_out_of_the_report_unless_asked_for(bench, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(80):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((40, 40), Image.Resampling.BICUBIC).save(photos / f"{i}.png")
    arguments = ("run", "-g", "dcgan", "-d", "dct", "--data", str(photos), *TINY, "--set", "data.count=null", "--name")
    shown = {}
    for name, flag in (("hidden", ()), ("open", ("--show-real",))):
        code, _, err = bench(*arguments, name, *flag)
        assert code == 0, err
        shown[name] = json.loads((tmp_path / "reports" / name / "results.json").read_text())["data"]["shown"]
    assert shown == {"hidden": False, "open": True}


def test_the_crop_of_a_run_is_found_in_its_card():
    from benchmarks.inference.predictor import crop_of

    assert crop_of({"preparation": {"crop": {"threshold": 0.9}}}) == "face"
    assert crop_of({"preparation": {"crop": "largest square in the middle"}}) == crop_of({}) == "none"


def test_too_few_photos_are_counted(bench, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 64), (i * 40, 90, 30)).save(photos / f"{i}.png")
    code, _, err = bench("run", "-g", "dcgan", "-d", "dct", "--data", str(photos), *TINY[:2])
    assert code == 2 and "3" in err and err.count("\n") == 1


@pytest.mark.parametrize("kind", ["generators", "detectors", "perturbations", "sources"])
def test_lists_name_everything(bench, kind):
    code, out, _ = bench("list", kind, "--json")
    rows = json.loads(out)
    assert code == 0 and all(row["name"] and row["what"] for row in rows)
    known = {"generators": "dcgan", "detectors": "xception", "perturbations": "jpeg75", "sources": "rendered"}
    assert known[kind] in {row["name"] for row in rows}


def test_show_tells_the_settings_of_a_preset(bench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = bench("show", "dcgan", "--preset", "smoke")
    assert code == 0 and "generator.training.kimg" in out and "generator.network.latent" in out
    code, out, _ = bench("show", "flow", "--preset", "smoke")
    assert code == 0 and "generator.training.warm_up" in out and "d_steps" not in out and "judged" not in out


def test_show_makes_pictures_of_a_run_s_generator(bench, tmp_path):
    settings = ("--set", "generator.training.sample_every_kimg=1", "--name", "mine", "-q")
    assert bench("run", "-g", "dcgan,dcgan@0.5k", "-d", "dct", *TINY, *settings)[0] == 0
    faces = next((tmp_path / "runs/results").glob("prepare-*")) / "faces"
    code, out, err = bench("show", "mine", "-g", "dcgan", "--against", str(faces))
    folder = Path("pictures/mine/dcgan")
    names = {"walk.gif", "samples.png", "filmstrip.png", "nearest.png"}  # DCGAN cannot be truncated
    assert (code, err) == (0, "") and {file.name for file in folder.iterdir()} == names
    assert all(str(folder / name) in out for name in names)
    assert "dcgan, 16 px" in out and "1000 forgeries: nearest" in out and "nearest.png shows real faces" in out

    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    training = next((tmp_path / "runs/results").glob("train-*"))
    code, out, err = bench("show", str(training), "--out", "again", "--seed", "0")
    assert (code, err) == (0, "") and (tmp_path / "again/walk.gif").read_bytes() == first["walk.gif"]
    code, out, _ = bench("show", "mine", "--generator", "dcgan@0.5k", "--format", "apng")
    assert code == 0 and "dcgan@0.5k" in out
    assert {file.name for file in Path("pictures/mine/dcgan@0.5k").iterdir()} >= {"walk.png", "samples.png"}

    (tmp_path / "file").write_text("")
    (tmp_path / "own.py").write_text("from forge.generators.dcgan import DCGAN\n\n\nclass Own(DCGAN):\n    pass\n")
    assert bench("show", str(training), "-g", "own.py:Own", "--out", "own", "--format", "apng")[0] == 0
    mistakes = {
        ("mine", "-g", "dcgna"): "generator of run mine 'dcgna' is not known; did you mean 'dcgan'?",
        ("mine", "-g", "dcgan@0.7k"): "dcgan of mine has no snapshot '0.7k'; it kept: 0.5k",
        ("mine", "-g", "dcgan@late"): "a snapshot is named by thousands of images, e.g. dcgan@24k",
        ("mine", "-g", "dcgan", "--out", "file"): "--out file is not a folder; choose another place",
        ("mine", "-g", "dcgan", "--out", "file/in"): "this place cannot be used at file/in",
        ("mine", "-g", "dcgan", "--out", "runs/x"): "--out runs/x lies among the stored results in runs",
        ("mine", "-g", "dcgan", "--format", "gift"): "format 'gift' is not known; did you mean 'gif'?",
        ("mine", "-g", "dcgan", "--against", "file"): "file is not a FaceSet",
        ("mine", "-g", "dcgan", "--store", "else"): "train dcgan of mine is not in else/",
        ("mine", "--against", "file"): "name one with --generator",
        (str(training), "-g", "dcgan"): "is one generator already; --generator may only name the file of its class",
        (str(training.parent),): "results is neither a report nor a trained generator",
    }
    for arguments, message in mistakes.items():
        code, out, err = bench("show", *arguments)
        assert code == 2 and message in err and err.count("\n") == 1 and out == "", arguments


def test_doctor_says_what_is_here(bench):
    code, out, _ = bench("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(out)}
    assert code == 0 and rows["torch"]["advice"] == "" and "device" in rows and "store" in rows


def test_data_verbs(bench, tmp_path):
    code, out, err = bench("data", "prepare", "rendered", "--count", "60", "--resolution", "16", "--out", "set")
    assert (code, err) == (0, "") and "60 real faces" in out
    code, out, _ = bench("data", "show", "set", "--out", "sheet.png", "--count", "20")
    assert code == 0 and Image.open(tmp_path / "sheet.png").width > 10 * 16
    assert bench("data", "verify", "set")[0] == 0
    assert bench("data", "export", "set", "png", "--split", "val")[0] == 0
    assert len(list((tmp_path / "png").rglob("*.png"))) > 0
    code, _, err = bench("data", "prepare", "rendered", "--count", "60", "--out", "set")
    assert code == 2 and "set exists already; choose another place" in err
    shard = next((tmp_path / "set").glob("images-*.npy"))
    changed = bytearray(shard.read_bytes())
    changed[500] ^= 1
    shard.write_bytes(changed)
    code, _, err = bench("data", "verify", "set")
    assert code == 1 and f"{shard.name} was changed" in err


def test_the_version_is_printed(bench):
    assert bench("--version")[:2] == (0, f"bench {version('deepfake-bench')}, protocol {PROTOCOL_VERSION}\n")
