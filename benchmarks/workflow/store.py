"""The store: key -> directory. Results are published whole, claimed by one process at a time, checked when found.

STORE/results/STAGE-KEY/    a finished result with manifest.json
STORE/work/KEY/             checkpoints of a stage under way; removed when its result is published
STORE/locks/KEY             held by the process that works on the stage; the system releases it when it dies
"""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forge.errors import BenchError
from forge.faces.faceset import FileEntry
from forge.files import digest_file, publishing, read_signed_json, write_signed_json

CHECK_BYTES = 1 << 30  # results up to this size are checked byte by byte when found, larger ones by file size
CLAIM_SECONDS = 0.2
_PARTIAL = re.compile(r"\.[a-z]+-(.+)\.[0-9a-f]{8}\.partial")  # of `publishing`, around STAGE-KEY


class Manifest(BaseModel):
    """What a stored result is and how it came to be; stored as manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str = Field(description="kind and name, e.g. 'train dcgan'")
    version: int = Field(description="of the stage's code; a change of meaning raises it")
    key: str = Field(description="digest of stage, version, settings, seed and the keys of the inputs")
    settings: dict[str, Any] = Field(description="the slice of settings the stage reads")
    inputs: dict[str, str] = Field(description="name -> key")
    seed: int
    environment: dict[str, str] = Field(description="versions, device, precision, commit")
    seconds: float = Field(description="wall time of the call that finished it")
    peak_memory_mb: float | None = Field(description="highest resident memory of the process meanwhile")
    facts: dict[str, Any] = Field({}, description="what the stage reports of itself")
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Store:
    """Results by key below one directory."""

    root: Path

    def place(self, stage: str, key: str) -> Path:
        """Where the result of a stage lies once it is there."""
        return self.root / "results" / f"{stage}-{key[:16]}"

    def work(self, key: str) -> Path:
        """Where the stage keeps its checkpoints."""
        return self.root / "work" / key[:16]

    def find(self, stage: str, key: str) -> Path | None:
        """The result of a stage, checked; None if it is not there.

        Raises:
            DamagedError: it is there but not as it was published.
        """
        place = self.place(stage, key)
        if not place.is_dir():
            return None
        problem = check(place, stage, key)
        if problem:
            raise DamagedError(place, problem)
        return place

    def set_aside(self, place: Path) -> Path:
        """Move a damaged result out of the way, keeping it for whoever wants to look."""
        number = 1
        while (aside := place.with_name(f"{place.name}.damaged-{number}")).exists():
            number += 1
        place.rename(aside)
        return aside

    @contextmanager
    def claim(self, key: str, *, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the right to work on a key; waits while another process holds it.

        Args:
            key: of the stage.
            waiting: called once if there is somebody to wait for.
        """
        with self._lock_file(key).open("w") as file:
            told = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        waiting()
                        told = True
                    time.sleep(CLAIM_SECONDS)
            yield

    @contextmanager
    def publish(self, stage: str, key: str) -> Iterator[Path]:
        """Yield a directory to fill; becomes the result by one rename when the block ends without an error."""
        with publishing(self.place(stage, key)) as directory:
            yield directory
        shutil.rmtree(self.work(key), ignore_errors=True)

    def manifests(self) -> Iterator[tuple[Path, Manifest]]:
        """Every stored result with a readable manifest, in the folder that its key names: none that was set aside."""
        for file in sorted(self.root.glob("results/*/manifest.json")):
            try:
                manifest = Manifest.model_validate(read_signed_json(file))
            except (ValidationError, BenchError):
                continue
            if file.parent == self.place(_kind(manifest), manifest.key):
                yield file.parent, manifest

    def tidy(self) -> None:
        """Remove the unfinished results of killed processes: those whose key no living process has claimed."""
        for left in self.root.glob("results/.*.partial"):
            name = _PARTIAL.fullmatch(left.name)
            if name is None or not left.is_dir():
                continue
            with self._lock_file(name[1]).open("w") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)

    def _lock_file(self, key: str) -> Path:
        lock = self.root / "locks" / key[:16]
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock


class DamagedError(BenchError):
    """A stored result is not what was published."""

    def __init__(self, place: Path, problem: str) -> None:
        super().__init__(f"{place} is damaged: {problem}")
        self.place, self.problem = place, problem


def write_manifest(directory: Path, **fields: Any) -> None:  # noqa: ANN401 - the manifest's fields
    """Describe every file in `directory` and write manifest.json there."""
    files = {
        str(file.relative_to(directory)): FileEntry(bytes=file.stat().st_size, sha256=digest_file(file))
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    write_signed_json(directory / "manifest.json", Manifest(files=files, **fields).model_dump(mode="json"))


def read_manifest(place: Path) -> Manifest:
    """The manifest of a result that `find` returned."""
    return Manifest.model_validate(read_signed_json(place / "manifest.json"))


def _kind(manifest: Manifest) -> str:
    return manifest.stage.partition(" ")[0]


def check(place: Path, stage: str, key: str) -> str | None:
    """What is wrong with the stored result of a stage, or None.

    Args:
        place: its folder.
        stage: kind of the stage, e.g. "train".
        key: of the stage.
    """
    try:
        manifest = read_manifest(place)
    except (ValidationError, BenchError):
        return "manifest.json is missing or unreadable"
    if (_kind(manifest), manifest.key) != (stage, key):
        return f"it is the result of another stage, {manifest.stage[:80]}"
    small = sum(entry.bytes for entry in manifest.files.values()) <= CHECK_BYTES
    for name, entry in manifest.files.items():
        file = place / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != entry.bytes:
            return f"{name} has {file.stat().st_size} bytes, not {entry.bytes}"
        if small and digest_file(file) != entry.sha256:
            return f"{name} was changed"
    return None
