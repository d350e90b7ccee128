"""Plans with very many stages: chains that are longer than Python's limit of nested calls."""

import heapq
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from requested import compose

from benchmarks.speed.many_stages import fill, find_all, forecast_all, schedule_all
from benchmarks.workflow.drive import status
from benchmarks.workflow.execution import ensure
from benchmarks.workflow.forecast import forecast
from benchmarks.workflow.planner import plan
from benchmarks.workflow.schedule import Estimate, Schedule
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.store import Store

LENGTH = 5000


@dataclass(frozen=True, eq=False, kw_only=True)
class Link(Stage):
    action = "link"
    VERSION = 1

    number: int
    before: "Link | None" = None

    @property
    def label(self):
        return str(self.number)

    @property
    def settings(self):
        return {"number": self.number}

    def run(self, job):
        return {}


class Nothing:
    """An observer that shows nothing."""

    def __getattr__(self, name):
        return lambda *arguments, **named: None


def scheduled(stages, estimates=None):
    state = dict.fromkeys((stage.key for stage in stages), "run: no result yet")
    return Schedule(stages, state, {}, threads=1, estimates=estimates)


def chain(length=LENGTH):
    links = [Link(number=0)]
    while len(links) < length:
        links.append(Link(number=len(links), before=links[-1]))
    return links


@pytest.fixture(autouse=True)
def few_nested_calls():
    assert sys.getrecursionlimit() < LENGTH


def test_the_last_key_of_a_long_chain_is_that_of_keys_made_in_order():
    ordered = [link.key for link in chain()]
    assert chain()[-1].key == ordered[-1]
    assert len(set(ordered)) == LENGTH


class Full:
    """A store that holds every result."""

    def find(self, action, key):
        return Path(key)


def test_a_long_chain_is_looked_up_from_its_end():
    links = chain()
    state = status(links, Store(Path("nowhere")))
    assert set(state.values()) == {"run: no result yet"} and len(state) == LENGTH
    folders = ensure([links[-1]], Full(), None, Nothing())
    assert list(folders) == [link.key for link in links]  # inputs first


def test_a_long_chain_is_scheduled():
    links = chain()
    schedule = scheduled(links, dict.fromkeys((link.key for link in links), Estimate(0.01)))
    for link in links:
        (task,) = schedule.take(8)
        assert task.stages == (link,)
        schedule.finished(link.key, Path("there"))
    assert schedule.done and len(schedule.outcome().folders) == LENGTH


def test_stages_that_wait_for_a_gpu_are_not_sorted_again_for_each_that_gets_one(monkeypatch):
    readers = [Link(number=number, before=Link(number=0)) for number in range(1, 1001)]
    stages = [Link(number=0), *readers]
    schedule, pops = scheduled(stages), []
    monkeypatch.setattr(heapq, "heappop", lambda heap: pops.append(1) or heap.pop(0))  # they are pushed in order
    free = ["cuda:0"]
    for _ in stages:
        (task,) = schedule.take(4, free)
        assert task.device == "cuda:0" and schedule.take(4, []) == []
        schedule.finished(task.stages[0].key, Path("there"))
    assert schedule.done and len(pops) == len(stages)


def test_a_suite_is_found_whole_where_nothing_is_missing_or_damaged(tmp_path):
    settings = compose(generators=["gan"], detectors=["dct", "random"], preset="smoke")
    stages = plan(settings, source_fingerprint="")
    count, _, _, _ = schedule_all(settings)
    fill(settings, tmp_path)
    taken, peak = find_all(settings, tmp_path)  # it counts what it finds
    assert count == len(stages) > 10 and taken.processor > 0 and peak > 0
    assert forecast(stages, Store(tmp_path), tmp_path / "none").timed == count
    assert forecast_all(settings, tmp_path).seconds > 0
    damaged = next(tmp_path.glob("results/fit-*"))
    (damaged / "scores.parquet").write_bytes(bytes(20))
    state = status(stages, Store(tmp_path))
    problem = "run: damaged (scores.parquet has 20 bytes, not 20064)"
    assert [value for value in state.values() if value != "cached"] == [problem]
