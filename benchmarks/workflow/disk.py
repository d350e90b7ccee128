"""Checks of folders and disk space before any work starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.experiment.settings import RunSettings
from benchmarks.workflow.runner import PlannedRun
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.store import Store
from forge.core.errors import InputError


def check_places(**folders: Path) -> None:
    """Refuse folders that cannot be made or written to.

    Args:
        folders: by the flag that names each, without its dashes.

    Raises:
        InputError: names the flag and the folder.
    """
    for flag, folder in folders.items():
        there = _nearest(folder)
        if not there.is_dir():
            raise InputError(f"--{flag} {folder} is not a folder; choose another place")
        # a folder takes new entries only where it can both be written to and entered
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"--{flag} {folder} cannot be written to; choose another place")


def check_room(runs: Sequence[RunSettings], store: Store, plan: Callable[[RunSettings], PlannedRun]) -> None:
    """Refuse runs whose forged images alone, as far as the store lacks them, would fill the disk.

    Args:
        runs: settings of each.
        store: of their results.
        plan: makes the plan of a run; it is asked for only where all sets together would not fit.

    Raises:
        InputError: names what is needed and what is there.
    """
    free = shutil.disk_usage(_nearest(store.root)).free
    if sum(map(_bytes_of, runs)) <= free:
        return
    # A lower bound: checkpoints, photos and scores come on top. By key: runs share sets.
    needed = sum({key: size for settings in runs for key, size in _missing(plan(settings), store)}.values())
    if needed > free:
        raise InputError(
            f"the forged images need {needed / 2**30:,.1f} GiB and {store.root} has room for {free / 2**30:,.1f}; ask "
            "for fewer (--set images.train=N) or choose another --store"
        )


def _bytes_of(settings: RunSettings) -> int:
    """Return the most bytes that the pixels of all forged sets of a run can take."""
    images = sum(settings.images.model_dump().values())
    images += sum(map(len, settings.conditions.snapshots.values())) * settings.images.test
    # one byte per channel; FaceSets store pixels without compression
    of_set = images * settings.data.resolution**2 * 3
    return int(of_set * len(settings.generators) * max(1, len(settings.seeds)))


def _missing(planned: PlannedRun, store: Store) -> Iterator[tuple[str, int]]:
    """Yield key and bytes of pixels of every forged set that the store lacks and the run will make.

    Results count by their names: checking their files as well would read the whole store before any work.
    """
    report = planned.stages[-1]
    if store.lists(report.action, report.key):
        return
    per_image = planned.settings.data.resolution**2 * 3
    for stage in planned.stages:
        if isinstance(stage, Forger) and not store.lists(stage.action, stage.key):
            yield stage.key, sum(stage.counts.values()) * per_image


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    # a relative folder has only "." above it, hence absolute
    return next(folder for folder in (folder, *folder.absolute().parents) if folder.exists())
