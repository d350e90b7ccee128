"""Tables that list files: CSV or Parquet, every cell a text."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq

from forge.core.errors import InputError, quoted, short
from forge.faces.sources.base import printable


@dataclass(frozen=True)
class Rows:
    """A table: names of its columns in lower case, and its rows by them."""

    columns: list[str]
    rows: list[dict[str, str]]


def read_table(path: Path) -> Rows:
    """Read a CSV file (UTF-8 or UTF-16; commas, semicolons or tabs) or a Parquet file; missing cells are "".

    Raises:
        InputError: not readable, a column twice, or a row of another length than the header.
    """
    name = printable(str(path))
    lines = _parquet(path, name) if path.suffix.lower() == ".parquet" else _csv(path, name)
    if not lines:
        raise InputError(f"{name} is empty; its first line must name the columns")
    columns = [cell.strip().lower() for cell in lines[0]]
    if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise InputError(f"{name} has the column {quoted(twice[0])} {columns.count(twice[0])} times; keep one")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise InputError(f"{name}, row {number}: {len(line)} cells, but the header has {len(columns)}")
        rows.append({column: cell.strip() for column, cell in zip(columns, line, strict=True)})
    return Rows(columns, rows)


def _csv(path: Path, name: str) -> list[list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # byte-order marks of UTF-16, as spreadsheets write it
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    lines = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [line for line in lines if line]
    except csv.Error as error:
        raise InputError(f"{name}, line {lines.line_num}, is not CSV: {error}") from error


def _parquet(path: Path, name: str) -> list[list[str]]:
    try:
        table = pq.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    except Exception as error:  # readers raise whatever damaged bytes make them raise
        raise InputError(f"{name} is not readable as Parquet: {short(error)}") from error
    cells = zip(*columns, strict=True)
    return [list(table.column_names), *(["" if cell is None else str(cell) for cell in row] for row in cells)]
