"""The Slurm engine with submitit's local executor, and what it asks Slurm for."""

import os
import sys
from pathlib import Path

import fake_stages
import pytest
from fake_stages import NoDevice

from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines import ENGINES
from benchmarks.workflow.engines.base import EngineOptions, Task
from benchmarks.workflow.engines.slurm_options import groups, parameters, parsed, refuse_unusable
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store, read_manifest
from forge.core.errors import InputError
from forge.core.progress import silent

CONTEXT = Context(None, NoDevice("cpu", threads=1), 1, silent)
LOCAL = {"cluster": "local"}


class Notes(Silent):
    def __init__(self):
        self.lines = []

    def noted(self, text):
        self.lines.append(text)


def run(stages, folder, slurm, observer=None):
    store = Store(folder)
    engine = ENGINES.load("slurm")(store, CONTEXT, EngineOptions(jobs=0, threads=1, slurm=slurm))
    estimates = {stage.key: Estimate(0.01) for stage in stages}  # both trainings in one job
    return drive.execute(stages, store, CONTEXT, observer or Silent(), engine, estimates=estimates)


def test_jobs_give_what_one_process_gives_and_one_that_dies_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)]))
    stages, notes = fake_stages.grid(("killed once", ""), scores=0), Notes()
    executed = run(stages, tmp_path, LOCAL, notes)
    assert (executed.report / "text").read_text() == "sum(a(),b())"
    facts = [read_manifest(executed.folders[stage.key]).facts for stage in stages]
    assert facts[0]["resumed"] and os.getpid() not in {each["pid"] for each in facts}
    assert facts[0]["pid"] == facts[1]["pid"] != facts[2]["pid"]  # one job, then another
    assert len(notes.lines) == 2 and all("ended with its job" in line and "tried again" in line for line in notes.lines)
    assert not (tmp_path / "engines").exists()


def test_without_slurm_a_sentence_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="found no srun on this machine; run it on a login node"):
        run(fake_stages.grid(scores=0), tmp_path, {})


def test_without_submitit_a_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("forge.core.extras.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "benchmarks.workflow.engines.slurm", raising=False)
    with pytest.raises(InputError, match=r"--engine slurm needs submitit, .* pip install 'deepfake-bench\[slurm\]'"):
        ENGINES.load("slurm")


def task(seconds, memory=None, device="cpu", threads=2):
    return Task((fake_stages.Training(title=str(seconds)),), {}, threads, memory, device, seconds)


def test_short_tasks_of_a_device_share_a_job():
    tasks = [task(500), task(60), task(None), task(60), task(10, device="cuda"), task(10)]
    assert [[each.seconds for each in group] for group in groups(tasks)] == [[500, 60], [None], [60, 10], [10]]


def test_jobs_ask_for_what_similar_stages_took():
    asked = parameters([task(1200, 2000.0), task(600, 3000.0)], parsed("partition=gpu,gres=disk:1"), gpu=True)
    assert asked == {
        "name": "bench",
        "timeout_min": 100,  # ten minutes and three times the half hour
        "mem_gb": 4,
        "cpus_per_task": 2,
        "gpus_per_node": 1,
        "slurm_partition": "gpu",
        "slurm_additional_parameters": {"gres": "disk:1"},
    }
    assert parameters([task(None)], {}, gpu=False)["timeout_min"] == 24 * 60
    limited = parameters([task(7200)], parsed("time=90, memory=16"), gpu=False)
    assert (limited["timeout_min"], limited["mem_gb"]) == (90, 16)
    assert "mem_gb" not in parameters([task(1)], LOCAL, gpu=False)


@pytest.mark.parametrize("text", ["time=soon", "time=0", "memory=inf", "cluster=pbs"])
def test_values_that_slurm_cannot_take_are_refused(text):
    with pytest.raises(InputError, match=f"--slurm {text.partition('=')[0]}="):
        refuse_unusable(parsed(text))


@pytest.mark.parametrize("text", ["gpu", "=gpu", "partition="])
def test_options_of_slurm_have_a_name_and_a_value(text):
    with pytest.raises(InputError, match="is not NAME=VALUE"):
        parsed(text)
