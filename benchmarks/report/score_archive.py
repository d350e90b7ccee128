"""Scores of a published report in an archive of their own, outside of the repository: what names it, and reading it.

The report has scores.json in place of its scores: the archive's name, size and SHA-256. The archive is a tar of
REPORT/NAME.parquet, the files of `score_files`. It lies beside the report's folder, or --fetch names it.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.experiment.configs import validated
from forge.core.errors import CorruptError, InputError, quoted, short
from forge.core.files import digest_file, open_regular, read_json_object

RECORD = "scores.json"
SUFFIX = "-scores.tar"
FORMAT = 1
_SHA256, _NAME = r"^[0-9a-f]{64}$", r"^[^/\\]+$"


class ScoresAbsentError(InputError):
    """The scores of a report are in an archive that is not here; nothing is wrong with the report."""

    exit_code = 3


class ScoreRecord(BaseModel):
    """The archive that has the scores of a report; stored as scores.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    report: str = Field(description="name of the report, and of the folder in the archive", pattern=_NAME)
    archive: str = Field(description="file name of the archive", pattern=_NAME)
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=_SHA256)
    rows: int = Field(ge=0)


def record_of(folder: Path) -> ScoreRecord:
    """Read scores.json of a report.

    Raises:
        InputError: it is of a later version, or not what publishing writes.
    """
    content = read_json_object(folder / RECORD)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise InputError(f"{folder / RECORD} has format {version}, this version reads up to {FORMAT}; upgrade")
    return validated(ScoreRecord, content, where=str(folder / RECORD))


def archive_beside(folder: Path) -> Path:
    """Return where the archive of a report lies unless it is named: beside the report's folder."""
    return folder.resolve().parent / record_of(folder).archive


def archived(folder: Path, file: Path | None = None) -> dict[str, bytes]:
    """Read the files of a report's archive; nothing is unpacked to the disk.

    Args:
        folder: of the report.
        file: the archive; None: its name beside the folder.

    Returns:
        File name without ending -> Parquet, for `score_files.decoded`.

    Raises:
        ScoresAbsentError: no `file` was given, and beside the report there is none.
        InputError: `file` does not exist, or is an address.
        CorruptError: the archive is cut off, was changed, is that of another report, or holds what no such archive has.
    """
    record = record_of(folder)
    if file is None:
        file = archive_beside(folder)
        if not file.exists():
            raise ScoresAbsentError(
                f"the scores of {record.report} are not in its folder but in {record.archive} ({record.bytes:,} bytes, "
                f"SHA-256 {record.sha256}), a file of the release; download it and put it into {file.parent}/, or name "
                f"it: bench reproduce {folder.name} --fetch {record.archive}"
            )
    elif str(file).startswith(("https:/", "http:/")):  # a path keeps one slash of two
        raise InputError(f"--fetch {quoted(str(file))} is an address; download {record.archive} and name the file")
    elif not file.exists():
        raise InputError(f"--fetch {file} does not exist; name {record.archive} ({record.bytes:,} bytes)")
    _compare(file, record)
    files = {}
    try:
        with open_regular(file) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for entry in archive:
                path = PurePosixPath(entry.name)
                if not entry.isreg() or path.parts[:-1] != (record.report,) or path.suffix != ".parquet":
                    raise CorruptError(f"{file} holds {quoted(entry.name)}, which is no file of scores; it is not read")
                if path.stem in files:
                    raise CorruptError(f"{file} holds {quoted(entry.name)} twice; it is not read")
                files[path.stem] = cast("tarfile.ExFileObject", archive.extractfile(entry)).read()
    except (tarfile.TarError, EOFError) as error:
        raise CorruptError(f"{file} is damaged: {short(str(error) or type(error).__name__)}") from error
    return files


def _compare(file: Path, record: ScoreRecord) -> None:
    """Compare an archive with its record.

    Raises:
        CorruptError: it is another file.
    """
    if digest_file(file) == record.sha256:
        return
    size = file.stat().st_size
    other = _named(file)
    if other not in ("", record.report):
        raise CorruptError(
            f"{file} holds the scores of {quoted(other)}, not those of {record.report}; it needs {record.archive}"
        )
    wrong = f"is cut off: it has {size:,} of {record.bytes:,} bytes" if size < record.bytes else "was changed"
    raise CorruptError(
        f"{file} {wrong} (SHA-256 {digest_file(file)[:16]}…, {RECORD} has {record.sha256[:16]}…); download "
        f"{record.archive} again"
    )


def _named(file: Path) -> str:
    """Return the report that the first entry of a file names, "" where it is no archive."""
    try:
        with open_regular(file) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            entry = archive.next()
    except (tarfile.TarError, EOFError, ValueError):
        return ""
    parts = PurePosixPath(entry.name).parts if entry else ()
    return parts[0] if len(parts) == 2 else ""
