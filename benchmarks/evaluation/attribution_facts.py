"""Results of attribution to generators: a block of results.json, and attribution.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from pydantic import Field

from benchmarks.evaluation.record import Record
from forge.core.files import csv_cell


class Estimated(Record):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class Unknown(Record):
    """One generator left out of the learner's training: is it rejected as none of the known classes?"""

    generator: str
    auc: Estimated = Field(
        description="of the rejection score, images of this generator against those of known classes"
    )
    rejected: Estimated = Field(description="share of its images that are rejected at the threshold")
    kept: Estimated = Field(
        description="share of test images of known classes that are not; the threshold keeps 95 % of val"
    )
    unseen: bool = Field(description="whether the features were learned without it too")


class FewShot(Record):
    """Classes told from few training images of each; means over draws, with t intervals over them."""

    images: int = Field(description="of each class")
    learner: str
    draws: int
    accuracy: Estimated
    macro_f1: Estimated


class Attribution(Record):
    """One detector's frozen features in telling which generator made an image."""

    schema_version: int = 1
    detector: str
    trained_on: str
    seed: int
    classes: list[str] = Field([], description='"real", then the generators')
    confusion: list[list[int]] = Field([], description="test images by their class (row) and the one told (column)")
    accuracy: Estimated | None = None
    macro_f1: Estimated | None = None
    unknown: list[Unknown] = Field([])
    few: list[FewShot] = Field([])
    missing: str = Field("", description="why nothing was measured")

    def measured(self) -> Iterator[tuple[str, str, str, Estimated]]:
        """Yield every number with its interval: question, of what, measure, number."""
        if self.accuracy and self.macro_f1:
            yield "closed set", "all classes", "accuracy", self.accuracy
            yield "closed set", "all classes", "macro F1", self.macro_f1
        for left_out in self.unknown:
            yield "open set", left_out.generator, "AUC", left_out.auc
            yield "open set", left_out.generator, "rejected", left_out.rejected
            yield "open set", left_out.generator, "known kept", left_out.kept
        for few in self.few:
            yield f"{few.images} images", few.learner, "accuracy", few.accuracy
            yield f"{few.images} images", few.learner, "macro F1", few.macro_f1


def to_csv(rows: Sequence[Attribution]) -> str:
    """Format all numbers: those with intervals to six decimals, then the counts of confusion matrices."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["detector", "trained_on", "seed", "question", "of", "measure", "value", "low", "high"])
    for row in rows:
        start = [csv_cell(row.detector), csv_cell(row.trained_on), row.seed]
        for question, of, measure, number in row.measured():
            ends = (f"{value:.6f}" for value in (number.value, number.low, number.high))
            writer.writerow([*start, question, csv_cell(of), measure, *ends])
        for name, counts in zip(row.classes, row.confusion, strict=True):
            for told, count in zip(row.classes, counts, strict=True):
                writer.writerow([*start, "confusion", csv_cell(name), csv_cell(f"told {told}"), count, "", ""])
    return text.getvalue()
