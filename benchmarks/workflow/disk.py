"""Checks of folders and disk space before any work starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmarks.experiment.settings import RunSettings
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


def check_room(runs: Iterable[RunSettings], store: Path) -> None:
    """Refuse runs whose forged images alone would fill the disk.

    Raises:
        InputError: names what is needed and what is there.
    """
    # A lower bound: checkpoints, photos and scores come on top.
    needed = sum(_bytes_of(settings) for settings in runs)
    free = shutil.disk_usage(_nearest(store)).free
    if needed > free:
        raise InputError(
            f"the forged images need {needed / 2**30:,.1f} GiB and {store} has room for {free / 2**30:,.1f}; ask for "
            "fewer (--set images.train=N) or choose another --store"
        )


def _bytes_of(settings: RunSettings) -> int:
    """Bytes of the pixels of all forged sets of a run."""
    images = sum(settings.images.model_dump().values())
    runs = max(1, len(settings.seeds))
    # one byte per channel; FaceSets store pixels without compression
    return int(images * settings.data.resolution**2 * 3 * len(settings.generators) * runs)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    # a relative folder has only "." above it, hence absolute
    return next(folder for folder in (folder, *folder.absolute().parents) if folder.exists())
