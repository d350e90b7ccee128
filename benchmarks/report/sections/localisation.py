"""Pixel measures on the page: maps of localisers against the masks of tampered images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.localisation import CONTROLS
from benchmarks.evaluation.results import Localisation, PixelValue
from benchmarks.protocol import ELSEWHERE, TrainSet
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_MEASURES = (
    ("f1", "F1"),
    ("iou", "IoU"),
    ("auc", "Pixel AUC"),
    ("average_precision", "Pixel AP"),
    ("pooled_auc", "Pooled AUC"),
    ("pooled_average_precision", "Pooled AP"),
    ("false_alarm_area", "False-alarm area"),
)


@dataclass(frozen=True)
class MapField:
    """A detector's maps on one generator.

    Attributes:
        step: colour step of F1, from 5 (grey) at 0 to 10 at 1; the steps below 5 are of an AUC under chance.
        f1: mean over images, with its interval.
        interval: of F1.
        auc: pixel AUC.
    """

    step: int
    f1: str
    interval: str
    auc: str


@dataclass(frozen=True)
class LocalisationContent(Content):
    """Detectors by generators with masks, trained on all of them or elsewhere, and all results.

    Attributes:
        generators: their names.
        lines: detector, and a field per generator (None: not tested); controls last.
        false_alarms: detector -> share of untouched images that is taken for altered.
        headings: of the full table.
        rows: of the full table.
        undefined: images without an altered pixel, which means leave out.
        saliency: whether some maps are gradients of scores.
    """

    generators: list[str]
    lines: list[tuple[str, list[MapField | None]]]
    false_alarms: dict[str, str]
    headings: list[str]
    rows: list[list[str]]
    undefined: int
    saliency: bool


class LocalisationSection(Section):
    """Pixel measures of localisers."""

    id, title, nav, position = "localisation", "Where images were altered", "Where", 360
    template, text_template = "localisation.html.j2", "localisation.md.j2"

    def build(self, run: RunView) -> LocalisationContent | None:
        """Lay out the results; None where nothing has masks or no detector has maps."""
        results = run.whole.localisation
        if not results:
            return None
        names = list(dict.fromkeys(result.tested_on for result in results))
        lines, alarms = [], {}
        for detector in dict.fromkeys(result.title for result in results):
            of_detector = [result for result in results if result.title == detector]
            widest = max((result.trained_on for result in of_detector), key=_width)
            chosen = {result.tested_on: result for result in of_detector if result.trained_on == widest}
            lines.append((detector, [_field(chosen[name]) if name in chosen else None for name in names]))
            alarms[detector] = _text(next(iter(chosen.values())).false_alarm_area)[0]
        mean = {
            detector: fmean(result.f1.value or 0.0 for result in results if result.title == detector)
            for detector, _ in lines
        }
        lines.sort(key=lambda line: (line[0] in CONTROLS, -mean[line[0]]))  # the best first, controls last
        return LocalisationContent(
            generators=names,
            lines=lines,
            false_alarms=alarms,
            headings=[title for _, title in _MEASURES],
            rows=[_row(result) for result in sorted(results, key=lambda result: result.detector in CONTROLS)],
            saliency=any(result.source == "saliency" for result in results),
            undefined=sum(result.undefined for result in results if result.title == lines[0][0]),
        )


def _width(trained_on: str) -> tuple[bool, int]:
    """Order trainings: those elsewhere count as the widest, then by the number of generators."""
    training = TrainSet.parse(trained_on)
    return training.generators == (ELSEWHERE,), len(training.generators)


def _field(result: Localisation) -> MapField:
    value, interval = _text(result.f1)
    return MapField(5 + round(5 * (result.f1.value or 0.0)), value, interval, _text(result.auc)[0])


def _row(result: Localisation) -> list[str]:
    values = (_text(getattr(result, name)) for name, _ in _MEASURES)
    image = "–" if result.image_auc is None else f"{result.image_auc:.2f}"
    trained_on = TrainSet.parse(result.trained_on).readable
    return [result.title, trained_on, result.tested_on, *(" ".join(value) for value in values), image]


def _text(value: PixelValue) -> tuple[str, str]:
    """Return a value and its interval in words."""
    if value.value is None or value.low is None or value.high is None:
        return "–", ""
    return f"{value.value:.2f}", f"[{value.low:.2f}, {value.high:.2f}]"
