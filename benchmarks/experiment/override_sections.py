"""Sections of --set and of `set:` in YAML: their names, and a check that each holds settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.core.errors import InputError, UnknownNameError, quoted

SECTIONS = (
    "data",
    "images",
    "quality",
    "conditions",
    "generator",
    "generators",
    "variants",
    "detector",
    "detectors",
    "attacks",
    "race",
)
_BY_NAME = ("generators", "variants", "detectors", "attacks")  # sections that hold settings by the name of one


def check_sections(overrides: Mapping[str, Any]) -> None:
    """Refuse sections that are unknown or hold no settings.

    Raises:
        UnknownNameError, InputError: names the section and what belongs into it.
    """
    # "generator" and "detector" are for all, the plural for one of them by name.
    for section, value in overrides.items():
        if section not in SECTIONS:
            raise UnknownNameError("section of --set", section, SECTIONS)
        entries = value.items() if section in _BY_NAME and isinstance(value, Mapping) else ()
        for name, entry in [(section, value), *((f"{section}.{label}", inner) for label, inner in entries)]:
            if not isinstance(entry, Mapping):
                instead = FLAGS.get(name, f"--set {name}.SETTING=VALUE")
                raise InputError(f"setting {name!r} cannot be {quoted(entry)}: it holds settings; use {instead}")


FLAGS = {
    "data": "--data PATH, or --set data.SETTING=VALUE",
    "generator": "--generator NAME, or --set generator.SETTING=VALUE",
    "detector": "--detector NAME, or --set detector.SETTING=VALUE",
}
