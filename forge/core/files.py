"""Files that are either whole or not there: atomic writes, directory publishing, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from forge.core.errors import BenchError, CorruptError, InputError

_HIDDEN = ("Cc", "Cs")  # categories: control characters, and bytes that are no text
_DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # turn the order of what follows
MAX_JSON_BYTES = 256 << 20  # the largest report so far has 3 MB
_START = 64 << 10  # bytes of a JSON file that are read first
DIGEST = "sha256"  # key of the digest in a JSON file that carries its own
MAX_JSON_DEPTH = 64  # pydantic and the encoder recurse, a few frames a level
MAX_JSON_DIGITS = 40  # of an integer; the state of a 128-bit random generator has 39
# Each choice fixes what JSON leaves open; with any of them open, equal values could have different digests.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(value)


def digest_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the SHA-256 of a value's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits, in constant memory.

    Raises:
        InputError: `path` is a directory, a FIFO or a device.
    """
    with open_regular(path) as file:  # a FIFO would never end
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading bytes; never waits for the other end of a FIFO.

    Raises:
        InputError: `path` is a directory, a FIFO, a socket or a device.
        OSError: it does not exist or may not be read.
    """
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer. O_CLOEXEC: child processes do not inherit it
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without hardware
            raise InputError(f"{path} is not a regular file; remove it, or put the file there") from error
        raise
    # asked of the open descriptor: between a check of the path and its opening the file could be exchanged
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is not a regular file; remove it, or put the file there")
    return os.fdopen(descriptor, "rb")


def sync(path: Path) -> None:
    """Flush a file or directory to the disk, so that a rename after it never shows an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # beside the target, as a rename is atomic within one file system only; the random part keeps two writers apart
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        sync(temporary)  # before the rename: after a power cut, the new name must not show an empty file
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8, line feeds)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a value as indented JSON atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_signed_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object as JSON with the digest of its content, `sha256`, which `read_signed_json` compares."""
    # a value that was read with an old digest is signed without it
    content = {key: part for key, part in value.items() if key != DIGEST}
    write_json(path, content | {DIGEST: digest_json(content)})


def read_signed_json(path: Path) -> dict[str, Any]:
    """Read what `write_signed_json` wrote, without the digest; a file without one (of an earlier version) as it is.

    Raises:
        InputError: as of `read_json_object`.
        CorruptError: the content is not what was written.
    """
    value = read_json_object(path)
    digest = value.pop(DIGEST, None)
    # files of earlier versions carry no digest and pass
    if digest is not None and digest != digest_json(value):
        raise CorruptError(f"{path} is damaged: it was changed after it was written")
    return value


def visible(text: str) -> str:
    r"""Return text with its control characters and marks of direction spelled out, so that it moves no cursor.

    >>> print(visible("a\tb\x1b[31m \u202egnp.exe é"))
    a\tb\x1b[31m \u202egnp.exe é
    """
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in _HIDDEN or character in _DIRECTION else character
        for character in text
    )


def csv_cell(value: object) -> object:
    """Return a value as a cell of a CSV that a spreadsheet shows and never runs as a formula.

    Text that begins with = or @, or with + or - and is no number, gets an apostrophe in front, by which spreadsheets
    mark text; control characters are spelled out. Other values are returned as they are.

    >>> csv_cell("=1+1"), csv_cell("-2.5"), csv_cell("-cmd"), csv_cell("dct"), csv_cell(3)
    ("'=1+1", '-2.5', "'-cmd", 'dct', 3)
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    # spreadsheets skip blanks before a formula
    first = text.lstrip()[:1] or " "
    formula = first in "=@" or (first in "+-" and not _number(text))
    return f"'{text}" if formula else text


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file; every JSON file of the bench is read here, whoever wrote it.

    Raises:
        InputError: the file is missing, unreadable, no regular file, larger than MAX_JSON_BYTES, or `parse_json`
            refuses its text; names the file.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_START)  # most are shorter; room for the largest takes longer to get than to fill
            if len(data) == _START:
                # one byte more tells "exactly the limit" from "beyond it" without reading further
                data += file.read(MAX_JSON_BYTES + 1 - _START)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise explain_os_error(error) from error
    if len(data) > MAX_JSON_BYTES:
        raise InputError(f"{path} is not readable as JSON: it has more than {MAX_JSON_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not readable as JSON: {error.reason} at byte {error.start}") from error
    return parse_json(text, path)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file whose outermost value is an object.

    Raises:
        InputError: as of `read_json`, or the value is something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged or of another program: it holds no JSON object")
    return value


def parse_json(text: str, origin: object, *, finite: bool = True) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON from a file: bounded in depth and in the length of its integers.

    Args:
        text: the JSON.
        origin: the file, for messages.
        finite: refuse NaN and infinite numbers, also those written as 1e999.

    Raises:
        InputError: not JSON, or beyond the bounds; names `origin`.
    """

    # converting n digits takes about n^2 steps, so that a long number alone would hang the reader
    def integer(digits: str) -> int:
        if len(digits) > MAX_JSON_DIGITS:
            raise ValueError(f"an integer has {len(digits):,} digits")
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        # 1e999 is valid JSON and becomes infinite
        if finite and not math.isfinite(value):
            raise ValueError(f"the number {digits[:20]} is not finite")
        return value

    try:
        value = json.loads(text, parse_int=integer, parse_float=number, parse_constant=number)
        if text.count("[") + text.count("{") > MAX_JSON_DEPTH:  # fewer brackets cannot nest deeper
            _check_depth(value)
        # a search of the text first, as encoding the whole value costs as much as parsing it
        if re.search(r"\\u[dD][89a-fA-F]", text):  # half a character: neither a page nor a terminal can print it
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise InputError(f"{origin} is not readable as JSON: nested more than {MAX_JSON_DEPTH} deep") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{origin} is not readable as JSON: a text holds half a character") from error
    except ValueError as error:
        raise InputError(f"{origin} is not readable as JSON: {error}") from error
    return value


def _check_depth(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Raise RecursionError where lists and objects nest deeper than MAX_JSON_DEPTH."""
    # level by level: a recursive check would overflow on just what it looks for
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_JSON_DEPTH):
        children = (child for parent in level for child in (parent.values() if isinstance(parent, dict) else parent))
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise RecursionError


@contextmanager
def publishing(final: Path) -> Iterator[Path]:
    """Yield a fresh directory that becomes `final` by one rename when the block ends without an error.

    A crash leaves only a hidden `.NAME.*.partial` directory, which nothing ever reads.

    Raises:
        InputError: `final` exists already and is not an empty directory.
    """
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise InputError(f"{final} exists already; choose another place or remove it first")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.partial")
    temporary.mkdir()
    # files, then the directory, then the rename, then the parent: after a power cut `final` is whole or absent
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync(file)
        sync(temporary)
        temporary.replace(final)
        sync(final.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def explain_os_error(error: OSError) -> BenchError:
    """Turn an operating-system error into the sentence a person can act on."""
    where = f" at {visible(os.fsdecode(error.filename))}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return BenchError(f"the disk is full{where}; free some space and run the same command again, it continues")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        # ENOTDIR, EEXIST: a file lies where a folder is needed
        return InputError(f"this place cannot be used{where}: {error.strerror}; choose another one")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"no permission to write or read{where}; choose another place with --store or --reports")
    return BenchError(f"the operating system refused{where}: {error.strerror or error}")
