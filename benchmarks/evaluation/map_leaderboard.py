"""Leaderboard of localisers: mean F1 of pixels over generators with masks, ranked as detectors are by AUC.

A cell is a detector on one generator in one seed: the mean over images of F1 at the threshold fixed on validation
images, with its bootstrap interval over people. The influence of an image on that mean is its distance from it, so that
means over generators and seeds, paired tests and ranks are those of `leaderboard`. Controls have no rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation.cells import Scored, Where, joined, units_of_images
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.delong import holm
from benchmarks.evaluation.leaderboard import Leaderboard, Line, Standing, ranked
from benchmarks.evaluation.localisation import CONTROLS, MEAN_MASK, MapFit, constant_rows, widest
from benchmarks.evaluation.pixels import f1
from benchmarks.evaluation.resampling import percentile
from benchmarks.evaluation.results import Localisation
from benchmarks.evaluation.roc import Ints
from benchmarks.protocol import ALPHA, ELSEWHERE, EXTERNAL_PREFIX, TrainSet
from forge.core.errors import InputError

LOCALISATION = "localisation"  # name of the column that ranks
EXTERNAL = "external"  # column of masks from elsewhere
MEANINGS = {
    LOCALISATION: "F1 of pixels, trained on all generators or elsewhere, mean over generators with masks",
    EXTERNAL: "F1 of pixels on forged images and masks from elsewhere",
}
Cells = dict[str, dict[str, list[Scored]]]
_MEASURES = ("auc", "false_alarm_area", "image_auc")


class MapLine(BaseModel):
    """A detector, or a control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    control: bool = Field(description="a map that looks at no image; never ranked")
    rank: int | None = Field(description="detectors that no paired test separates from the leader share it")
    rank_low: int | None
    rank_high: int | None
    columns: dict[str, Standing] = Field(description="mean F1; `value` is null where tests are missing")
    auc: float | None = Field(description="pixel AUC, mean over images and generators")
    false_alarm_area: float | None = Field(description="mean share of untouched images that is taken for altered")
    image_auc: float | None = Field(description="AUC of the maxima of the maps, mean over generators")


