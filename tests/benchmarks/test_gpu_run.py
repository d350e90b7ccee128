"""`make gpu`: a dry run on a CPU writes what a GPU writes, parts fail alone, and figures reach page and table."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.speed.gpu import timing
from benchmarks.speed.gpu.collect import collect, read_runs, winners
from benchmarks.speed.gpu.merge import BEGIN, END, merge, render_execution, with_block
from benchmarks.speed.gpu.page import render_page
from benchmarks.speed.gpu.parts import outcome_in
from benchmarks.speed.gpu.plan import plan
from benchmarks.speed.gpu.record import GpuFigure, PartRecord
from benchmarks.speed.gpu.run import GpuRun, PartResult, main
from benchmarks.speed.gpu.zoo import best_rate, finished_or_newest, kimg_for
from benchmarks.zoo.members import Member
from forge.core.errors import InputError
from forge.core.execution import Execution
from forge.core.progress import silent
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import synthesize

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


def run_script(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks/speed/gpu.sh")], capture_output=True, text=True,
        env=os.environ | {"OUT": str(out), "PYTHON": sys.executable} | environment,
    )  # fmt: skip


@pytest.mark.slow  # half a minute: each part is a process that imports torch; `make test-slow` before a change of it
def test_a_dry_run_goes_through_every_part_and_leaves_what_a_gpu_leaves(tmp_path):
    out = tmp_path / "out"
    process = run_script(out, DEVICE="cpu", BUDGET="300")  # with time to spare: parts end when they are done
    assert process.returncode == 0, process.stdout + process.stderr
    run = GpuRun.read(out / "results.json")
    assert {name: part.status for name, part in run.parts.items()} == {part.name: "done" for part in plan(gpu=False)}
    assert run.facts["torch"] and run.facts["device"] and run.parts["tests"].record.facts["tests"] == {"passed": 1}
    modes = {mode for key, by_mode in collect([run]).items() for mode in by_mode if key[0] == "train"}
    assert modes == {"plain fp32", "eager bf16", "graph bf16"}
    assert {figure.task for figure in run.figures} == {"train", "fit", "score", "synthesize"}
    assert not [missing for part in run.parts.values() for missing in part.record.missing]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"results.json", "log.txt", "cgan-32.tar"}
    assert max(path.stat().st_size for path in files) < 16 << 20
    check_kept(out / "cgan-32.tar", tmp_path)
    quality = run.parts["quality cgan 32"].record.facts["quality"]
    assert {row["metric"] for row in quality} >= {"sliced Wasserstein x 1000", "face found, p >= .90"}
    assert all(np.isfinite(row["reference"]) for row in quality)


def check_kept(file: Path, place: Path) -> None:
    """A kept generator makes faces and says what it is."""
    with tarfile.open(file) as tar:
        tar.extractall(place, filter="data")
    folder = place / file.stem
    trained = TrainedGenerator.open(folder)
    faces = synthesize(trained, place / f"faces-{file.stem}", counts={"test": 70}, seed=0, on_progress=silent)
    assert len(faces) == 70 and faces.view().read().std() > 0
    with pytest.raises(InputError, match="has no discriminator weights: it was exported"):
        trained.discriminator()
    assert Image.open(folder / "samples.png").size[0] > 8 * 32
    assert (folder / "log.jsonl").read_text() and json.loads((folder / "health.json").read_text())
    assert "--set generator.training.kimg=0.064" in Member.at(folder).check().card.command


def test_a_part_without_its_device_fails_alone_and_says_why(tmp_path):
    process = run_script(tmp_path, DEVICE="cuda:7", BUDGET="60", PARTS="facts")
    run = GpuRun.read(tmp_path / "results.json")
    assert process.returncode == 1 and {part.status for part in run.parts.values()} == {"failed"}
    assert all("--device cpu" in part.error or "cuda:7" in part.error for part in run.parts.values())


def test_a_part_is_killed_at_its_limit_with_all_that_it_started(tmp_path):
    process = run_script(tmp_path, DEVICE="cpu", BUDGET="7", PARTS="tests")
    part = GpuRun.read(tmp_path / "results.json").parts["tests"]
    assert process.returncode == 0 and part.status == "cut" and part.seconds < 30
    mine = str(tmp_path).encode()
    running = [path for path in Path("/proc").glob("[0-9]*/environ") if _read(path).find(b"OUT=" + mine) >= 0]
    assert not running


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DEVICE": "tpu"}, "DEVICE=tpu is not known; use cuda, cuda:N or cpu"),
        ({"PARTS": "test"}, "did you mean 'tests'"),
        ({"BUDGET": "long"}, "BUDGET=long is no positive number of seconds"),
        ({"BUDGET": "0"}, "BUDGET=0 is no positive number of seconds"),
    ],
)
def test_a_wrong_environment_is_one_sentence(tmp_path, environment, sentence):
    process = run_script(tmp_path, **{"DEVICE": "cpu"} | environment)
    assert process.returncode == 2 and sentence in process.stderr and "Traceback" not in process.stderr


def test_an_error_of_a_part_is_not_blamed_on_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.speed.gpu.run.Runner.__call__", lambda runner: int("no number"))
    for name, text in {"DEVICE": "cpu", "OUT": str(tmp_path), "BUDGET": "60"}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match="no number"):
        main()


# figures


def figure(mode: str, value: float, *, network: str = "dcgan", task: str = "train", resolution: int = 64) -> GpuFigure:
    return GpuFigure(
        task=task, network=network, resolution=resolution, mode=mode, value=value, batch=64, busy=0.5, memory_mb=100.0
    )


def run_of(*figures: GpuFigure, started: str = "2030-01-02T03:04:05+00:00", device: str = "cuda") -> GpuRun:
    parts = {
        "facts": PartResult(status="done", limit=1, record=PartRecord(facts={"device": "NVIDIA Test", "torch": "9"})),
        "trainings": PartResult(status="cut", limit=1, record=PartRecord(figures=list(figures))),
    }
    return GpuRun(started=started, budget=10, device=device, parts=parts)


def test_the_page_compares_with_plain_code_and_names_device_and_day():
    page = render_page([run_of(figure("plain fp32", 100), figure("eager bf16", 150), figure("graph bf16", 450))])
    assert (
        "| train | dcgan | 64 | 64 | 100 | – | 150 | – | 450 | – | – | 4.5 | 50% | 100 MiB | NVIDIA Test, 2030-01-02 |"
        in page
    )
    assert "| train dcgan 64 px | 40,000 | 450, graph bf16, NVIDIA Test, 2030-01-02 |" in page
    assert "| train stylegan-lite 64 px | 6,000 | not yet measured |" in page
    assert "Not finished: trainings (cut)." in page


def test_a_newer_figure_replaces_an_older_one_of_the_same_mode():
    old, new = run_of(figure("graph bf16", 1), started="2029-01-01T00:00:00+00:00"), run_of(figure("graph bf16", 2))
    table = collect(sorted([old, new], key=lambda run: run.started))
    assert table["train", "dcgan", 64]["graph bf16"].figure.value == 2


def test_winners_are_named_where_both_ways_were_measured():
    both = [figure("eager fp32", 10), figure("eager bf16", 20), figure("graph bf16", 90)]
    assert winners(collect([run_of(*both)]), "generators") == {"dcgan": Execution(precision="bf16", graph=True)}
    little = [figure("eager fp32", 20), figure("graph fp32", 20.5)]
    assert winners(collect([run_of(*little)]), "generators") == {"dcgan": Execution(precision="fp32", graph=False)}
    assert winners(collect([run_of(figure("eager bf16", 20))]), "generators") == {}
    # at 256 px one mode alone was measured: it is compared at 64 px
    sizes = [figure("eager bf16", 20), figure("graph bf16", 10), figure("graph bf16", 900, resolution=256)]
    assert winners(collect([run_of(*sizes)]), "generators") == {}


def test_the_table_keeps_its_entries_and_marks_what_was_measured():
    text = render_execution([run_of(figure("eager bf16", 20), figure("graph bf16", 90))])
    table = yaml.safe_load(text)
    assert table["generators"]["dcgan"] == {"precision": "bf16", "graph": True, "cpu": "bf16"}
    assert "dcgan: {precision: bf16, graph: true, cpu: bf16}  # measured: NVIDIA Test" in text
    assert "  gan: {precision: bf16, graph: true, cpu: fp32}\n" in text


def test_the_committed_page_and_table_are_those_of_the_committed_results():
    runs = read_runs(sorted((ROOT / "reports/gpu").glob("*.json")))
    page = (ROOT / "reports/speed.md").read_text(encoding="utf-8")
    assert runs and with_block(page, render_page(runs)) == page
    assert (ROOT / "forge/execution.yaml").read_text(encoding="utf-8") == render_execution(runs)


def test_merging_takes_results_into_a_checkout(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "forge").mkdir()
    (tmp_path / "reports/speed.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / "forge/execution.yaml").write_text("")
    (tmp_path / "results.json").write_text(run_of(figure("graph bf16", 5)).model_dump_json())
    written = merge([tmp_path / "results.json"], tmp_path)
    page = (tmp_path / "reports/speed.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page and "NVIDIA Test" in page
    assert written[0].name == "nvidia-test-2030-01-02-0304.json"


def test_what_cannot_be_merged_is_refused(tmp_path):
    dry = tmp_path / "dry.json"
    dry.write_text(run_of(device="cpu").model_dump_json())
    with pytest.raises(InputError, match="dry run on cpu"):
        read_runs([dry])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"no results\.json"):
        read_runs([tmp_path / "other.json"])
    with pytest.raises(InputError, match="is no checkout"):
        merge([], tmp_path)
    with pytest.raises(InputError, match="no place for GPU figures"):
        with_block("no marks", "x")


# smaller pieces


def test_covered_time_counts_overlaps_once():
    assert timing.covered([(0, 4), (1, 2), (6, 8), (7, 10)]) == pytest.approx(0.8)
    assert timing.covered([]) is None


def test_a_training_is_as_long_as_its_time_allows():
    assert kimg_for(10_000, 114) == 750.0  # 100 seconds at three quarters of the speed
    assert kimg_for(1.0, 1.0) == 0.064
    figures = [figure("plain fp32", 900), figure("eager bf16", 300), figure("graph bf16", 500)]
    assert best_rate(figures, "dcgan", 64) == 500 and best_rate(figures, "dcgan", 128) is None


def test_a_stopped_training_is_known_by_its_newest_snapshot(tmp_path):
    for kimg in ("5k", "100k", "20.5k"):
        (tmp_path / "dcgan-64-work" / "snapshots" / kimg).mkdir(parents=True)
    assert finished_or_newest(tmp_path / "dcgan-64").name == "100k"
    with pytest.raises(InputError, match="neither a finished training"):
        finished_or_newest(tmp_path / "gan-64")


def test_outcomes_are_read_from_the_lines_of_pytest():
    name = "tests/cuda/test_x.py::test_a[b, c]"
    assert outcome_in(f"{name} PASSED    [ 50%]\n") == ("passed", name)
    assert outcome_in(f"[gw11] [  1%] FAILED {name} \n") == ("failed", name)
    assert outcome_in(f"{name} \n") is None and outcome_in(f"FAILED {name} - assert 1 == 2\n") is None
