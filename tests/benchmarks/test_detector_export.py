"""`bench detect export`: the file, its card, its script without torch; refusals before anything is written."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from finished import finished_run
from PIL import Image

from benchmarks.cli import detector_export
from benchmarks.inference import check_faces
from benchmarks.inference.check_faces import CheckFaces, faces_for
from benchmarks.inference.photos import intake_for, read_faces
from benchmarks.inference.predictor import predictor_of
from detect.export.agreement import Agreement, Outputs
from forge.core import extras
from forge.core.compute import Compute

pytestmark = pytest.mark.xdist_group("onnx")  # one process imports the exporter

BLOCK = """
import runpy, sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "forge", "detect", "benchmarks", "onnx"))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def done(folder, bench, monkeypatch):
    monkeypatch.chdir(folder)
    faces = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    monkeypatch.setattr(
        detector_export, "faces_for", lambda *_, **__: CheckFaces(faces, np.arange(9, dtype=np.int8) % 2)
    )
    return bench


def test_a_detector_leaves_with_its_card_and_a_script_that_needs_no_torch(done, folder):
    code, out, err = done("detect", "export", "mine", "-d", "disc-scratch", "--onnx", "mine.onnx")
    assert (code, err) == (0, "") and "on 9 images its scores differ" in out and "all are called the same" in out
    assert sorted(path.name for path in folder.glob("*mine*")) == ["mine.md", "mine.onnx", "score_mine.py"]

    card = Path("mine.md").read_text(encoding="utf-8")
    assert "# disc-scratch, trained on dcgan" in card and "licence:" in card and "uint8 [N, 16, 16, 3]" in card
    assert "bench detect export mine -d disc-scratch --trained-on dcgan --onnx mine.onnx" in card
    assert "| dcgan | seen | 20 | 20 | 0." in card and "sigmoid(1 × score +0)" in card and str(folder) not in card

    # a large photo that lies on its side, one in grey, one with a palette: pixels as the bench reads them
    big = np.random.default_rng(1).integers(0, 256, (90, 121, 3), dtype=np.uint8)
    picture = Image.fromarray(big).resize((1210, 901), Image.Resampling.BICUBIC)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save("large.jpg", exif=exif)
    picture.convert("L").save("grey.png")
    picture.quantize(32).save("palette.png")
    names = ["large.jpg", "grey.png", "palette.png", "me.png"]
    printed = subprocess.run(
        [sys.executable, "-c", BLOCK, "score_mine.py", *names], check=True, capture_output=True, text=True
    ).stdout
    predictor = predictor_of("mine", "disc-scratch", None, Path("runs"), Path("reports"))
    (faces,) = read_faces([Path(name) for name in names], intake_for(16, "none"))
    detector, compute = predictor.trained.detector, Compute("cpu", "fp32")
    made = detector.score(faces.images, compute)
    probabilities = predictor.trained.calibration.probability(made)
    for line, name, expected, probability in zip(printed.splitlines(), names, made, probabilities, strict=True):
        beginning, score = line.rsplit(" ", 1)
        verdict = "forged" if expected >= predictor.threshold.score else "real"
        assert beginning == f"{name}: {verdict}, probability {probability:.3f}, score"
        assert float(score) == pytest.approx(expected, abs=1e-6, rel=1e-3)
    # other pixels would show: without the EXIF turn the score is another one
    turned = detector.score(np.rot90(faces.images[:1], axes=(1, 2)).copy(), compute)
    assert turned[0] != pytest.approx(made[0], abs=1e-6, rel=1e-3)


def test_the_leader_is_exported_where_none_is_named_and_others_are_listed(done, monkeypatch, tmp_path):
    monkeypatch.setattr(detector_export, "_write", lambda *_: SAME)
    code, out, _ = done("detect", "export", "mine", "--torch", str(tmp_path / "a.pt2"))
    assert code == 0 and "dct, the run's leader; --detector takes another: disc-scratch" in out
    assert (tmp_path / "a.md").is_file() and not list(tmp_path.glob("*.py"))


