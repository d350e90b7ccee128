"""Results as bytes, for machines that do not share a disk: a folder becomes a tar, a tar a folder of a store."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from benchmarks.workflow.stage import Stage
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError, CorruptError

MB = 1_000_000


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def pack(folder: Path) -> bytes:
    """Return a folder as an uncompressed tar, without owners; weights and images compress by a few percent at most."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = archive.gettarinfo(file, arcname=str(file.relative_to(folder)))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                with file.open("rb") as content:
                    archive.addfile(entry, content)
    return buffer.getvalue()


def unpack(package: bytes, stage: Stage, store: Store) -> Path:
    """Publish a packed result in a store, unless it is there; returns its folder.

    Args:
        package: from `pack`.
        stage: whose result it is.
        store: that receives it.

    Raises:
        CorruptError: the package is damaged, or holds the result of another stage.
        DamagedError: the store holds a damaged result of this key.
        OSError: the operating system refused, e.g. a full disk.
    """
    with store.claim(stage.key, waiting=lambda: None):
        there = store.find(stage.action, stage.key)
        if there is not None:
            return there
        try:
            with (
                store.publish(stage.action, stage.key) as out,
                tarfile.open(fileobj=io.BytesIO(package), mode="r") as archive,
            ):
                archive.extractall(out, filter="data")  # nothing outside of the folder, no links to there, no devices
        except tarfile.TarError as error:
            raise CorruptError(
                f"the result of {stage.name} arrived damaged ({error}); run the same command again"
            ) from error
        try:
            folder = store.find(stage.action, stage.key)  # compares every file with the manifest
        except BenchError as error:
            store.set_aside(store.folder(stage.action, stage.key))
            raise CorruptError(
                f"the result of {stage.name} arrived damaged ({error}); run the same command again"
            ) from error
    if folder is None:  # removed by somebody in this moment
        raise CorruptError(f"the result of {stage.name} is gone from {store.root}; run the same command again")
    return folder
