"""Digests of the files that settings and code come from, which are part of what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forge.core.files import digest_file
from forge.core.registry import code_files, is_file_reference


def file_digests(reference: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return digests of the files that code comes from and that settings name: their contents are asked for."""
    # A setting that is the path of a file stands for its contents.
    named = {key: Path(value) for key, value in _strings(values)}
    if is_file_reference(reference):
        named |= code_files(reference)
    return {key: digest_file(file) for key, file in named.items() if file.is_file()}


def _strings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every string among settings and settings of settings, by its dotted name."""
    for key, value in values.items():
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", text) for inner, text in _strings(value))
