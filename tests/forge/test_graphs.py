"""Eager steps and steps replayed from a CUDA graph; the graphs themselves need a GPU (tests/cuda)."""

import pytest
import torch

from forge.core.graphs import WARM_UP, StepGraphs


class Recorded(StepGraphs):
    """Graphs whose capture and streams are played by the CPU: a replay runs the step on the inputs that are held."""

    def __init__(self, step, **options):
        super().__init__(step, torch.device("cpu"), enabled=False)
        self.enabled, self.captures, self.problem = True, 0, options.get("problem")

    def _aside(self, kind, inputs):
        self._step(kind, *inputs)

    def _capture(self, kind):
        if self.problem:
            raise self.problem
        self.captures += 1

        class Replay:
            replay = staticmethod(lambda: self._step(kind, *self._inputs[kind]))

        self._graphs[kind] = Replay


def test_a_cpu_never_captures():
    seen = []
    graphs = StepGraphs(lambda kind, value: seen.append((kind, value)), torch.device("cpu"), enabled=True)
    graphs("plain", None)
    assert not graphs.enabled and seen == [("plain", None)]


def test_each_kind_is_captured_once_after_its_warm_up_and_sees_new_inputs():
    seen = []
    graphs = Recorded(lambda kind, value, label: seen.append((kind, float(value), label)))
    for number in range(10):
        graphs("penalty" if number % 2 else "plain", torch.tensor(float(number)), None)
    assert seen == [("penalty" if n % 2 else "plain", float(n), None) for n in range(10)]
    assert graphs.captures == 2 and WARM_UP == 3
    graphs.clear()
    graphs("plain", torch.tensor(1.0), None)
    assert graphs.captures == 2  # warms up anew


def test_kinds_with_other_inputs_share_none():
    seen = []
    graphs = Recorded(lambda kind, *values: seen.append((kind, [None if v is None else float(v) for v in values])))
    for number in range(WARM_UP + 2):
        graphs("plain", torch.tensor(float(number)), None)
        graphs("labels", torch.tensor(float(number)), torch.tensor(7.0 + number))
        graphs("two", torch.tensor(float(number)))
    assert seen[-3:] == [("plain", [4.0, None]), ("labels", [4.0, 11.0]), ("two", [4.0])]
    with pytest.raises(ValueError, match="inputs of the step plain are given now"):
        graphs("plain", torch.tensor(0.0), torch.tensor(0.0))


def test_a_step_that_cannot_be_captured_runs_eagerly_and_says_so():
    seen = []
    graphs = Recorded(lambda kind, value: seen.append(float(value)), problem=RuntimeError("not while capturing\nmore"))
    for number in range(WARM_UP):
        graphs(None, torch.tensor(float(number)))
    with pytest.warns(UserWarning, match="run eagerly.*: not while capturing$"):
        graphs(None, torch.tensor(3.0))
    graphs(None, torch.tensor(4.0))
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0] and not graphs.enabled


def test_too_little_memory_is_not_taken_for_a_step_that_cannot_be_captured():
    graphs = Recorded(lambda kind, value: None, problem=torch.OutOfMemoryError("out of memory"))
    for _ in range(WARM_UP):
        graphs(None, torch.tensor(0.0))
    with pytest.raises(torch.OutOfMemoryError):
        graphs(None, torch.tensor(0.0))
