"""Shell completion of suites, runs, generators, detectors and presets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.places import report_roots, reports_folder, zoo_folders
from forge.core.errors import InputError


def generators(incomplete: str) -> list[str]:
    """Generators, those of the zoo too; after a comma the next one."""
    # Imported here: completion runs with every press of Tab, and each module has names of its own kind.
    from forge.generators import GENERATORS

    return _listed(incomplete, [*GENERATORS.entries, *_members("generator")])


def detectors(incomplete: str) -> list[str]:
    """Detectors, those of the zoo too; after a comma the next one."""
    from detect.detectors.registry import DETECTORS

    return _listed(incomplete, [*DETECTORS.entries, *_members("detector")])


def presets(incomplete: str) -> list[str]:
    """Presets."""
    from benchmarks.experiment.settings import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def suites(incomplete: str) -> list[str]:
    """Shipped suites, and YAML files of this folder."""
    from benchmarks.experiment.configs import suites as shipped

    files = [file.name for file in Path().glob("*.yaml")]
    return [name for name in [*shipped(), *sorted(files)] if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Finished runs, and published reports."""
    # by name alone: opening every report would take longer than a person waits for a completion
    files = (file for root in report_roots(reports_folder()) for file in root.glob("*/results.json"))
    names = sorted({file.parent.name for file in files})
    # what begins with "." is a report that is being written
    return [name for name in names if name.startswith(incomplete) and not name.startswith(".")]


def _members(role: str) -> list[str]:
    # by the names of folders: reading every card would take longer than a person waits for a completion
    try:
        folders = {file.parent for root in zoo_folders() for file in root.glob("*/zoo.json")}
    except InputError:  # a variable that names no folder is said where a command is run
        return []
    # what begins with "." is a member that is being written
    named = (folder for folder in folders if (folder / f"{role}.json").is_file() and not folder.name.startswith("."))
    return sorted(f"zoo:{folder.name}" for folder in named)


def _listed(incomplete: str, known: Iterable[str]) -> list[str]:
    # Names are comma-separated in one word of the shell: what stands before the last comma is kept.
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in known if name.startswith(last)]
