"""A thousand mutations each of stored files, YAML and scores with a fixed seed, and twenty rounds of kills.

Nothing prints a traceback, nothing takes over ten seconds, no changed number is used. Minutes long: `make test-slow`.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from finished import finished_run
from published_suite import publish_suite
from synthetic import TINY, call_bench

from benchmarks.evaluation.score_file import read_submission
from benchmarks.experiment.configs import suites
from benchmarks.report.digests import DATA_FILES, SUMS
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.store import Store, read_manifest
from detect.artifact import load_trained
from forge.core.compute import Compute
from forge.core.errors import BenchError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import synthesize

pytestmark = pytest.mark.slow
COUNT = 1000
LONGEST = 10  # seconds
ROUNDS, KILLS = 20, 3
PIECES = [
    b"null", b"NaN", b"-1", b"1e999", b"-1e-999", b"[]", b"{}", b'""', b"true", b"~", b".inf", b"\x00", b"\xff\xfe",
    b"9" * 5000, b"[" * 5000, b'{"a":' * 500, b"&a [*a]", b"*b", b"!!python/object/apply:os.system [id]", b"../../x",
    b"\n", b"=1+1", b"x" * 5000, b"\xed\xa0\x80", b"\r", b"\t", b";", b",", b"evil.py:Evil", b"0", b"1e308",
]  # fmt: skip


def mutate(data: bytes, draw: random.Random) -> bytes:
    """One to three random changes of some bytes."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        start, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 4, 30, 300))
        end, other = min(len(data), start + length), draw.randrange(len(data) + 1)
        piece = data[start:end]
        changed = {
            "flip": bytes([*data[:start], *(byte ^ (1 << draw.randrange(8)) for byte in data[start : start + 1])])
            + data[start + 1 :],
            "remove": data[:start] + data[end:],
            "repeat": data[:end] + piece + data[end:],
            "move": data[:start] + data[end:other] + piece + data[other:] if other > end else data,
            "cut": data[:start],
            "insert": data[:start] + draw.choice(PIECES) + data[start:],
            "replace": data[:start] + draw.choice(PIECES) + data[end:],
            "digit": bytes(48 + draw.randrange(10) if 48 <= b <= 57 and draw.random() < 0.02 else b for b in data),
        }
        data = changed[draw.choice(sorted(changed))]
    return data


@contextmanager
def bounded(what: str):
    """Fail where the block takes longer than it may."""

    def stop(signum, frame):
        raise AssertionError(f"{what} takes over {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Every kind of stored file, as (file, function that reads everything it says)."""
    folder = tmp_path_factory.mktemp("stored")
    folder_of_run = finished_run(folder / "finished")
    report = publish_suite(folder / "suite")
    fit = next((folder_of_run / "runs/results").glob("fit-dct*"))
    architecture = GENERATORS.load("gan")
    generator = folder / "generator"
    _write_generator(architecture, generator)
    faces = synthesize(
        TrainedGenerator.open(generator), folder / "set", counts={"train": 20}, seed=0, on_progress=silent
    )
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)

    def report_values():
        read = RunReport(report)
        read.check()
        return [
            read.results, read.expected, read.scores.to_csv(),
            *((report / name).read_bytes() for name in ("results.csv", "report.md")),
        ]  # fmt: skip

    def fitted():
        stored = Store(folder_of_run / "runs").find("fit", "dct" * 16)
        trained = load_trained(stored / "detector")
        return [read_manifest(stored), trained.card, trained.detector.score(pixels, Compute("cpu")).tolist()]

    def opened():
        trained = TrainedGenerator.open(generator)
        weights = trained.generator().state_dict()
        return [trained.card, {name: tensor.tolist() for name, tensor in weights.items()}]

    def checked():
        opened = FaceSet.open(faces.path)
        if problems := opened.verify():
            raise BenchError(problems[0])
        return [opened.card, opened.table.to_csv(), opened.read(range(len(opened))).tobytes()]

    named = {report_values: [report / name for name in (*DATA_FILES, SUMS)], opened: sorted(generator.glob("*.*"))}
    named |= {fitted: [file for file in fit.rglob("*") if file.is_file()], checked: sorted(faces.path.iterdir())}
    return [(file, read) for read, files in named.items() for file in sorted(files)]


