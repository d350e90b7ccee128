"""Estimate run time from the durations of similar stages: those in the store, then those of published reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.report.results_file import read_results
from benchmarks.report.run_report import report_folders
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError
from forge.core.files import digest_json, read_json_object

Similarity = tuple[str, ...]  # shared by stages of equal duration, the closest first
_SIZED = ("settings", "network", "training", "images")  # settings on which the duration depends

# actions whose duration differs too much between networks
_OF_NETWORKS = ("train", "tune", "fit", "score", "score-pairs", "attack", "explain")


@dataclass(frozen=True, slots=True)
class Past:
    """What a stored result says of the time and memory that its stage took; a store may have 100,000 of them.

    Attributes:
        action: of the stage.
        about: generator or detector that decides how long it takes.
        seed: of the stage.
        settings: of the stage.
        seconds: wall time.
        work_units: how much there was to do; 0: not known, of an earlier version.
        peak_memory_mb: highest resident memory, MiB; None: not known.
    """

    action: str
    about: str
    seed: int
    settings: Mapping[str, Any]
    seconds: float
    work_units: float
    peak_memory_mb: float | None


@dataclass(frozen=True)
class Forecast:
    """Estimated duration of a plan.

    Attributes:
        seconds: of all stages that similar ones were timed for.
        timed: how many these are.
        untimed: the others, each action and generator or detector once.
        each: key -> seconds, of those that similar ones were timed for.
    """

    seconds: float
    timed: int
    untimed: list[str]
    each: Mapping[str, float] = field(default_factory=dict)


class _Timed(BaseModel):
    """The part of a manifest that a forecast needs."""

    stage: str
    action: str = ""
    about: str = ""
    key: str
    fields: dict[str, Any] = {}
    seed: int
    settings: dict[str, Any]
    seconds: float
    work_units: float = Field(1.0, gt=0)
    peak_memory_mb: float | None

    def past(self) -> Past:
        """Return what is needed; manifests of an earlier version have no action and no units."""
        action, units = self.action or self.stage.partition(" ")[0], self.work_units if self.fields else 0.0
        return Past(action, self.about, self.seed, self.settings, self.seconds, units, self.peak_memory_mb)


def forecast(stages: Iterable[Stage], store: Store, reports: Path) -> Forecast:
    """Add up the durations of similar stages.

    Args:
        stages: those that are to run.
        store: whose manifests hold durations on this machine.
        reports: folder of published reports, whose stages stand in where the store has none.
    """
    stages = list(stages)
    estimates = estimates_of(stages, past_of(store), reports)
    untimed: list[str] = []
    each: dict[str, float] = {}
    for stage in stages:
        seconds = estimates[stage.key].seconds
        if seconds is None:
            untimed.append(f"{stage.action} {stage.about}".strip())
        else:
            each[stage.key] = seconds
    return Forecast(sum(each.values()), len(each), list(dict.fromkeys(untimed)), each)


def past_of(store: Store) -> Iterator[Past]:
    """Yield what the results of a store say of time and memory."""
    # Without a look at signatures and files, which take longer: a wrong time makes a wrong forecast and nothing worse.
    for file in store.root.glob("results/*/manifest.json"):
        try:
            manifest = _Timed.model_validate(read_json_object(file))
        except (BenchError, ValidationError):
            continue
        past = manifest.past()
        # what is damaged and set aside lies in a folder of another name
        if file.parent == store.folder(past.action, manifest.key):
            yield past


def estimates_of(stages: Iterable[Stage], past: Iterable[Past], reports: Path) -> dict[str, Estimate]:
    """Return what similar stages took: key -> median duration for the same work, and highest memory.

    Args:
        stages: those that are to run.
        past: results of this machine, from `past_of`.
        reports: as in `forecast`; they hold no memory.
    """
    rates, peaks = _of_store(past)
    elsewhere = _of_reports(reports)
    estimates, known = {}, dict[Similarity, Estimate]()  # hundreds of stages share a similarity
    for stage in stages:
        similarities = _similarities(stage.action, stage.about, stage.settings)
        if similarities[0] not in known:
            # All of this machine's times first, the closest similarity first: a less similar stage here says more than
            # the same stage on another machine. Rates are seconds per unit of work.
            times = next((table[key] for table in (rates, elsewhere) for key in similarities if key in table), None)
            peak = next((peaks[key] for key in similarities if key in peaks), None)
            known[similarities[0]] = Estimate(median(times) if times else None, peak)
        rate = known[similarities[0]]
        seconds = None if rate.seconds is None else rate.seconds * stage.work_units
        estimates[stage.key] = Estimate(seconds, rate.memory_mb)
    return estimates


def _of_store(past: Iterable[Past]) -> tuple[dict[Similarity, list[float]], dict[Similarity, float]]:
    """Return seconds per unit of work, and highest memory, by similarity."""
    # A stage is filed under each of its similarities, so that a look-up finds the closest one that has any time.
    rates: dict[Similarity, list[float]] = {}
    peaks: dict[Similarity, float] = {}
    for each in past:
        for key in _similarities(each.action, each.about, each.settings) if each.work_units else ():
            rates.setdefault(key, []).append(each.seconds / each.work_units)
            if each.peak_memory_mb is not None:
                peaks[key] = max(each.peak_memory_mb, peaks.get(key, 0.0))
    return rates, peaks


def _of_reports(reports: Path) -> dict[Similarity, list[float]]:
    """Return the same of published reports, which hold no settings; how many images were scored is not known."""
    rates: dict[Similarity, list[float]] = {}
    for folder in report_folders(reports):
        try:
            stages = [StageFacts.model_validate(each) for each in read_results(folder)["stages"]]
        except (BenchError, KeyError, TypeError, ValidationError):  # of another program, or damaged
            continue
        for stage in stages:
            # Manifests divide by images; a report does not hold how many a score stage had. All other stages have one
            # unit.
            for key in ((stage.action, stage.about), (stage.action,)) if not stage.action.startswith("score") else ():
                rates.setdefault(key, []).append(stage.seconds)
    return rates


def _similarities(action: str, about: str, settings: Mapping[str, Any]) -> Sequence[Similarity]:
    """Return similarities, from the same work by name and settings to the same action."""
    sized = {name: value for name, value in settings.items() if name in _SIZED}
    if action in _OF_NETWORKS:
        # No fall-back to the action alone, for the reason that `_OF_NETWORKS` gives.
        return ((action, about, digest_json(sized)), (action, about))
    return ((action, about), (action,))
