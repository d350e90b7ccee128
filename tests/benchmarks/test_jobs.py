"""The choice of jobs and threads: by what was asked for, the store, the plan, the memory; never by a clock."""

import uuid
from dataclasses import dataclass

import pytest
from fake_stages import NoDevice, Step
from synthetic import call_bench

from benchmarks.api import run
from benchmarks.experiment.request import changed, read_request
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.workflow import jobs
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.jobs import allot, start_workers_early
from benchmarks.workflow.runner import PlannedRun
from benchmarks.workflow.store import Store, write_manifest
from forge.core.errors import BenchError, InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Threaded(Step):
    """A training whose key holds the threads."""

    action, VERSION = "fake-threaded", 1
    threads: int = 0
    settings = property(lambda self: {"title": self.title, "numerics": {"threads": self.threads}})


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Eight cores, 8 GB free, nothing asked for by the environment."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(jobs, "cores", lambda: 8)
    monkeypatch.setattr(jobs, "available_memory_mb", lambda: 8000.0)
    monkeypatch.setattr(jobs, "set_threads", lambda threads: None)


def run_of(count, threads=8):
    def arrange(compute):
        return [Threaded(title=str(number), threads=compute.threads) for number in range(count)]

    return PlannedRun(None, None, arrange(NoDevice("cpu", threads=threads)), arrange=arrange)


def chosen(tmp_path, count, *, jobs=None, threads=None, **options):
    compute = NoDevice("cpu", threads=threads or 8)
    return allot(
        [run_of(count, compute.threads)], Store(tmp_path), tmp_path, compute, jobs=jobs, threads=threads, **options
    )


def keep(store, stage, *, memory=None, seconds=60.0):
    with store.publish(stage.action, stage.key) as folder:
        write_manifest(
            folder, stage=stage.name, action=stage.action, about=stage.about, fields={"title": ""}, version=1,
            key=stage.key, settings=stage.settings, inputs={}, seed=0, environment={}, seconds=seconds,
            peak_memory_mb=memory,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("count", "options", "expected"),
    [
        (3, {}, (1, 8)),  # a few trainings: all cores, one after another
        (40, {}, (8, 1)),  # many: side by side
        (40, {"threads": 4}, (2, 4)),
        (40, {"jobs": 2}, (2, 4)),
        (40, {"jobs": 1}, (1, 8)),
        (40, {"jobs": 3, "threads": 8}, (3, 8)),  # both asked for: as it was asked for
    ],
)
def test_jobs_and_threads_follow_from_the_plan(tmp_path, count, options, expected):
    work = chosen(tmp_path, count, **options)
    assert (work.options.jobs, work.options.threads) == expected
    assert work.runs[0].stages[0].threads == work.compute.threads == expected[1]


def test_the_choice_is_said_with_its_reason(tmp_path):
    assert list(chosen(tmp_path, 40).notes) == [
        "8 jobs of 1 thread: 40 trainings run side by side, 8 cores; --jobs and --threads choose otherwise"
    ]
    assert list(chosen(tmp_path, 40, jobs=2).notes) == [
        "2 jobs of 4 threads: 2 jobs share 8 cores; --threads chooses otherwise"
    ]
    assert list(chosen(tmp_path, 40, threads=4).notes) == ["2 jobs of 4 threads: 8 cores; --jobs chooses otherwise"]
    assert not chosen(tmp_path, 40, jobs=2, threads=1).notes


def test_trainings_in_the_store_keep_their_number_of_threads(tmp_path):
    store, other = Store(tmp_path), run_of(3, threads=2)
    for stage in other.stages[:2]:
        keep(store, stage)
    for options in ({}, {"jobs": 1}, {"jobs": 2}):
        work = chosen(tmp_path, 40, **options)
        assert work.compute.threads == 2 and work.runs[0].stages[0].key == other.stages[0].key
    assert chosen(tmp_path, 40).options.jobs == 4
    assert (
        "4 jobs of 2 threads: as 2 trainings of this run in the store, 8 cores; --jobs" in chosen(tmp_path, 40).notes[0]
    )
    assert chosen(tmp_path, 40, threads=1).compute.threads == 1  # what was asked for wins