class MapBoard(BaseModel):
    """The leaderboard of localisers of one or several runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generators: list[str] = Field(description="that the mean is over")
    board: Leaderboard = Field(description="of the detectors, without controls")
    lines: list[MapLine] = Field(description="best first, controls last")
    below_mean_mask: list[str] = Field(
        description="detectors with a mean F1 at or below that of the mean training mask"
    )
    not_above_mean_mask: list[str] = Field(
        description="others that a paired test (Holm over all detectors) does not separate from it"
    )


def map_board(runs: Mapping[str, tuple[pd.DataFrame, Sequence[Localisation]]]) -> MapBoard:
    """Rank the localisers of a run, or of several over all of them.

    Args:
        runs: name -> rows of its masks.parquet, and the measures in its results.

    Raises:
        InputError: no detector was trained on all generators with masks, or elsewhere.
    """
    of_runs = {name: cells_of_maps(rows) for name, (rows, _) in runs.items()}
    cells = joined(of_runs) if len(of_runs) > 1 else next(iter(of_runs.values()))
    maps = {name: columns for name, columns in cells.items() if name not in CONTROLS}
    if not any(LOCALISATION in columns for columns in maps.values()):
        raise InputError(
            "no detector with maps was trained on all generators with masks: run it with conditions.seen=true"
        )
    controls = {name: cells[name] for name in reversed(CONTROLS) if name in cells}
    board = ranked(maps, primary=LOCALISATION, meanings=MEANINGS)
    beside = ranked(controls, primary=LOCALISATION, meanings=MEANINGS)
    records = [record for _, results in runs.values() for record in results]
    lines = [_line(line, records, control=False) for line in board.lines]
    lines += [_line(line, records, control=True) for line in beside.lines]
    below, unclear = _against_mean_mask(cells, [line.detector for line in board.lines if line.rank is not None])
    tested = {cell.where.tested_on for columns in maps.values() for cell in columns.get(LOCALISATION, ())}
    return MapBoard(
        generators=sorted(tested), board=board, lines=lines, below_mean_mask=below, not_above_mean_mask=unclear
    )


def board_of_run(rows: pd.DataFrame | None, results: Sequence[Localisation]) -> MapBoard | None:
    """Rank the localisers of a run; None: it has no maps, or no detector that was trained on all its generators.

    Args:
        rows: of its masks.parquet, if it has any.
        results: measures of the run.
    """
    if rows is None:
        return None
    try:
        return map_board({"": (rows, results)})
    except InputError:  # the table of every training says what there is
        return None


def cells_of_maps(rows: pd.DataFrame) -> Cells:
    """Return detector or control -> column -> its cells, of its widest training that contains all generators.

    Args:
        rows: of masks.parquet.
    """
    rows = pd.concat([rows, constant_rows(rows)], ignore_index=True)
    forged = rows["generator"] != ""
    # the number of an image is the same for all detectors: whose map it is says `source` here
    rows["unit"] = units_of_images(rows.assign(source=""))
    masked = {str(name) for name in rows["generator"][forged].unique()}
    needed = {name for name in masked if not name.startswith(EXTERNAL_PREFIX)}
    cells: Cells = {}
    for detector, group in rows.groupby("detector", sort=True):
        trainings = [str(name) for name in group["trained_on"].unique() if _covers(str(name), needed)]
        if trainings:
            of_detector = cells.setdefault(str(detector), {})
            for column, cell in _cells(group[group["trained_on"] == widest(trainings)]):
                of_detector.setdefault(column, []).append(cell)
    return cells


def _covers(trained_on: str, needed: set[str]) -> bool:
    generators = set(TrainSet.parse(trained_on).generators)
    return generators == {ELSEWHERE} or generators >= needed


def _cells(rows: pd.DataFrame) -> Iterator[tuple[str, Scored]]:
    """Yield the cells of one detector with one training, each with its column."""
    for seed, group in rows.groupby("seed", sort=True):
        fit = MapFit.of(group)
        for generator in sorted({str(name) for name in fit.rows["generator"].unique() if name}):
            images = fit.part(generator)
            value, resampled = images.mean(f1)
            if not math.isfinite(value):
                continue  # no image has an altered pixel
            by_image = f1(images.counts, images.level)
            defined = np.isfinite(by_image)
            units: Ints = fit.rows["unit"].to_numpy()[(fit.rows["generator"] == generator).to_numpy()][defined]
            n = int(defined.sum())
            scored = Scored(
                Where("", generator, "none", int(str(seed))),
                str(rows["trained_on"].iloc[0]),
                value,
                percentile(resampled[np.isfinite(resampled)], 0.95, "bootstrap over identities"),
                # the squares add up to the variance of the mean
                (by_image[defined] - value) / math.sqrt(n * max(1, n - 1)),
                units,
            )
            yield EXTERNAL if generator.startswith(EXTERNAL_PREFIX) else LOCALISATION, scored


def _line(line: Line, records: Sequence[Localisation], *, control: bool) -> MapLine:
    of_detector = [record for record in records if record.detector == line.detector]
    training = widest(record.trained_on for record in of_detector) if of_detector else ""
    of_detector = [r for r in of_detector if r.trained_on == training and not r.tested_on.startswith(EXTERNAL_PREFIX)]
    values = {}
    for name in _MEASURES:
        measured = [getattr(record, name) for record in of_detector]
        numbers = [each if each is None or isinstance(each, float) else each.value for each in measured]
        known = [number for number in numbers if number is not None]
        values[name] = fmean(known) if known else None
    ranks = {name: None if control else getattr(line, name) for name in ("rank", "rank_low", "rank_high")}
    return MapLine(detector=line.detector, control=control, columns=line.columns, **ranks, **values)


def _against_mean_mask(cells: Cells, detectors: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the detectors at or below the mean training mask, and those that no test separates from it."""
    control = cells.get(MEAN_MASK, {}).get(LOCALISATION, [])
    comparable = [
        name
        for name in detectors
        if {cell.where for cell in cells[name][LOCALISATION]} == {cell.where for cell in control}
    ]
    if not comparable:
        return [], []
    column = Column({name: cells[name][LOCALISATION] for name in comparable} | {MEAN_MASK: control})
    differences = [column.difference(name, MEAN_MASK) for name in comparable]
    adjusted = holm([difference.p for difference in differences])
    below, unclear = [], []
    for name, difference, p in zip(comparable, differences, adjusted, strict=True):
        if difference.value <= 0:
            below.append(name)
        elif p >= ALPHA:
            unclear.append(name)
    return below, unclear
