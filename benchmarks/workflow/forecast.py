"""How long stages will take: from the times of their like in the store, then from those of published reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report.reading import report_folders
from benchmarks.workflow.planner import Stage
from benchmarks.workflow.store import Store
from forge.errors import BenchError
from forge.files import digest_json, read_json_object

Likeness = tuple[str, ...]  # what stages that take as long have in common, the closest first


@dataclass(frozen=True)
class Forecast:
    """What a plan will take.

    Attributes:
        seconds: of all stages whose like was timed.
        timed: how many these are.
        untimed: names of the others, each kind and subject once.
    """

    seconds: float
    timed: int
    untimed: list[str]


def forecast(stages: Iterable[Stage], store: Store, reports: Path) -> Forecast:
    """Add up the times of the like of some stages.

    Args:
        stages: those that are to run.
        store: whose manifests tell times on this machine.
        reports: folder of published reports, whose stages stand in where the store knows none.
    """
    here, elsewhere = _of_store(store), _of_reports(reports)
    total, timed, untimed = 0.0, 0, []
    for stage in stages:
        rates = next((times[key] for times in (here, elsewhere) for key in _like(stage) if key in times), None)
        if rates is None:
            untimed.append(f"{stage.kind} {stage.plain.partition('@')[0]}".strip())
        else:
            total, timed = total + median(rates) * _work(stage.kind, stage.settings), timed + 1
    return Forecast(total, timed, list(dict.fromkeys(untimed)))


def _of_store(store: Store) -> dict[Likeness, list[float]]:
    """Seconds a unit of work, by likeness."""
    found: dict[Likeness, list[float]] = {}
    for _, manifest in store.manifests():
        kind, _, subject = manifest.stage.partition(" ")
        if kind == "score" and "asked" not in manifest.settings:
            continue  # of an earlier version, which counted otherwise
        for key in _likenesses(kind, subject, manifest.settings):
            found.setdefault(key, []).append(manifest.seconds / _work(kind, manifest.settings))
    return found


def _of_reports(reports: Path) -> dict[Likeness, list[float]]:
    """The same of published reports, which know the names of their stages alone."""
    found: dict[Likeness, list[float]] = {}
    for folder in report_folders(reports):
        try:
            timed = [
                (str(stage["name"]), float(stage["seconds"]))
                for stage in read_json_object(folder / "results.json")["stages"]
            ]
        except (BenchError, KeyError, TypeError, ValueError):  # of an earlier version, or damaged
            continue
        for name, seconds in timed:
            kind, _, subject = name.partition(" ")
            if kind != "score":  # how many images these were is not known
                for key in ((kind, _who(kind, subject)), (kind,)):
                    found.setdefault(key, []).append(seconds)
    return found


def _like(stage: Stage) -> Sequence[Likeness]:
    return _likenesses(stage.kind, stage.subject, stage.settings)


def _likenesses(kind: str, subject: str, settings: Mapping[str, Any]) -> Sequence[Likeness]:
    """From the same work, by name and settings, to the same kind of work."""
    who = _who(kind, subject)
    if kind in ("fit", "train", "explain", "score"):
        kept = ("settings", "network", "training", "images")
        asked = {name: value for name, value in settings.items() if name in kept}
        return ((kind, who, digest_json(asked)), (kind, who))
    return ((kind, who), (kind,))


def _who(kind: str, subject: str) -> str:
    """The detector or generator that a stage is about."""
    return subject.partition("@")[0].partition(" ")[0] if kind != "report" else ""


def _work(kind: str, settings: Mapping[str, Any]) -> float:
    """How much there is to do: images for scores, else one."""
    return float(sum(one["count"] for one in settings["asked"])) if kind == "score" and "asked" in settings else 1.0
