"""Timing on a device: images per second, the share of the time it computes, and the memory that it took."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

ROUNDS = 3  # at least


def wait(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(
    step: Callable[[], object], device: torch.device, *, images: int, seconds: float, steps: int = 20, warm_up: int = 3
) -> float:
    """Images per second of a step: the median of rounds.

    Args:
        step: what is timed; handles `images` images.
        device: it works on.
        images: of one step.
        seconds: rounds are added until this much time has gone.
        steps: per round; the device is waited for between rounds only.
        warm_up: steps before the first round.
    """
    # First steps allocate, choose kernels and compile.
    for _ in range(warm_up):
        step()
    wait(device)
    rounds: list[float] = []
    begin = time.perf_counter()
    while len(rounds) < ROUNDS or time.perf_counter() - begin < seconds:
        # The device works asynchronously: the clock is read when it has done all steps of the round.
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        rounds.append(images * steps / (time.perf_counter() - start))
    return statistics.median(rounds)


@dataclass(frozen=True)
class Profile:
    """Profile of a GPU during training steps.

    Attributes:
        busy: share of the time in which at least one kernel or copy runs.
        kernels: the dearest kernels: name, microseconds per step, launches per step.
    """

    busy: float | None
    kernels: list[tuple[str, float, float]]


def profiled(step: Callable[[], object], device: torch.device, *, steps: int = 10, listed: int = 15) -> Profile | None:
    """Profile some steps on a GPU; None on a CPU."""
    if device.type != "cuda":
        return None
    wait(device)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        for _ in range(steps):
            step()
        wait(device)
    # kernels and copies; events of the processor are left out
    events = [event for event in profiler.events() if event.device_type.name == "CUDA"]
    spans = sorted((event.time_range.start, event.time_range.end) for event in events)
    microseconds: Counter[str] = Counter()
    launches: Counter[str] = Counter()
    for event in events:
        microseconds[event.name] += event.time_range.elapsed_us()
        launches[event.name] += 1
    dearest = microseconds.most_common(listed)
    kernels = [(name[:120], round(spent / steps, 1), launches[name] / steps) for name, spent in dearest]
    # the sum may exceed the time: kernels overlap on streams
    kernels.append(("all", round(sum(microseconds.values()) / steps, 1), sum(launches.values()) / steps))
    return Profile(covered(spans), kernels)


def covered(spans: list[tuple[float, float]]) -> float | None:
    """Share of the time from the first start to the last end that is inside at least one span; None without spans.

    Args:
        spans: starts and ends, sorted by start.
    """
    if not spans:
        return None
    inside, reached = 0.0, spans[0][0]
    # One pass over spans sorted by start; what overlaps counts once.
    for start, end in spans:
        inside += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return inside / (reached - spans[0][0])


@contextmanager
def counting_memory(device: torch.device) -> Iterator[Callable[[], float | None]]:
    """Count the memory that torch reserves on a GPU; the function that is given tells the most so far in MiB."""
    if device.type == "cuda":  # reserved by earlier measurements would count in this one's peak
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield lambda: round(torch.cuda.max_memory_reserved(device) / 2**20, 1) if device.type == "cuda" else None


@contextmanager
def default_tf32() -> Iterator[None]:
    """PyTorch's own settings, which allow TF32 in convolutions: what plain code runs with."""
    # The bench turns TF32 off for fp32; plain code would not.
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
