"""`bench quality`: finds the real set by itself or asks for it, prints a table or the model."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import measure_hastily

from benchmarks.cli import main
from benchmarks.workflow.store import write_manifest
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.quality.face_rate import FaceRate
from forge.quality.measure import Comparison, Quality
from forge.quality.result import Share

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Call `bench quality …` in an empty folder, without its slow parts; returns (code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_HOME", raising=False)
    monkeypatch.delenv("BENCH_REPORTS", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def found(images, *, n, seed):
        n = min(n, len(images))
        return FaceRate(at_90=Share.of(n, n), at_95=Share.of(n, n), resize="none")

    monkeypatch.setattr("forge.quality.face_rate.face_rate", found)
    measure_hastily(monkeypatch)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", "quality", *arguments])
        code = 0
        try:
            main.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


def stored(stage, place, *, kind, splits, provenance, seed, attributes=None):
    """A set in the store as a stage leaves it."""
    rng, folder = np.random.default_rng(seed), Path("runs") / "results" / place
    folder.mkdir(parents=True)
    with FaceSetWriter(
        folder / "faces",
        name=stage.split()[1],
        kind=kind,
        resolution=16,
        licence="CC0",
        provenance=provenance,
        attributes=attributes or {},
    ) as writer:
        for split, count in splits.items():
            coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
            rows = [{"id": f"{split}-{i}", "split": split} for i in range(count)]
            if attributes:
                rows = [row | {"side": "ab"[i % 2] if i else None} for i, row in enumerate(rows)]
            writer.append(coarse, rows)
    write_manifest(
        folder, stage=stage, version=1, key=place.partition("-")[2], settings={}, inputs={}, seed=0,
        environment={}, seconds=0.0, peak_memory_mb=None,
    )  # fmt: skip
    return FaceSet.open(folder / "faces")


@pytest.fixture
def store(bench):
    """A store with one real set and one generator's forgeries of it."""
    splits = {"forge": 40, "train": 20, "val": 10, "test": 10}
    columns = {"side": "string"}
    real = stored("prepare faces", "prepare-1", kind="real", splits=splits, provenance={}, seed=1, attributes=columns)
    made = {"trained_on": {"digest": real.card.digest}}
    forged = stored(
        "synthesize dcgan", "synthesize-1", kind="forged", splits={"test": 32}, provenance=made, seed=2,
        attributes=columns,
    )  # fmt: skip
    return real, forged


METRICS = """
from forge.quality.metric import ScalarMetric


class One(ScalarMetric):
    id, title = "one", "One"

    def compute(self, sides):
        return 1.0


class Two(One):
    id, title = "two", "Two"
"""


def test_a_table_beside_the_floor(bench, store):
    code, out, err = bench("dcgan")
    assert (code, err) == (0, "")
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "dcgan against faces, 16 px" in out and "floor" in out and "features: random-conv-v1" in out
    assert lines["coverage"].split()[-2:] == ["higher", "32"]


@pytest.mark.parametrize("name", ["dcgan", "runs/results/synthesize-1", "runs/results/synthesize-1/faces"])
def test_json_is_the_model_however_the_set_is_named(bench, store, name):
    code, out, _ = bench(name, "--json", "--n", "20")
    comparison = Comparison.model_validate_json(out)
    assert code == 0 and comparison.forged.n == comparison.floor.n == 20
    assert comparison.forged.reference_digest == comparison.floor.reference_digest
    assert comparison.forged.memorisation.n_training == 40


def test_names_of_metrics_may_have_spaces_around_them(bench, store):
    file = Path("mine.py")
    file.write_text(METRICS)
    code, out, _ = bench("dcgan", "--json", "--metric", "mine.py:One, mine.py:Two,")
    assert code == 0 and set(json.loads(out)["forged"]["more"]) == {"one", "two"}


def test_a_set_of_a_repeated_run_is_named_with_its_seed(bench, store):
    made = {"trained_on": {"digest": store[0].card.digest}}
    stored("synthesize gan #3", "synthesize-3", kind="forged", splits={"test": 20}, provenance=made, seed=3)
    code, out, _ = bench("gan", "--json")  # one of them: no seed is needed
    assert code == 0 and Comparison.model_validate_json(out).forged.n == 20
    stored("synthesize gan #4", "synthesize-4", kind="forged", splits={"test": 24}, provenance=made, seed=4)
    code, out, _ = bench("gan #4", "--json")
    assert code == 0 and Comparison.model_validate_json(out).forged.n == 24
    code, _, err = bench("gan")
    assert code == 2 and "2 sets by gan" in err


@pytest.mark.parametrize("action", ["translate", "tamper"])
def test_sets_that_are_made_of_photos_are_found_by_name(bench, store, action):
    made = {"trained_on": {"digest": store[0].card.digest}}
    stored(f"{action} edges", f"{action}-1", kind="forged", splits={"test": 20}, provenance=made, seed=3)
    assert bench("edges", "--json")[0] == 0


def test_against_names_the_reference(bench, store, make_set):
    other = make_set("other", {"forge": 30, "test": 30}, resolution=16, seed=9)
    code, out, _ = bench("dcgan", "--against", str(other.path), "--json")
    assert code == 0 and Comparison.model_validate_json(out).forged.n == 30


def test_a_real_set_alone_gives_the_floor(bench, store):
    code, out, _ = bench(str(store[0].path), "--json")
    assert code == 0 and Quality.model_validate_json(out).n == 40
    beside = Comparison.model_validate_json(bench("dcgan", "--n", "20", "--json")[1]).floor
    assert Quality.model_validate_json(bench(str(store[0].path), "--n", "20", "--json")[1]) == beside


def test_labels_of_a_conditional_generator(bench, store):
    code, out, _ = bench("dcgan", "--json")
    obeyed = json.loads(out)["forged"]["obedience"]["side"]
    assert code == 0 and set(obeyed["classes"]) == {"a", "b"} and obeyed["agreement"]["n"] == 31


def test_what_cannot_be_found_is_asked_for(bench, store, make_set):
    forged = make_set("mine", {"test": 20}, resolution=16, kind="forged")
    code, _, err = bench(str(forged.path))
    assert code == 2 and "name the real set with --against" in err
    code, _, err = bench(str(store[1].path), "--store", "elsewhere")
    assert code == 2 and "is not in elsewhere; name it with --against" in err
    code, _, err = bench("stylegan")
    assert code == 2 and "neither a FaceSet directory nor a generator" in err
    code, _, err = bench("dcgan", "--against", str(forged.path))
    assert code == 2 and "needs a split 'forge' and held-out images" in err
    only = make_set("only", {"forge": 20}, resolution=16)
    code, _, err = bench(str(only.path))
    assert code == 2 and "needs a split 'forge' and held-out images" in err
    stored("synthesize dcgan", "synthesize-2", kind="forged", splits={"test": 20}, provenance={}, seed=3)
    code, _, err = bench("dcgan")
    assert code == 2 and "2 sets by dcgan" in err


def test_fid_is_refused_before_anything_is_computed(bench, store):
    code, _, err = bench("dcgan", "--fid", "nowhere.pth")
    assert code == 2 and (".[fid]" in err or "is not a file" in err)
