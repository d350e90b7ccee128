"""Pixel measures on the page: maps of localisers against the masks of tampered images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from benchmarks.evaluation.formats import standing
from benchmarks.evaluation.localisation import CONTROLS, MEAN_MASK, widest
from benchmarks.evaluation.map_formats import mean_mask_notes, rank_of
from benchmarks.evaluation.map_leaderboard import LOCALISATION, MapBoard, MapLine
from benchmarks.evaluation.results import Localisation, PixelValue
from benchmarks.protocol import EXTERNAL_PREFIX, TrainSet
from benchmarks.report.colour import contoured
from benchmarks.report.images import data_uri, map_uri
from benchmarks.report.inputs import MapPicture
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


GENERATORS = 3  # up to so many each has a best and a worst image
UNFOLDED = 4  # detectors whose images are not folded


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
class MapRow:
    """A detector trained on all generators, or elsewhere.

    Attributes:
        rank: of its mean F1, with the range of ranks that the tests do not exclude; "control", or a dash.
        leads: whether its rank is 1.
        detector: its name.
        mean: mean F1 over generators; a dash: tests are missing.
        interval: of the mean.
        step: colour step of the mean, as of `MapField`.
        fields: one per generator; None: not tested.
        false_alarms: share of untouched images that is taken for altered.
        image_auc: AUC of the maxima of the maps, mean over generators.
    """

    rank: str
    leads: bool
    detector: str
    mean: str
    interval: str
    step: int
    fields: list[MapField | None]
    false_alarms: str
    image_auc: str


@dataclass(frozen=True)
class Panel:
    """One picture of an example.

    Attributes:
        label: short, below it.
        picture: data URI; empty: there is none.
        alt: text in place of it.
    """

    label: str
    picture: str
    alt: str


@dataclass(frozen=True)
class Example:
    """A test image: before, after, what was altered, and the map."""

    title: str
    caption: str
    panels: list[Panel]


@dataclass(frozen=True)
class LocalisationContent(Content):
    """Detectors by generators with masks, trained on all of them or elsewhere, and all results.

    Attributes:
        generators: their names.
        lines: the detectors, best first, controls last.
        notes: on ranks, and on detectors that the mean training mask beats.
        headings: of the full table.
        rows: of the full table.
        undefined: images without an altered pixel, which means leave out.
        examples: detector -> its test images, in the order of the table; empty where photos may not be shown.
        unfolded: the first so many detectors are not folded.
        saliency: whether some maps are gradients of scores.
    """

    generators: list[str]
    lines: list[MapRow]
    notes: list[str]
    headings: list[str]
    rows: list[list[str]]
    undefined: int
    examples: list[tuple[str, list[Example]]]
    saliency: bool
    unfolded: int = UNFOLDED


class LocalisationSection(Section):
    """Pixel measures of localisers."""

    id, title, nav, position = "localisation", "Where images were altered", "Where", 360
    template, text_template = "localisation.html.j2", "localisation.md.j2"

    def build(self, run: RunView) -> LocalisationContent | None:
        """Lay out the results; None where nothing has masks or no detector has maps."""
        results = run.whole.localisation
        if not results:
            return None
        tested = dict.fromkeys(result.tested_on for result in results)
        names = sorted(tested, key=lambda name: (name.startswith(EXTERNAL_PREFIX), name))  # from elsewhere last
        board = run.map_board
        ranked = {line.detector: line for line in board.lines} if board else {}
        rows, widest_of = [], {}
        for detector in dict.fromkeys(result.detector for result in results):
            of_detector = [result for result in results if result.detector == detector]
            training = widest(result.trained_on for result in of_detector)
            chosen = {result.tested_on: result for result in of_detector if result.trained_on == training}
            widest_of[detector] = chosen
            rows.append(_line(detector, ranked.get(detector), [chosen.get(name) for name in names]))
        order = {name: i for i, name in enumerate(ranked)}  # the best first
        rows.sort(key=lambda row: (row.detector in CONTROLS, order.get(row.detector, len(order)), row.detector))
        return LocalisationContent(
            generators=names,
            lines=rows,
            notes=[*([*_rank_notes(board), *mean_mask_notes(board)] if board else []), *_beaten_notes(widest_of)],
            headings=[title for _, title in _MEASURES],
            rows=[_row(result) for result in sorted(results, key=lambda result: result.detector in CONTROLS)],
            undefined=sum(result.undefined for result in results if result.detector == rows[0].detector),
            examples=examples_by_detector([row.detector for row in rows], run.pictures.located),
            saliency=any(result.source == "saliency" for result in results),
        )


def _line(detector: str, line: MapLine | None, results: Sequence[Localisation | None]) -> MapRow:
    standing_of_mean = line.columns.get(LOCALISATION) if line else None
    known = [result for result in results if result is not None]
    # columns of the untouched images of the run; those of pairs from elsewhere are in the full table
    known = [result for result in known if not result.tested_on.startswith(EXTERNAL_PREFIX)] or known
    images = [result.image_auc for result in known if result.image_auc is not None]
    mean, _, interval = standing(standing_of_mean).partition(" ") if standing_of_mean else ("–", "", "")
    value = standing_of_mean.value if standing_of_mean else None
    return MapRow(
        rank=rank_of(line) if line else "control" if detector in CONTROLS else "–",
        leads=line is not None and line.rank == 1,
        detector=detector,
        mean=mean,
        interval=interval,
        step=_step(value),
        fields=[None if result is None else _field(result) for result in results],
        false_alarms=_text(known[0].false_alarm_area)[0],
        image_auc=f"{fmean(images):.2f}" if images else "–",
    )


def _rank_notes(board: MapBoard) -> list[str]:
    detectable = board.board.detectable
    smallest = f" Minimum detectable difference at 80 % power: {detectable:.2g}." if detectable is not None else ""
    return [
        f"Rank: by the mean F1 over {', '.join(board.generators)}; a detector that no paired test separates from the "
        "leader (Holm over all pairs) shares its rank; in brackets the range of ranks that the tests do not exclude. "
        f"Controls have no rank.{smallest}"
    ]


def _beaten_notes(results: Mapping[str, Mapping[str, Localisation]]) -> list[str]:
    """Name the generators on which the mean training mask, which looks at no image, is above every detector."""
    control = results.get(MEAN_MASK, {})
    notes = []
    for name, result in control.items():
        others = [each[name].f1.value or 0.0 for key, each in results.items() if key not in CONTROLS and name in each]
        if result.f1.value is not None and others and max(others) < result.f1.value:
            notes.append(
                f"On {name} the mean training mask (F1 {result.f1.value:.2f}) is above every detector (best "
                f"{max(others):.2f}): edits mostly are in one place there, and no detector says where this one is."
            )
    return notes


def examples_by_detector(detectors: Sequence[str], pictures: Sequence[MapPicture]) -> list[tuple[str, list[Example]]]:
    """Lay out the test images of each detector; of many generators the best and the worst of all."""
    by_detector = []
    for detector in detectors:
        of_detector = [picture for picture in pictures if picture.detector == detector]
        best, worst, untouched = (
            [picture for picture in of_detector if picture.example.role == role]
            for role in ("best", "worst", "untouched")
        )
        if len(best) > GENERATORS:
            best = [max(best, key=lambda picture: picture.example.f1 or 0.0)]
            worst = [min(worst, key=lambda picture: picture.example.f1 or 0.0)] if worst else []
        # the best of a generator beside its worst
        order = [picture.example.generator for picture in best]
        pairs = sorted([*best, *worst], key=lambda picture: _position(order, picture.example.generator))
        if of_detector:
            by_detector.append((detector, [_example(picture) for picture in (*pairs, *untouched)]))
    return by_detector


def _position(order: Sequence[str], generator: str) -> int:
    return order.index(generator) if generator in order else len(order)


def _example(picture: MapPicture) -> Example:
    example = picture.example
    name = f"{example.sample_id}, {picture.detector}"
    panels = [
        Panel("before", "" if picture.before is None else data_uri(picture.before), f"{name}: real image before"),
        Panel("after", data_uri(picture.after), f"{name}: image after the alteration"),
        Panel("truth", map_uri(_mask(picture)), f"{name}: {_share(float(picture.truth.mean()))} altered"),
        Panel("map", *_map(picture)),
    ]
    alarm = f"{_share(example.false_alarm_area or 0.0)} of its untouched pixels taken for altered"
    if example.role == "untouched":
        only = Panel("photo", panels[1].picture, f"{name}: untouched photo")
        return Example("Largest false alarm", f"untouched photo {example.sample_id}: {alarm}", [only, panels[3]])
    region = f", region {picture.region}" if picture.region else ""
    caption = f"F1 {example.f1:.2f}, IoU {example.iou:.2f}{region}; {example.sample_id}; {alarm}"
    return Example(f"{example.role.capitalize()} of {example.generator}", caption, panels)


def _mask(picture: MapPicture) -> np.ndarray:
    return np.repeat(np.where(picture.truth, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def _map(picture: MapPicture) -> tuple[str, str]:
    """Return the map with its contour as a data URI, and the text in place of it."""
    taken = float((picture.levels >= picture.threshold).mean())
    alt = f"{picture.example.sample_id}, {picture.detector}: map, {_share(taken)} taken for altered"
    return map_uri(contoured(picture.levels, picture.threshold)), alt


def _share(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def _step(f1: float | None) -> int:
    return 5 + round(5 * (f1 or 0.0))


def _field(result: Localisation) -> MapField:
    value, interval = _text(result.f1)
    return MapField(_step(result.f1.value), value, interval, _text(result.auc)[0])


def _row(result: Localisation) -> list[str]:
    values = (_text(getattr(result, name)) for name, _ in _MEASURES)
    image = "–" if result.image_auc is None else f"{result.image_auc:.2f}"
    trained_on = TrainSet.parse(result.trained_on).readable
    return [result.detector, trained_on, result.tested_on, *(" ".join(value) for value in values), image]


def _text(value: PixelValue) -> tuple[str, str]:
    """Return a value and its interval in words."""
    if value.value is None or value.low is None or value.high is None:
        return "–", ""
    return f"{value.value:.2f}", f"[{value.low:.2f}, {value.high:.2f}]"
