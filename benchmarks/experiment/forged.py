"""Forgeries that are files: how they are asked for, and the generators that they stand for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from benchmarks.experiment.request_fields import ForgedFolder
from benchmarks.experiment.settings import GeneratorSettings
from benchmarks.protocol import ELSEWHERE
from forge.core.errors import InputError, quoted
from forge.generators import GENERATORS

FILES = "files"  # architecture of what no generator makes
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def parse_forged(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read texts of `--forged`: name -> path, and family where one is named.

    Raises:
        InputError: a text is not NAME=ROOT or NAME:FAMILY=ROOT, or a name stands twice.
    """
    parsed: dict[str, dict[str, str]] = {}
    for text in texts:
        label, _, path = text.partition("=")
        name, colon, family = label.partition(":")
        if not (name and path) or (colon and not family):
            raise InputError(f"--forged {quoted(text)} must look like NAME=ROOT or NAME:FAMILY=ROOT, a folder")
        if name in parsed:
            raise InputError(f"--forged names {quoted(name)} twice; give each set a name of its own")
        parsed[name] = {"path": path, "family": family}
    return parsed


def written(name: str, folder: ForgedFolder) -> str:
    """Return the text of `--forged` that asks for a folder."""
    return f"{name}:{folder.family}={folder.path}" if folder.family else f"{name}={folder.path}"


def generators_of_files(
    forged: Mapping[str, ForgedFolder], generators: Collection[str]
) -> dict[str, GeneratorSettings]:
    """Return a generator for each folder of forgeries.

    Args:
        forged: name -> folder.
        generators: the other ones of the run.

    Raises:
        InputError: a name that cannot be one in tables, or that is another generator's.
    """
    for name in forged:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"forged {quoted(name)} cannot be the name of a generator; use letters, digits, dots, - and _"
            )
        if name in generators or name in GENERATORS.names() or name in (ELSEWHERE, FILES, "real"):
            raise InputError(
                f"forged {quoted(name)}: there is a generator of this name; choose another, e.g. {name}-files"
            )
    return {
        name: GeneratorSettings(architecture=FILES, path=folder.path, family=folder.family or name, judged=False)
        for name, folder in forged.items()
    }
