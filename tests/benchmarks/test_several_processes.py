"""The first process of a `torchrun` tells the others when there are no more trainings, however its run ends."""

import pytest

from benchmarks.workflow import joint
from benchmarks.workflow.joint import follow, leading
from benchmarks.workflow.stage import Context, Job
from benchmarks.workflow.stages.train import Train
from forge.core.errors import BenchError, DivergedError, InputError


class Group:
    """Processes that note what the first one sends."""

    size = 2

    def __init__(self):
        self.sent = []

    def broadcast(self, message):
        self.sent.append(message)


class Failing(Train):
    """A training that fails after its start."""

    label = key = "failing"

    def __init__(self):
        pass

    def jointly(self, job, processes):
        raise BenchError("the disk is full")


class Diverging(Failing):
    """A fit that all processes give up at the same step."""

    def jointly(self, job, processes):
        raise DivergedError("the loss is not a finite number")


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(joint, "_FAILED", set())
    group = Group()
    monkeypatch.setattr(joint, "_join", lambda context: group)
    return group


@pytest.fixture
def job(tmp_path):
    return Job({}, tmp_path, tmp_path, Context(None, None, 1, print))


def test_the_others_are_dismissed_also_when_a_later_stage_fails(group, job):
    with pytest.raises(InputError, match="a detector"), leading(job.context):
        raise InputError("a detector fails")
    assert group.sent == [None]


def test_no_message_is_sent_into_a_training_that_failed(group, job):
    with pytest.raises(BenchError, match="full"), leading(job.context):
        Failing().run(job)
    assert len(group.sent) == 1 and group.sent[0] is not None


def test_after_a_fit_that_diverged_in_all_processes_the_run_goes_on(group, job, monkeypatch):
    with pytest.raises(DivergedError), leading(job.context):
        Diverging().run(job)
    sent = list(group.sent)
    assert len(sent) == 2 and sent[1] is None
    monkeypatch.setattr(group, "broadcast", lambda _: sent.pop(0))
    follow(job.context)  # the other process: it takes the stage, goes on after it, and ends
    assert sent == []


def test_alone_nothing_is_sent(group, job, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with leading(job.context):
        pass
    assert group.sent == []
