"""Comparison of the published values of a suite (expected.json) with those recomputed from its stored scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.formats import rank
from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.map_leaderboard import MapBoard
from benchmarks.evaluation.results import PIXEL_MEASURES, Results
from benchmarks.protocol import AttackId, FitId, TestId, TrainSet
from forge.core.errors import InputError

SAME = 1e-12  # differences up to this come from the order of floating-point sums on other processors
Status = Literal["IDENTICAL", "WITHIN", "DIFFERS", "MISSING"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(_Record):
    """One number of a table and its 95 % interval."""

    what: str = Field(description="e.g. 'dct@gan on dcgan #0', or 'dct, unseen'")
    value: float | None
    low: float | None
    high: float | None


class Expected(_Record):
    """Published values of a suite; stored as expected.json."""

    name: str
    protocol: int
    data: str = Field(description="digest of the real faces")
    environment: dict[str, str] = Field(description="versions, device, precision, commit")
    primary: str
    values: list[Value]
    ranks: dict[str, str] = Field(description="detector -> rank (range that the tests do not exclude)")


class Verdict(_Record):
    """One value, published and recomputed."""

    what: str
    status: Status
    expected: float | None
    recomputed: float | None


def expected_of(
    results: Results,
    cells: Mapping[str, Mapping[str, Sequence[Scored]]],
    board: Leaderboard | None,
    maps: MapBoard | None = None,
) -> Expected:
    """Collect the values of a suite.

    Args:
        results: of the suite.
        cells: of `cells_of`.
        board: their leaderboard; None without cells.
        maps: the leaderboard of localisers; None without maps.
    """
    return Expected(
        name=results.name,
        protocol=results.protocol_version,
        data=results.data.digest,
        environment=results.environment,
        primary=board.primary if board else "",
        values=[
            *(_of_cells(cells) if board else ()),
            *(_of_columns(board) if board else ()),
            *_of_attacks(results),
            *_of_maps(results, maps),
            *_of_attributions(results),
        ],
        ranks=(_ranks(board) if board else {}) | _map_ranks(maps),
    )


def reproduce(expected: Expected, recomputed: Expected) -> list[Verdict]:
    """Compare value by value; a changed rank is a value that DIFFERS.

    Raises:
        InputError: other data or another protocol, whose values are not comparable.
    """
    refuse_other(expected, recomputed.protocol, recomputed.data)
    # by name: published values that are computed no longer are MISSING, new ones are no verdict
    now = {value.what: value for value in recomputed.values}
    verdicts = [verdict(value, now.get(value.what)) for value in expected.values]
    for detector, published in expected.ranks.items():
        # a rank with its range is a text: compared as it is printed
        same = recomputed.ranks.get(detector) == published
        there = detector in recomputed.ranks
        status: Status = "IDENTICAL" if same else "DIFFERS" if there else "MISSING"
        verdicts.append(Verdict(what=f"rank of {detector}", status=status, expected=None, recomputed=None))
    return verdicts


def refuse_other(expected: Expected, protocol: int, data: str) -> None:
    """Refuse to compare results of another protocol or of other faces.

    Raises:
        InputError: another protocol, or other data.
    """
    if expected.protocol != protocol:
        raise InputError(
            f"{expected.name} was measured by protocol {expected.protocol}, this by protocol {protocol}; results of "
            "different protocols are never compared: reproduce it from its scores, or run the suite again"
        )
    if expected.data != data:
        raise InputError(
            f"{expected.name} was measured on faces with digest {expected.data[:16]}, these have {data[:16]}; "
            "prepare the same photos with the same settings first"
        )


def causes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """List the differences between two environments, the likeliest causes of other numbers."""
    names = sorted(set(then) | set(now))
    return [
        f"{name}: {then.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def verdict(then: Value, now: Value | None) -> Verdict:
    """Compare one value: IDENTICAL to the last digit, WITHIN the published interval, or it DIFFERS or is MISSING."""
    if now is None:
        return Verdict(what=then.what, status="MISSING", expected=then.value, recomputed=None)
    # reports published earlier hold ends of intervals beyond 0 and 1
    # both are clipped, so that an end of 1 agrees with an earlier one beyond it
    pairs = ((then.value, now.value), (_share(then.low), _share(now.low)), (_share(then.high), _share(now.high)))
    status: Status = "DIFFERS"
    # value and both ends: an equal AUC with another interval is not IDENTICAL
    if all(a == b or (a is not None and b is not None and abs(a - b) <= SAME) for a, b in pairs):
        status = "IDENTICAL"
    elif None not in (then.low, then.high, now.value) and _covers(then, now):
        status = "WITHIN"
    return Verdict(what=then.what, status=status, expected=then.value, recomputed=now.value)


def _share(end: float | None) -> float | None:
    return None if end is None else min(1.0, max(0.0, end))


def _covers(then: Value, now: Value) -> bool:
    """Return whether the published interval covers the new value."""
    if then.low is None or then.high is None or now.value is None:
        return False
    return then.low <= now.value <= then.high


def _of_cells(cells: Mapping[str, Mapping[str, Sequence[Scored]]]) -> Iterator[Value]:
    for detector, columns in sorted(cells.items()):
        for of in columns.values():
            for cell in of:
                where, fit = cell.where, FitId(detector, TrainSet.parse(cell.trained_on))
                test = TestId(fit, where.tested_on, where.perturbation, where.seed)
                yield Value(what=str(test), value=cell.auc, low=cell.interval.low, high=cell.interval.high)


def _of_columns(board: Leaderboard) -> Iterator[Value]:
    for line in board.lines:
        for name, mean in line.columns.items():
            yield Value(what=f"{line.detector}, {name}", value=mean.value, low=mean.low, high=mean.high)
            if mean.family_low is not None:
                what = f"{line.detector}, {name}, new family"
                yield Value(what=what, value=mean.value, low=mean.family_low, high=mean.family_high)


def _of_attacks(results: Results) -> Iterator[Value]:
    for point in results.security:
        attack = AttackId(point.attack or "before", point.epsilon, point.frames)
        what = f"{point.detector}@{point.trained_on} under {attack}"
        yield Value(what=what, value=point.auc, low=point.low, high=point.high)


def _of_maps(results: Results, maps: MapBoard | None) -> Iterator[Value]:
    for result in results.localisation:
        test = f"{result.detector}@{result.trained_on} where on {result.tested_on}"
        for name in PIXEL_MEASURES:
            measured = getattr(result, name)
            yield Value(what=f"{test}, {name}", value=measured.value, low=measured.low, high=measured.high)
    for line in maps.lines if maps else ():
        for name, mean in line.columns.items():
            yield Value(what=f"{line.detector}, {name}, mean f1", value=mean.value, low=mean.low, high=mean.high)


def _of_attributions(results: Results) -> Iterator[Value]:
    for row in results.attribution:
        fit = f"{row.detector}@{row.trained_on}, seed {row.seed}"
        for question, of, measure, at in row.measured():
            yield Value(what=f"{fit}, {question}, {of}, {measure}", value=at.value, low=at.low, high=at.high)
        for name, counts in zip(row.classes, row.confusion, strict=True):
            for answer, count in zip(row.classes, counts, strict=True):
                yield Value(what=f"{fit}, {name} images that are called {answer}", value=count, low=None, high=None)


def _map_ranks(maps: MapBoard | None) -> dict[str, str]:
    return {f"{line.detector} by localisation": rank(line) for line in maps.lines if not line.control} if maps else {}


def _ranks(board: Leaderboard) -> dict[str, str]:
    return {line.detector: rank(line) for line in board.lines}


def counted(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count the verdicts per status."""
    order = ("IDENTICAL", "WITHIN", "DIFFERS", "MISSING")
    return {status: sum(verdict.status == status for verdict in verdicts) for status in order}


def to_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Convert verdicts to plain data."""
    return [verdict.model_dump(mode="json") for verdict in verdicts]
