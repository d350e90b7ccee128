"""Published suites as plans with the measured times of their stages, for simulations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.evaluation.results import Results
from benchmarks.experiment.configs import find_suite
from benchmarks.experiment.request import changed, read_request
from benchmarks.experiment.resolve import resolve
from benchmarks.experiment.settings import RunSettings
from benchmarks.experiment.validate import typed
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.planner import plan
from benchmarks.workflow.stage import Collecting, Stage
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.fit import Fit
from benchmarks.workflow.stages.score import Score
from benchmarks.workflow.stages.train import Train

ROW_BYTES = 7  # of a score row in Parquet: faces64-quick has 2.5 M rows in 17 MB
PAGE_SECONDS = 14.0  # of the report, which lists all stages but itself: that of faces64-quick (reports/speed.md)


@dataclass(frozen=True)
class MeasuredPlan:
    """The plan of a suite with times of a run that was published.

    Attributes:
        stages: of this version, each after what it needs.
        seconds: key -> duration.
        reads: key -> bytes that the stage reads of its inputs.
        matched: stages whose own time was measured; the others take the median of their like.
    """

    stages: list[Stage]
    seconds: dict[str, float]
    reads: dict[str, float]
    matched: int

    @classmethod
    def of(cls, name: str, reports: Path, seeds: int | None = None) -> MeasuredPlan:
        """Plan a suite and look its stages up in its report.

        Args:
            name: of the suite and of the report.
            reports: folder of published reports.
            seeds: how many, instead of those of the suite; further ones take as long as those that were measured, and
                the evaluation and the report as much longer as there are more seeds.

        Raises:
            InputError: there is no such report.
        """
        results = RunReport.open(name, reports).results
        # the photos are not here, and no duration depends on what stands in their place
        more = {} if seeds is None else {"seeds": tuple(range(seeds))}
        request, _ = changed(read_request(find_suite(name)), {"data": "rendered"} | more)
        settings = typed(resolve(request))
        stages = plan(settings, source_fingerprint="")
        seconds, matched = _seconds(stages, results, factor=len(settings.seeds or [0]) / len(results.seeds or [0]))
        return cls(stages, seconds, {stage.key: _bytes(stage, settings, results) for stage in stages}, matched)


def _seconds(stages: list[Stage], results: Results, factor: float) -> tuple[dict[str, float], int]:
    """Return the duration of each stage, `factor` times the measured one of what collects; and how many have theirs."""
    measured = {(each.action, each.label, each.seed or 0): each.seconds for each in results.stages}
    like: dict[tuple[str, ...], list[float]] = {}
    for each in results.stages:
        like.setdefault((each.action, each.about), []).append(each.seconds)
        like.setdefault((each.action,), []).append(each.seconds)
    medians = {similarity: median(times) for similarity, times in like.items()}
    seconds: dict[str, float] = {}
    matched = 0
    known = results.seeds or [results.seed]
    for stage in stages:
        similar = medians.get((stage.action, stage.about), medians.get((stage.action,), 0.0))
        name = (stage.action, stage.label, known[stage.seed % len(known)] if stage.repeated else stage.seed)
        seconds[stage.key] = measured.get(name, similar) * (factor if isinstance(stage, Collecting) else 1.0)
        matched += name in measured
    return seconds | {stages[-1].key: PAGE_SECONDS * factor}, matched


def _bytes(stage: Stage, settings: RunSettings, results: Results) -> float:
    """Return the bytes that a stage reads of its inputs: pixels of uint8, weights of float32, score rows."""
    pixels, splits = 3 * settings.data.resolution**2, results.data.splits
    if isinstance(stage, Evaluate):
        return ROW_BYTES * sum(score.work_units for score in stage.scores)
    if isinstance(stage, Score):
        learned = max(
            (each.parameters for each in results.detectors if each.name == stage.detector.detector), default=0
        )
        return pixels * stage.work_units + 4 * learned
    if isinstance(stage, Fit):
        return 2.0 * pixels * (settings.images.train + settings.images.val)  # both classes
    if isinstance(stage, Train):
        return float(pixels * splits.get("forge", 0))
    return float(pixels * sum(splits.values()))
