"""Cells of a leaderboard from score rows, one per detector and test set: AUC, interval, influence of each image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation import delong
from benchmarks.evaluation.delong import Components
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.roc import Floats, Ints, twice_below
from benchmarks.protocol import (
    OWN_REALS,
    Condition,
    FitId,
    Protocol,
    TestGrid,
    TestId,
    TrainSet,
    choose_interval,
    column_of,
    protocol_of_scores,
)
from forge.core.errors import InputError


class Where(NamedTuple):
    """Position of a cell in its column; `trained_on` only in columns where a test set has several trainings."""

    trained_on: str
    tested_on: str
    perturbation: str
    seed: int


@dataclass(frozen=True)
class Scored:
    """One detector on one test set.

    Attributes:
        where: position in its column.
        trained_on: its train set.
        auc: area under the ROC curve.
        interval: the protocol's.
        family: of the tested generator, in a column whose mean is over families; else "".
        influence: contribution of each image to the error of the AUC, shape [n]; the squares add up to its variance.
        units: image or person of each entry of `influence`; equal numbers in two cells are the same image or person.
    """

    where: Where
    trained_on: str
    auc: float
    interval: Interval
    influence: Floats
    units: Ints
    family: str = ""


def cells_of(scores: pd.DataFrame, protocol: Protocol | None = None) -> dict[str, dict[str, list[Scored]]]:
    """Return detector -> column -> its cells, in the order of train sets and tested generators.

    Args:
        scores: rows of scores.parquet, of any number of seeds.
        protocol: version and families that the rows were measured by; by default this version's.

    Raises:
        InputError: a score is not finite.
    """
    test = scores[scores["split"] == "test"]
    trained = {str(text): TrainSet.parse(str(text)) for text in test["trained_on"].unique()}
    grid = TestGrid.of(map(str, test["generator"].unique()), trained.values(), protocol or protocol_of_scores(test))
    cells: dict[str, dict[str, list[Scored]]] = {}
    for (detector, trained_on, seed, perturbation), real, forged in _fits(test, _finite(test)):
        training = trained[trained_on]
        # sorted once for all generators: their forgeries are compared with the same reals
        ordered = np.sort(real.scores)
        for tested_on, group in forged:
            column = column_of(training, tested_on, perturbation, grid)
            if column:
                # elsewhere the column and the tested generator determine the train set
                named_by = trained_on if column in (Condition.MATRIX, "cross") else ""
                where = Where(named_by, tested_on, perturbation, seed)
                cell = _cell(where, trained_on, real, group, ordered)
                if column in (Condition.UNSEEN, Condition.WILD):
                    cell = replace(cell, family=grid.protocol.family(tested_on))
                cells.setdefault(detector, {}).setdefault(column, []).append(cell)
    return cells


def joined(parts: Mapping[str, Mapping[str, Mapping[str, Sequence[Scored]]]]) -> dict[str, dict[str, list[Scored]]]:
    """Join the cells of several suites: each test set is named with its suite, and suites share no image.

    Args:
        parts: suite -> what `cells_of` returned.

    Raises:
        InputError: the suites have different seeds, so that no common mean exists.
    """
    # seeds of each suite; a mean over seeds needs the same number of cells in each of them
    seeds = {name: sorted({c.where.seed for of in cells.values() for cs in of.values() for c in cs})
             for name, cells in parts.items()}  # fmt: skip
    first, *rest = seeds.items()
    for name, numbers in rest:
        if numbers != first[1]:
            lists = " and ".join(
                f"{suite} has the seeds {', '.join(map(str, of))}" for suite, of in (first, (name, numbers))
            )
            raise InputError(f"{lists}; only suites of the same seeds can be ranked together")
    together: dict[str, dict[str, list[Scored]]] = {}
    unit = 0
    for name, cells in parts.items():
        # largest number of a unit in this suite; the next suite's numbers begin behind it, since suites share no image
        last = max((int(c.units.max(initial=0)) for of in cells.values() for cs in of.values() for c in cs), default=0)
        for detector, of in cells.items():
            for column, found_cells in of.items():
                together.setdefault(detector, {}).setdefault(column, []).extend(
                    replace(c, where=c.where._replace(tested_on=f"{c.where.tested_on}, {name}"), units=c.units + unit)
                    for c in found_cells
                )
        unit += last + 1
    return together


def tests_of(scores: pd.DataFrame) -> dict[str, Scored]:
    """Return all tests of the rows, in a column or not, by the name of their `TestId`; else as `cells_of`."""
    cells = {}
    for detector, cell in each_test(scores):
        fit = FitId(detector, TrainSet.parse(cell.trained_on))
        where = cell.where
        cells[str(TestId(fit, where.tested_on, where.perturbation, where.seed))] = cell
    return cells


def each_test(scores: pd.DataFrame) -> Iterator[tuple[str, Scored]]:
    """Yield detector and cell of all tests of the rows, in a column or not; else as `cells_of`."""
    test = scores[scores["split"] == "test"]
    for (detector, trained_on, seed, perturbation), real, forged in _fits(test, _finite(test)):
        ordered = np.sort(real.scores)
        for tested_on, group in forged:
            yield detector, _cell(Where("", tested_on, perturbation, seed), trained_on, real, group, ordered)


def _finite(test: pd.DataFrame) -> Floats:
    values = test["score"].to_numpy(dtype=np.float64)
    # checked once for all cells, in place of `check_scores` in each
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} scores are NaN or infinite; score these images again")
    return values


class _Images(NamedTuple):
    """Images of one class: their scores, and the unit of each."""

    scores: Floats
    units: Ints


def _fits(
    test: pd.DataFrame, values: Floats
) -> Iterator[tuple[tuple[str, str, int, str], _Images, list[tuple[str, _Images]]]]:
    """Yield each fit under each perturbation: its scores of the reals, and of the forgeries of each generator."""
    units = units_of_images(test)
    # external photos and sources belong to their own forgeries alone; the real photos of the run to all its generators
    foreign = test["source"].str.startswith(OWN_REALS).to_numpy(dtype=bool)
    names: dict[str, list[object]] = {}
    key = np.zeros(len(test), np.int64)
    for column in ("detector", "trained_on", "seed", "perturbation", "source", "generator"):
        # numbers in the order of names; "" sorts before every name, so reals come before forgeries
        values_of = test[column].astype("category").array
        number, known = values_of.codes, list(values_of.categories)
        if column == "source":
            number, known = np.where(foreign, number.astype(np.int64) + 1, 0), ["", *known]
        names[column] = known
        # mixed-radix number of all columns: a few names each
        key = key * len(known) + number
    # one sort by fit, then by generator; each run of equal keys is one set of images
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.empty(0, np.intp)
    sizes = [len(known) for known in names.values()]
    fit, real = None, None
    forged: list[tuple[str, _Images]] = []
    for start, end in zip(starts, np.r_[starts[1:], len(key)], strict=True):
        rows, position = order[start:end], np.array(np.unravel_index(key[start], sizes))
        # next fit: hand over the last one, if it has both classes
        if fit is not None and (position[:-1] != fit).any():
            if real is not None and forged:
                yield _named(names, fit), real, forged
            fit, real, forged = None, None, []
        fit, images = position[:-1], _Images(values[rows], units[rows])
        generator = str(names["generator"][position[-1]])
        # an empty generator: these are the reals, which sort first within a fit
        if not generator:
            real = images
        else:
            forged.append((generator, images))
    if fit is not None and real is not None and forged:
        yield _named(names, fit), real, forged


def _named(names: dict[str, list[object]], fit: Ints) -> tuple[str, str, int, str]:
    detector, trained_on, seed, perturbation = (
        names[column][i] for column, i in zip(names, fit[:4], strict=False)
    )  # the rest says where the photos come from
    return str(detector), str(trained_on), int(str(seed)), str(perturbation)


def units_of_images(test: pd.DataFrame) -> Ints:
    """Number identities, or images where the identity is unknown; forgeries of two seeds are two images."""
    forged = test["generator"].to_numpy() != ""
    # mixed-radix number of the columns, factorized after each step so that it cannot overflow
    image = np.zeros(len(test), np.int64)
    for column in ("generator", "source", "sample_id", "seed"):
        part = pd.factorize(test[column], use_na_sentinel=False)[0].astype(np.int64)
        if column == "seed":
            # a real photo is the same image in every seed (0), a forgery of another seed another image
            part = np.where(forged, part + 1, 0)
        # number of the pair (image, part): distinct pairs give distinct numbers, made dense again at once
        image = pd.factorize(image * (int(part.max(initial=0)) + 1) + part)[0].astype(np.int64)
    people = test["identity"].astype("category").array
    # an empty name is no identity: such rows would otherwise count as one person with many images
    known = people.codes >= 0
    if "" in people.categories:
        known &= people.codes != people.categories.get_loc("")
    # people are numbered after all images, so that no person shares a number with an image
    image[known] = image.max(initial=0) + 1 + pd.factorize(people.codes[known])[0]
    return image


def _cell(where: Where, trained_on: str, real: _Images, forged: _Images, ordered: NDArray[np.float64]) -> Scored:
    m, n = forged.scores.size, real.scores.size
    # twice the counts of reals below each forged image, and of forgeries below each real one, [m] and [n]
    below, lower = twice_below(forged.scores, ordered), twice_below(real.scores, np.sort(forged.scores))
    # placements of each image in the other class; halves come from ties, hence twice the counts
    parts = Components(below / (2 * n), (2 * m - lower) / (2 * m))
    units = np.concatenate([real.units, forged.units])
    # (component - AUC) / sqrt(size (size - 1)): the squares add up to DeLong's variance, S10 / m + S01 / n
    adds = [(part - parts.auc) / math.sqrt(max(1, part.size * (part.size - 1))) for part in (parts.real, parts.forged)]
    return Scored(where, trained_on, parts.auc, _interval(parts, real, forged, units), np.concatenate(adds), units)


def _interval(parts: Components, real: _Images, forged: _Images, units: Ints) -> Interval:
    """Return `statistics.auc_interval` without sorting again where no person repeats."""
    m, n = forged.scores.size, real.scores.size
    # fewer units than rows: a person or an image repeats
    if np.unique(units).size < units.size:
        label = np.repeat([0, 1], [n, m])
        return delong.auc_interval(label, np.concatenate([real.scores, forged.scores]), groups=units)
    # one image has no sample variance, and a class of one is small enough for Newcombe's interval in any case
    variance = parts.variance if min(m, n) > 1 else 0.0
    if choose_interval(n, m, variance=variance, repeated=False, people=0) == "Newcombe":
        return delong.auc_newcombe(parts.auc, m, n)
    return delong.delong_interval(parts)
