"""Label files of image folders: CSV or Parquet with a column `file`."""

from __future__ import annotations

import csv
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq

from forge.core.errors import InputError, quoted, short

FILE_COLUMN = "file"


@dataclass(frozen=True)
class Labels:
    """Labels of files.

    Attributes:
        path: the label file.
        columns: its columns but `file`, in order.
        rows: file, in the spelling of `canonical` -> values in the order of `columns`; empty cells are None.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, tuple[str | None, ...]]


def canonical(file: str) -> str:
    """One spelling of a relative path: `/`, no `./`, composed accents (macOS decomposes them)."""
    return unicodedata.normalize("NFC", posixpath.normpath(file.strip().replace("\\", "/")))


def read_labels(path: Path) -> Labels:
    """Read `labels.csv` (UTF-8, with or without a byte-order mark) or `labels.parquet`.

    Raises:
        InputError: not readable; no column `file`; a column twice; a row of another length; a file twice, or one
            outside the folder.
    """
    lines = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    header = [name or "" for name in next(lines)]
    if FILE_COLUMN not in header:
        raise InputError(f"{path} has no column 'file'; its columns are: {short(', '.join(header)) or 'none'}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path} has the column {quoted(twice[0])} {header.count(twice[0])} times; keep one")
    file_column = header.index(FILE_COLUMN)
    rows: dict[str, tuple[str | None, ...]] = {}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(f"{path}, row {number}: {len(line)} cells, but the header has {len(header)}")
        file = canonical(line[file_column] or "")  # before the comparison: two spellings of one file are two rows
        if file in rows:
            raise InputError(f"{path}, row {number}: {short(file)} is there twice; keep one row a file")
        # a row must stay inside the folder
        if file == "." or file.startswith("/") or file.split("/")[0] == "..":
            raise InputError(
                f"{path}, row {number}: file {quoted(line[file_column])} must name a file inside {path.parent}"
            )
        rows[file] = tuple(cell or None for i, cell in enumerate(line) if i != file_column)  # empty cells: no label
    return Labels(path, tuple(name for name in header if name != FILE_COLUMN), rows)


def _csv(path: Path) -> Iterator[Sequence[str | None]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # "-sig": without the byte-order mark that spreadsheets write
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    lines = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        yield next(lines, [])
        yield from (line for line in lines if line)  # csv gives empty lines as []
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}, is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[Sequence[str | None]]:
    try:
        table = pq.read_table(path)
        names, columns = table.column_names, [column.to_pylist() for column in table.columns]
    except Exception as error:
        # readers raise whatever damaged bytes make them raise, UnicodeDecodeError for the name of a column
        raise InputError(f"{path} is not readable as Parquet: {short(error)}") from error
    yield names
    yield from ([None if cell is None else str(cell) for cell in row] for row in zip(*columns, strict=True))
