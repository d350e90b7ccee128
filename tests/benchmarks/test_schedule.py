"""The order of stages, what follows from failures, and what crosses to other processes."""

import pickle
from pathlib import Path

import fake_stages
import pytest
from fake_stages import Scoring

from benchmarks.workflow.schedule import Estimate, Schedule
from forge.core.errors import BenchError, DetectorError, InputError, UnknownNameError


@pytest.fixture
def grid():
    return fake_stages.grid()


def scheduled(stages, cached=(), **options):
    state = {stage.key: "cached" if stage in cached else "run: no result yet" for stage in stages}
    folders = {stage.key: Path(stage.title) for stage in cached}
    return Schedule(stages, state, folders, threads=1, **options)


def titles(tasks):
    return [[stage.title for stage in task.stages] for task in tasks]


def drain(schedule, failing=()):
    """Run everything, two tasks at a time; return the titles in order."""
    order = []
    while not schedule.done:
        for task in schedule.take(2):
            for stage in task.stages:
                order.append(stage.title)
                if stage.title in failing:
                    schedule.failed(stage.key, BenchError(f"{stage.title} failed"))
                else:
                    assert {before.key for before in stage.inputs.values()} <= {*task.folders}
                    schedule.finished(stage.key, Path(stage.title))
    return order


def test_without_estimates_stages_keep_their_order(grid):
    assert drain(scheduled(grid)) == [stage.title for stage in grid]


def test_the_longest_path_comes_first(grid):
    estimates = {stage.key: Estimate(1.0) for stage in grid} | {grid[1].key: Estimate(50.0)}
    schedule = scheduled(grid, estimates=estimates)
    assert titles(schedule.take(1)) == [["b"]]
    schedule.finished(grid[1].key, Path("b"))
    assert titles(schedule.take(1)) == [["a"]]  # two steps from the sum, the scores of b but one


def test_short_stages_travel_together_and_leave_work_for_other_workers(grid):
    estimates = {stage.key: Estimate(0.01, memory_mb=7.0) for stage in grid[2:]}
    schedule = scheduled(grid, cached=grid[:2], estimates=estimates)
    assert [stage.title for stage in schedule.reached()] == ["a", "b"] and not schedule.reached()
    tasks = schedule.take(2)
    assert titles(tasks) == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
    assert tasks[0].seconds == pytest.approx(0.03) and tasks[0].memory_mb == 7.0
    schedule.again(grid[2].key)  # its worker died: alone from now on
    assert titles(schedule.take(1)) == [["a0"]]


def test_a_device_takes_one_computing_stage_at_a_time(grid):
    other = Scoring(title="photos")
    schedule = scheduled([*grid[:2], other, *grid[2:]], device="cuda")
    tasks = schedule.take(5, ["cuda:1"])
    assert titles(tasks) == [["a"], ["photos"]] and [task.device for task in tasks] == ["cuda:1", "cuda"]
    assert not schedule.take(5, []) and titles(schedule.take(5, ["cuda:0"])) == [["b"]]


def test_what_needs_a_failed_stage_is_left_out_and_the_rest_collected(grid):
    schedule = scheduled(grid)
    order = drain(schedule, failing=["a", "b1"])
    assert order == ["a", "b", "b0", "b1", "b2", "sum fake-score b1 fake-train a"]
    outcome = schedule.outcome()
    assert [str(error) for error in outcome.failures.values()] == ["a failed", "b1 failed"]
    assert outcome.report == Path("sum fake-score b1 fake-train a")


def test_a_cached_result_is_used_although_its_input_failed(grid):
    score = grid[2]
    schedule = scheduled(grid, cached=[score])
    assert drain(schedule, failing=["a"])[:3] == ["a", "b", "b0"]
    assert score.key in schedule.outcome().folders


def test_a_cached_collection_is_made_again_where_something_failed(grid):
    assert not drain(scheduled(grid, cached=grid))
    assert drain(scheduled(grid, cached=grid[1:]), failing=["a"]) == ["a", "sum fake-train a"]


@pytest.mark.parametrize(("error", "system"), [(InputError("wrong"), False), (BenchError("the disk is full"), True)])
def test_some_failures_stop_everything(grid, error, system):
    schedule = scheduled(grid)
    schedule.take(2)
    assert not schedule.failed(grid[0].key, error, system=system)
    assert schedule.stopped and not schedule.done and not schedule.take(2)  # b is under way
    schedule.finished(grid[1].key, Path("b"))
    assert schedule.done
    with pytest.raises(type(error), match=str(error)):
        schedule.outcome()


def test_stages_that_were_put_back_as_last_wait_for_all_others(grid):
    schedule = scheduled(grid)
    schedule.take(1)
    schedule.again(grid[0].key, last=True)
    assert titles(schedule.take(1)) == [["b"]] and titles(schedule.take(1)) == [["a"]]


def test_a_stage_keeps_its_key_in_another_process(grid):
    task = scheduled(grid, cached=grid[:-1]).take(1)[0]
    copy = pickle.loads(pickle.dumps(task))
    assert copy.stages[0].key == grid[-1].key and copy.stages[0].inputs.keys() == grid[-1].inputs.keys()
    assert copy.folders == task.folders


@pytest.mark.parametrize(
    "error",
    [UnknownNameError("detector", "xcepton", ["xception"]), DetectorError("not finite"), InputError("x" * 9000)],
)
def test_errors_cross_with_their_class_and_text(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


class ForeignError(InputError):
    """An error class that only this module knows, as that of a plug-in."""


def test_an_error_of_a_plug_in_crosses_as_the_nearest_shared_class():
    copy = pickle.loads(pickle.dumps(ForeignError("no")))
    assert type(copy) is InputError and str(copy) == "no"
