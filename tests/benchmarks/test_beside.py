"""Tests that stand beside the grid of generators: folders from elsewhere, and snapshots of a training."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from requested import compose, gather
from synthetic import SPARING, TINY, cell, html_of, run

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.evaluate import compare, evaluate, grid
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.run_facts import GeneratorFacts, QualityRow, SnapshotFacts
from benchmarks.evaluation.submission import suite_images
from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.matrix import planned_fits
from benchmarks.experiment.resolve import resolve
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.sections.training_progress import progress_content
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError

pytestmark = pytest.mark.e2e

ELSEWHERE = "external:mine"


# --- Scores -----------------------------------------------------------------------------------------------------------


def rows(trained_on, tests, *, n=60, seed=0, split="test"):
    """Score rows; `tests` maps a generator to how far its forgeries lie above the reals of its own source."""
    parts = []
    for generator, apart in tests.items():
        for label in (0, 1):
            foreign = generator if generator.startswith("external:") else "faces"
            if label == 0 and foreign == "faces" and parts and any((p["source"] == "faces").any() for p in parts):
                continue  # the reals of all generators here are the same
            name = generator if label else ""
            source = np.random.default_rng([seed, *map(ord, f"{foreign}{name}{trained_on}{split}")])
            score = source.normal(size=n) + label * apart + (100 if foreign != "faces" else 0)
            parts.append(
                pd.DataFrame(
                    {
                        "detector": "dct", "trained_on": trained_on, "seed": 0,
                        "sample_id": [f"{name or foreign}{split}{i}" for i in range(n)], "identity": "",
                        "source": foreign if not label or foreign != "faces" else generator, "generator": name,
                        "split": split, "perturbation": "none", "label": label, "score": score,
                        "probability": 1 / (1 + np.exp(-score)),
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def suite():
    plain = [
        rows("dcgan", {"dcgan": 3.0, "gan": 1.0, "dcgan@6k": 4.0}),
        rows("gan", {"dcgan": 1.0, "gan": 3.0, "dcgan@6k": 2.0}),
        rows("dcgan+gan", {"dcgan": 3.0, "gan": 3.0, ELSEWHERE: 0.5}),
    ]
    val = [rows(name, dict.fromkeys(name.split("+"), 3.0), split="val") for name in ("dcgan", "gan", "dcgan+gan")]
    return pd.concat([*plain, *val], ignore_index=True)


def test_photos_from_elsewhere_are_compared_with_their_own_forgeries_alone():
    cells = {(entry.trained_on, entry.tested_on): entry for entry in evaluate(suite())}
    pair = cells["dcgan+gan", ELSEWHERE]
    # against the reals of the run, whose scores lie 100 lower, everything from elsewhere would look forged
    assert pair.condition == "external" and (pair.n_real, pair.n_forged) == (60, 60) and 0.5 < pair.auc < 0.8
    assert cells["dcgan+gan", "gan"].n_real == 60 and cells["dcgan+gan", "gan"].auc > 0.9
    assert cells["dcgan", "dcgan@6k"].condition == cells["gan", "dcgan@6k"].condition == "snapshots"


def test_a_leaderboard_gives_them_a_column_or_none_and_no_mean_changes():
    columns = cells_of(suite())["dct"]
    assert {cell.where.tested_on for cell in columns["external"]} == {ELSEWHERE}
    assert not [cell for of in columns.values() for cell in of if "@" in cell.where.tested_on]
    scores = suite()
    whole, without = leaderboard(scores), leaderboard(grid(scores))
    for name in ("unseen", "seen"):
        assert whole.lines[0].columns[name] == without.lines[0].columns[name]
    assert "external" in whole.columns and "external" not in without.columns
    pair = next(entry for entry in evaluate(scores) if entry.tested_on == ELSEWHERE)
    assert whole.lines[0].columns["external"].value == pytest.approx(pair.auc)


def test_a_test_that_could_not_be_scored_takes_no_other_with_it():
    scores = suite()
    other = scores.assign(detector="npr")
    other = other[~((other["generator"] == "gan") & (other["split"] == "test"))]  # reals scored, these forgeries not
    both = pd.concat([scores, other], ignore_index=True)
    assert {(entry.a, entry.b) for entry in compare(grid(both)) if entry.tested_on == "dcgan"} == {("dct", "npr")}
    assert not [entry for entry in compare(grid(both)) if entry.tested_on == "gan"]
    alone = scores[~((scores["source"] == ELSEWHERE) & (scores["generator"] == ""))]
    assert ELSEWHERE not in {entry.tested_on for entry in evaluate(alone)}


def test_the_grid_is_what_is_left():
    left = grid(suite())
    assert set(left["generator"]) == {"", "dcgan", "gan"} and set(left["source"]) == {"faces", "dcgan", "gan"}


def test_authors_elsewhere_get_the_pairs_and_no_snapshots():
    assert set(suite_images(suite())["generator"]) == {"", "dcgan", "gan", ELSEWHERE}


# --- Plans ------------------------------------------------------------------------------------------------------------


def made(*assignments, generators=("dcgan", "gan", "self-blended"), external=None):
    overrides = parse_assignments(assignments)
    return compose(generators=generators, detectors=("dct",), preset="smoke", overrides=overrides, external=external)


def test_snapshots_are_tested_by_who_knows_the_end_and_by_who_knows_the_others():
    run_request = made("conditions={unseen: true, snapshots: {dcgan: [1, 2]}}")
    tests_by_set = {str(fit.train_set): fit.tests for fit in planned_fits(run_request, "dct")}
    moments = ("dcgan@1k", "dcgan@2k")
    assert tests_by_set["dcgan"][-2:] == moments and tests_by_set["gan+self-blended"] == ("dcgan", *moments)
    assert not [
        name
        for name, tests in tests_by_set.items()
        if "dcgan@1k" in tests and name not in ("dcgan", "gan+self-blended")
    ]
    limited = made("conditions={snapshots: {dcgan: [1]}, only: {snapshots: []}}")
    assert not [fit for fit in planned_fits(limited, "dct") if "dcgan@1k" in fit.tests]


def test_snapshots_need_no_training_of_their_own_and_only_test_images():
    planned = prepare_run(made("conditions={snapshots: {dcgan: [1]}}"))
    stages = {stage.name: stage for stage in planned.stages}
    snapshot, end = stages["synthesize dcgan@1k"], stages["synthesize dcgan"]
    assert snapshot.inputs == end.inputs and snapshot.seed == end.seed  # one training, the same latents
    assert set(snapshot.settings["counts"]) == {"test"} and snapshot.settings["snapshot"] == 1
    assert [entry["split"] for entry in stages["score dct@dcgan on dcgan@1k"].settings["asked"]] == ["test"]
    assert snapshot in planned.stages[-1].snapshots and "quality dcgan@1k" in stages


@pytest.mark.parametrize(
    ("snapshots", "sentence"),
    [
        ("{cgan: [1]}", "'cgan' is not a generator of this run"),
        ("{self-blended: [1]}", "'self-blended' has no snapshots"),
        ("{dcgan: [4]}", "shows 4 thousand images, whose end is tested anyway"),
        ("{dcgan: [0]}", "conditions.snapshots.dcgan.0"),
        ("{dcgan: [x]}", "conditions.snapshots.dcgan.0"),
        ("[dcgan]", "conditions.snapshots"),
    ],
)
def test_snapshots_that_cannot_be_are_refused(snapshots, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_run(made(f"conditions={{snapshots: {snapshots}}}"))


def test_snapshots_need_a_detector_that_is_fitted_here(tmp_path, monkeypatch):
    from benchmarks.experiment import validate
    from benchmarks.experiment.settings import DetectorRequest

    run_request = made("conditions={snapshots: {dcgan: [1]}}")
    foreign = DetectorRequest(detector="somewhere/fitted", trained_on="progan")
    monkeypatch.setattr(validate, "is_fitted", lambda reference: True)
    monkeypatch.setattr(validate, "_adopted", lambda request, resolution, generators: foreign)
    with pytest.raises(InputError, match="needs a detector that is fitted here"):
        validate.typed(run_request)


def test_a_snapshot_is_generator_or_test_and_not_both():
    with pytest.raises(InputError, match="dcgan@1k is a generator of this run"):
        prepare_run(made("conditions={snapshots: {dcgan: [1]}}", generators=("dcgan", "dcgan@1k")))


def test_a_pair_of_folders_is_tested_by_who_knows_all_generators(tmp_path):
    photos(tmp_path / "real", "JPEG")
    photos(tmp_path / "forged", "JPEG", first=100)
    folders = (str(tmp_path / "real"), str(tmp_path / "forged"))
    run_request = made(generators=("dcgan", "gan"), external={"mine": folders})
    assert {str(fit.train_set) for fit in planned_fits(run_request, "dct") if ELSEWHERE in fit.tests} == {"dcgan+gan"}
    names = [stage.name for stage in prepare_run(run_request).stages]
    assert {"external mine real", "external mine forged", f"score dct@dcgan+gan on {ELSEWHERE} real"} <= set(names)


# --- A whole run ------------------------------------------------------------------------------------------------------


def photos(folder, kind, *, count=24, first=0):
    """Photos of coloured noise, each different from all others."""
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(first + i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC)
        picture.save(folder / f"{i:03d}.{kind.lower()}", kind)


@pytest.mark.xdist_group("suites")
def test_a_run_with_a_pair_from_elsewhere_and_a_snapshot(bench, tmp_path):
    photos(tmp_path / "real", "JPEG")
    photos(tmp_path / "forged", "PNG", first=100)
    command = ("run", "-g", "gan", "-d", "dct", *TINY, "--name", "r", "--set", "conditions.snapshots={gan: [0.5]}")
    code, _, err = bench(*command, "--external", "mine=real,forged", "--quiet")
    assert (code, err) == (0, "")
    results = json.loads((tmp_path / "reports" / "r" / "results.json").read_text())
    cells = {entry["tested_on"]: entry for entry in results["cells"]}
    assert cells["gan@0.5k"]["condition"] == "snapshots" and cells[ELSEWHERE]["condition"] == "external"
    assert [(entry["name"], entry["kimg"]) for entry in results["moments"]] == [("gan@0.5k", 0.5)]
    assert [(entry["kind"], entry["images"]) for entry in results["external"]] == [("real", 24), ("forged", 24)]
    assert "--external mine=real,forged" in results["command"] and "snapshots" in results["command"]
    # JPEG against PNG: what a detector finds may be that
    audits = {entry["audit"]: entry for entry in results["audits"]}
    assert audits[f"source files, {ELSEWHERE}"]["passed"] is False
    assert audits[f"file names, {ELSEWHERE}"]["passed"] is not False
    assert audits[f"handling, {ELSEWHERE}"]["passed"] is False  # the JPEG grid is in the pixels, too
    assert audits[f"sides, {ELSEWHERE}"]["passed"] is True and audits[f"trivial cues, {ELSEWHERE}"]["passed"] is None
    assert audits[f"copies in both sides of {ELSEWHERE}"]["passed"] is True
    assert [side["groups"] for side in results["external"]] == [24, 24]
    # others can be given the images of the pair, the photos only if asked for
    assert bench("export", "images", "r", "--out", "all", "--real")[0::2] == (0, "")
    assert bench("export", "images", "r", "--out", "without")[0::2] == (0, "")
    assert len(list((tmp_path / "all").glob("*.png"))) == len(list((tmp_path / "without").glob("*.png"))) + 24
    page = html_of(tmp_path / "reports" / "r")
    assert '<th scope="col">external</th>' in page
    assert "SHORTCUT" in page and f"source files, {ELSEWHERE}" in page and "Detectability against training" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mine", "must look like NAME=ROOT, the folder of a test set, or like NAME=REAL_DIR,FORGED_DIR"),
        ("mine=real", "no column has 20 images of a class (mine: 1 real)"),
        ("mine=empty", "has the layout of no known test set (`bench list layouts`); it holds 0 images"),
        ("=real,forged", "must look like NAME=ROOT"),
        ("mine=real,nowhere", "there is no folder nowhere"),
        ("a/b=real,real", "cannot name a test everywhere; try a-b"),
        ("mine=real,empty", "real holds 1 photos; at least 20 are needed"),
    ],
)
def test_a_pair_that_cannot_be_is_refused(bench, tmp_path, text, sentence):
    photos(tmp_path / "real", "JPEG", count=1)
    (tmp_path / "empty").mkdir()
    code, _, err = bench("run", "-g", "gan", "-d", "dct", *TINY, "--external", text, "--quiet")
    assert code == 2 and sentence in err


def test_commas_and_equals_signs_in_folder_names(bench, tmp_path):
    import shlex

    import yaml

    from benchmarks import api

    for i, name in enumerate(("a, b=c", "d=e,f")):
        photos(tmp_path / name, "PNG", first=100 * i)
    flags = {"generator": ["gan"], "detector": ["dct"], "preset": "smoke"}
    folders = ("a, b=c", "d=e,f")
    for made in (  # from Python and from the command line
        gather(None, flags | {"external": {"mine": folders}}),
        gather(None, flags, pairs=["mine=a, b=c,d=e,f"]),
    ):
        assert (made.external["mine"].real, made.external["mine"].forged) == folders
        assert resolve(made.request).external == made.external
        assert "mine=a, b=c,d=e,f" in shlex.split(made.command)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**flags, "external": {"mine": list(folders)}}))
    assert gather(tmp_path / "r.yaml", {}, [], "cpu").external == made.external
    for name in ("a", "a,b", "b,c", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="can be read in 2 ways"):
        gather(None, flags, pairs=["mine=a,b,c"])
    with pytest.raises(InputError, match="there is no folder nowhere"):
        api.run("gan", "dct", external={"mine": ("a", "nowhere")})


@pytest.mark.parametrize(
    "command",
    [
        ("run", "-g", "gan", "-d", "dct", *TINY, "--data", "mixed"),
        ("run", "-g", "gan", "-d", "dct", *TINY, "--external", "a=mixed,forged"),
        ("run", "-g", "gan", "-d", "dct", *TINY, "--external", "a=real,mixed"),
        ("data", "prepare", "mixed", "--out", "faces"),
    ],
)
def test_a_folder_with_both_classes_stops_before_any_work(bench, tmp_path, command):
    (tmp_path / "mixed").mkdir()
    for i, folder in enumerate(("real", "forged", "mixed/0_real", "mixed/1_fake")):
        photos(tmp_path / folder, "PNG", first=100 * i)
    code, _, err = bench(*command)
    assert code == 2 and "mixed/0_real" in err and "mixed/1_fake" in err and "alone" in err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("prepare*"))
    assert not (tmp_path / "faces").exists()


@pytest.mark.xdist_group("suites")
def test_near_equal_frames_are_one_group_and_nothing_is_dropped(tmp_path):
    from benchmarks.workflow.stage import FACES, Context, Job
    from benchmarks.workflow.stages.external import External, count_groups
    from forge.core.compute import Compute
    from forge.core.progress import silent
    from forge.faces.faceset import FaceSet
    from forge.faces.sources import resolve

    (tmp_path / "clips").mkdir()
    for clip in range(6):
        pixels = np.random.default_rng(clip).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        frame = np.asarray(Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC)).astype(int)
        for i in range(5):  # a little brighter from frame to frame
            Image.fromarray(np.clip(frame + i, 0, 255).astype(np.uint8)).save(tmp_path / "clips" / f"{clip}-{i}.png")
    stage = External(pair="mine", side="real", resolution=32, crop="none", count=100, fingerprint="")
    source = resolve(str(tmp_path / "clips"))
    context = Context(source, Compute(), 1, silent, external={"mine": (source, source)})
    (tmp_path / "out").mkdir()
    facts = stage.run(Job({}, tmp_path / "out", tmp_path / "work", context))
    assert (facts["images"], facts["groups"], facts["rejected"]) == (30, 6, {})
    faces = FaceSet.open(tmp_path / "out" / FACES)
    assert (len(faces), count_groups(faces)) == (30, 6)


@pytest.mark.xdist_group("suites")
def test_a_run_on_digits_is_no_shortcut(bench, tmp_path):
    images = "images={train: 64, val: 32, test: 64}"
    small = ("--preset", "smoke", "--set", "generator.training.kimg=1", "--set", images, *SPARING)
    command = ("run", "-g", "gan", "-d", "dct", "--data", "digits", "--resolution", "28", *small)
    assert bench(*command, "--name", "r", "--quiet")[0] == 0
    audits = json.loads((tmp_path / "reports" / "r" / "results.json").read_text())["audits"]
    assert not [finding for finding in audits if finding["passed"] is False]


# --- The picture ------------------------------------------------------------------------------------------------------


def test_the_picture_of_detectability_against_training():
    quality = QualityRow(metric="sliced Wasserstein x 1000", value=40.0, floor=10.0, better="lower", n=100)
    tests = [("dct", "gan", 0.95, 0.60), ("dct", "dcgan", 0.99, 0.99), ("npr", "gan", 0.40, 0.90)]
    cells = []
    for detector, trained_on, early, late in tests:
        for tested_on, auc in (("dcgan@6k", early), ("dcgan", late)):
            entry = cell(
                auc, auc - 0.02, min(1.0, auc + 0.02), detector=detector, trained_on=trained_on, tested_on=tested_on
            )
            cells.append(entry.model_copy(update={"condition": "snapshots"}) if "@" in tested_on else entry)
    results = run(cells)
    snapshot = SnapshotFacts(name="dcgan@6k", generator="dcgan", kimg=6, seed=0, quality=[quality])
    end = GeneratorFacts(
        name="dcgan",
        kimg=48,
        parameters={},
        precision="fp32",
        seconds=1.0,
        log=[],
        weights_sha256="",
        quality=[quality],
    )
    results = results.model_copy(update={"moments": [snapshot], "generators": [end]})
    content = progress_content(results, FileNames())
    assert [figure.name for figure in content.figures] == [
        "progress-dcgan-unseen", "progress-dcgan-quality", "progress-dcgan-seen"
    ]  # fmt: skip
    others = content.figures[0].alt
    assert "dct from 0.95 after 6 k to 0.60" in others and "npr from 0.40 after 6 k to 0.90" in others
    assert "harder to detect for 1 and easier for 1 of the 2 detectors" in content.sentences[0]
    assert progress_content(results.model_copy(update={"moments": []}), FileNames()).figures == []