def test_a_network_leaves_in_int8_with_what_that_changes(done, folder, monkeypatch):
    rng = np.random.default_rng(0)
    # noise of many contrasts, whose scores differ
    faces = (rng.random((220, 16, 16, 3)) * rng.integers(8, 256, (220, 1, 1, 3))).astype(np.uint8)
    asked = []

    def some_faces(*_, split="test"):
        asked.append(split)
        return CheckFaces(*((faces[:20], np.arange(20, dtype=np.int8) % 2) if split == "test" else (faces[20:], None)))

    monkeypatch.setattr(detector_export, "faces_for", some_faces)
    code, out, err = done(
        "detect", "export", "mine", "-d", "disc-scratch", "--onnx", "small.onnx", "--precision", "int8"
    )
    assert (code, err, asked) == (0, "", ["test", "val"])
    assert "It computes in int8, with ranges measured on 200 other images" in out and "AUC on 20 labelled" in out
    card = Path("small.md").read_text(encoding="utf-8")
    assert "--onnx small.onnx --precision int8" in card and "It computes in int8" in card
    assert sorted(path.name for path in folder.glob("*small*")) == ["score_small.py", "small.md", "small.onnx"]

    session = onnxruntime.InferenceSession("small.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    detector = predictor_of("mine", "disc-scratch", None, Path("runs"), Path("reports")).trained.detector
    exact = detector.score(faces, Compute("cpu", "fp32"))
    made = session.run(["score"], {"images": faces})[0]
    assert facts["precision"] == "int8" and facts["resolution"] == "16"
    assert 0 < np.abs(made - exact).max() < 0.3 * exact.std()


SAME = Agreement(9, 0.0, 1.0, 0.0, 2, 0.25)


def test_the_card_says_what_differs():
    assert "2 are called otherwise" in SAME.sentence() and "bf16" in SAME.sentence() and "0.25" in SAME.sentence()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a file to write"),
        (("--onnx", "a.txt"), "its name must end in .onnx"),
        (("--torch", "a.onnx"), "its name must end in .pt2"),
        (("--onnx", "no/a.onnx"), "its folder does not exist"),
        (("--onnx", "folder.onnx"), "is a folder"),
        (("--onnx", "notes.onnx"), "notes.md would be written beside the model, but holds something else"),
        (("--onnx", "a.onnx", "--precision", "int4"), "choose fp32 or int8"),
        (("--torch", "a.pt2", "--precision", "int8"), "is for --onnx alone"),
        (("--onnx", "a.onnx", "--torch", "a.pt2", "--precision", "int8"), "is for --onnx alone"),
        (("--onnx", "a.onnx", "-d", "dct", "--precision", "int8"), "is for networks of convolutions"),
        (("--onnx", "a{b}.onnx"), "a quote, backslash, brace"),
        (("--onnx", "a.onnx", "-d", "dcct"), "did you mean 'dct'"),
        (("--onnx", "a.onnx", "--max-fpr", "2"), "--max-fpr must lie between"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(done, folder, arguments, message):
    (folder / "folder.onnx").mkdir(exist_ok=True)
    (folder / "notes.md").write_text("Mine.")
    before = sorted(folder.iterdir())
    code, out, err = done("detect", "export", "mine", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1 and out == "" and sorted(folder.iterdir()) == before


def test_a_folder_that_cannot_be_written_to_is_named(done, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "there")

    monkeypatch.setattr(detector_export.tempfile, "TemporaryDirectory", refuse)
    code, _, err = done("detect", "export", "mine", "--torch", "a.pt2")
    assert code == 2 and "no permission to write or read at there" in err


def test_without_the_extra_it_says_what_to_install(done, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name.startswith("onnx") else name)
    code, _, err = done("detect", "export", "mine", "--onnx", "a.onnx")
    assert code == 2 and "pip install 'deepfake-bench[onnx]'" in err and "onnx, onnxscript, onnxruntime" in err


def test_what_disagrees_is_not_written(done, folder, monkeypatch):
    def wrong(trained, file, facts):
        file.write_bytes(b"model")
        return lambda images: Outputs(*np.full((2, len(images)), 9.0))

    monkeypatch.setattr(detector_export, "WRITERS", SimpleNamespace(load=lambda form: wrong))
    code, _, err = done("detect", "export", "mine", "--torch", "wrong.pt2")
    assert code == 1 and "is not the detector itself and was not written" in err
    assert not list(folder.glob("*wrong*")) and not list(folder.glob(".wrong*"))


def test_a_detector_in_a_folder_says_that_no_run_measured_it(done, folder, monkeypatch):
    monkeypatch.setattr(detector_export, "_write", lambda *_: SAME)
    fit = next(file.parent for file in Path("runs/results").glob("fit-*/detector/network.json"))
    shutil.copytree(fit, "alone", dirs_exist_ok=True)
    code, _, err = done("detect", "export", "alone", "--onnx", "b.onnx", "--max-fpr", "0.1")
    assert code == 2 and "--max-fpr needs validation scores" in err
    code, _, _ = done("detect", "export", "alone", "--onnx", "b.onnx")
    card = Path("b.md").read_text(encoding="utf-8")
    assert code == 0 and "No run has measured it." in card and "bench detect export alone --onnx b.onnx" in card


def test_faces_for_the_check_are_those_of_the_run_and_then_rendered_ones(make_set, monkeypatch):
    opened = {name: make_set(name, {"test": 5}, kind=kind) for name, kind in (("a", "real"), ("b", "forged"))}
    kept = [("prepare", "a"), ("tamper", "b"), ("synthesize", "gone"), ("fit", "x")]
    results = SimpleNamespace(stages=[SimpleNamespace(action=action, key=key) for action, key in kept])
    store = SimpleNamespace(find=lambda _, key: Path(key) if key in opened else None)
    monkeypatch.setattr(check_faces.FaceSet, "open", lambda path: opened[path.parts[0]])
    sets = [opened[name].view().read() for name in ("a", "b")]
    images, forged = faces_for(results, store, 16, count=6)
    assert forged.tolist() == [0, 0, 0, 1, 1, 1]
    for part, faces in zip((images[:3], images[3:]), sets, strict=True):
        assert all((faces == image).all(axis=(1, 2, 3)).any() for image in part)
    more, forged = faces_for(results, store, 16, count=12)
    assert forged.tolist() == [0] * 5 + [1] * 5 + [-1] * 2
    assert np.array_equal(more[:10], np.concatenate(sets))
    assert np.array_equal(more[10:], faces_for(None, store, 16, 2).images) and more[10:].std() > 10
    assert faces_for(results, store, 8, 2).images.shape == (2, 8, 8, 3)  # sets of another resolution are left out
