"""Report folders are replaced whole, by rename, and keep the files that people have put into them.

Beside a report NAME, while it is replaced:

.NAME.XXXXXXXX.new        the report to come, or the last of the one before; removed at the next start
.NAME.XXXXXXXX.replaced   the report before; moved back at the next start where there is no NAME

Both are seen by the process that holds the lock of the reports folder, and by no other: the lock ends with its process,
so whoever holds it knows that what lies there was left by a dead one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.experiment.request_fields import RunRequest
from benchmarks.report.digests import written_files
from benchmarks.report.results_file import read_head, read_results
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError, quoted
from forge.core.files import digest_json, sync

_NAMED = 3  # files that a message lists
_PRINTED = "report.pdf"
_REPLACED = re.compile(r"\.(.+)\.[0-9a-f]{8}\.replaced")
_NEW = re.compile(r"\..+\.[0-9a-f]{8}\.new")
# Version 0.1 gave its folders fixed names and took no lock.
_EARLIER = re.compile(r"\..+\.new|\.\..+\.new\.[0-9a-f]{8}\.partial")  # what version 0.1 left


def refuse_foreign(target: Path) -> None:
    """Refuse to replace what is not a report.

    A folder without results.json that holds only files of a report is the rest of one whose removal was interrupted.

    Raises:
        InputError: there is a file, or a folder that holds something else.
    """
    if not target.exists() or (target / "results.json").is_file():  # a report, or nothing: both may be replaced
        return
    others = _others(target) if target.is_dir() else [target.name]
    if others:
        raise InputError(
            f"{target} holds something that is not a report; choose another --name or --reports, or move "
            f"{_listed(others)}"
        )


def refuse_other_request(target: Path, request: RunRequest, photos: Mapping[str, str]) -> None:
    """Refuse to replace the report of another request, or of the same one with other photos.

    Args:
        target: the report's folder.
        request: of the run to come.
        photos: name -> key of the stages that read photos.

    Raises:
        InputError: there is such a report.
    """
    try:
        before = read_head(target)
    except BenchError:  # one that cannot be read is nothing to keep
        return
    try:
        # names, since keys differ exactly where the photos do
        keys = {stage["name"]: stage["key"] for stage in read_results(target).get("stages", ())}
    except CorruptError:  # tables that are lost: the request alone is compared
        keys = {}
    except (BenchError, LookupError, TypeError, AttributeError):  # one that cannot be read is nothing to keep
        return
    other = ""
    requested = request.model_dump(mode="json")
    # Compared as JSON, the form in which it was stored.
    if before.get("request") != requested:  # an earlier version wrote none
        other = f"another run, {quoted(str(before.get('command', '')), limit=300)}"
    # a stage that the report does not know has no other key
    elif any(keys.get(name, key) != key for name, key in photos.items()):
        other = "the same request with other photos (or of another version)"
    if other:
        # from request and photos: the same call proposes the same name each time
        mark = digest_json([requested, *photos.items()])[:4]
        raise InputError(
            f"{target} holds the report of {other}; keep both with --name {target.name}-{mark}, or replace it with "
            "--overwrite"
        )


def publish_report(source: Path, target: Path) -> None:
    """Copy a stored report to the reports folder, replacing an older one as a whole; identical reports are kept.

    Files in `target` that no run wrote stay there.

    Raises:
        InputError: `target` is no report, or such a file has the name of a file of the new report.
    """
    target = target.resolve()  # a link in place of the folder: what it points to is replaced, the link stays
    target.parent.mkdir(parents=True, exist_ok=True)
    # One publisher per reports folder at a time. What lies beside is left by dead ones, see above.
    with _alone(target.parent):
        _tidy(target.parent)
        refuse_foreign(target)
        # equal bytes: links to the folder, dates and files of people stay untouched
        if target.exists() and _same(source, target):
            return
        mark = uuid.uuid4().hex[:8]
        # Random names: a killed call may have left folders, and `_tidy` may keep one.
        fresh, old = (target.with_name(f".{target.name}.{mark}.{suffix}") for suffix in ("new", "replaced"))
        try:
            shutil.copytree(source, fresh)
            _keep_others(target, fresh)
            # On the disk before the rename: after a power cut the new name must not stand for empty files.
            for path in (*fresh.rglob("*"), fresh):
                if path.is_dir() or (path.is_file() and not path.is_symlink()):
                    sync(path)
            if target.exists():
                # Between these two renames there is no NAME; a kill here is put right by the next `_tidy`.
                _move_away(target, old)
            fresh.rename(target)
            sync(target.parent)
        except BaseException:  # Ctrl-C too: the old report comes back
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if old.exists():
            old.rename(fresh)  # from here on it is rubbish, and must not come back
            shutil.rmtree(fresh, ignore_errors=True)


def tidy_reports(reports: Path) -> None:
    """Put right what killed processes left in a reports folder; does nothing while another process publishes there."""
    if reports.is_dir():
        with suppress(BlockingIOError), _alone(reports, wait=False):  # another process that publishes tidies by itself
            _tidy(reports)


@contextmanager
def _alone(reports: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a reports folder.

    Raises:
        BlockingIOError: another process holds it, and `wait` is not set.
    """
    # The folder itself is locked; no lock file lies in it.
    descriptor = os.open(reports, os.O_RDONLY)
    try:
        # of the kernel: it ends with the process, however that ends
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _tidy(reports: Path) -> None:
    for path in sorted(reports.glob(".*.replaced")):  # sorted: of two that claim one name the same one wins each time
        name = _REPLACED.fullmatch(path.name)
        if name and path.is_dir():
            # NAME exists: the exchange was finished but for the removal. It does not: the exchange was cut between two
            # renames.
            target = reports / name[1]
            if target.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(target)
    # the report to come is complete only with its rename, so that nothing of it is needed
    for path in sorted((*reports.glob(".*.new"), *reports.glob("..*.partial"))):
        # early versions used these names without a lock: kept where they hold files of people
        earlier = _EARLIER.fullmatch(path.name) and path.is_dir() and not _others(path)
        if path.is_dir() and (_NEW.fullmatch(path.name) or earlier):
            shutil.rmtree(path, ignore_errors=True)


