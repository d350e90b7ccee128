"""Provenance: command, data, generators, detectors, stages and environment of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.evaluation.run_facts import DetectorFacts, StageFacts
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section
from forge.faces.faceset import SPLITS

_STAGES = 24  # stages listed; of more, the slowest
_FITS = 24  # fits listed; of more, the first of each detector


@dataclass(frozen=True)
class CitedDetector:
    """A detector with what its fits report, by their training forgeries."""

    facts: DetectorFacts
    fits: list[tuple[str, str]]


@dataclass(frozen=True)
class ProvenanceContent(Content):
    """Data, fits and stages that the results come from.

    Attributes:
        splits: name and size of the splits of the real images, in the order of their use.
        provenance: of the data, as JSON.
        fits: fits listed.
        cited: each detector once.
        stage_types: name, number and seconds of the stages of each type.
        stages: stages listed.
    """

    splits: list[tuple[str, int]]
    provenance: str
    fits: list[DetectorFacts]
    cited: list[CitedDetector]
    stage_types: list[tuple[str, int, float]]
    stages: list[StageFacts]


class ProvenanceSection(Section):
    """Provenance of the results."""

    id, title, position = "provenance", "Provenance", 1600
    template, text_template = "provenance.html.j2", "provenance.md.j2"

    def build(self, run: RunView) -> ProvenanceContent:
        """Collect the facts of data, fits and stages."""
        data = run.results.data
        order = {name: i for i, name in enumerate(SPLITS)}
        return ProvenanceContent(
            # splits of other names, as in an external set, come last
            splits=sorted(data.splits.items(), key=lambda item: (order.get(item[0], len(order)), item[0])),
            # sorted, so that equal facts give an equal page
            provenance=json.dumps(data.provenance, indent=1, sort_keys=True, ensure_ascii=False),
            fits=_fits(run.results.detectors),
            cited=_cited(run.results.detectors),
            stage_types=_stage_types(run.results.stages),
            stages=_slowest(run.results.stages),
        )


def _fits(detectors: list[DetectorFacts]) -> list[DetectorFacts]:
    if len(detectors) <= _FITS:
        return detectors
    # reversed twice: the first fit of each name, in the first one's place
    return list({fit.name: fit for fit in reversed(detectors)}.values())[::-1]


def _cited(detectors: list[DetectorFacts]) -> list[CitedDetector]:
    cited: dict[str, CitedDetector] = {}
    for fit in detectors:
        cited.setdefault(fit.name, CitedDetector(fit, [])).fits.append((fit.trained_on, fit_report(fit)))
    return list(cited.values())


def _stage_types(stages: list[StageFacts]) -> list[tuple[str, int, float]]:
    seconds: dict[str, list[float]] = {}
    for stage in stages:
        # the action is the first word of a stage's name
        seconds.setdefault(stage.name.partition(" ")[0], []).append(stage.seconds)
    return [(name, len(values), sum(values)) for name, values in seconds.items()]


def _slowest(stages: list[StageFacts]) -> list[StageFacts]:
    return stages if len(stages) <= _STAGES else sorted(stages, key=lambda stage: -stage.seconds)[:_STAGES]


def fit_report(detector: DetectorFacts) -> str:
    """Format the facts that a fit reports, on one line."""
    return "; ".join(f"{name.replace('_', ' ')}: {_fact(value)}" for name, value in detector.facts.items())


def _fact(value: object) -> str:
    if isinstance(value, bool):  # before the numbers: a bool is an int
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
