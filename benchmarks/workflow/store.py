"""The store: key -> directory. Results are published whole, claimed by one process at a time, checked on access.

STORE/results/STAGE-KEY/    a finished result with manifest.json
STORE/work/KEY/             checkpoints of a stage under way; removed when its result is published
STORE/claims/KEY/           the lease of the process that works on the stage, see claims.py
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.places import store_parts
from benchmarks.workflow.claims import Claim, Claims
from forge.core.errors import BenchError, BenchWarning, CorruptError, UnreachableError
from forge.core.extras import require
from forge.core.files import digest_file, publishing, read_signed_json, write_signed_json
from forge.faces.faceset import FileEntry

if TYPE_CHECKING:
    from benchmarks.workflow.remote import Remote

CHECK_BYTES = 1 << 30  # results up to this size are checked byte by byte, larger ones by file size
_PARTIAL = re.compile(r"\.[a-z-]+-([^-]+)\.[0-9a-f]{8}\.partial")  # of `publishing`, around STAGE-KEY


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
    """Results by key below one directory, perhaps with a copy on another machine.

    Attributes:
        root: the directory; an address in its place, as `Path("s3://bucket/prefix")`, is taken as `remote`.
        remote: address of the copy, "" without one; None: what `root` or the environment's BENCH_REMOTE says.
    """

    root: Path
    remote: str | None = None

    def __post_init__(self) -> None:
        if self.remote is None:
            root, remote = store_parts(self.root)
            object.__setattr__(self, "root", root)
            object.__setattr__(self, "remote", remote)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the connection behind: a worker makes its own."""
        return Store, (self.root, self.remote)

    @cached_property
    def copy(self) -> Remote | None:
        """Return the copy on another machine.

        Raises:
            InputError: what its protocol needs is not installed.
        """
        if not self.remote:
            return None
        require(f"a store at {self.remote}", "remote", "fsspec")
        # imported here alone: few stores have a copy, and fsspec takes a tenth of a second
        remote: Remote = import_module("benchmarks.workflow.remote").remote_at(self.remote)
        return remote

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
            return folder if self._fetched(action, key) else None
        problem = check(folder, action, key)
        if problem:
            raise DamagedError(folder, problem)
        return folder

    def has(self, action: str, key: str) -> bool:
        """Return whether `find` would find the result, without fetching it from another machine.

        Raises:
            DamagedError: it is there but not as it was published.
        """
        return self.find(action, key) is not None if self.folder(action, key).is_dir() else self.lists(action, key)

    def lists(self, action: str, key: str) -> bool:
        """Return whether there is a result by its name alone: here, or on another machine."""
        folder = self.folder(action, key)
        if folder.is_dir():
            return True
        try:
            return self.copy is not None and self.copy.has(folder.name)
        except UnreachableError as error:
            _note(f"{error}; going on with what {self.root}/ has")
            return False

    def reach(self) -> None:
        """Make sure before any work that the copy on another machine, if there is one, can be used.

        Raises:
            InputError: it cannot; names the reason.
        """
        if self.copy is not None:
            self.copy.reach()

    def set_aside(self, folder: Path) -> Path:
        """Move a damaged result out of the way, keeping it for whoever wants to look."""
        number = 1
        # The number grows: a second damage must not overwrite the evidence of the first.
        while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(aside)
        return aside

    @contextmanager
    def claim(self, key: str, *, waiting: Callable[[], None]) -> Iterator[Claim]:
        """Hold the right to work on a key; waits while another process holds it.

        Args:
            key: of the stage.
            waiting: called once if another process holds it.
        """
        waited: list[bool] = []

        def wait() -> None:
            if not waited:
                waiting()
            waited.append(True)

        with self.claims.hold(key[:16], waiting=wait) as claim:
            if self.copy is None:
                yield claim
                return
            with self.copy.claimed(key[:16], waiting=wait):
                self.copy.refresh()  # what was waited for is there now
                yield claim

    @property
    def claims(self) -> Claims:
        """Return the claims of processes, by the first 16 digits of keys."""
        return Claims(self.root / "claims")

    @contextmanager
    def publish(self, action: str, key: str) -> Iterator[Path]:
        """Yield a directory to fill; becomes the result by one rename when the block ends without an error.

        Where another process has published the key meanwhile, which lost no claim, its result stays and this one goes.
        """
        final, filled = self.folder(action, key), False
        try:
            with publishing(final) as directory:
                yield directory
                filled = True
        except OSError:
            # A process that was stopped for a minute may come back after another one has taken its claim over.
            if not filled or not final.is_dir() or check(final, action, key):
                raise
        # After the rename, so that a kill in between leaves a result and useless checkpoints, never neither.
        shutil.rmtree(self.work(key), ignore_errors=True)
        if self.copy is not None:
            try:
                self.copy.push(final.name, final, description_of(final))
            except UnreachableError as error:
                _note(f"{error}; {final.name} is in {self.root}/ alone, `bench store push` copies it later")

    def _fetched(self, action: str, key: str) -> bool:
        """Return whether the result is here now, fetched from another machine and checked."""
        folder, copy = self.folder(action, key), self.copy
        if copy is None:
            return False
        try:
            if not copy.has(folder.name):
                return False
            with publishing(folder) as directory:
                copy.fetch(folder.name, directory)
                if problem := check(directory, action, key):
                    raise CorruptError(f"{folder.name} at {self.remote} is damaged: {problem}")
        except CorruptError as error:
            _note(f"{error}; it is set aside and computed again")
            with suppress(UnreachableError):
                copy.set_aside(folder.name)
            return False
        except UnreachableError as error:
            _note(f"{error}; going on with what {self.root}/ has")
            return False
        except OSError:
            if not folder.is_dir():  # else another process fetched it meanwhile
                raise
        return True

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

    def elsewhere(self, actions: Collection[str]) -> Iterator[Manifest]:
        """Yield the manifests, without files, of results of some actions that only a store on another machine has."""
        try:
            described = self.copy.described(actions) if self.copy is not None else {}
        except UnreachableError as error:
            _note(f"{error}; going on with what {self.root}/ has")
            return
        for name, values in described.items():
            if not (self.root / "results" / name).is_dir():
                with suppress(ValidationError):  # of another version
                    yield Manifest.model_validate(values)

    def tidy(self) -> None:
        """Remove the unfinished results of killed processes: those whose key no living process has claimed."""
        # A partial folder whose claim is free belongs to a dead process; one whose claim is taken is being filled right
        # now.
        claims = self.claims
        claims.tidy()
        for left in self.root.glob("results/.*.partial"):
            name = _PARTIAL.fullmatch(left.name)
            if name is None or not left.is_dir():  # not made by `publishing`; nothing else is ever removed
                continue
            if (claim := claims.take(name[1][:16])) is not None:
                # under the claim, so that no other call starts to fill it meanwhile
                shutil.rmtree(left, ignore_errors=True)
                claim.release()


def _note(sentence: str) -> None:
    warnings.warn(sentence, BenchWarning, stacklevel=3)


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


def description_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a result without its files, which stands beside its copy on another machine."""
    return read_manifest(folder).model_dump(mode="json") | {"files": {}}


def check(folder: Path, action: str, key: str, *, thorough: bool = False) -> str | None:
    """Return what is wrong with the stored result of a stage, or None.

    Args:
        folder: its folder.
        action: of the stage, e.g. "train".
        key: of the stage.
        thorough: read every byte also of results above CHECK_BYTES.
    """
    try:
        manifest = read_manifest(folder)
    except (ValidationError, BenchError):
        return "manifest.json is missing or unreadable"
    # two keys that share 16 digits, or a folder that was renamed by hand
    if (manifest.action, manifest.key) != (action, key):
        return f"it is the result of another stage, {manifest.stage[:80]}"
    small = thorough or sum(entry.bytes for entry in manifest.files.values()) <= CHECK_BYTES
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
