"""Error message for a batch that does not fit into memory, with a batch that fits."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from forge.core.compute import Precision
from forge.core.errors import BenchError
from forge.training.steps import method_of
from forge.training.task import Training


@contextmanager
def explaining_memory(training: Training) -> Iterator[None]:
    """Turn an out-of-memory error into a sentence that names a batch which fits."""
    try:
        yield
    except RuntimeError as error:  # of which torch's out-of-memory error is one
        # the words of torch's CPU allocator, which raises a plain RuntimeError
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        # The error holds the frames of the failed step, and these its activations, which would take the room of the
        # trials.
        traceback.clear_frames(error.__traceback__)
        fits = fitting_batch(training)  # on the same device
        advice = f"batch {fits} fits" if fits else "not even a batch of 2 fits: choose a smaller network"
        raise BenchError(
            f"the memory of {training.compute.device} is too small for batch {training.settings.batch} of "
            f"{training.name} at {training.architecture.resolution} px; {advice} "
            f"(--set generator.training.batch={fits or 2})"
        ) from error


def fitting_batch(training: Training) -> int | None:
    """Return the largest half, quarter, ... of the batch whose step fits into memory; None if not even 2 images do."""
    # fp32 takes at least as much as what "auto" may choose: the advice errs on the safe side
    precision: Precision = "fp32" if training.compute.precision == "auto" else training.compute.precision
    batch = training.settings.batch // 2
    while batch >= 2:
        smaller = training.with_batch(batch)
        if _fits(method_of(smaller.architecture).trial_step(smaller), precision):
            return batch
        batch //= 2
    return None


def _fits(step: Callable[[Precision], None], precision: Precision) -> bool:
    # blocks that the failed step left in torch's cache could be too fragmented for the smaller one
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        step(precision)
    except RuntimeError:  # of which torch's out-of-memory error is one
        return False
    return True
