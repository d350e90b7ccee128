"""Simulated clusters against formulas: sums, critical paths, Graham's bound, queues; and the published times."""

import random
from pathlib import Path

import pytest
from fake_stages import Scoring, Training, inputs

from benchmarks.speed.clusters import Curve, drawing
from benchmarks.speed.published import MeasuredPlan
from benchmarks.workflow.simulate import Cluster, critical_path, simulate, with_more_jobs
from forge.core.errors import InputError


def random_plan(seed):
    """Return up to 40 stages with random inputs, and a duration of each, many of them short."""
    rng = random.Random(seed)
    stages = []
    for number in range(rng.randint(1, 40)):
        before = rng.sample(stages, min(len(stages), rng.choice([0, 0, 1, 1, 2, 5])))
        stages.append(Scoring(title=str(number), before=inputs(*before)))
    return stages, {stage.key: rng.choice([0.0, 0.01, 0.05, 1.0, 10.0]) * rng.random() for stage in stages}


@pytest.mark.parametrize("seed", range(20))
def test_no_run_is_shorter_than_its_longest_chain_or_longer_than_grahams_bound(seed):
    stages, seconds = random_plan(seed)
    work, critical = sum(seconds.values()), critical_path(stages, seconds)
    assert simulate(stages, seconds, Cluster(1)).makespan == pytest.approx(work)
    for workers in (2, 3, 7):
        run = simulate(stages, seconds, Cluster(workers))
        # short stages travel together for up to a second, which a list schedule would not make them do
        assert max(critical, work / workers) - 1e-9 <= run.makespan <= run.bound + 1.0
        assert run.work == pytest.approx(work) and run.critical == critical
    alone = {key: length + 0.1 for key, length in seconds.items()}  # none is short
    for workers in (2, 3, 7):
        run = simulate(stages, alone, Cluster(workers))
        assert run.makespan <= run.bound + 1e-9
    assert simulate(stages, alone, Cluster(100)).makespan == pytest.approx(critical_path(stages, alone))


def test_an_example_by_hand():
    first, second = Training(title="a"), Training(title="b")
    scores = [Scoring(title=f"{n}", before=inputs(first)) for n in range(3)]
    stages = [first, second, *scores]
    seconds = dict(zip((stage.key for stage in stages), (2.0, 3.0, 1.0, 1.0, 1.0), strict=True))
    # two workers: a and b; at 2 a score, at 3 two more
    assert simulate(stages, seconds, Cluster(2)).makespan == 4.0
    run = simulate(stages, seconds, Cluster(2, start_seconds=10.0, task_seconds=0.25, stage_seconds=0.5))
    # handed out at .25 and .5 while workers start: both begin at 10; a ends at 12.5, b at 13.5; scores take 1.5
    assert run.makespan == pytest.approx(12.5 + 0.25 + 1.5 + 0.25 + 1.5) and run.driver == pytest.approx(1.25)
    there = simulate(stages, seconds, Cluster(2), cached={first.key, second.key})
    assert (there.makespan, there.work, there.critical) == (2.0, 3.0, 1.0)


def test_workers_wait_for_the_driver_and_for_the_store():
    stages = [Scoring(title=str(number)) for number in range(100)]
    seconds = dict.fromkeys((stage.key for stage in stages), 1.0)
    assert simulate(stages, seconds, Cluster(1000)).makespan == 1.0
    assert simulate(stages, seconds, Cluster(1000, task_seconds=0.1)).makespan == pytest.approx(11.0)
    reads = dict.fromkeys(seconds, 5e8)
    ample = simulate(stages, seconds, Cluster(1000, worker_bytes=1e9), reads=reads)
    assert ample.makespan == pytest.approx(1.5) and ample.reading == pytest.approx(50)
    narrow = simulate(stages, seconds, Cluster(1000, worker_bytes=1e9, store_bytes=1e9), reads=reads)
    assert narrow.makespan == pytest.approx(51.0) and narrow.reading == pytest.approx(0.5 * sum(range(1, 101)))


def test_what_dead_workers_had_begun_is_run_again():
    stages = [Training(title=str(number)) for number in range(20)]
    seconds = dict.fromkeys((stage.key for stage in stages), 600.0)
    calm = simulate(stages, seconds, Cluster(4, start_seconds=5.0))
    assert calm.makespan == 5 + 5 * 600 and calm.deaths == 0
    mortal = Cluster(4, start_seconds=5.0, deaths=6.0)
    again = simulate(stages, seconds, mortal, seed=1)
    kept = simulate(stages, seconds, mortal, resuming=("fake-train",), seed=1)
    assert again.deaths > 10 and calm.makespan < kept.makespan < again.makespan
    assert kept.makespan < calm.makespan + kept.deaths * (60 + 5)  # a checkpoint a minute, and the start
    assert simulate(stages, seconds, mortal, seed=1) == again != simulate(stages, seconds, mortal, seed=2)


def test_a_published_suite_has_the_times_of_its_report():
    measured = MeasuredPlan.of("arms-race", Path("reports"))
    assert measured.matched > 0.95 * len(measured.stages)
    # the report's own stages, what today's plan has beside them, and the page
    assert sum(measured.seconds.values()) == pytest.approx(2638, rel=0.05)
    train = next(stage for stage in measured.stages if stage.action == "train")
    assert measured.seconds[train.key] == 304.047 and measured.reads[train.key] == 4794 * 64 * 64 * 3
    curve = Curve.of("arms-race", measured, workers=(1, 4, 16))
    one, four, many = curve.runs
    assert one.makespan > four.makespan >= many.makespan > many.critical and one.utilisation > 0.98
    picture = drawing([curve])
    assert "arms-race: 4 workers suffice" in picture and "1 workers 45 min" in picture
    with pytest.raises(InputError, match="no-suite"):
        MeasuredPlan.of("no-suite", Path("reports"))


def test_more_jobs_are_tried_for_as_long_as_they_save_a_tenth():
    first, *others = [Training(title="0"), *(Training(title=str(number)) for number in range(1, 16))]
    todo = [stage.key for stage in others]
    seconds = dict.fromkeys(todo, 300.0)
    runs = with_more_jobs([first, *others], todo, seconds, 1)
    assert [run.workers for run in runs] == [1, 2, 5, 10, 20]  # fifteen trainings of five minutes; the first is there
    assert [round(run.makespan / 300) for run in runs] == [15, 8, 3, 2, 1]
    assert [run.workers for run in with_more_jobs([first, *others], todo, seconds, 20)] == [20]
    # nothing like it was timed: no time, and nothing to save
    assert len(with_more_jobs([first], [first.key], {}, 2)) == 1
