"""Estimate run time from the durations of similar stages: those in the store, then those of published reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from benchmarks.evaluation.results import StageFacts
from benchmarks.report.run_report import report_folders
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError
from forge.core.files import digest_json, read_json_object

Similarity = tuple[str, ...]  # shared by stages of equal duration, the closest first
_SIZED = ("settings", "network", "training", "images")  # settings on which the duration depends

# actions whose duration differs too much between networks
_OF_NETWORKS = ("train", "tune", "fit", "score", "score-pairs", "attack", "explain")


@dataclass(frozen=True)
class Forecast:
    """Estimated duration of a plan.

    Attributes:
        seconds: of all stages that similar ones were timed for.
        timed: how many these are.
        untimed: the others, each action and generator or detector once.
    """

    seconds: float
    timed: int
    untimed: list[str]


class _Timed(BaseModel):
    """What a forecast reads of a manifest."""

    action: str
    about: str
    key: str
    fields: dict[str, Any]
    settings: dict[str, Any]
    seconds: float
    work_units: float = Field(gt=0)


def forecast(stages: Iterable[Stage], store: Store, reports: Path) -> Forecast:
    """Add up the durations of similar stages.

    Args:
        stages: those that are to run.
        store: whose manifests hold durations on this machine.
        reports: folder of published reports, whose stages stand in where the store has none.
    """
    stages = list(stages)
    timed = estimates(stages, store, reports)
    untimed = [f"{stage.action} {stage.about}".strip() for stage in stages if stage.key not in timed]
    total = sum(timed[stage.key] for stage in stages if stage.key in timed)
    return Forecast(total, len(stages) - len(untimed), list(dict.fromkeys(untimed)))


def estimates(stages: Iterable[Stage], store: Store, reports: Path) -> dict[str, float]:
    """Return the seconds that similar stages took, by key; stages that nothing like them was timed are left out.

    Args:
        stages: those that are to run.
        store: whose manifests hold durations on this machine.
        reports: folder of published reports, whose stages stand in where the store has none.
    """
    # All of this machine's times first, the closest similarity first: a less similar stage here says more than the same
    # stage on another machine. One median per similarity: thousands of stages share it, and may share thousands of
    # times.
    known = [
        {similarity: median(rates) for similarity, rates in source.items()}
        for source in (_of_store(store), _of_reports(reports))
    ]
    seconds: dict[str, float] = {}
    for stage in stages:
        similarities = _similarities(stage.action, stage.about, stage.settings)
        rate = next((rates[each] for rates in known for each in similarities if each in rates), None)
        if rate is not None:
            seconds[stage.key] = rate * stage.work_units  # rates are seconds per unit of work
    return seconds


def _of_store(store: Store) -> dict[Similarity, list[float]]:
    """Return seconds per unit of work, by similarity; manifests of an earlier version do not hold what is needed."""
    # A stage is filed under each of its similarities, so that a look-up finds the closest one that has any time.
    rates: dict[Similarity, list[float]] = {}
    for file in store.root.glob("results/*/manifest.json"):
        try:  # without its signature, which takes longer than all else: a wrong time makes a wrong forecast, no more
            timed = _Timed.model_validate(read_json_object(file))
        except (BenchError, ValidationError):
            continue
        # what is damaged and set aside lies in a folder of another name
        if timed.fields and file.parent.name == store.folder(timed.action, timed.key).name:
            for similarity in _similarities(timed.action, timed.about, timed.settings):
                rates.setdefault(similarity, []).append(timed.seconds / timed.work_units)
    return rates


def _of_reports(reports: Path) -> dict[Similarity, list[float]]:
    """Return the same of published reports, which hold no settings; how many images were scored is not known."""
    rates: dict[Similarity, list[float]] = {}
    for folder in report_folders(reports):
        try:
            stages = [StageFacts.model_validate(each) for each in read_json_object(folder / "results.json")["stages"]]
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
