"""Tests on photos from elsewhere: pairs of folders as they are given, public test sets by their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from benchmarks.experiment.names import safe_name
from benchmarks.experiment.settings import External, RunSettings
from forge.core.errors import InputError, quoted
from forge.faces.layouts import Entry, TestSet, recognise
from forge.faces.sources.base import FEWEST
from forge.faces.sources.clips import FRAMES, can_read_videos

_SIDES: tuple[Literal["real", "forged"], ...] = ("real", "forged")


def external_of(
    external: Mapping[str, str | tuple[str, str] | tuple[str, str, str]],
) -> dict[str, External]:
    """Return the tests on photos from elsewhere, by the names of their columns.

    A test set gives a test per column, NAME/SUBSET, or NAME where it is one column.

    Args:
        external: of a request: name -> folder of a test set, or folders of a pair.

    Raises:
        InputError: a name that cannot be one; a folder that is not there or of no known layout; a set without enough
            images.
    """
    tests: dict[str, External] = {}
    for name, folders in external.items():
        if safe_name(name) != name:
            raise InputError(f"external {quoted(name)} cannot name a test everywhere; try {safe_name(name)}")
        columns = _columns(name, folders) if isinstance(folders, str) else {name: _pair(*folders)}
        if both := set(tests) & set(columns):
            raise InputError(f"two external tests are called {quoted(min(both))}; give one of them another name")
        tests |= columns
    return tests


def usable(entries: list[Entry]) -> list[Entry]:
    """Return the entries that can be tested: images, and videos where the extra `video` is installed."""
    return entries if can_read_videos() else [entry for entry in entries if not entry.is_video]


def images_in(entries: Sequence[Entry]) -> int:
    """Return the number of images of some entries, of a video the frames that are read."""
    return sum(FRAMES if entry.is_video else 1 for entry in entries)


def _pair(real: str, forged: str, masks: str = "") -> External:
    return External(real=real, forged=forged, masks=masks)


def _columns(name: str, root: str) -> dict[str, External]:
    """Return the columns of a test set that have enough images of a class."""
    test_set = recognise(Path(root))
    tested = test_set.of_split(test_set.tested_split)
    columns: dict[str, External] = {}
    small: list[str] = []
    for subset in test_set.subsets() or [""]:
        parts = {side: usable(tested.side(side, subset or None)) for side in _SIDES}
        counts = {side: images_in(parts[side]) for side in _SIDES}
        sides = tuple(side for side in _SIDES if counts[side] >= FEWEST)
        few = [side for side in _SIDES if side not in sides and parts[side]]
        small += [f"{subset or name}: {counts[side]} {side}" for side in few]
        if not sides:
            continue
        label = f"{name}/{safe_name(subset)}" if subset else name
        if label in columns:
            raise InputError(f"external {name} has two subsets that would be called {label}; rename one of them")
        # a mask of a video is a video too, of which no frames are read
        masked = sides == _SIDES and all(entry.mask and not entry.is_video for entry in parts["forged"])
        columns[label] = External(root=root, subset=subset, sides=sides, listed_masks=masked)
    if not columns:
        raise InputError(_too_few(name, tested, small))
    notes = [f"external {name}: {test_set.summary()}{_remarks(test_set)}"]
    if small:
        notes.append(
            f"external {name}: left out, fewer than {FEWEST} images of a class: {'; '.join(small[:5])}"
            + (f" and {len(small) - 5} more" if len(small) > 5 else "")
        )
    return {label: column.model_copy(update={"notes": tuple(notes)}) for label, column in columns.items()}


def notes_of(settings: RunSettings) -> list[str]:
    """Return what was recognised of the test sets of a run, a sentence each."""
    return list(dict.fromkeys(note for test in settings.external.values() for note in test.notes))


def _remarks(test_set: TestSet) -> str:
    """Return what else must be known of a set: lists that name absent files, duplicates, files that are not read."""
    remarks = list(test_set.notes)
    videos = sum(entry.is_video for entry in test_set.entries)
    if videos and can_read_videos():
        remarks.append(f"{FRAMES} frames are read of each of {videos:,} videos")
    elif videos:
        remarks.append(f"{videos:,} videos are left out: pip install 'deepfake-bench[video]', or extract their frames")
    if test_set.missing:
        remarks.append(f"{len(test_set.missing):,} listed files are not there, e.g. {quoted(test_set.missing[0])}")
    if test_set.duplicates:
        remarks.append(f"{len(test_set.duplicates):,} files are listed twice and used once")
    if test_set.unread:
        file, why = next(iter(test_set.unread.items()))
        remarks.append(f"{len(test_set.unread):,} files are not read, e.g. {quoted(file)}: {why}")
    return "".join(f"; {remark}" for remark in remarks)


def _too_few(name: str, tested: TestSet, small: list[str]) -> str:
    videos = sum(entry.is_video for entry in tested.entries)
    if videos and videos == len(tested.entries) and not can_read_videos():
        return (
            f"external {name} holds {videos} videos and no images; pip install 'deepfake-bench[video]', or extract "
            "their frames as PNG, a folder per video"
        )
    return (
        f"external {name}: no column has {FEWEST} images of a class"
        + (f" ({'; '.join(small[:5])})" if small else "")
        + "; give a larger set"
    )
