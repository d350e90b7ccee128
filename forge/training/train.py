"""Train a generator: the loop with its checkpoint and all that accompanies a training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from forge.core.checkpoint import load_checkpoint
from forge.core.compute import Precision
from forge.core.distributed import ProcessGroup
from forge.core.errors import BenchWarning, InputError
from forge.core.execution import execution_of
from forge.core.interrupt import deferred_interrupt
from forge.core.progress import OnProgress
from forge.training.callbacks.checkpoint import SaveCheckpoint
from forge.training.callbacks.log import WriteLog
from forge.training.callbacks.monitoring import WatchHealth
from forge.training.callbacks.progress import ShowProgress
from forge.training.callbacks.samples import WriteSamples
from forge.training.callbacks.snapshots import KeepSnapshots
from forge.training.memory import explaining_memory
from forge.training.monitor.observe import FEWEST
from forge.training.steps import method_of
from forge.training.task import Training
from forge.training.tensorboard import Tracker
from forge.training.trainer import Callback, Trainer


def train(training: Training, out: Path, on_progress: OnProgress) -> None:
    """Train a generator, continuing from the checkpoint in `training.work` if there is one, and write it to `out`.

    Under `torchrun` or `accelerate launch` all processes call this; the first one writes.

    Args:
        training: what to do.
        out: an existing directory; receives the generator, log.jsonl, health.json, samples/ and snapshots/.
        on_progress: called with the progress.

    Raises:
        InputError: the set has fewer than 16 images or is of another resolution; a checkpoint with other settings;
            images or an architecture that cannot be trained.
        BenchError: the training diverged, or its health policy stopped it; the memory was too small for the batch.
        KeyboardInterrupt: Ctrl-C came; a checkpoint was saved first.
    """
    _check(training)
    training = _with_batch_that_fits(training)
    training.work.mkdir(parents=True, exist_ok=True)
    # the trainer seeds torch's global generator at every step; fork_rng gives the caller's state back
    with torch.random.fork_rng(), deferred_interrupt() as interrupted, explaining_memory(training):
        processes = ProcessGroup.join(training.compute.torch_device)
        checkpoint = training.work / "checkpoint.safetensors"
        # ({}, {}) stands for a training that has not begun; every process reads the same file
        tensors, state = load_checkpoint(checkpoint) if checkpoint.is_file() else ({}, {})
        events = Tracker(training.track) if training.track and processes.first else None
        callbacks = default_callbacks(training, on_progress, interrupted, events)
        trainer = Trainer(training, _precision(training, state), processes, callbacks=callbacks)
        if state:
            trainer.restore(tensors, state)
        trainer.run()
        if processes.first:
            trainer.publish(out)
            if events:
                events.close()
        # a barrier: the other processes stay until the first has written the result
        processes.broadcast(None)


def _check(training: Training) -> None:
    view, size, settings = training.view, training.architecture.resolution, training.settings
    if view.faces.resolution != size:
        raise InputError(f"the set {view.faces.path} has {view.faces.resolution} px, the generator wants {size}")
    if len(view) < FEWEST:
        raise InputError(f"{len(view)} training images are too few; prepare more, at least {FEWEST} are needed")
    # before the networks are built and any file is written
    method_of(training.architecture).check(training)
    beyond = [kimg for kimg in settings.snapshots_kimg if not 0 < kimg <= settings.kimg]
    if beyond:
        raise InputError(
            f"a snapshot after {beyond[0]:g} thousand images is outside the training of {settings.kimg:g} thousand; "
            "raise training.kimg or ask for an earlier one"
        )


def _with_batch_that_fits(training: Training) -> Training:
    """Lower the batch to the number of training images where there are fewer."""
    images, batch = len(training.view), training.settings.batch
    if images >= batch:
        return training
    warnings.warn(
        f"{training.name}: batch {batch} is lowered to {images}, the number of its training images",
        BenchWarning,
        stacklevel=3,
    )
    return training.with_batch(images)


def _precision(training: Training, state: Mapping[str, Any]) -> Precision:
    """Return the precision of a checkpoint that is continued, where none is asked for."""
    # "auto" may decide otherwise on another GPU or version: what was begun is continued in its own precision
    if state and training.compute.precision == "auto":
        saved: Precision = state["identity"]["precision"]
        return saved
    decided: Precision = training.compute.decide(execution_of("generators", training.reference))
    return decided


def default_callbacks(
    training: Training, on_progress: OnProgress, interrupted: Callable[[], bool], events: Tracker | None
) -> list[Callback]:
    """Return the callbacks of every training, in the order of their calls after a step.

    The log comes first, so that a line tells what a later callback stops; the checkpoint last, so that it has the state
    that the others leave.

    Args:
        training: what is trained.
        on_progress: called with the progress.
        interrupted: whether Ctrl-C came.
        events: for TensorBoard.
    """
    health = WatchHealth(training, events)
    samples = WriteSamples(training, events)
    return [
        WriteLog(training, events),
        ShowProgress(on_progress, notes=(health.note, samples.note)),
        health,
        KeepSnapshots(training),
        samples,
        SaveCheckpoint(interrupted),
    ]
