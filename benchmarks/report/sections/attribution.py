"""Attribution to generators by frozen features: confusion of classes, unknown generators, and few images."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evaluation.attribution_facts import Attribution, Estimated
from benchmarks.evaluation.numbers import estimate
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_MATRICES = 4  # confusion matrices that are shown; attribution.csv has all


@dataclass(frozen=True)
class Number:
    """A number with its interval, as text.

    Attributes:
        value: the number.
        interval: its ends in brackets.
        step: colour step 0..10; 5 is chance.
    """

    value: str
    interval: str
    step: int


@dataclass(frozen=True)
class Matrix:
    """Confusion of one detector's features.

    Attributes:
        detector: name.
        lines: class, test images, and for each class told the share in percent with its colour step.
    """

    detector: str
    lines: list[tuple[str, int, list[tuple[int, int]]]]


@dataclass(frozen=True)
class AttributionContent(Content):
    """Detectors of the first seed.

    Attributes:
        classes: real, then the generators.
        chance: accuracy of guesses, as text.
        images: test images of each class, in words.
        closed: detector, accuracy, macro F1.
        matrices: of the best detectors.
        shown: sentence on the others; "": all are shown.
        generators: of the open set; empty: nothing could be left out.
        unknown: detector and, for each generator, AUC, share rejected and whether the features were learned without it.
        kept: share of images of known classes that are kept, lowest and highest.
        shots: images of the few-shot columns.
        few: detector, learner, accuracy for each number of images.
        draws: of training images.
        missing: detector -> why nothing was measured.
    """

    classes: list[str]
    chance: str
    images: str
    closed: list[tuple[str, Number, Number]]
    matrices: list[Matrix]
    shown: str
    generators: list[str]
    unknown: list[tuple[str, list[tuple[Number, Number, bool]]]]
    kept: str
    shots: list[int]
    few: list[tuple[str, str, list[Number | None]]]
    draws: int
    missing: dict[str, str]

    @property
    def saw(self) -> bool:
        """Whether features of any detector were learned with the generator that is left out."""
        return any(not unseen for _, fields in self.unknown for *_, unseen in fields)


class AttributionSection(Section):
    """Which generator made an image."""

    id, title, nav, position = "attribution", "Which generator made an image", "Attribution", 370
    template, text_template = "attribution.html.j2", "attribution.md.j2"

    def build(self, run: RunView) -> AttributionContent | None:
        """Lay out the attributions of the first seed; None where none was asked for."""
        results = run.whole
        of_seed = [row for row in results.attribution if not results.seeds or row.seed == results.seed]
        if not of_seed:
            return None
        rows = sorted((row for row in of_seed if row.accuracy), key=_accuracy, reverse=True)
        first = rows[0] if rows else Attribution(detector="", trained_on="", seed=0)
        chance = 1 / max(len(first.classes), 1)
        kept = sorted(left_out.kept.value for row in rows for left_out in row.unknown)
        draws = [few.draws for row in rows for few in row.few]
        return AttributionContent(
            classes=first.classes,
            chance=f"{chance:.2f}",
            images=f"{sum(first.confusion[0]):,} test images of each" if rows else "",
            closed=[
                (row.detector, _number(row.accuracy, chance), _number(row.macro_f1, chance))
                for row in rows
                if row.accuracy and row.macro_f1
            ],
            matrices=[_matrix(row) for row in rows[:_MATRICES]],
            shown=f"The best {_MATRICES} of {len(rows)} detectors; attribution.csv has all."
            if len(rows) > _MATRICES
            else "",
            generators=[left_out.generator for left_out in first.unknown],
            unknown=[
                (row.detector, [(_number(of.auc, 0.5), _number(of.rejected, 0.05), of.unseen) for of in row.unknown])
                for row in rows
                if row.unknown
            ],
            kept=f"{100 * kept[0]:.0f} to {100 * kept[-1]:.0f} %" if kept else "",
            shots=sorted({few.images for row in rows for few in row.few}),
            few=[line for row in rows for line in _few(row, chance)],
            draws=max(draws, default=0),
            missing={row.detector: row.missing for row in of_seed if row.missing},
        )


def _accuracy(row: Attribution) -> float:
    return row.accuracy.value if row.accuracy else 0.0


def _number(of: Estimated, chance: float) -> Number:
    shown = estimate(of.value, of.low, of.high)
    # chance is grey, as 0.5 of an AUC is: 5 of the 10 steps on either side
    part = (of.value - chance) / (1 - chance) if of.value >= chance else (of.value - chance) / chance
    return Number(shown.value, f"[{shown.low}, {shown.high}]", round(5 + 5 * part))


def _matrix(row: Attribution) -> Matrix:
    lines = []
    for name, counts in zip(row.classes, row.confusion, strict=True):
        total = sum(counts)
        # blue by the share; a wrong class is as dark as the right one of the same share
        cells = [
            (round(100 * count / total) if total else 0, round(5 + 5 * count / total) if total else 5)
            for count in counts
        ]
        lines.append((name, total, cells))
    return Matrix(row.detector, lines)


def _few(row: Attribution, chance: float) -> list[tuple[str, str, list[Number | None]]]:
    shots = sorted({few.images for few in row.few})
    by_place = {(few.learner, few.images): few.accuracy for few in row.few}
    return [
        (
            row.detector,
            learner,
            [_number(by_place[learner, n], chance) if (learner, n) in by_place else None for n in shots],
        )
        for learner in dict.fromkeys(few.learner for few in row.few)
    ]
