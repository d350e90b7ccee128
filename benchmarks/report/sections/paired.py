"""Same photo before and after: forgeries against the photos that they were made from, beside other photos."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.protocol import CLEAN, PAIRED_PREFIX, Condition
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class PairedField:
    """A detector on the forgeries of one generator.

    Attributes:
        step: colour step 0..10.
        auc: against the photos that they were made from.
        interval: its 95 % interval.
        others: AUC of the same fit on the same forgeries against other photos; "": not tested.
    """

    step: int
    auc: str
    interval: str
    others: str


@dataclass(frozen=True)
class PairedContent(Content):
    """Detectors by generators whose forgeries are made from real faces.

    Attributes:
        generators: their names.
        lines: detector, and a field per generator (None: not tested).
        photos: photos and forgeries of the tests, in words.
        methods: of the intervals.
    """

    generators: list[str]
    lines: list[tuple[str, list[PairedField | None]]]
    photos: str
    methods: list[str]


class PairedSection(Section):
    """Forgeries beside the photos that they were made from."""

    id, title, nav, position = "paired", "Same photo before and after", "Same photo", 350
    template, text_template = "paired.html.j2", "paired.md.j2"

    def build(self, run: RunView) -> PairedContent | None:
        """Lay out the tests beside sources, those of the first seed; None without any."""
        results = run.whole
        of_seed = [cell for cell in results.cells if not results.seeds or cell.seed == results.seed]
        paired = [cell for cell in of_seed if cell.condition is Condition.PAIRED]
        if not paired:
            return None
        others = {
            (cell.detector, cell.trained_on, cell.tested_on): cell for cell in of_seed if cell.perturbation == CLEAN
        }
        names = list(dict.fromkeys(cell.tested_on for cell in paired))
        by_test = {(cell.detector, cell.tested_on): cell for cell in paired}
        lines = []
        for detector in dict.fromkeys(cell.detector for cell in paired):
            tests = [by_test.get((detector, name)) for name in names]
            lines.append((detector, [_field(cell, others) if cell else None for cell in tests]))
        aucs = {name: [cell.auc for cell in paired if cell.detector == name] for name, _ in lines}
        lines.sort(key=lambda line: -fmean(aucs[line[0]]))  # the best first
        photos = max(cell.n_real for cell in paired)
        return PairedContent(
            generators=[name.removeprefix(PAIRED_PREFIX) for name in names],
            lines=lines,
            photos=f"{photos:,} photos, {max(cell.n_forged for cell in paired):,} forgeries of them per generator",
            methods=sorted({cell.auc_method for cell in paired}),
        )


def _field(cell: TestResult, others: dict[tuple[str, str, str], TestResult]) -> PairedField:
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    plain = others.get((cell.detector, cell.trained_on, cell.tested_on.removeprefix(PAIRED_PREFIX)))
    return PairedField(
        step=round(10 * cell.auc),
        auc=shown.value,
        interval=f"[{shown.low}, {shown.high}]",
        others="" if plain is None else estimate(plain.auc, plain.auc_low, plain.auc_high).value,
    )
