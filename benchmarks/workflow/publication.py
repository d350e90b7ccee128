"""Publication of a report's scores: compact files in its folder, or an archive beside it where they are too large."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.digests import write_sums, written_files
from benchmarks.report.picture_files import pack_pictures
from benchmarks.report.publish import publish_report
from benchmarks.report.results_file import pack_results
from benchmarks.report.run_report import RunReport
from benchmarks.report.score_archive import RECORD, SUFFIX, ScoreRecord
from benchmarks.report.score_files import decoded, encoded
from benchmarks.report.score_layout import FILES, layout_of, read_report_scores, remove_scores, write_files
from benchmarks.workflow.archive import pack_folder, packing
from forge.core.errors import BenchError
from forge.core.files import digest_file, replacing, write_json


@dataclass(frozen=True)
class Published:
    """Scores as they were published.

    Attributes:
        rows: images times detectors.
        bytes: of all files together, or of the archive.
        files: how many; 0: they are in the archive.
        archive: the file to upload; None: they are in the report's folder.
        sha256: its digest, "" without one.
    """

    rows: int
    bytes: int
    files: int
    archive: Path | None = None
    sha256: str = ""


def publish_scores(report: RunReport, most_bytes: float) -> Published:
    """Replace the scores of a report by compact ones; pack its pictures of faces and the tables of large results.

    Args:
        report: of the run, with its scores in any layout.
        most_bytes: what exceeds it goes into REPORT-scores.tar beside the report's folder.

    Raises:
        CorruptError: a data file of the report was changed.
        BenchError: what would be read is not what the report holds; nothing was changed.
    """
    report.check()
    target = report.folder.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "report"
        for name in sorted(written_files(target)):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target / name, fresh / name)
        published = _compact(fresh, target, most_bytes)
        publish_report(fresh, target)
    return published


def keep_layout(fresh: Path, target: Path) -> None:
    """Give a report that was written again the layout of scores of the one that it replaces.

    Args:
        fresh: folder of the new report, changed in place.
        target: folder of the report before.
    """
    if (layout := layout_of(target)) != "table":
        _compact(fresh, target.resolve(), 0 if layout == "archive" else math.inf)


def _compact(folder: Path, target: Path, most_bytes: float) -> Published:
    """Replace the scores in a folder that becomes the report `target`."""
    # an archive lies beside the target; in `folder` there is the record alone
    archived = layout_of(folder) == "archive"
    scores = read_report_scores(target if archived else folder)
    fits = RunReport(folder, checked=False).results.detectors
    calibrations = {
        (fit.name, fit.trained_on, fit.seed): (fit.calibration["a"], fit.calibration["b"])
        for fit in fits
        if fit.calibration.keys() >= {"a", "b"}
    }
    files = encoded(scores, calibrations)
    if not decoded(files, target).equals(scores):
        raise BenchError(f"the compact scores of {target} are not those of the report; it stays as it is")
    remove_scores(folder)
    size = sum(map(len, files.values()))
    if size <= most_bytes:
        write_files(folder / FILES, files)
        published = Published(len(scores), size, len(files))
    else:
        published = _archive(files, target, len(scores))
        record = ScoreRecord(
            report=target.name,
            archive=f"{target.name}{SUFFIX}",
            bytes=published.bytes,
            sha256=published.sha256,
            rows=published.rows,
        )
        write_json(folder / RECORD, record.model_dump(mode="json"))
    pack_results(folder)
    pack_pictures(folder, target)
    write_sums(folder)
    return published


def _archive(files: dict[str, bytes], target: Path, rows: int) -> Published:
    """Write the archive of a report beside its folder; the same scores give the same bytes."""
    archive = target.with_name(f"{target.name}{SUFFIX}")
    with tempfile.TemporaryDirectory() as temporary:
        write_files(Path(temporary), files)
        with replacing(archive) as partial, partial.open("wb") as stream, packing(stream) as tar:
            pack_folder(tar, Path(temporary), target.name)
    return Published(rows, archive.stat().st_size, 0, archive, digest_file(archive))