def test_trainings_in_a_store_elsewhere_keep_their_number_of_threads_too(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REMOTE", f"memory://{uuid.uuid4().hex}")
    keep(Store(tmp_path / "there"), run_of(3, threads=2).stages[0])
    Store(tmp_path).copy.refresh()
    assert chosen(tmp_path, 40).compute.threads == 2


def test_jobs_that_do_not_fit_into_the_memory_are_fewer_and_said_so(tmp_path):
    stages = run_of(3, threads=1).stages
    for stage, memory in zip(stages, (1000.0, 3000.0, 2000.0), strict=True):
        keep(Store(tmp_path), stage, memory=memory)
    work = chosen(tmp_path, 40, jobs=4, threads=1)  # 7.2 GB, and similar stages took up to 3 GB each
    assert work.options.jobs == 2
    assert "2 jobs instead of 4: more would not fit into the memory" in work.notes[-1]


def test_little_work_is_done_in_this_process(tmp_path):
    keep(Store(tmp_path), run_of(1, threads=1).stages[0], seconds=0.2)
    assert chosen(tmp_path, 40, threads=1).options.jobs == 1


def test_gpus_have_a_job_each(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "devices_of", lambda device: ["cuda:0", "cuda:1"])
    compute = NoDevice("cuda", threads=8)
    work = allot([run_of(40)], Store(tmp_path), tmp_path, compute, jobs=None, threads=None)
    assert work.options.jobs == 2 and work.options.devices == ("cuda:0", "cuda:1") and work.options.threads == 4
    assert work.compute.threads == 8  # threads decide nothing there
    assert list(work.notes) == ["2 jobs of 4 threads: one for each GPU; --jobs chooses otherwise"]


def test_other_engines_decide_themselves(tmp_path):
    work = chosen(tmp_path, 40, engine="ray", elsewhere=EngineOptions(address="auto"))
    assert work.options.jobs == 0 and work.options.address == "auto" and work.options.threads == 1
    assert chosen(tmp_path, 40, engine="ray", jobs=5).options.jobs == 5 and work.estimates


@pytest.mark.parametrize(
    ("fields", "threads", "expected"),
    [
        ({"jobs": 2}, None, [4]),
        ({"jobs": 2}, 3, [3]),
        ({"jobs": 1}, None, []),
        ({}, None, []),
        ({"jobs": 2, "engine": "ray"}, None, []),
    ],
)
def test_workers_are_prepared_before_the_plan_with_the_threads_that_it_gives_them(
    tmp_path, monkeypatch, fields, threads, expected
):
    started = []
    monkeypatch.setattr(jobs, "start_fork_server", started.append)
    start_workers_early(RunRequest(**fields), threads)
    assert started == expected
    if started:
        assert chosen(tmp_path, 40, jobs=fields["jobs"], threads=threads).options.threads == started[0]


def test_torchrun_runs_one_job(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert chosen(tmp_path, 40).options.jobs == 1
    with pytest.raises(InputError, match="torchrun runs one training at a time in all its processes; leave out --jobs"):
        chosen(tmp_path, 40, jobs=2)


def test_jobs_and_engine_of_a_suite_are_in_no_request_and_no_key(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("generator: dcgan\ndetector: dct\njobs: 3\nengine: ray\n")
    request = read_request(file)
    assert (request.jobs, request.engine) == (3, "ray")
    assert changed(request, {"jobs": 2})[0].jobs == 2 and changed(request, {"seed": 1})[0].jobs == 3
    stored = resolve(request, file=file).request
    assert stored == RunRequest(generator="dcgan", detector="dct", preset="quick")
    assert not {"jobs", "engine"} & {*stored.model_dump()}
    file.write_text("generator: dcgan\ndetector: dct\njobs: 0\n")
    with pytest.raises(InputError, match="jobs"):
        read_request(file)


def test_the_command_line_python_and_suites_pass_jobs_on(tmp_path, monkeypatch, capsys):
    seen = []

    def executed(planned, *, options, engine, **others):
        seen.append((engine, options.jobs, options.threads))
        raise BenchError("that was all")

    for module in ("cli.run", "api"):
        monkeypatch.setattr(f"benchmarks.{module}.execute_run", executed)
    bench = call_bench(tmp_path, monkeypatch, capsys)
    names = ("run", "-g", "dcgan", "-d", "dct", "--preset", "smoke", "--threads", "1")
    assert bench(*names, "--jobs", "2")[2] == "error: that was all\n"
    assert bench(*names)[0] == 1  # BENCH_JOBS=1 of all tests
    monkeypatch.delenv("BENCH_JOBS")
    code, out, _ = bench(*names)
    assert code == 1 and "8 jobs of 1 thread: 8 cores; --jobs chooses otherwise" in out
    (tmp_path / "mine.yaml").write_text("generator: dcgan\ndetector: dct\npreset: smoke\njobs: 3\nengine: serial\n")
    bench("run", "mine.yaml", "--threads", "1")
    for jobs_of_call in (None, 2):
        with pytest.raises(BenchError, match="that was all"):
            run("dcgan", "dct", preset="smoke", threads=1, jobs=jobs_of_call, quiet=True)
    assert seen == [
        ("local", 2, 1), ("local", 1, 1), ("local", 8, 1), ("serial", 3, 1), ("local", 1, 1), ("local", 2, 1)
    ]  # fmt: skip
