"""Score files of other programs: CSV as spreadsheets write it, or Parquet, to the columns image, score and label."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from forge.core.errors import InputError, quoted, short

NAMES = ("image", "file", "sample_id")  # the first of these columns names the images
SCORE, LABEL = "score", "label"
_DELIMITERS = (",", ";", "\t", "|")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # of encodings, at the start of a file
_LABELS = {
    "real": 0, "0_real": 0, "genuine": 0, "authentic": 0, "original": 0, "0": 0,
    "fake": 1, "1_fake": 1, "forged": 1, "synthetic": 1, "generated": 1, "1": 1,
}  # fmt: skip
_SHOWN = 3


def read_submission(path: Path) -> pd.DataFrame:
    """Read scores from CSV or Parquet: columns `image` (a name of the export), `score` and maybe `label`.

    Headings may be in any case. A CSV may be UTF-8 or UTF-16, with any line ends, separated by commas, semicolons,
    tabs or bars, with a decimal point or a decimal comma. Labels are 1 or forged, fake, synthetic, generated and 0 or
    real, genuine, authentic, original.

    Returns:
        Columns image (text), score (float64, finite) and, where the file has one, label (0 or 1).

    Raises:
        InputError: not readable, a column is missing, a score is no finite number, a label is not known, an image
            stands twice.
    """
    if not path.is_file():
        raise InputError(f"scores file {path} does not exist")
    table = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path)
    headings = [str(name).strip().lower() for name in table.columns]
    name = next((wanted for wanted in NAMES if wanted in headings), None)
    if name is None or SCORE not in headings:
        there = ", ".join(map(quoted, list(table.columns)[:8])) or "none"
        raise InputError(f"{path} needs the columns image and score; it has: {there}")
    for heading in (name, SCORE, LABEL):
        if headings.count(heading) > 1:
            raise InputError(f"{path} has {headings.count(heading)} columns called {heading}; keep one")
    images = [_image(value) for value in table.iloc[:, headings.index(name)]]
    scores = pd.DataFrame({"image": images, SCORE: _numbers(path, table.iloc[:, headings.index(SCORE)], images)})
    if (twice := scores["image"][scores["image"].duplicated()]).size:
        raise InputError(
            f"{path}: {twice.size} images stand twice, among them {some(list(twice))}; give one score an image"
        )
    if LABEL in headings:
        scores[LABEL] = _labels(path, table.iloc[:, headings.index(LABEL)], images)
    return scores


def some(names: Sequence[str]) -> str:
    """Return the first few of some names for a message."""
    return ", ".join(short(name) for name in names[:_SHOWN])


def _image(value: object) -> str:
    """Return the name of an image without its folder and its ending."""
    return PurePosixPath(str(value).strip().replace("\\", "/")).name.partition(".")[0]


def _parquet(path: Path) -> pd.DataFrame:
    try:
        # column by column: what pandas noted in the schema's metadata is not needed and may be damaged
        table = pq.read_table(path)
        names = [str(name) for name in table.column_names]
        columns = {i: table.column(i).to_pylist() for i in range(len(names))}
    except Exception as error:
        # readers raise whatever damaged bytes make them raise, UnicodeDecodeError for the name of a column
        raise InputError(f"{path} cannot be read as a table: {short(' '.join(str(error).split()))}") from error
    return pd.DataFrame(columns).set_axis(names, axis=1)


def _csv(path: Path) -> pd.DataFrame:
    lines = re.split(r"\r\n|\r|\n", _text(path))
    delimiter = None
    if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip()) == 5:  # a hint of spreadsheets
        delimiter, lines = lines[0].strip()[-1], lines[1:]
    if not any(line.strip() for line in lines):
        raise InputError(f"{path} cannot be read as a table: it is empty")
    chosen = delimiter or _delimiter(lines[0])
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=chosen, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {short(error)}") from error
    header, *rest = [_trimmed(row) for row in rows if any(cell.strip() for cell in row)]
    rest = [row + [""] * (len(header) - len(row)) for row in rest]
    for number, row in enumerate(rest, start=2):
        if len(row) != len(header):
            cause = "; is a comma the decimal mark? separate columns with ';' then" if chosen == "," else ""
            raise InputError(
                f"{path} cannot be read as a table: row {number} has {len(row)} fields and the heading {len(header)}"
                f"{cause}"
            )
    return pd.DataFrame({i: [row[i] for row in rest] for i in range(len(header))}).set_axis(header, axis=1)


def _trimmed(row: list[str]) -> list[str]:
    """A row without the empty cells at its end."""
    filled = [i for i, cell in enumerate(row) if cell.strip()]
    return row[: filled[-1] + 1] if filled else []


def _text(path: Path) -> str:
    """Decode a file in UTF-8 or UTF-16."""
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:200]:  # UTF-16 without a mark: every other byte of ASCII is zero
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text, nor UTF-16; save it as UTF-8") from error


def _delimiter(heading: str) -> str:
    """Return the delimiter that gives the heading the required columns, else the one that gives most columns."""
    columns = {mark: [cell.strip(' "').lower() for cell in heading.split(mark)] for mark in _DELIMITERS}
    for mark, names in columns.items():
        if SCORE in names and any(name in names for name in NAMES):
            return mark
    return max(columns, key=lambda mark: len(columns[mark]))


def _numbers(path: Path, values: pd.Series, images: Sequence[str]) -> np.ndarray:
    """Convert scores to float64 [n].

    Raises:
        InputError: one is not a finite number, or has a comma and a point.
    """
    if values.dtype.kind in "fiub":
        numbers = values.to_numpy(dtype=np.float64)
    else:
        numbers = np.array([_number(path, value) for value in values], dtype=np.float64)
    if (wrong := np.flatnonzero(~np.isfinite(numbers))).size:
        first = int(wrong[0])
        value = str(values.iloc[first]).strip()
        raise InputError(
            f"{path}: the score of {short(images[first])} is {short(value) or 'empty'}, which is no number "
            f"({wrong.size} of {numbers.size} are not)"
        )
    return numbers


def _number(path: Path, value: object) -> float:
    """A cell as a number, NaN where it is none; one comma alone is a decimal mark."""
    text = str(value).strip()
    if "," in text:
        if "." in text or text.count(",") > 1:
            raise InputError(f"{path}: the score {quoted(text)} has marks between thousands; write it as 1234.5")
        text = text.replace(",", ".")
    try:
        return math.nan if "_" in text else float(text)
    except (ValueError, OverflowError):
        return math.nan


def _labels(path: Path, values: pd.Series, images: Sequence[str]) -> list[int]:
    """Convert labels to 0 (real) and 1 (forged)."""
    labels = []
    for value, image in zip(values, images, strict=True):
        text = str(value).strip().lower()
        label = _LABELS.get(text.removesuffix(".0").removesuffix(",0"))
        if label is None:
            raise InputError(
                f"{path}: the label of {short(image)} is {quoted(str(value))}; write forged or 1, real or 0, or leave "
                "the column out"
            )
        labels.append(label)
    return labels
