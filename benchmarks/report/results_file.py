"""results.json of a report: whole as a run writes it, or its long tables packed beside it as it is published."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from forge.core.errors import CorruptError, InputError
from forge.core.files import MAX_JSON_BYTES, open_regular, parse_json, read_json_object, write_json

FILE = "results.json"
PACKED = "results-tables.json.gz"
TABLES = ("cells", "comparisons", "stages")  # a record each test, pair of detectors and stage: most of the file
LARGE = 1_000_000  # bytes of results.json from which it is packed


def read_head(folder: Path) -> dict[str, Any]:
    """Read what results.json itself holds, without tables that are packed beside it.

    Raises:
        InputError: there is no such file, it is not JSON, or beyond the bounds of what is read.
    """
    return read_json_object(folder / FILE)


def read_results(folder: Path) -> dict[str, Any]:
    """Read everything that a report says, its packed tables included.

    Args:
        folder: of the report.

    Raises:
        InputError: there is no such file, it is not JSON, or beyond the bounds of what is read.
        CorruptError: the packed tables are missing, cut off or changed.
    """
    content = read_head(folder)
    if content.pop("packed", None) is None:
        return content
    file = folder / PACKED
    try:
        with open_regular(file) as stream, gzip.open(stream) as unpacked:
            # bounded: a small file can unpack to any size
            data = unpacked.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise InputError(f"it has more than {MAX_JSON_BYTES >> 20} MiB")
        tables = parse_json(data.decode("utf-8"), file)
        content |= {name: tables[name] for name in TABLES}
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, InputError, LookupError, TypeError) as error:
        raise CorruptError(f"{file} is damaged or missing ({error}); restore it") from error
    return content


def pack_results(folder: Path) -> None:
    """Move the long tables of a large results.json into a packed file; the same report gives the same bytes."""
    if (folder / FILE).stat().st_size < LARGE and not (folder / PACKED).is_file():
        return
    content = read_results(folder)  # whole, also where it was packed before
    tables = {name: content.pop(name) for name in TABLES}
    text = json.dumps(tables, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    (folder / PACKED).write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    write_json(folder / FILE, content | {"packed": PACKED})
