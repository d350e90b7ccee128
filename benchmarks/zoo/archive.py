"""Archives of members of the zoo, .zip or .tar: the same bytes from the same files, unpacked without trust in them."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workflow.archive import pack_folder, packing, unpack
from benchmarks.zoo.members import Member
from forge.core.errors import BenchError, CorruptError, InputError
from forge.core.files import open_regular, replacing, visible

ENDINGS = (".zip", ".tar")
LARGEST_BYTES = 2_000_000_000  # of all files that an archive may unpack to
_DATE = (1980, 1, 1, 0, 0, 0)  # of the entries of a zip file, whose bytes then repeat


def check_ending(file: Path) -> None:
    """Refuse the name of an archive of another format.

    Raises:
        InputError: it ends otherwise.
    """
    if file.suffix.lower() not in ENDINGS:
        raise InputError(f"archive {file}: its name must end in {' or '.join(ENDINGS)}")


def pack(members: Sequence[Member], file: Path) -> None:
    """Write members into one archive, a folder each.

    Raises:
        InputError: another ending than .zip or .tar, or a member is damaged.
    """
    check_ending(file)
    for member in members:
        member.check()
    with replacing(file) as temporary:
        if file.suffix.lower() == ".tar":
            with temporary.open("wb") as stream, packing(stream) as archive:
                for member in members:
                    pack_folder(archive, member.folder, member.card.name)
            return
        with zipfile.ZipFile(temporary, "w") as archive:
            for member in members:
                for path in sorted(path for path in member.folder.rglob("*") if path.is_file()):
                    inside = f"{member.card.name}/{path.relative_to(member.folder).as_posix()}"
                    archive.writestr(zipfile.ZipInfo(inside, _DATE), path.read_bytes())


def add(file: Path, folder: Path, *, replace: bool = False) -> tuple[list[Member], list[Member]]:
    """Unpack the members of an archive into a folder of members; all of them or none.

    Args:
        file: the archive.
        folder: that receives a folder per member.
        replace: put members in the place of others of their names.

    Returns:
        Members that are new, and those that were there already.

    Raises:
        InputError: no archive, without members, damaged, or another member of a name is there.
    """
    check_ending(file)
    folder.mkdir(parents=True, exist_ok=True)
    # beside the target: a rename is atomic within one file system; hidden, so that no list reads it
    with tempfile.TemporaryDirectory(prefix=".add-", dir=folder) as scratch:
        _unpack(file, Path(scratch))
        unpacked = [_checked(path, file) for path in sorted(Path(scratch).iterdir())]
        if not unpacked:
            raise InputError(f"{file} holds no member of the zoo")
        new = [member for member in unpacked if not _is_there(member, folder, replace=replace)]
        for member in new:
            target = folder / member.card.name
            if target.exists():  # refused above unless `replace`
                shutil.rmtree(target)
            member.folder.replace(target)
    there = [member.card.name for member in unpacked if member not in new]
    return [Member.at(folder / member.card.name) for member in new], [Member.at(folder / name) for name in there]


def _unpack(file: Path, folder: Path) -> None:
    try:
        with open_regular(file) as stream:
            if file.suffix.lower() == ".zip":
                _unzip(file, folder)
            else:
                unpack(stream, folder, origin=file, most_bytes=LARGEST_BYTES)
    except (CorruptError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise InputError(f"{file} is no archive of the zoo, or damaged: {error}") from error


def _unzip(file: Path, folder: Path) -> None:
    """Unpack a zip file into an empty folder; only regular files, and none outside of it."""
    left = LARGEST_BYTES
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            parts = entry.filename.split("/")
            # the upper 16 bits are the file's mode on Unix: 0o120000 is a link
            is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
            if is_link or entry.flag_bits & 1 or any(part in ("", ".", "..") or "\\" in part for part in parts):
                raise CorruptError(f"it holds an entry that no member has, {visible(entry.filename)[:80]}")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as content, target.open("xb") as out:
                # counted as it is unpacked: the size that the entry states may be another
                while block := content.read(1 << 20):
                    left -= len(block)
                    if left < 0:
                        raise CorruptError("it holds more bytes than a zoo has")
                    out.write(block)


def _checked(folder: Path, file: Path) -> Member:
    """Open an unpacked member and compare all its files with its card.

    Raises:
        InputError: it is none, damaged, has files that the card does not name, or lies in a folder of another name.
    """
    if not folder.is_dir():
        raise InputError(f"{file} is no archive of the zoo: {visible(folder.name)} lies beside its folders")
    try:
        member = Member.at(folder).check()
    except BenchError as error:
        raise InputError(f"{file}: {str(error).replace(str(folder), folder.name)}") from error
    if member.card.name != folder.name:
        raise InputError(f"{file}: the folder {visible(folder.name)} holds a member called {member.card.name}")
    inside = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if more := sorted(inside - {*member.card.files, "zoo.json"}):
        raise InputError(f"{file}: {member.card.name} has a file that its card does not name, {visible(more[0])[:80]}")
    return member


def _is_there(member: Member, folder: Path, *, replace: bool) -> bool:
    """Return whether a folder holds the same member.

    Raises:
        InputError: it holds another one of this name, and `replace` is off.
    """
    target = folder / member.card.name
    if not target.exists():
        return False
    if (target / "zoo.json").is_file() and Member.at(target).card == member.card:
        return Member.at(target).has_weights  # a card alone makes room for the member that it describes
    if not replace:
        raise InputError(f"another {member.name} is in {target}; --replace puts this one in its place")
    return False
