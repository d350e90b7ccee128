"""SHA256SUMS of a report: the digests of the files that a run wrote, compared when a file is read again.

The format is that of `sha256sum`, so that `sha256sum --check SHA256SUMS` inside the folder says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from forge.core.errors import CorruptError, InputError
from forge.core.files import digest_file, open_regular, write_text

SUMS = "SHA256SUMS"
DATA_FILES = ("results.json", "results.csv", "scores.parquet", "expected.json", "report.md")
# not listed: its digest would change with every printing
_PRINTED = "report.pdf"  # printed from the page on demand, with other bytes every time
_MAX_BYTES = 1 << 20  # of SHA256SUMS; the largest so far has 4 kB
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")  # as `sha256sum` writes it: digest, two spaces, name
# version 0.1 wrote the saliency pictures as looking-*.png
# The names that any version wrote: without SHA256SUMS they decide what of a folder is the report.
_REPORT_FILE = re.compile(
    r"(index\.html|report\.(md|pdf)|results\.(json|csv)|results-tables\.json\.gz|attribution\.csv|(scores|masks|attribution)\.parquet"
    r"|expected\.json|SHA256SUMS|scores\.json|scores/[^/]+\.parquet"
    r"|(samples|spectrum|saliency|looking)-[^/]+\.(png|webp)|figures/[^/]+\.svg|(figures/)?\.[^/]+\.[0-9a-f]{8}\.partial)"
)


def written_files(folder: Path) -> set[str]:
    """Return the files in a report folder that a run wrote: those in SHA256SUMS, or by their names without it.

    Paths are relative to `folder`, with "/"; what people have put there is not among them.
    """
    # links count where they lie; what they point to is none of the report's
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_symlink() or file.is_file()}
    try:
        sums = read_sums(folder)
    except CorruptError:
        sums = None
    # A list that names no file here is of another folder, or empty: names decide then.
    if sums is None or not present & set(sums):
        return {name for name in present if _REPORT_FILE.fullmatch(name)}
    # left by a killed call, hence in no list
    partial = {name for name in present if name.endswith(".partial") and _REPORT_FILE.fullmatch(name)}
    return present & {*sums, SUMS, _PRINTED} | partial


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over the files of a report, in the order of their names."""
    # From the names of report files, not from all that lies there: other files are not listed.
    present = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    # in the order of the names, so that the same report has the same list
    names = sorted(name for name in present if _REPORT_FILE.fullmatch(name) and not name.endswith(".partial"))
    listed = [name for name in names if name not in (SUMS, _PRINTED)]
    write_text(folder / SUMS, "".join(f"{digest_file(folder / name)}  {name}\n" for name in listed))


def read_sums(folder: Path) -> dict[str, str] | None:
    """Read SHA256SUMS: path -> digest; None where an earlier version wrote the report.

    Raises:
        CorruptError: the file is not a list of digests.
    """
    file = folder / SUMS
    try:
        with open_regular(file) as opened:
            lines = opened.read(_MAX_BYTES).decode("utf-8").splitlines()  # bounded: the file may be anything
    except FileNotFoundError:
        return None
    except (InputError, UnicodeDecodeError) as error:
        raise CorruptError(f"{file} is damaged: it is no list of digests; restore it") from error
    entries = [_LINE.fullmatch(line) for line in lines]
    # One wrong line makes the list worthless: what it should have said is not known.
    if not entries or None in entries:
        raise CorruptError(f"{file} is damaged: it is no list of digests; restore it")
    return {entry[2]: entry[1] for entry in entries if entry}


def data_files(folder: Path) -> list[str]:
    """Return the names of the data files of a report: `DATA_FILES`, and what a published one has in place of some.

    Raises:
        CorruptError: SHA256SUMS is not a list of digests.
    """
    names = {f"scores/{file.name}" for file in (folder / "scores").glob("*")} | (read_sums(folder) or {}).keys()
    return [
        *DATA_FILES,
        "results-tables.json.gz",
        "scores.json",
        *sorted(name for name in names if name.startswith("scores/")),
    ]


def check_files(folder: Path, names: Iterable[str]) -> bool:
    """Compare files of a report with SHA256SUMS.

    Args:
        folder: of the report.
        names: the files; one that is neither there nor listed is passed over.

    Returns:
        False where there is no SHA256SUMS to compare with, and nothing was checked.

    Raises:
        CorruptError: a file was changed, is missing, or is not listed; names it.
    """
    names = tuple(names)
    problem = ""
    # Two attempts: the second one reads list and files of the new report.
    for _ in range(2):  # a run may replace the report between the reading of two files
        sums = read_sums(folder)
        if sums is None:
            return False
        problem = next(filter(None, (_problem(folder, name, sums) for name in names)), "")
        if not problem:
            return True
    raise CorruptError(
        f"{folder}/{problem}; restore it, or write the report again: the same bench run, or bench report {folder.name}"
    )


def _problem(folder: Path, name: str, sums: dict[str, str]) -> str:
    file = folder / name
    if file.exists() and not file.is_file():
        return f"{name} is not a regular file"
    if name not in sums:
        # A file that is there but not listed was added after the run, and may be mistaken for its result.
        return f"{name} is not part of the report: {SUMS} does not list it" if file.exists() else ""
    if not file.is_file():
        return f"{name} is missing"
    return "" if digest_file(file) == sums[name] else f"{name} was changed after the report was written ({SUMS})"
