"""The first process of a `torchrun` tells the others when there are no more trainings, however its run ends."""

import pytest

from benchmarks.workflow.stages import train
from benchmarks.workflow.stages.train import Train, leading
from forge.core.errors import BenchError, InputError


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

    def train(self, job):
        raise BenchError("the disk is full")


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(train, "_FAILED", set())
    group = Group()
    monkeypatch.setattr(train, "_join", lambda context: group)
    return group


@pytest.fixture
def job(tmp_path):
    return train.Job({}, tmp_path, tmp_path, train.Context(None, None, 1, print))


def test_the_others_are_dismissed_also_when_a_later_stage_fails(group, job):
    with pytest.raises(InputError, match="a detector"), leading(job.context):
        raise InputError("a detector fails")
    assert group.sent == [None]


def test_no_message_is_sent_into_a_training_that_failed(group, job):
    with pytest.raises(BenchError, match="full"), leading(job.context):
        Failing().run(job)
    assert len(group.sent) == 1 and group.sent[0] is not None


def test_alone_nothing_is_sent(group, job, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with leading(job.context):
        pass
    assert group.sent == []
