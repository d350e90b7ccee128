"""A run as one file: its report and every stored result behind it, to be read into another store.

run.json                 what the archive holds; comes first
report/…                 the files of the report
results/STAGE-KEY/…      stored results
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.report.digests import written_files
from benchmarks.report.publish import publish_report, refuse_foreign
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.archive import pack, pack_folder, packing, unpack
from benchmarks.workflow.inventory import Inventory, Result
from benchmarks.workflow.store import Store, check
from forge.core.errors import CorruptError, InputError, quoted
from forge.core.files import digest_file, open_regular, read_json, replacing, write_json
from forge.faces.faceset import FileEntry

FORMAT = 1
_CONTENTS = "run.json"
_NAME = re.compile(r"[A-Za-z0-9_][\w.+@-]*")
_KEY = re.compile(r"[0-9A-Za-z-]+")
_ACTION = re.compile(r"[a-z]+(-[a-z]+)*")


class _Entry(BaseModel):
    """A stored result in an archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str
    key: str


class Contents(BaseModel):
    """What an archive holds; stored as run.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    run: str
    report: dict[str, FileEntry]
    results: list[_Entry]


def export_run(report: RunReport, store: Store, reports: Path, file: Path) -> tuple[Contents, int]:
    """Write a run into one file, the same bytes each time.

    Args:
        report: of the run.
        store: of its results.
        reports: folder of reports.
        file: to write.

    Returns:
        What is in it, and how many stages of the run the store no longer has.

    Raises:
        CorruptError: a file of the report or a stored result is damaged.
        InputError: the file exists.
    """
    if file.exists():
        raise InputError(f"{file} exists already; choose another name or remove it first")
    report.check()
    if store.copy is not None:
        for stage in report.results.stages:  # fetches what is only there
            store.find(stage.action, stage.key)
    inventory = Inventory.of(store, reports)
    keys = {stage.key for stage in report.results.stages}
    needed = inventory.needed_by(keys)
    results = sorted((inventory.results[key] for key in needed), key=lambda result: result.folder.name)
    for result in results:
        if problem := check(result.folder, result.action, result.key, thorough=True):
            raise CorruptError(
                f"{result.folder} is damaged: {problem}; run it again (`{report.command}`), then export it"
            )
    names = sorted(name for name in written_files(report.folder) if not name.endswith(".partial"))
    contents = Contents(
        format=FORMAT,
        run=report.name,
        report={name: _entry(report.folder / name) for name in names},
        results=[_Entry(action=result.action, key=result.key) for result in results],
    )
    with replacing(file) as temporary:
        _pack(temporary, contents, report.folder, results)
    return contents, len(keys - needed)


def import_run(file: Path, store: Store, reports: Path, *, overwrite: bool = False) -> tuple[Contents, int]:
    """Read a run that `export_run` wrote into a store and a folder of reports; nothing of it if any part is damaged.

    Args:
        file: the archive.
        store: receives the results that it lacks.
        reports: the report goes to `reports`/NAME.
        overwrite: replace a report of this name.

    Returns:
        What is in it, and how many results are new in the store.

    Raises:
        InputError: it is no such archive or of a later version, there is another report of its name, or the disk has no
            room.
        CorruptError: a byte was changed, a file is missing, or an entry does not belong there.
    """
    if not file.exists():
        raise InputError(f"{file} is not there; name a file that `bench store export` wrote")
    with open_regular(file) as opened:
        size = file.stat().st_size
        store.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(store.root).free
        if size > free:
            raise InputError(
                f"{file} needs {size / 2**30:,.1f} GiB and {store.root} has room for {free / 2**30:,.1f}; make room "
                "(`bench store gc`) or choose another --store"
            )
        # beside results/, so that each moves by one rename
        folder = store.root / f".import-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            unpack(opened, folder, origin=file, most_bytes=size)
            contents = _checked(folder, file)
            target = reports / contents.run
            refuse_foreign(target)
            if target.exists() and not overwrite and not _same(folder / "report", target):
                raise InputError(
                    f"{target} holds another report; give another --reports, or replace it with --overwrite"
                )
            new = sum(_take_over(folder / "results", entry, store) for entry in contents.results)
            publish_report(folder / "report", target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return contents, new


def _pack(file: Path, contents: Contents, report: Path, results: Sequence[Result]) -> None:
    description = file.with_name(f"{file.name}.json")
    try:
        write_json(description, contents.model_dump(mode="json"))
        with file.open("wb") as stream, packing(stream) as archive:
            pack(archive, description, _CONTENTS)
            for name in contents.report:
                pack(archive, report / name, f"report/{name}")
            for result in results:
                pack_folder(archive, result.folder, f"results/{result.folder.name}")
    finally:
        description.unlink(missing_ok=True)


def _checked(folder: Path, origin: Path) -> Contents:
    """Compare everything that was unpacked with what the archive says of itself."""
    if not (folder / _CONTENTS).is_file():
        raise InputError(
            f"{origin} is no exported run: it has no {_CONTENTS}; `bench store export RUN FILE` writes one"
        )
    value = read_json(folder / _CONTENTS)
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise InputError(f"{origin} has format {value['format']}, this version reads up to {FORMAT}; upgrade")
    try:
        contents = Contents.model_validate(value)
    except ValidationError as error:
        raise CorruptError(f"{origin} is damaged: {_CONTENTS} is not what an export writes") from error
    if not _NAME.fullmatch(contents.run) or contents.run.startswith("."):
        raise CorruptError(f"{origin} is damaged: {quoted(contents.run)} is no name of a run")
    expected = {_CONTENTS}
    for name, entry in contents.report.items():
        expected.add(f"report/{name}")
        path = folder / "report" / name
        if not path.is_file() or _entry(path) != entry:
            raise CorruptError(f"{origin} is damaged: {quoted(name)} of the report is missing or was changed")
    for result in contents.results:
        name = _folder_name(result, origin)
        path = folder / "results" / name
        if problem := check(path, result.action, result.key, thorough=True):
            raise CorruptError(f"{origin} is damaged: {quoted(name)}: {problem}")
        expected |= {each.relative_to(folder).as_posix() for each in path.rglob("*") if each.is_file()}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if foreign := sorted(there - expected):
        raise CorruptError(f"{origin} holds {quoted(foreign[0])}, which is no part of the run; it is not imported")
    _ = RunReport(folder / "report", note=False).results  # that it can be read
    return contents


def _folder_name(result: _Entry, origin: Path) -> str:
    if not _ACTION.fullmatch(result.action) or not _KEY.fullmatch(result.key):
        raise CorruptError(f"{origin} is damaged: {quoted(f'{result.action}-{result.key}')} is no name of a result")
    return Store(Path(), "").folder(result.action, result.key).name


def _take_over(results: Path, entry: _Entry, store: Store) -> bool:
    """Move a result into the store, unless it is there; returns whether it is new."""
    final = store.folder(entry.action, entry.key)
    final.parent.mkdir(exist_ok=True)
    if final.is_dir():
        if check(final, entry.action, entry.key) is None:
            return False
        store.set_aside(final)
    try:
        (results / final.name).rename(final)
    except OSError:
        if not final.is_dir():  # else another process published it meanwhile
            raise
        return False
    return True


def _entry(file: Path) -> FileEntry:
    return FileEntry(bytes=file.stat().st_size, sha256=digest_file(file))


def _same(source: Path, target: Path) -> bool:
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    return all((target / name).is_file() and _entry(source / name) == _entry(target / name) for name in names)
