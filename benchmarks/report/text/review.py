"""Answers to the questions of a reviewer, from the scores and audits of a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.evaluation.audits.score_rows import RANDOM
from benchmarks.evaluation.cells import Scored, cells_of
from benchmarks.evaluation.column import VarianceParts
from benchmarks.evaluation.formats import interval, standing
from benchmarks.evaluation.leaderboard import Leaderboard, ranked
from benchmarks.evaluation.numbers import count
from benchmarks.evaluation.results import Results
from benchmarks.evaluation.review import Agreement, agreement, variance_parts, with_another_seed, with_twice_the_images
from benchmarks.protocol import NEW_FAMILY, Condition, Protocol
from benchmarks.report.run_leaderboard import scores_of
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.run_warnings import enumerated

Cells = Mapping[str, Mapping[str, Sequence[Scored]]]


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        question: its heading.
        sentences: paragraphs.
        headings: of its table; empty: it has none.
        rows: of the table, as text.
    """

    question: str
    sentences: list[str]
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def review(report: RunReport) -> list[Answer]:
    """Answer what a reviewer asks of a table.

    Raises:
        InputError: the report has no test of real and forged images.
    """
    results = report.results
    cells = cells_of(scores_of(report), Protocol(results.protocol_version, results.families))
    board = ranked(cells)
    parts = variance_parts(cells, board.primary)
    return [
        _chance(board, results),
        _parts(board, parts),
        _carried(board, cells),
        _another_seed(board, parts),
        _audits(results),
        _limits(board, results),
    ]


def _chance(board: Leaderboard, results: Results) -> Answer:
    question = "Is a detector that knows nothing at chance?"
    audit = next((finding.sentence for finding in results.audits if finding.audit == "random scores"), "")
    line = next((line for line in board.lines if line.detector == RANDOM), None)
    if line is None:
        return Answer(question, [f"Not known: the run has no detector {RANDOM}. Add it: -d {RANDOM}."])
    shown = standing(line.columns[board.primary])
    return Answer(question, [f"{RANDOM} has AUC {shown} in {board.primary}, at 95 %.", *([audit] if audit else [])])


def _parts(board: Leaderboard, parts: Mapping[str, VarianceParts]) -> Answer:
    question = "How much of the uncertainty is images, seeds, generators?"
    if not parts:
        return Answer(question, ["Not known: no detector has every test of the column."])
    group = "families of generators" if board.families else "generators"
    rows = tuple((name, *map(_deviation, (of.images, of.seeds, of.generators))) for name, of in parts.items())
    medians = {
        what: median(values) ** 0.5
        for what in ("images", "seeds", "generators")
        if (values := [value for of in parts.values() if (value := getattr(of, what)) is not None])
    }
    sizes = enumerated([f"{value:.3f} from {what}" for what, value in medians.items()])
    largest = max(medians, key=lambda what: medians[what])
    sentences = [
        f"Standard deviation of the mean AUC in {board.primary}, of the median detector: {sizes}. The largest part is "
        f"{largest}.",
        f"Generators: what other {group} like these would change. The intervals of the table are over images and "
        "seeds, for these generators; the part of seeds is pooled over detectors.",
    ]
    return Answer(question, sentences, ("detector", "images", "seeds", "generators"), rows)


def _deviation(variance: float | None) -> str:
    return "–" if variance is None else f"{variance**0.5:.3f}"


def _carried(board: Leaderboard, cells: Cells) -> Answer:
    question = f"Do ranks carry over from {board.primary} to other columns?"
    every = [agreement(cells, board.primary, column) for column in board.columns if column != board.primary]
    others = [each for each in every if each is not None]
    if not others:
        return Answer(question, ["Not known: no other column has five detectors in common with it."])
    rows = tuple((each.column, str(each.detectors), _tau(each)) for each in others)
    kept = [each.column for each in others if each.low > 0]
    sentences = [
        "Kendall's tau-b of the orders of detectors, controls left out, with a 95 % interval over generators and test "
        "images: 1 is the same order, 0 no relation."
    ]
    if kept:
        sentences.append(f"The order is related in {enumerated(kept)}: the interval lies above 0.")
    if lost := [each.column for each in others if each.low <= 0]:
        sentences.append(f"It is not shown to be related in {enumerated(lost)}.")
    return Answer(question, sentences, ("column", "detectors", "tau"), rows)


def _tau(each: Agreement) -> str:
    return f"{each.tau:.2f} [{each.low:.2f}, {each.high:.2f}]"


def _another_seed(board: Leaderboard, parts: Mapping[str, VarianceParts]) -> Answer:
    question = "What would one more seed change?"
    seeds = len(board.seeds)
    ratios = [ratio for of in parts.values() if (ratio := with_another_seed(of, seeds)) is not None]
    if not ratios:
        return Answer(
            question, ["Not known: with one seed nothing is known of others; a second one shows how much they differ."]
        )
    images = median(map(with_twice_the_images, parts.values()))
    return Answer(
        question,
        [
            f"The standard error of the median detector would fall by {100 * (1 - median(ratios)):.0f} % with "
            f"{seeds + 1} seeds instead of {seeds}, and by {100 * (1 - images):.0f} % with twice the test images.",
        ],
    )


def _audits(results: Results) -> Answer:
    passed = [finding for finding in results.audits if finding.passed is True]
    failed = [finding for finding in results.audits if finding.passed is False]
    silent = [finding for finding in results.audits if finding.passed is None]
    sentences = [
        f"{len(passed)} audits passed, {len(failed)} failed, {len(silent)} had nothing to decide or were not run."
    ]
    sentences += [f"Failed: {finding.audit}. {finding.sentence}" for finding in failed]
    absent = [finding.audit for finding in silent if finding.sentence.startswith("Not run")]
    sentences += [f"Not run: {enumerated(absent)}."] if absent else []
    return Answer("Which checks for shortcuts and leaks ran?", sentences)


def _limits(board: Leaderboard, results: Results) -> Answer:
    return Answer("What can this table not say?", list(_unsaid(board, results)))


def _unsaid(board: Leaderboard, results: Results) -> Iterator[str]:
    if board.detectable is not None:
        yield f"Differences of mean AUC below {board.detectable:.2g} are not resolved at 80 % power."
    families = len(board.families)
    if 1 < families < NEW_FAMILY:
        leader = board.lines[0]
        wide = interval(leader.columns[board.primary], new_family=True)
        yield f"It has {families} families of generators; for a new one the interval of {leader.detector} is {wide}."
    elif families < 2:
        yield "It has no column of unseen families, so that it says nothing of forgeries of another kind."
    data = results.data
    yield f"All real images are of {data.name} at {data.resolution} px; other photos and sizes may give other values."
    conditions = {cell.condition for cell in results.cells}
    if Condition.EXTERNAL not in conditions:
        yield "All forgeries were made by generators of this run: there is no column of a test set from elsewhere."
    if Condition.WILD not in conditions:
        yield "No test image went through the changes of photos on the web (wild)."
    if not results.attacks:
        yield "No image was changed by an adversary."
    if len(board.seeds) < 2:
        yield "With one seed it does not show how much another training would change."
    unknown = next((finding.sentence for finding in results.audits if finding.audit == "identities"), "")
    if "unknown" in unknown.lower():
        yield unknown
    trained = [generator for generator in results.generators if generator.trained and generator.kimg]
    if trained:
        longest = max(trained, key=lambda generator: generator.kimg)
        yield (
            f"Generators were trained on at most {count(round(longest.kimg))} thousand images ({longest.name}); longer "
            "trainings make better forgeries."
        )