def _write_generator(kind, folder: Path) -> None:
    from forge.generators.artifact import write_generator

    architecture = kind(kind.Settings(latent=8, generator_widths=[16], discriminator_widths=[16]), 16)
    folder.mkdir()
    networks = (architecture.generator(), architecture.generator(), architecture.discriminator())
    card = {
        "name": "gan", "architecture": "gan", "settings": architecture.settings.model_dump(mode="json"),
        "resolution": 16, "seed": 0, "kimg": 1.0, "training": {}, "data": {"licence": "CC0"}, "precision": "fp32",
        "parameters": {"generator": 1, "discriminator": 1},
    }  # fmt: skip
    raw, averaged, discriminator = networks
    write_generator(folder, raw=raw, averaged=averaged, discriminator=discriminator, card=card)


@pytest.mark.filterwarnings("ignore::forge.core.errors.BenchWarning")
def test_no_changed_byte_of_a_stored_file_changes_what_is_read(stored):
    draw, wholes, refused = random.Random(1), {}, 0
    for read in {read for _, read in stored}:
        wholes[read] = read()
    for number in range(COUNT):
        file, read = stored[number % len(stored)]
        before = file.read_bytes()
        file.write_bytes(mutate(before, draw))
        try:
            with bounded(f"mutation {number} of {file.name}"):
                values = read()
            if file.name == SUMS and not file.read_bytes().strip():
                continue
            assert values[0] == wholes[read][0] and values[1:] == wholes[read][1:], f"mutation {number} of {file.name}"
        except BenchError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1500
        finally:
            file.write_bytes(before)
    assert refused > COUNT / 2


@pytest.mark.filterwarnings("ignore")
def test_no_yaml_ends_in_a_traceback_or_hangs(tmp_path, monkeypatch, capsys):
    bench, draw = call_bench(tmp_path, monkeypatch, capsys), random.Random(2)
    text = suites()["smoke"].read_bytes() + (
        b"set:\n  generator: {training: {kimg: 2, batch: 32}}\n  images: {train: 40, val: 20, test: 30}\n"
        b"  detectors: {spectrum: {limit: 100}}\n  data: {count: 200, crop: none}\n  quality: {n: 64}\n"
    )
    planned = 0
    for number in range(COUNT):
        (tmp_path / "mutated.yaml").write_bytes(mutate(text, draw))
        with bounded(f"mutation {number}"):
            code, out, err = bench("run", "mutated.yaml", "--dry-run")
        planned += code == 0
        assert code in (0, 2), (number, err)
        assert "Traceback" not in out + err and "should not happen" not in err, (number, err)
        assert code == 0 or (err.startswith("error: ") or "\nerror: " in err), (number, err)
        assert len(err) < 4000
    assert COUNT / 20 < planned < COUNT
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "runs") == ["mutated.yaml"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_no_file_of_scores_ends_in_a_traceback_or_in_a_number_that_is_none(form, tmp_path):
    import pandas as pd

    draw, read = random.Random(3), 0
    rows = [(f"i{number:012x}", number / 7 - 3, number % 2) for number in range(60)]
    table = pd.DataFrame(rows, columns=["image", "score", "label"])
    file = tmp_path / f"scores.{form}"
    table.to_csv(file, index=False) if form == "csv" else table.to_parquet(file)
    whole = file.read_bytes()
    for number in range(COUNT):
        file.write_bytes(mutate(whole, draw))
        try:
            with bounded(f"mutation {number}"):
                scores = read_submission(file)
        except BenchError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500, number
            continue
        read += 1
        assert np.isfinite(scores["score"]).all() and scores["image"].is_unique, number
    assert read > 0


def _start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.cli.main", "run", "-g", "dcgan", "-d", "dct,random", *TINY]
    command += ["--set", "generator.training.kimg=2", "--precision", "fp32", "--name", "killed"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen) -> None:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in out, out


def test_runs_that_are_killed_at_random_end_with_the_same_bytes(tmp_path):
    draw, straight = random.Random(4), tmp_path / "straight"
    straight.mkdir()
    began = time.monotonic()
    _finish(_start(straight))
    seconds = time.monotonic() - began
    for number in range(ROUNDS):
        folder = tmp_path / f"round-{number}"
        folder.mkdir()
        for _ in range(KILLS):
            process = _start(folder)
            time.sleep(draw.uniform(0.1, 1) * seconds)
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate(timeout=60)
            assert "Traceback" not in out, out
        _finish(_start(folder))
        for name in ("results.csv", "scores.parquet", "expected.json"):
            first, other = (folder_of_run / "reports/killed" / name for folder_of_run in (straight, folder))
            assert first.read_bytes() == other.read_bytes(), (number, name)
        assert not list((folder / "runs/results").glob(".*.partial")) and not list((folder / "reports").glob(".*"))
        shutil.rmtree(folder)


def test_mutations_repeat_with_their_seed():
    first, other = ([mutate(b"a: 1\nb: [2, 3]\n", random.Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == other and len(set(first)) > 30