def _same(source: Path, target: Path) -> bool:
    """Return whether the folder holds a report, with or without other files."""
    wanted = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    if wanted != written_files(target) - {_PRINTED}:  # a PDF is printed from the page and no part of what a run writes
        return False
    return all((source / name).read_bytes() == (target / name).read_bytes() for name in wanted)


def _others(folder: Path) -> list[str]:
    """List files, links and empty folders that no run wrote; folders of reports excepted."""
    written = written_files(folder)
    # an empty folder is no part of a report, whose folders have files in them
    entries = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir() or _is_empty(path)]
    return [name for path in entries if (name := path.relative_to(folder).as_posix()) not in {*written, "figures"}]


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _keep_others(target: Path, fresh: Path) -> None:
    """Link what no run wrote into the new report: it is in both folders until the old one is gone.

    Raises:
        InputError: the new report has a file of this name.
    """
    # of a damaged report everything is kept elsewhere, see `_move_away`
    others = _others(target) if (target / "results.json").is_file() else []
    clashing = [name for name in others if _taken(fresh, name)]
    if clashing:
        raise InputError(f"{target} holds files of yours that the new report would replace; move {_listed(clashing)}")
    for name in others:
        path, copy = target / name, fresh / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            copy.mkdir()  # empty, else its files were listed
            continue
        try:
            # A hard link: at no moment are the files in neither folder, and a large one is not copied.
            os.link(path, copy, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(path, copy, follow_symlinks=False)


def _taken(fresh: Path, name: str) -> bool:
    """Return whether a new report has a file at a path, or a file in place of one of its folders."""
    parents = [fresh / parent for parent in Path(name).parents if parent != Path()]
    # `lexists`: a dangling link takes the name too
    return os.path.lexists(fresh / name) or any(parent.exists() and not parent.is_dir() for parent in parents)


def _move_away(target: Path, old: Path) -> None:
    """Rename the previous report; the rest of an interrupted removal is kept, since its origin is unknown."""
    if (target / "results.json").is_file() or _is_empty(target):
        target.rename(old)  # what people put into it is in the new one already
        return
    number = 1
    # the number grows: what is kept is never overwritten
    while (aside := target.with_name(f"{target.name}.damaged-{number}")).exists():
        number += 1
    target.rename(aside)
    warnings.warn(f"{target} had no results.json; what was left of it is kept as {aside.name}", BenchWarning, 2)


def _listed(names: list[str]) -> str:
    """Return the first names of a list, for a message."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name[:80]) for name in names[:_NAMED]) + more  # cut: names of files may be of any length
