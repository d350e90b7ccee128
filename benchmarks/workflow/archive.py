"""Tar archives of results: the same bytes from the same files, and unpacked without trust in what they hold."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from forge.core.errors import CorruptError
from forge.core.files import visible


class Digesting:
    """A stream that digests the bytes that go through it.

    Args:
        stream: what is written to or read from.
    """

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - any binary stream; those of fsspec have no common type
        self._stream, self._digest, self.bytes = stream, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Write and digest."""
        self._note(data)
        self._stream.write(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read and digest."""
        data = bytes(self._stream.read(size))
        self._note(data)
        return data

    def hexdigest(self) -> str:
        """Return the SHA-256 of what went through so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def _note(self, data: bytes) -> None:
        self._digest.update(data)
        self.bytes += len(data)


@contextmanager
def packing(stream: IO[bytes] | Digesting) -> Iterator[tarfile.TarFile]:
    """Yield an archive that is written to a stream from its beginning to its end."""
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="w|", format=tarfile.PAX_FORMAT) as archive:
        yield archive


def pack(archive: tarfile.TarFile, file: Path, name: str) -> None:
    """Add a file; its date, owner and rights are no part of the archive.

    Args:
        archive: of `packing`.
        file: whose bytes are added.
        name: in the archive.
    """
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = file.stat().st_size, 0o644
    with file.open("rb") as content:
        archive.addfile(entry, content)


def pack_folder(archive: tarfile.TarFile, folder: Path, name: str = "") -> None:
    """Add all files of a folder in the order of their names."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        pack(archive, file, (PurePosixPath(name) / file.relative_to(folder).as_posix()).as_posix())


def unpack(stream: IO[bytes] | Digesting, folder: Path, *, origin: object, most_bytes: int) -> None:
    """Unpack an archive into an empty folder; only regular files, and none outside of it.

    Args:
        stream: from the archive's first byte on; read to its end.
        folder: empty, and filled by no other process.
        origin: of the archive, for messages.
        most_bytes: of all files together.

    Raises:
        CorruptError: it is cut off, no tar archive, larger, or an entry is no file or leads out of the folder. What was
            unpacked before lies in the folder.
    """
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for entry in archive:
                target = folder / _safe(entry, origin)
                most_bytes -= entry.size
                if most_bytes < 0:
                    raise CorruptError(f"{origin} is damaged: it holds more bytes than it says")
                target.parent.mkdir(parents=True, exist_ok=True)
                # "x": an entry that comes twice must not replace what was there
                with cast("IO[bytes]", archive.extractfile(entry)) as content, target.open("xb") as file:
                    shutil.copyfileobj(content, file)
        while stream.read(1 << 20):  # what follows the end of the archive belongs to its digest
            pass
    except (tarfile.TarError, EOFError) as error:
        raise CorruptError(f"{origin} is damaged: {str(error) or type(error).__name__}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise CorruptError(f"{origin} is damaged: it holds {visible(str(error.filename))} twice") from error


def _safe(entry: tarfile.TarInfo, origin: object) -> PurePosixPath:
    """Return the path of an entry.

    Raises:
        CorruptError: it is no regular file, or leads out of the folder.
    """
    parts = entry.name.split("/")
    try:
        entry.name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        parts = [".."]
    if not entry.isreg() or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise CorruptError(
            f"{origin} holds an entry that no result has, {visible(entry.name)[:80]}; it is not unpacked"
        )
    return PurePosixPath(entry.name)
