"""The store: key -> directory. Results are published whole, claimed by one process at a time, checked on access.

STORE/results/STAGE-KEY/    a finished result with manifest.json
STORE/work/KEY/             checkpoints of a stage under way; removed when its result is published
STORE/locks/KEY             held by the process that works on the stage; the system releases it when it dies
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forge.core.errors import BenchError
from forge.core.files import digest_file, publishing, read_signed_json, write_signed_json
from forge.faces.faceset import FileEntry

CHECK_BYTES = 1 << 30  # results up to this size are checked byte by byte, larger ones by file size
CLAIM_SECONDS = 0.2  # between two attempts to take a lock
_PARTIAL = re.compile(r"\.[a-z]+-(.+)\.[0-9a-f]{8}\.partial")  # of `publishing`, around STAGE-KEY


class Manifest(BaseModel):
    """Description of a stored result and of its computation; stored as manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str = Field(description="name, e.g. 'train dcgan'")
    action: str = Field("", description="what was done, e.g. 'train'; of an earlier version the first word of `stage`")
    about: str = Field("", description="generator or detector that decides how long it takes")
    fields: dict[str, Any] = Field({}, description="the stage as data, inputs as keys; empty: of an earlier version")
    version: int = Field(description="of the stage's code; a change of meaning raises it")
    key: str = Field(description="digest of stage, version, settings, seed and the keys of the inputs")
    settings: dict[str, Any] = Field(description="the slice of settings the stage reads")
    inputs: dict[str, str] = Field(description="name -> key")
    seed: int
    environment: dict[str, str] = Field(description="versions, device, precision, commit")
    seconds: float = Field(description="wall time of the call that finished it")
    peak_memory_mb: float | None = Field(description="highest resident memory of the process meanwhile")
    work_units: float = Field(1.0, description="how much there was to do, for forecasts")
    facts: dict[str, Any] = Field({}, description="what the stage reports of itself")
    files: dict[str, FileEntry]

    @model_validator(mode="before")
    @classmethod
    def _kind_of_name(cls, values: Any) -> Any:  # noqa: ANN401 - any JSON value
        # Manifests of earlier versions have no "action".
        if isinstance(values, dict) and not values.get("action"):
            return values | {"action": str(values.get("stage", "")).partition(" ")[0]}
        return values


@dataclass(frozen=True)
class Store:
    """Results by key below one directory."""

    root: Path

    def folder(self, action: str, key: str) -> Path:
        """Return where the result of a stage lies once it is there."""
        # 64 bits of the key keep paths short; `check` compares the whole key in the manifest.
        return self.root / "results" / f"{action}-{key[:16]}"

    def work(self, key: str) -> Path:
        """Return where the stage keeps its checkpoints."""
        return self.root / "work" / key[:16]

    def find(self, action: str, key: str) -> Path | None:
        """Return the checked result of a stage; None if it is not there.

        Raises:
            DamagedError: it is there but not as it was published.
        """
        folder = self.folder(action, key)  # `publishing` fills a hidden folder beside it: what has this name is whole
        if not folder.is_dir():
            return None
        problem = check(folder, action, key)
        if problem:
            raise DamagedError(folder, problem)
        return folder

    def set_aside(self, folder: Path) -> Path:
        """Move a damaged result out of the way, keeping it for whoever wants to look."""
        number = 1
        # The number grows: a second damage must not overwrite the evidence of the first.
        while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(aside)
        return aside

    @contextmanager
    def claim(self, key: str, *, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the right to work on a key; waits while another process holds it.

        Args:
            key: of the stage.
            waiting: called once if another process holds it.
        """
        lock = self._lock(key)
        # A lock of the operating system, not a file that exists: after `kill -9` the next call gets it at once.
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire(poll_interval=CLAIM_SECONDS)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def publish(self, action: str, key: str) -> Iterator[Path]:
        """Yield a directory to fill; becomes the result by one rename when the block ends without an error."""
        with publishing(self.folder(action, key)) as directory:
            yield directory
        # After the rename, so that a kill in between leaves a result and useless checkpoints, never neither.
        shutil.rmtree(self.work(key), ignore_errors=True)

    def manifests(self) -> Iterator[tuple[Path, Manifest]]:
        """Yield every stored result with a readable manifest, in the folder that its key names, so none set aside."""
        # sorted, since directory order differs between file systems
        for file in sorted(self.root.glob("results/*/manifest.json")):
            try:
                manifest = Manifest.model_validate(read_signed_json(file))
            except (ValidationError, BenchError):
                continue
            # a damaged result keeps its manifest under another folder's name
            if file.parent == self.folder(manifest.action, manifest.key):
                yield file.parent, manifest

    def tidy(self) -> None:
        """Remove the unfinished results of killed processes: those whose key no living process has claimed."""
        # A partial folder whose lock is free belongs to a dead process; one whose lock is taken is being filled right
        # now.
        for left in self.root.glob("results/.*.partial"):
            name = _PARTIAL.fullmatch(left.name)
            if name is None or not left.is_dir():  # not made by `publishing`; nothing else is ever removed
                continue
            lock = self._lock(name[1])
            try:
                with lock.acquire(timeout=0):
                    # under the lock, so that no other call starts to fill it meanwhile
                    shutil.rmtree(left, ignore_errors=True)
            except Timeout:
                continue

    def _lock(self, key: str) -> FileLock:
        file = self.root / "locks" / key[:16]
        file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(file)


class DamagedError(BenchError):
    """A stored result is not what was published."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"{folder} is damaged: {problem}")
        self.folder, self.problem = folder, problem


def write_manifest(directory: Path, **fields: Any) -> None:  # noqa: ANN401 - the manifest's fields
    """Describe every file in `directory` and write manifest.json there."""
    # manifest.json is not among them yet: it is written last and carries its own digest.
    files = {
        str(file.relative_to(directory)): FileEntry(bytes=file.stat().st_size, sha256=digest_file(file))
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    write_signed_json(directory / "manifest.json", Manifest(files=files, **fields).model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a result that `find` returned."""
    return Manifest.model_validate(read_signed_json(folder / "manifest.json"))


def check(folder: Path, action: str, key: str) -> str | None:
    """Return what is wrong with the stored result of a stage, or None.

    Args:
        folder: its folder.
        action: of the stage, e.g. "train".
        key: of the stage.
    """
    try:
        manifest = read_manifest(folder)
    except (ValidationError, BenchError):
        return "manifest.json is missing or unreadable"
    # two keys that share 16 digits, or a folder that was renamed by hand
    if (manifest.action, manifest.key) != (action, key):
        return f"it is the result of another stage, {manifest.stage[:80]}"
    small = sum(entry.bytes for entry in manifest.files.values()) <= CHECK_BYTES
    # Size first, which costs one stat: a cut-off copy is found without reading it.
    for name, entry in manifest.files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != entry.bytes:
            return f"{name} has {file.stat().st_size} bytes, not {entry.bytes}"
        if small and digest_file(file) != entry.sha256:
            return f"{name} was changed"
    return None
