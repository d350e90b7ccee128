"""Contents of a store: results by action and by report, what is needed by no report, and its removal."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from benchmarks.report.results_file import read_results
from benchmarks.report.run_report import report_folders
from benchmarks.workflow.claims import Lease
from benchmarks.workflow.run_record import keys_in_use
from benchmarks.workflow.store import Manifest, Store, check, read_manifest
from forge.core.errors import BenchError, InputError

_DAMAGED = re.compile(r"[^.].*\.damaged-\d+")
_IMPORT = re.compile(r"\.import-[0-9a-f]{8}")
_LEFT_SECONDS = 24 * 3600.0  # what an import or a claim left is removed after a day: neither takes as long


@dataclass(frozen=True)
class Result:
    """A stored result.

    Attributes:
        folder: where it lies.
        action: what was done.
        key: of its stage.
        stage: name of its stage.
        bytes: of its files, as its manifest has them.
        inputs: keys of what it was made from.
        made: when its manifest was written, seconds since 1970 by the clock of the disk.
    """

    folder: Path
    action: str
    key: str
    stage: str
    bytes: int
    inputs: tuple[str, ...]
    made: float


@dataclass(frozen=True)
class Removal:
    """Something that may go.

    Attributes:
        path: of it.
        bytes: that this frees.
        reason: why it may go, for people.
        key: the first 16 digits of the stage's key, whose claim is held meanwhile; "" where it has none.
    """

    path: Path
    bytes: int
    reason: str
    key: str = ""


@dataclass(frozen=True)
class Need:
    """What one report needs.

    Attributes:
        name: of the report.
        there: keys of the stored results behind it.
        missing: how many of its stages the store no longer has.
        alone: bytes of the results that no other report needs.
    """

    name: str
    there: frozenset[str]
    missing: int
    alone: int


@dataclass(frozen=True)
class Inventory:
    """What lies in a store, read once.

    Attributes:
        store: the store.
        results: key -> result.
        unreadable: reports that cannot be read, so that nobody knows what they need.
    """

    store: Store
    results: Mapping[str, Result]
    _reports: Mapping[str, frozenset[str]] = field(repr=False)
    unreadable: Sequence[str] = ()

    @classmethod
    def of(cls, store: Store, reports: Path) -> Inventory:
        """Read the manifests of a store, and which stages each report of a folder names."""
        results = {manifest.key: _result(folder, manifest) for folder, manifest in store.manifests()}
        named: dict[str, frozenset[str]] = {}
        unreadable = []
        for folder in report_folders(reports):
            try:
                stages = read_results(folder)["stages"]
                named[folder.name] = frozenset(str(stage["key"]) for stage in stages)
            except (BenchError, LookupError, TypeError):
                unreadable.append(folder.name)
        return cls(store, results, named, unreadable)

    @property
    def bytes(self) -> int:
        """Bytes of all results."""
        return self.size(self.results)

    @cached_property
    def needs(self) -> list[Need]:
        """What each report needs, by name."""
        closures = {name: self.needed_by(keys) for name, keys in self._reports.items()}
        needs = []
        for name, keys in closures.items():
            others = frozenset[str]().union(*(there for other, there in closures.items() if other != name))
            needs.append(Need(name, keys, len(self._reports[name] - keys), self.size(keys - others)))
        return needs

    @cached_property
    def unneeded(self) -> list[Result]:
        """Results that no report needs."""
        needed = frozenset[str]().union(*(need.there for need in self.needs))
        return [result for key, result in self.results.items() if key not in needed]

    @cached_property
    def leases(self) -> dict[str, Lease]:
        """The first 16 digits of the keys that processes work on -> their leases."""
        return self.store.claims.leases()

    def size(self, keys: Collection[str]) -> int:
        """Return the bytes of some results."""
        return sum(self.results[key].bytes for key in keys)

    def needed_by(self, keys: Collection[str]) -> frozenset[str]:
        """Return the keys of the stored results behind some stages: themselves, all they were made from, the report."""
        # results.json cannot name the stage that wrote it
        reports = (result for result in self.results.values() if result.action == "report")
        reach = [*keys, *(report.key for report in reports if set(report.inputs) & set(keys))]
        reached: set[str] = set()
        while reach:
            key = reach.pop()
            if key in self.results and key not in reached:
                reached.add(key)
                reach.extend(self.results[key].inputs)
        return frozenset(reached)

    def removals(self, *, hours: float = 24.0, checkpoints: bool = False) -> Iterator[Removal]:
        """Yield what may go: results that no report needs, damaged ones, what killed processes left.

        Args:
            hours: younger results stay: a run that was stopped, or one of an earlier version, may need them.
            checkpoints: also those of stages that nobody works on now; a run that was stopped begins these anew.

        Raises:
            InputError: a report cannot be read, so that nobody knows what it needs.
        """
        if self.unreadable:
            raise InputError(
                f"the report {self.unreadable[0]} cannot be read, so that nobody knows what it needs; write it again "
                "(`bench report`), or move it away"
            )
        latest = time.time() - 3600 * hours
        in_use = {*self.leases, *keys_in_use(self.store.root)}
        for result in self.unneeded:
            if result.made < latest and result.key[:16] not in in_use:
                yield Removal(result.folder, result.bytes, "no report needs it", result.key[:16])
        for folder in sorted(self.store.root.glob("results/*.damaged-*")):
            if _DAMAGED.fullmatch(folder.name):
                yield Removal(folder, size_of(folder), "damaged")
        for folder in sorted(self.store.root.glob(".import-*")):
            if _IMPORT.fullmatch(folder.name) and folder.stat().st_mtime < time.time() - _LEFT_SECONDS:
                yield Removal(folder, size_of(folder), "left by an import")
        for folder in sorted(self.store.root.glob("claims/.*")):  # of a process killed before it wrote its name
            if not any(folder.iterdir()) and folder.stat().st_mtime < time.time() - _LEFT_SECONDS:
                yield Removal(folder, 0, "left by a claim")
        yield from self._checkpoints(unfinished=checkpoints)
        if (locks := self.store.root / "locks").is_dir():
            yield Removal(locks, size_of(locks), "locks of an earlier version")

    def _checkpoints(self, *, unfinished: bool) -> Iterator[Removal]:
        finished = {key[:16] for key in self.results}
        for folder in sorted(self.store.root.glob("work/*")):
            if folder.name in self.leases:
                continue
            if folder.name.startswith("."):
                yield Removal(folder, size_of(folder), "left by a removal")
            elif folder.name in finished:
                yield Removal(folder, size_of(folder), "checkpoint of a finished stage", folder.name)
            elif unfinished:
                yield Removal(folder, size_of(folder), "checkpoint", folder.name)


def remove(store: Store, removals: Sequence[Removal]) -> tuple[int, int]:
    """Remove what may go; returns how much went, and the bytes that this freed. What is claimed meanwhile stays."""
    claims, count, freed = store.claims, 0, 0
    for removal in removals:
        claim = claims.take(removal.key) if removal.key else None
        if removal.key and claim is None:  # a process began to work on it after the inventory
            continue
        try:
            # a result that is half removed must not have the name of a whole one
            aside = removal.path.with_name(f".{removal.path.name}.{uuid.uuid4().hex[:8]}.partial")
            removal.path.rename(aside)
            shutil.rmtree(aside)
        finally:
            if claim is not None:
                claim.release()
        count, freed = count + 1, freed + removal.bytes
    return count, freed


def size_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def damaged(store: Store) -> Iterator[tuple[Path, str | None]]:
    """Yield every stored result with what is wrong with it, None where it is as it was published; reads every byte."""
    for folder in sorted(path for path in store.root.glob("results/*") if path.is_dir()):
        if folder.name.startswith(".") or _DAMAGED.fullmatch(folder.name):  # being written, or set aside
            continue
        try:
            manifest = read_manifest(folder)
        except (ValidationError, BenchError):
            yield folder, "manifest.json is missing or unreadable"
            continue
        problem = check(folder, manifest.action, manifest.key, thorough=True)
        if store.folder(manifest.action, manifest.key) != folder:
            problem = f"it is the result of another stage, {manifest.stage[:80]}"
        yield folder, problem


def _result(folder: Path, manifest: Manifest) -> Result:
    file = folder / "manifest.json"
    status = file.stat()
    size = status.st_size + sum(entry.bytes for entry in manifest.files.values())
    inputs = tuple(manifest.inputs.values())
    return Result(folder, manifest.action, manifest.key, manifest.stage, size, inputs, status.st_mtime)
