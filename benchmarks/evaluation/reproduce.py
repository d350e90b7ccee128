"""Does a table come out again? Every value of expected.json against what stored scores give now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.formats import rank
from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.results import Results
from benchmarks.protocol import FitId, TestId, TrainSet
from forge.core.errors import InputError

SAME = 1e-12  # differences up to this are how a processor adds, not what was added
Status = Literal["IDENTICAL", "WITHIN", "DIFFERS", "MISSING"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(_Record):
    """One number of a table and its 95 % interval."""

    what: str = Field(description="e.g. 'dct@gan on dcgan #0', or 'dct, leave-one-out'")
    value: float | None
    low: float | None
    high: float | None


class Expected(_Record):
    """What a suite gave when it was published; stored as expected.json."""

    name: str
    protocol: int
    data: str = Field(description="digest of the real faces")
    environment: dict[str, str] = Field(description="versions, device, precision, commit")
    primary: str
    values: list[Value]
    ranks: dict[str, str] = Field(description="detector -> rank (lowest to highest that tests leave open)")


class Verdict(_Record):
    """One value, then and now."""

    what: str
    status: Status
    expected: float | None
    found: float | None


def expected_of(
    results: Results, cells: Mapping[str, Mapping[str, Sequence[Scored]]], board: Leaderboard | None
) -> Expected:
    """What to expect of a suite: its cells (`cells_of`) and their leaderboard, None without cells."""
    return Expected(
        name=results.name,
        protocol=results.protocol_version,
        data=results.data.digest,
        environment=results.environment,
        primary=board.primary if board else "",
        values=[*_of_cells(cells), *_of_columns(board)] if board else [],
        ranks=_ranks(board) if board else {},
    )


def reproduce(expected: Expected, found: Expected) -> list[Verdict]:
    """Compare value by value; a rank that changed is a value that DIFFERS.

    Raises:
        InputError: other data or another protocol: then nothing can be compared.
    """
    refuse_other(expected, found.protocol, found.data)
    now = {one.what: one for one in found.values}
    verdicts = [verdict(one, now.get(one.what)) for one in expected.values]
    for detector, published in expected.ranks.items():
        same = found.ranks.get(detector) == published
        there = detector in found.ranks
        status: Status = "IDENTICAL" if same else "DIFFERS" if there else "MISSING"
        verdicts.append(Verdict(what=f"rank of {detector}", status=status, expected=None, found=None))
    return verdicts


def refuse_other(expected: Expected, protocol: int, data: str) -> None:
    """Refuse to compare what was measured otherwise or on other faces.

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


def causes(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What differs between two environments, the likeliest causes of other numbers."""
    names = sorted(set(expected) | set(found))
    return [
        f"{name}: {expected.get(name, 'unknown')} then, {found.get(name, 'unknown')} now"
        for name in names
        if expected.get(name) != found.get(name)
    ]


def verdict(then: Value, now: Value | None) -> Verdict:
    """Compare one value: IDENTICAL to the last digit, WITHIN the published interval, or it DIFFERS or is MISSING."""
    if now is None:
        return Verdict(what=then.what, status="MISSING", expected=then.value, found=None)
    # reports published earlier hold ends of intervals beyond 0 and 1
    pairs = ((then.value, now.value), (_share(then.low), _share(now.low)), (_share(then.high), _share(now.high)))
    status: Status = "DIFFERS"
    if all(a == b or (a is not None and b is not None and abs(a - b) <= SAME) for a, b in pairs):
        status = "IDENTICAL"
    elif None not in (then.low, then.high, now.value) and _covers(then, now):
        status = "WITHIN"
    return Verdict(what=then.what, status=status, expected=then.value, found=now.value)


def _share(end: float | None) -> float | None:
    return None if end is None else min(1.0, max(0.0, end))


def _covers(then: Value, now: Value) -> bool:
    """Whether the published interval covers the new value."""
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
        for name, found in line.columns.items():
            yield Value(what=f"{line.detector}, {name}", value=found.value, low=found.low, high=found.high)
            if found.family_low is not None:
                what = f"{line.detector}, {name}, new family"
                yield Value(what=what, value=found.value, low=found.family_low, high=found.family_high)


def _ranks(board: Leaderboard) -> dict[str, str]:
    return {line.detector: rank(line) for line in board.lines}


def counted(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Status -> how many."""
    order = ("IDENTICAL", "WITHIN", "DIFFERS", "MISSING")
    return {status: sum(one.status == status for one in verdicts) for status in order}


def to_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """As plain data."""
    return [one.model_dump(mode="json") for one in verdicts]
