"""The report of a finished run, read with every check: digests, bounds of JSON, types of the fields."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from benchmarks.evaluation.results import SCHEMA_VERSION, Results
from benchmarks.experiment.configs import validated
from benchmarks.places import report_roots
from benchmarks.report.digests import SUMS, check_files, data_files
from benchmarks.report.picture_files import pictures
from benchmarks.report.results_file import PACKED, read_results
from benchmarks.report.score_archive import RECORD, archive_beside
from forge.core.errors import BenchWarning, InputError, quoted
from forge.core.files import read_json_object

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.evaluation.reproduce import Expected

_REQUIRED = {"name", "cells", "detectors", "stages"}  # since the first version


class RunReport:
    """The report of a finished run.

    Args:
        folder: as `bench run` leaves it.
        checked: compare data files with their digests before they are read.
        note: warn where an earlier version wrote the report, without digests.

    Attributes:
        folder: where it lies; reports/README.md names every file in it.

    Raises:
        InputError: the folder holds no report.
    """

    def __init__(self, folder: str | Path, *, checked: bool = True, note: bool = True) -> None:
        self.folder = Path(folder)
        self._checked, self._note = checked, note
        # SHA256SUMS alone is a damaged report, which the checks name; it is not "no report".
        if not any((self.folder / name).exists() for name in ("results.json", SUMS)):
            raise InputError(f"{self.folder} is no report: it has no results.json; `bench list runs` shows those here")

    @classmethod
    def open(cls, name: str, reports: Path, *, checked: bool = True) -> Self:
        """Open the report of a run by its name or by the path of its folder.

        Args:
            name: of the run, or a path.
            reports: folder of reports.
            checked: compare data files with their digests.

        Raises:
            InputError: there is none, and which ones there are; or its results.json is not readable.
            CorruptError: its results.json was changed after the report was written.
        """
        # A name in the given folders first, then a path: a folder of that name in the working directory does not hide a
        # run.
        for folder in (*(root / name for root in report_roots(reports)), Path(name)):
            if (folder / "results.json").exists() or (folder / SUMS).exists():
                report = cls(folder, checked=checked)
                _ = report.results  # refuses what is not readable
                return report
        known = [folder.name for folder in report_folders(reports)]
        there = f"there are: {', '.join(known)}" if known else "no run finished yet"
        raise InputError(f"run {quoted(name)} is not known in {reports}/; {there}")

    @property
    def name(self) -> str:
        """Name of the folder; the run may have been called otherwise where it made it."""
        return self.folder.name

    @property
    def page(self) -> Path:
        """The page that a browser shows; one file that needs no other."""
        return self.folder / "index.html"

    @property
    def command(self) -> str:
        """The command that asks for the run again."""
        return self.results.command

    @property
    def missing(self) -> dict[str, str]:
        """Stages that failed and are not in the tables -> error; the same run again tries them again."""
        return dict(self.results.missing)

    @property
    def summary(self) -> list[str]:
        """The sentences that open the page; empty: an earlier version wrote the report."""
        return list(self.results.summary)

    @property
    def notes(self) -> list[str]:
        """Failed audits and what else must be known beside the summary."""
        return list(self.results.notes)

    @property
    def samples(self) -> dict[str, Path]:
        """Generator -> picture of random forgeries, not selected."""
        return pictures(self.folder, "samples")

    @cached_property
    def results(self) -> Results:
        """Everything the report says, as results.json holds it.

        Raises:
            InputError: missing, not JSON, of another program or a newer version.
            CorruptError: changed after the report was written.
        """
        file = self.folder / "results.json"
        if self._checked:
            # digests before content: a changed file is named as such and not by what is wrong in it
            self.check(file.name, PACKED)
        content = read_results(self.folder)
        # Fields of the first version: what lacks one is another program's JSON.
        if not content.keys() >= _REQUIRED:
            raise InputError(f"{file} is damaged, or of another program; run it again")
        version = content.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:  # upwards only: earlier schemas are read, see below
            raise InputError(f"{file} has schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
        if not isinstance(version, int) or version < 2:  # its paired tests have other fields, which nothing reads
            content |= {"comparisons": []}  # shown without tests: they named no training
        try:
            return Results.model_validate(content)
        # The first problem, cut: the file may be anything.
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))[:80]
            raise InputError(f"{file} is damaged, or of another program: {field}: {first['msg'][:80]}") from error

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score of every image by every detector, from which all numbers are computed.

        Raises:
            InputError: missing, or it lacks a score column.
            CorruptError: changed after the report was written, or not readable as Parquet.
            ScoresAbsentError: they are in an archive that is not beside the report.
        """
        from benchmarks.report.score_layout import read_report_scores  # imports pandas

        self._check_scores()
        return read_report_scores(self.folder)

    def compact_scores(self, archive: Path | None = None) -> pd.DataFrame:
        """Read the scores with names as categories, in a third of the memory; errors are those of `scores`.

        Args:
            archive: the file that has them; None: beside the report.
        """
        from benchmarks.report.score_layout import read_compact_scores  # imports pandas

        self._check_scores()
        return read_compact_scores(self.folder, archive)

    def _check_scores(self) -> None:
        names = (name for name in data_files(self.folder) if name.startswith("scores"))
        self.check(*names, note=False)  # noted once, when results.json was read

    @property
    def has_scores(self) -> bool:
        """Whether the scores are here: in the folder, or in the archive beside it."""
        if (self.folder / RECORD).exists():
            return archive_beside(self.folder).is_file()
        return any((self.folder / name).exists() for name in ("scores.parquet", "scores"))

    @cached_property
    def expected(self) -> Expected | None:
        """The values that `bench reproduce` compares with; None where the report has none.

        Raises:
            InputError: not JSON, or fields of another program.
            CorruptError: changed, or missing though SHA256SUMS lists it.
        """
        self.check("expected.json", note=False)
        file = self.folder / "expected.json"
        return expected_at(file) if file.exists() else None

    def check(self, *names: str, note: bool | None = None) -> None:
        """Compare data files with SHA256SUMS.

        Args:
            names: the files; all data files by default.
            note: warn where an earlier version wrote the report, without digests (default: as the report was opened).

        Raises:
            CorruptError: a file was changed, is missing, or is not listed; names it.
        """
        wanted = self._note if note is None else note
        if not check_files(self.folder, names or data_files(self.folder)) and wanted:
            warnings.warn(
                f"{self.folder} has no {SUMS} (an earlier version wrote it), its files are not checked; "
                f"`bench report {self.folder.name} --digests` writes one",
                BenchWarning,
                stacklevel=1,  # one line of code, so that it is said once a process
            )


def report_folders(reports: Path) -> list[Path]:
    """Return the folders of finished runs, by name; hidden ones are reports that a process is writing."""
    files = [file for root in report_roots(reports) for file in root.glob("*/results.json")]
    # reversed: of one name the first root wins, as in `open`
    folders = {file.parent.name: file.parent for file in reversed(files) if not file.parent.name.startswith(".")}
    return [folders[name] for name in sorted(folders)]


def expected_at(file: Path) -> Expected:
    """Read any expected.json, also one that is not part of a report.

    Raises:
        InputError: not there, not JSON, or fields of another program.
    """
    from benchmarks.evaluation.reproduce import Expected  # imports pandas

    return validated(Expected, read_json_object(file), where=str(file))


def latest(reports: Path) -> RunReport:
    """Open the report that was written last.

    Raises:
        InputError: there is none.
    """
    files: Sequence[Path] = [folder / "results.json" for folder in report_folders(reports)]
    if not files:
        raise InputError(f"no run finished yet in {reports}/; start with bench run -g dcgan -d xception")
    # by date, of equal dates by name; unchecked, since its page is only opened
    return RunReport(max(files, key=lambda file: (file.stat().st_mtime, file)).parent, checked=False)
