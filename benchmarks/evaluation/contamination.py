"""External test sets that a detector was trained on: by the names that its card declares, or by files in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.run_facts import DetectorFacts
from benchmarks.protocol import EXTERNAL_PREFIX

MARK = "†"


def names_of(test_set: str) -> set[str]:
    """Return the names in that of a test set: "external:ForenSynths/ProGAN" holds forensynths and progan."""
    plain = test_set.removeprefix(EXTERNAL_PREFIX).lower().replace("++", "pp")
    parts = re.split(r"[/:\s_.]", plain)
    # "celeb-df" is one name, and so is each side of its dash
    return {re.sub(r"[^a-z0-9]", "", part) for name in parts for part in (name, *name.split("-"))} - {""}


def seen_tests(
    declared: Collection[str],
    training_files: Collection[str],
    tests: Mapping[str, Collection[str]],
) -> dict[str, str]:
    """Return the external test sets that a detector was trained on, and why it counts as such.

    Args:
        declared: names of sets and generators on the detector's card.
        training_files: SHA-256 of the files of its training and validation images.
        tests: external test set -> SHA-256 of its files.
    """
    known = {key: name for name in declared for key in [re.sub(r"[^a-z0-9]", "", name.lower())]}
    training = set(training_files)
    seen = {}
    for test, files in tests.items():
        named = sorted(known[key] for key in names_of(test) & set(known))
        shared = len(training & set(files))
        if named:
            seen[test] = f"trained on {', '.join(named)}"
        elif shared:
            seen[test] = f"{shared:,} of {len(set(files)):,} files were in its training"
    return seen


def with_marks(board: Leaderboard, detectors: Iterable[DetectorFacts]) -> Leaderboard:
    """Mark the means of a leaderboard that hold a test set which the detector has seen.

    Args:
        board: the leaderboard; `tests_of` says which tests each column holds.
        detectors: facts of all fits.
    """
    seen: dict[str, dict[str, str]] = {}
    for fit in detectors:
        seen.setdefault(fit.name, {}).update(fit.seen)
    if not any(seen.values()):
        return board
    lines = []
    for line in board.lines:
        own = seen.get(line.detector, {})
        marked = {
            column: standing.model_copy(
                update={"seen": {t: own[t] for t in sorted(board.tests_of.get(column, set()) & set(own))}}
            )
            for column, standing in line.columns.items()
        }
        lines.append(line.model_copy(update={"columns": marked}))
    return board.model_copy(update={"lines": lines})


def notes_of(board: Leaderboard, shown: Collection[str]) -> list[str]:
    """Return the footnote on marked means of the shown columns; empty where there are none."""
    reasons = [
        f"{line.detector} in {column}: {test.removeprefix(EXTERNAL_PREFIX)} ({why})"
        for line in board.lines
        for column, standing in line.columns.items()
        if column in shown
        for test, why in standing.seen.items()
    ]
    return [f"{MARK} The detector has seen a test set of this mean. {'; '.join(reasons)}."] if reasons else []
