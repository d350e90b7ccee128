"""Digest of the program's source files, for results that depend on nothing else."""

from __future__ import annotations

import functools
from pathlib import Path

from forge.core.files import digest_file, digest_json

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def program_digest(*folders: str) -> str:
    """Return a digest of the source files and templates below folders of the checkout or installation.

    Args:
        folders: e.g. "forge", "benchmarks/report".

    Raises:
        FileNotFoundError: there is no such folder, as after a move.
    """
    for folder in folders:
        # rglob below a missing folder finds nothing: the digest would silently never change again
        if not (ROOT / folder).is_dir():
            raise FileNotFoundError(ROOT / folder)
    suffixes = {".py", ".j2", ".css", ".js"}
    # Sorted, with forward slashes: directory order and path style differ between systems and must not change a key.
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in suffixes)
    return digest_json([[file.relative_to(ROOT).as_posix(), digest_file(file)] for file in files])
