"""Summary of a run in sentences: results, mistakes, ties and warnings, with every number from the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.numbers import count, estimate, p_value, signed
from benchmarks.evaluation.results import PairedTest, Results, TestResult
from benchmarks.protocol import ELSEWHERE, TrainSet
from benchmarks.report.ranking import Key, Pairing, by_pairing, key, paired_test, tiers
from benchmarks.report.text.run_warnings import enumerated, warnings

SATURATED = 0.99  # what the protocol expects of the same generator
_FULL_NOTES = 4  # beyond this many cells, a note counts instead of listing
_FULL_TESTS = 2  # beyond this many pairings, one sentence summarizes the tests

Finding = Literal["perfect", "reliable", "often", "weak", "chance", "reversed"]


class Errors(NamedTuple):
    """Mistakes on the test set at the threshold fixed on validation data."""

    false_alarms: int  # real faces called forged
    n_real: int
    missed: int  # forgeries called real
    n_forged: int


@dataclass(frozen=True)
class Summary:
    """The summary of a page.

    Attributes:
        sentences: one or two on the results.
        notes: on ties, values below chance and saturation.
        warnings: reasons not to rely on the numbers.
    """

    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def finding(cell: TestResult) -> Finding:
    """Classify an AUC; its interval decides before its value does."""
    # Below and around chance by the interval, above it by the value.
    if cell.auc_high < 0.5:
        return "reversed"
    if cell.auc_low <= 0.5:
        return "chance"
    if cell.auc == 1:
        return "perfect"
    return "reliable" if cell.auc >= 0.9 else "often" if cell.auc >= 0.7 else "weak"


def summarize(results: Results, errors: Mapping[Key, Errors]) -> Summary:
    """Summarize the results of a run.

    Args:
        results: the run.
        errors: mistakes of each cell at its threshold.

    Returns:
        One or two sentences, and notes on ties, reversed cues, chance and saturation.
    """
    if not results.cells:
        empty = "This run has no results: no detector was scored on a test set."
        return Summary((empty,), (), tuple(warnings(results)))
    faces, subject = faces_of(results.data.name), subject_of(results.data.name)
    # Controls are compared in audits; sentences are on detectors. With controls alone there is nothing else to speak
    # of.
    tested = [cell for cell in results.cells if cell.detector not in (RANDOM, METADATA)]  # without negative controls
    results = results.model_copy(update={"cells": tested or results.cells})
    groups = by_pairing(results.cells)
    # One pairing: one sentence on the best, one on its mistakes. Several: ranges, and the worst mistakes.
    if len(groups) == 1:
        best = next(iter(groups.values()))[0]
        sentences: tuple[str, ...] = (claim(best, faces), mistakes(best, errors[key(best)], subject))
    else:
        # at most two, the ranges before the mistakes
        sentences = (*_spread(results.cells, faces), *_worst_mistakes(results.cells, errors, subject))[:2]
    notes = [
        *_reversals(results.cells),
        *_guesses(results.cells),
        *_ties(groups, results.comparisons),
        *_saturation(results.cells),
    ]
    return Summary(sentences, tuple(notes), tuple(warnings(results)))


def subject_of(name: str) -> str:
    """Return what an image of a set shows: "digit" of the digits, else "face"."""
    return "digit" if name == "digits" else "face"


def faces_of(name: str) -> str:
    """Name the real images: "rendered" becomes "rendered faces", "digits" stays."""
    if subject_of(name) != "face":
        return name
    return name if name.lower().endswith(("faces", "photos", "people", "portraits")) else f"{name} faces"


def auc(cell: TestResult) -> str:
    """Format an AUC with its interval."""
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    return f"AUC {shown.value} (95\u00a0% interval {shown.low} to {shown.high})"


def claim(cell: TestResult, faces: str) -> str:
    """Describe one cell in a sentence."""
    who, forgeries = cell.detector, f"{cell.tested_on} forgeries"
    # "only": trained on one other generator.
    if not cell.seen and cell.trained_on != ELSEWHERE and len(TrainSet.parse(cell.trained_on).generators) == 1:
        who = f"{who}, trained on {cell.trained_on} only,"
    ending = f": {auc(cell)}."
    match finding(cell):
        case "perfect":
            subject = subject_of(faces)
            above = f"above every real {subject}" + (f" ({faces})" if subject == "face" else "")
            return f"{who} ranks every one of {count(cell.n_forged)} {forgeries} {above}{ending}"
        case "reliable":
            return f"{who} separates {forgeries} from {faces}{ending}"
        case "often":
            return f"{who} often separates {forgeries} from {faces}, but not reliably{ending}"
        case "weak":
            return f"{who} separates {forgeries} from {faces} only weakly{ending}"
        case "chance":
            # ending without its full stop
            return f"{who} does not exceed chance significantly on {forgeries}{ending[:-1]}, which covers 0.5."
        case "reversed":
            return f"{who} scores {forgeries} lower than {faces}{ending[:-1]}, below chance (0.5)."


def mistakes(cell: TestResult, errors: Errors, subject: str) -> str:
    """Describe the mistakes at the threshold in a sentence."""
    alarms = _of(errors.false_alarms, errors.n_real, f"real {subject}", "called forged")
    missed = _of(errors.missed, errors.n_forged, f"{cell.tested_on} forgery", "taken for real", plural="forgeries")
    return f"At the threshold fixed on validation data, {alarms} and {missed}."


def _of(hits: int, n: int, what: str, fate: str, *, plural: str | None = None) -> str:
    many = f"{what.rsplit(' ', 1)[0]} {plural}" if plural else f"{what}s"
    if n == 1:
        return f"the one {what} is {'' if hits else 'not '}{fate}"
    if hits == 0:
        return f"none of {count(n)} {many} is {fate}"
    return f"{count(hits)} of {count(n)} {many} {'is' if hits == 1 else 'are'} {fate}"


def _spread(cells: Sequence[TestResult], faces: str) -> list[str]:
    same = [cell for cell in cells if cell.seen]
    cross = [cell for cell in cells if not cell.seen]
    return [
        *_extremes(same, "On fresh forgeries of a generator seen in training", faces),
        *_extremes(cross, "On forgeries of a generator never seen in training", faces),
    ]


def _extremes(cells: list[TestResult], where: str, faces: str) -> list[str]:
    if not cells:
        return []
    if len(cells) == 1:
        return [claim(cells[0], faces)]
    low, high = (pick(cells, key=lambda c: c.auc) for pick in (min, max))
    if low.auc == high.auc:  # all equal, mostly all 1
        return [f"{where}, all {len(cells)} measurements agree: {auc(low)}."]
    return [f"{where}, results range from {auc(low)} for {_who(low)} to {auc(high)} for {_who(high)}."]


def _who(cell: TestResult) -> str:
    if cell.seen and len(TrainSet.parse(cell.trained_on).generators) == 1:
        return f"{cell.detector} on {cell.tested_on}"
    return f"{cell.detector} trained on {TrainSet.parse(cell.trained_on).readable} and tested on {cell.tested_on}"


def _worst_mistakes(cells: Sequence[TestResult], errors: Mapping[Key, Errors], subject: str) -> list[str]:
    worst = min(cells, key=lambda c: c.value("balanced_accuracy") or 0.0)  # undefined counts as the worst
    sentence = mistakes(worst, errors[key(worst)], subject)
    return [f"{sentence[:-1]} in the worst case ({_who(worst)})."]


# A pairing of one detector has no tie.
def _ties(groups: Mapping[Pairing, list[TestResult]], comparisons: list[PairedTest]) -> list[str]:
    contested = {pairing: tiers(group, comparisons) for pairing, group in groups.items() if len(group) > 1}
    if len(contested) > _FULL_TESTS:
        tied = sum(len(tier[0]) > 1 for tier in contested.values())
        return [
            f"In {tied} of {len(contested)} pairings of training and test generator no paired test separates the best "
            "detectors; the table shows shared ranks as “1=”."
        ]
    return [_ranking(pairing, tier, comparisons) for pairing, tier in contested.items()]


def _ranking(pairing: Pairing, by_rank: list[list[TestResult]], comparisons: list[PairedTest]) -> str:
    first = by_rank[0]
    train_set = TrainSet.parse(pairing.trained_on)
    if pairing.tested_on in train_set.generators:
        where = f"On {pairing.tested_on} forgeries"
    else:
        where = f"On {pairing.tested_on} forgeries, after training on {train_set.readable}"
    if len(first) > 1:
        # Names of the first tier only; the table has the rest.
        names = enumerated([cell.detector for cell in first])
        return f"{where}, {names} are not separated{_test(first[0], first[1], comparisons, len(first) == 2)}."
    rest = [cell.detector for tier in by_rank[1:] for cell in tier]
    test = _test(first[0], by_rank[1][0], comparisons, len(rest) == 1)
    return f"{where}, {first[0].detector} ranks above {enumerated(rest)}{test}."


def _test(a: TestResult, b: TestResult, comparisons: list[PairedTest], only: bool) -> str:
    test = paired_test(a, b, comparisons)
    if test is None:
        return " (no paired test)"
    if not only:  # a difference is stated only where the sentence is about two detectors
        return " (paired DeLong tests, Holm-adjusted, at 5 %)"
    shown = signed(test.difference, test.low, test.high)
    return f" (difference of AUC {shown.value}, {shown.low} to {shown.high}; {p_value(test.p_holm)})"


def _reversals(cells: Sequence[TestResult]) -> list[str]:
    reversed_cells = [cell for cell in cells if finding(cell) == "reversed"]
    if not reversed_cells:
        return []
    names = "; ".join(_who(cell) for cell in reversed_cells[:_FULL_NOTES])
    more = f" and {len(reversed_cells) - _FULL_NOTES} more" if len(reversed_cells) > _FULL_NOTES else ""
    return [
        f"Below chance: {names}{more}. The learned cues of forgery are more frequent in the real images there. The "
        "values are not inverted, since that would use the labels of the test."
    ]


def _guesses(cells: Sequence[TestResult]) -> list[str]:
    at_chance = [cell for cell in cells if finding(cell) == "chance"]
    if not at_chance or len(cells) == 1:  # a single result says so in its own sentence
        return []
    names = "; ".join(_who(cell) for cell in at_chance[:_FULL_NOTES])
    more = f" and {len(at_chance) - _FULL_NOTES} more" if len(at_chance) > _FULL_NOTES else ""
    return [f"Not significantly above chance (the interval covers 0.5): {names}{more}."]


def _saturation(cells: Sequence[TestResult]) -> list[str]:
    # Expected at 0.99 by the protocol; both sides are worth a note.
    same = [cell for cell in cells if cell.seen]
    if not same:
        return []
    high = [cell for cell in same if cell.auc >= SATURATED]
    if len(high) == len(same):
        others = "; results on unseen generators do."
        tail = others if len(same) < len(cells) else "; add a second generator to measure this."
        detectors = sorted({cell.detector for cell in same})
        several = len(detectors) > 1
        who = "Every detector" if several else detectors[0]
        better = "which detector is better, nor " if several else ""  # one detector has no rival here
        return [
            f"{who} reaches an AUC of 0.99 on the generator seen in training: such a result does not show {better}"
            f"whether it generalizes{tail}"
        ]
    low = [cell for cell in same if cell.auc < SATURATED]
    names = "; ".join(_who(cell) for cell in low[:_FULL_NOTES])
    more = f" and {len(low) - _FULL_NOTES} more" if len(low) > _FULL_NOTES else ""
    return [
        f"Below the AUC of 0.99 expected on the generator seen in training: {names}{more}. Try more training images or "
        "a longer fit."
    ]
