"""Tests by clip: each detector on sets of videos, one score a clip."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evaluation.numbers import count, estimate
from benchmarks.evaluation.results import ClipTest, Results
from benchmarks.protocol import EXTERNAL_PREFIX
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class ClipLine:
    """A detector on a set of videos: AUC of clip means with interval, of clip maxima, and of frames, as text."""

    detector: str
    tested_on: str
    clips: str
    step: int  # of colour, 0..10
    mean: str
    interval: str
    highest: str
    frames: str


@dataclass(frozen=True)
class ClipsContent(Content):
    """The tests by clip, set by set, best first; and the methods of their intervals."""

    lines: list[ClipLine]
    methods: list[str]


class ClipsSection(Section):
    """Detectors on clips."""

    id, title, nav, position = "clips", "Videos by clip", "Clips", 255
    template, text_template = "clips.html.j2", "clips.md.j2"

    def build(self, run: RunView) -> ClipsContent | None:
        """Lay out the tests by clip; None without any."""
        return clips_content(run.whole)


def clips_content(results: Results) -> ClipsContent | None:
    """Lay out what a run says of clips; None where no test has any."""
    if not results.clips:
        return None
    tests = sorted(results.clips, key=lambda test: (test.tested_on, -test.auc, test.detector, test.seed))
    several = len({(test.detector, test.trained_on) for test in tests}) > len({test.detector for test in tests})
    return ClipsContent([_line(results, test, several) for test in tests], sorted({test.method for test in tests}))


def _line(results: Results, test: ClipTest, several: bool) -> ClipLine:
    trained = f" trained on {test.trained_on}" if several else ""
    shown = estimate(test.auc, test.low, test.high)
    decimals = max(2, len(shown.value.partition(".")[2]))  # those of the mean
    return ClipLine(
        f"{test.detector}{trained}{f', seed {test.seed}' if results.seeds else ''}",
        test.tested_on.removeprefix(EXTERNAL_PREFIX),
        f"{count(test.n_real)} real, {count(test.n_forged)} forged; {count(test.frames)} frames",
        round(10 * test.auc),
        shown.value,
        f"[{shown.low}, {shown.high}]",
        f"{test.auc_of_highest:.{decimals}f}",
        f"{test.auc_of_frames:.{decimals}f}",
    )
