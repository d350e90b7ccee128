"""What the page and the pull-request text say: everything the templates need, computed once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmarks.measures.detection.base import MetricFacts
from benchmarks.measures.evaluate import grid
from benchmarks.measures.results import (
    Cell,
    DetectorFacts,
    Finding,
    Gap,
    GeneratorFacts,
    GroupFact,
    Results,
    StageFacts,
)
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report import discriminators, figures, health, histories, mistakes, quality, suite, words
from benchmarks.report.figures import Figure, Names
from benchmarks.report.images import grid_uri
from benchmarks.report.leaderboard import Leaderboard, leaderboard, picture_of
from benchmarks.report.looking import Evidence, Looking, looking
from benchmarks.report.paired import Matrix, matrices
from benchmarks.report.progress import Progress, progress
from benchmarks.report.ranking import detectable, duels, places
from benchmarks.report.robustness import Robustness, robustness
from benchmarks.report.rows import Row, TestRows, errors_of, shown_metrics, table
from benchmarks.report.standings import Standings, standings, verdict
from benchmarks.report.standings_figure import picture as picture_of_standings
from benchmarks.report.threshold import MOST, dials, embedded
from benchmarks.tables.leaderboard import Leaderboard as Ranking
from forge.faces.faceset import SPLITS

_OVERVIEW = 12  # results in one figure, and rows of a table that need no shorter one before them
_HISTORIES = 4
_STAGES = 24
_FITS = 24
_FOLDED = 20  # further fits whose histories are folded away
_GAPS = 24  # lines of gaps between groups, and then those alone whose interval lies beside 0
_GROUPS = 42


@dataclass(frozen=True)
class Forgeries:
    """What one generator makes, as data URIs for the page."""

    generator: GeneratorFacts
    samples: str | None
    shown: int
    file: str
    strip: list[tuple[float, str]]
    strolls: str | None


@dataclass(frozen=True)
class Page:
    """All that is shown."""

    results: Results
    verdict: words.Verdict
    faces: str
    subject: str
    key_figure: Figure | None
    rows: list[Row]
    metrics: list[MetricFacts]
    detectable: str | None
    board: Leaderboard | None
    standings: Standings | None
    measures: suite.Measures | None
    dials: Markup
    robustness: Robustness | None
    progress: Progress
    tests: list[Matrix]
    discriminators: discriminators.Knowledge | None
    looking: Looking
    forgeries: list[Forgeries]
    quality: quality.QualityTable
    spectra: list[Figure]
    roc: list[Figure]
    det: list[Figure]
    scores: list[Figure]
    calibration: list[Figure]
    generators: list[Figure]
    detectors: list[Figure]
    more_detectors: list[Figure]
    galleries: list[mistakes.Gallery]
    left_out: dict[str, str]
    all_fits: int
    provenance: str
    facts: dict[int, str]
    methods: list[str]

    @property
    def splits(self) -> list[tuple[str, int]]:
        """The splits of the real faces, in the order in which they are used."""
        known = {name: i for i, name in enumerate(SPLITS)}
        return sorted(self.results.data.splits.items(), key=lambda item: (known.get(item[0], len(known)), item[0]))

    @property
    def conditions(self) -> list[Condition]:
        """The conditions of the tests that are shown, in the protocol's order."""
        there = {row.cell.condition for row in self.rows}
        return [condition for condition in Condition if condition in there]

    @property
    def many(self) -> bool:
        """Whether the whole table is too long to be read first."""
        return len(self.rows) > _OVERVIEW

    @property
    def seeds(self) -> int:
        """How many seeds the results have."""
        return len({cell.seed for cell in self.results.cells})

    @property
    def stages(self) -> list[tuple[str, int, float]]:
        """Kind, number and seconds of the stages."""
        found: dict[str, list[float]] = {}
        for stage in self.results.stages:
            found.setdefault(stage.name.partition(" ")[0], []).append(stage.seconds)
        return [(kind, len(seconds), sum(seconds)) for kind, seconds in found.items()]

    @property
    def slowest(self) -> list[StageFacts]:
        """All stages in their order, or where they are many those that took longest."""
        if len(self.results.stages) <= _STAGES:
            return self.results.stages
        return sorted(self.results.stages, key=lambda stage: -stage.seconds)[:_STAGES]

    @property
    def fits(self) -> list[DetectorFacts]:
        """All fits, or where they are many the first of each detector."""
        if len(self.results.detectors) <= _FITS:
            return self.results.detectors
        return list({one.name: one for one in reversed(self.results.detectors)}.values())[::-1]

    @property
    def cited(self) -> list[tuple[DetectorFacts, list[tuple[str, str]]]]:
        """Each detector once, with what its fits report of themselves by their training."""
        found: dict[str, tuple[DetectorFacts, list[tuple[str, str]]]] = {}
        for i, one in enumerate(self.results.detectors):
            found.setdefault(one.name, (one, []))[1].append((one.trained_on, self.facts[i]))
        return list(found.values())

    @property
    def gaps(self) -> list[Gap]:
        """The largest gaps between groups of people; where they are many, those that chance does not explain."""
        gaps = self.results.gaps
        return gaps if len(gaps) <= _GAPS else sorted((g for g in gaps if g.low > 0), key=lambda g: -g.gap)[:_GAPS]

    @property
    def people(self) -> list[GroupFact]:
        """Every detector on every group; where they are many, the detectors first in the table alone."""
        if not self.standings or len(self.results.groups) <= _GROUPS:
            return self.results.groups
        order = {name: i for i, (_, name, _, _) in enumerate(self.standings.lines)}
        found = sorted(self.results.groups, key=lambda group: order.get(group.detector, len(order)))
        of_first = sum(group.detector == found[0].detector for group in found)
        return found[: max(1, _GROUPS // of_first) * of_first]

    @property
    def audits(self) -> tuple[list[Finding], list[Finding]]:
        """The audits, and aside those that are repeated for the generators of every seed."""
        aside = [one for one in self.results.audits if re.search(r" #\d+$", one.audit)]
        return [one for one in self.results.audits if one not in aside], aside

    @property
    def groups(self) -> list[list[Row]]:
        """The rows of each pairing of training and test generator."""
        found: dict[tuple[str, str, int], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.cell.trained_on, row.cell.tested_on, row.cell.seed), []).append(row)
        return list(found.values())

    @property
    def figures(self) -> list[Figure]:
        """Every figure, in the order of the page."""
        first = [self.key_figure] if self.key_figure else []
        found = [
            *first,
            *(self.robustness.figures if self.robustness else []),
            *self.progress.figures,
            *(self.discriminators.figures if self.discriminators else []),
            *self.spectra,
            *self.roc,
            *self.det,
            *self.scores,
            *self.calibration,
            *self.generators,
            *self.detectors,
            *self.more_detectors,
        ]
        return list({figure.name: figure for figure in found}.values())


def build(
    results: Results,
    scores: pd.DataFrame,
    *,
    forged: dict[str, np.ndarray],
    filmstrip: dict[str, list[tuple[float, np.ndarray]]],
    strolls: dict[str, np.ndarray],
    picture: Any,  # noqa: ANN401 - Pictures.by_id
    evidence: Evidence,
    board: Ranking | None = None,
) -> Page:
    """Compute the page.

    Args:
        results: the run.
        scores: its score rows.
        forged: random forgeries a generator, uint8 [n, H, W, 3].
        filmstrip: (kimg, uint8 [n, H, W, 3]) a generator, as training went on.
        strolls: rows of eight faces a generator, from one latent to another, uint8 [rows * 8, H, W, 3].
        picture: image of (source set name, sample id), None where it may not be shown.
        evidence: where the detectors look.
        board: the leaderboard of a suite.
    """
    # the page is about clean test images; what was perturbed, and the controls, have tables of their own
    whole = results
    cells = [
        cell
        for cell in results.cells
        if cell.perturbation == CLEAN
        and cell.condition not in (Condition.SNAPSHOTS, Condition.EXTERNAL)
        and not TrainSet.parse(cell.trained_on).variant
    ]
    if results.seeds:  # and of a repeated run about its first seed: the leaderboard is about all of them
        cells = [cell for cell in cells if cell.seed == results.seed]
    of_seed = {
        name: [one for one in getattr(results, name) if one.seed == results.seed or not results.seeds]
        for name in ("generators", "detectors")
    }
    results = results.model_copy(update={"cells": cells, **of_seed})
    names = Names()
    trained, robust = progress(whole, names), robustness(whole, names)
    rows = TestRows(grid(scores[scores["perturbation"] == CLEAN]))
    focus = suite.focus(cells, board)
    turned = suite.dialled(cells, board)
    histograms = figures.histograms(focus.single, rows, names)
    rows_shown, measured = table(results), shown_metrics(results)
    smallest = detectable(results.comparisons)
    tests, tests_left_out = matrices(cells, results.comparisons)
    fits = _by_merit(results)
    key_figure = None
    if board and (opening := verdict(board)):  # of a suite, its table is the answer
        said = words.Verdict(tuple(opening), tuple(suite.notes(board, cells)), tuple(words.warnings(results)))
        key_figure = picture_of_standings(board, whole.cells, names)
    else:
        said = words.verdict(results, errors_of(cells, rows))
    return Page(
        results=results,
        verdict=said,
        dials=embedded(dials(turned, rows)) if cells else Markup(),
        robustness=robust,
        progress=trained,
        faces=words.faces_of(results.data.name),
        subject=words.subject_of(results.data.name),
        key_figure=key_figure or _key_figure([row.cell for row in rows_shown], histograms, names),
        rows=rows_shown,
        metrics=measured,
        detectable=None if smallest is None else f"{smallest:.2g}",
        board=leaderboard(cells, places(cells, results.comparisons)) if len(duels(cells)) > 1 else None,
        standings=standings(board, results.protocol_version) if board else None,
        tests=tests,
        discriminators=discriminators.knowledge(results, names),
        measures=suite.measures(board, whole.cells, measured) if board and len(rows_shown) > _OVERVIEW else None,
        looking=looking(
            evidence, {name: faces[:64] for name, faces in forged.items()}, names, broadest=board is not None
        ),
        forgeries=[_forgeries(one, forged, filmstrip, strolls, names) for one in results.generators],
        quality=quality.quality_table(results.generators),
        spectra=quality.spectrum_figures(results.generators[:_HISTORIES], names),
        roc=figures.roc_figures(focus.paired, rows, names),
        det=figures.det_figures(focus.errors, rows, names),
        scores=histograms if len(cells) > 1 else [],
        calibration=figures.calibration_figures(focus.single, rows, names),
        generators=[f for one in results.generators[:_HISTORIES] for f in _training_figures(one, names)],
        detectors=[f for one in fits[:_HISTORIES] for f in histories.detector_figures(one, names)],
        more_detectors=[
            f for one in fits[_HISTORIES : _HISTORIES + _FOLDED] for f in histories.detector_figures(one, names)
        ],
        galleries=mistakes.galleries(focus.wrong, rows, picture),
        left_out=_left_out(results) | focus.said | {"tests": tests_left_out, "dials": _untold(len(turned))},
        all_fits=len(whole.detectors),
        provenance=json.dumps(results.data.provenance, indent=1, sort_keys=True, ensure_ascii=False),
        facts={i: facts(one) for i, one in enumerate(results.detectors)},
        methods=sorted({cell.auc_method for cell in cells}),
    )


def _untold(tests: int) -> str:
    return f"The first {MOST} of {tests} tests; scores.parquet has them all." if tests > MOST else ""


def _key_figure(cells: Sequence[Cell], histograms: Sequence[Figure], names: Names) -> Figure | None:
    """The picture beside the verdict: the one histogram, every result, or a row a detector."""
    if len(cells) < 2:
        return histograms[0] if cells else None
    if len(cells) > _OVERVIEW and len(duels(cells)) > 1:
        return picture_of(cells, names)
    shown = figures.hardest(cells, _OVERVIEW)
    return figures.overview([cell for cell in cells if cell in shown], names)


def _by_merit(results: Results) -> list[DetectorFacts]:
    """The fits, those first that did worst on the generator they were trained on; in their own order where few."""
    if len(results.detectors) <= _HISTORIES:
        return results.detectors
    own = {(c.detector, c.trained_on): c.auc for c in results.cells if c.seen}
    return sorted(results.detectors, key=lambda one: own.get((one.name, one.trained_on), 1.0))


def _training_figures(generator: GeneratorFacts, names: figures.Names) -> list[Figure]:
    return [
        *health.health_figures(generator.name, generator.health, names),
        *histories.generator_figures(generator, names),
    ]


def _left_out(results: Results) -> dict[str, str]:
    """What each part of the page does not show, in a sentence; empty where it shows everything."""
    cells = results.cells

    def first(shown: int, n: int) -> str:
        return f"The first {shown} of {n}; results.json has them all." if n > shown else ""

    return {
        "overview": (
            f"The {_OVERVIEW} of {len(cells)} results with the lowest AUC; scores.parquet has them all."
            if len(duels(cells)) == 1 and len(cells) > _OVERVIEW
            else ""
        ),
        "curves": (
            f"Of more than {figures.CURVES} detectors, the best, the worst and an even choice between are drawn."
            if any(len(group) > figures.CURVES for group in duels(cells).values())
            else ""
        ),
        "generators": first(_HISTORIES, len(results.generators)),
        "detectors": (
            f"The {_HISTORIES} of {len(results.detectors)} fits with the lowest AUC on their own generator."
            if len(results.detectors) > _HISTORIES
            else ""
        ),
        "more_detectors": first(_FOLDED, len(results.detectors) - _HISTORIES),
    }


def _forgeries(
    generator: GeneratorFacts,
    forged: dict[str, np.ndarray],
    filmstrip: dict[str, list[tuple[float, np.ndarray]]],
    strolls: dict[str, np.ndarray],
    names: Names,
) -> Forgeries:
    faces = forged.get(generator.name)
    shown = 0 if faces is None else min(len(faces), 64)
    strip = filmstrip.get(generator.name, [])
    if len(strip) > 6:  # the first, the last and an even choice between
        strip = [strip[i] for i in np.linspace(0, len(strip) - 1, 6).round().astype(int)]
    return Forgeries(
        generator=generator,
        samples=grid_uri(faces[:64]) if faces is not None and shown else None,
        shown=shown,
        file=names("samples", generator.name) + ".png",
        strip=[(kimg, grid_uri(images[:8])) for kimg, images in strip if len(images)],
        strolls=grid_uri(strolls[generator.name]) if generator.name in strolls else None,
    )


def facts(detector: DetectorFacts) -> str:
    """What a fit reports of itself, on one line."""
    return "; ".join(f"{name.replace('_', ' ')}: {_fact(value)}" for name, value in detector.facts.items())


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
