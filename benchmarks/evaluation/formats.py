"""A leaderboard as text: Markdown, HTML, CSV, JSON, and the rows of a terminal's table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html import escape
from typing import Protocol

from benchmarks.evaluation import contamination
from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.leaderboard import Leaderboard, Line, Spread, Standing
from benchmarks.evaluation.numbers import amount, count, estimate, p_value
from benchmarks.evaluation.seed_variance import FEWEST
from benchmarks.protocol import ALPHA, NEW_FAMILY, Condition
from forge.core.files import csv_cell

MEASURES = {"balanced accuracy": "balanced_accuracy", "TPR at 1 % FPR": "tpr_at_fpr_1pct"}
_MEASURE_NOTES = {
    "balanced accuracy": "Balanced accuracy at the threshold fixed on validation data",
    "TPR at 1 % FPR": "TPR at 1 % FPR",
}
FORMATS = ("table", "md", "html", "latex", "csv", "json")


@dataclass(frozen=True)
class Cost:
    """Cost of a detector: images scored per second, learned values, seconds of the median fit."""

    images_per_second: float | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Sheet:
    """A leaderboard ready to print.

    Attributes:
        board: the leaderboard.
        title: of the suite.
        protocol: version of the measuring protocol.
        costs: by detector; those scored elsewhere have none.
        verdicts: sentences of failed audits, shown above the table.
        only: the columns to show; empty: all.
    """

    board: Leaderboard
    title: str
    protocol: int
    costs: Mapping[str, Cost]
    verdicts: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that are shown, the one that ranks among them."""
        return [name for name in self.board.columns if not self.only or name in (self.board.primary, *self.only)]

    @property
    def headings(self) -> list[str]:
        """Headings of the columns of `rows`."""
        second = [self.second] if self.second else []
        names = []
        for name in self.columns:
            names += [name, *second] if name == self.board.primary else [name]
        return ["rank", "detector", *names, *self.measures, "images/s", "parameters"]

    @property
    def second(self) -> str:
        """Heading of the second interval of the primary column; empty where there is only one interval."""
        if len(self.board.families) < 2:
            return ""
        return "95 %, these families" if self.board.for_new_family else "95 %, new family"

    @property
    def measures(self) -> dict[str, str]:
        """Metrics at the stored thresholds, heading -> field of a line; empty where no line has values."""
        return {
            heading: field
            for heading, field in MEASURES.items()
            if any(getattr(line, field) is not None for line in self.board.lines)
        }

    @property
    def rows(self) -> list[list[str]]:
        """The table as text, best first; a column with missing tests shows their number instead of a mean."""
        return [self._row(line) for line in self.board.lines]

    def _row(self, line: Line) -> list[str]:
        cost = self.costs.get(line.detector)
        speed = count(round(cost.images_per_second)) if cost and cost.images_per_second else "–"
        values = []
        for name in self.columns:
            values.append(standing(line.columns[name], new_family=self.board.for_new_family) + mark(line.columns[name]))
            if self.second and name == self.board.primary:
                values.append(interval(line.columns[name], new_family=not self.board.for_new_family))
        values += [share(getattr(line, field)) for field in self.measures.values()]
        return [rank(line), line.detector, *values, speed, amount(cost.parameters) if cost else "–"]

    @property
    def notes(self) -> list[str]:
        """Notes below a table of all columns."""
        return self.notes_of(self.headings)

    def notes_of(self, shown: Collection[str]) -> list[str]:
        """Return notes below a table: definitions of values, intervals and ranks.

        Args:
            shown: headings of the columns that the table shows; the others have no note.
        """
        board = self.board
        seeds = f"{len(board.seeds)} seeds" if len(board.seeds) > 1 else "one seed"
        cover = "images and seeds" if len(board.seeds) > 1 else "images only: one seed gives no variance between seeds"
        ranked = sum(line.rank is not None and line.detector not in CONTROLS for line in board.lines)
        pooled = len(board.seeds) > 1 and ranked >= FEWEST
        moderated = (
            " The between-seed variance is pooled over detectors (moderated variances, Smyth 2004)." if pooled else ""
        )
        notes = [
            f"Mean AUC over the tests of a column, {seeds}, with its 95 % interval over {cover}.{moderated} "
            f"Protocol {self.protocol}.",
            *_family_notes(board, self.protocol, two_intervals=self.second in shown),
            f"Rank: by {board.primary} ({board.columns[board.primary]}){_scope(board)}; a detector that no "
            "paired test separates from the leader (Holm over all pairs) shares its rank; in brackets the range of "
            "ranks that the tests do not exclude.",
        ]
        if board.detectable is not None:
            notes.append(f"Minimum detectable difference of two mean AUCs at 80 % power: {board.detectable:.2g}.")
        measures = [_MEASURE_NOTES[heading] for heading in self.measures if heading in shown]
        if measures:
            text = f"{', and '.join(measures)}, are means" if len(measures) > 1 else f"{measures[0]} is a mean"
            notes.append(f"{text} over the tests of {board.primary}.")
        notes += contamination.notes_of(board, shown)
        spreads = [spread for spread in board.spreads if spread.column in shown]
        if len(spreads) > 1:
            first, last = spreads[0], spreads[-1]
            notes.append(
                "Ratio of the standard deviation between detectors to the median width of their intervals: highest in "
                f"{first.column} ({_ratio(first)}), lowest in {last.column} ({_ratio(last)})."
            )
        if board.many is not None:
            many = board.many
            notes.append(
                f"Friedman over the {many.sets} test sets: {p_value(many.p)}; Nemenyi: mean ranks that differ by "
                f"{many.critical_difference:.2f} differ significantly."
            )
        return notes


def _family_notes(board: Leaderboard, protocol: int, *, two_intervals: bool) -> list[str]:
    """Explain the intervals of the primary column that are shown, or the absence of a column of unseen families."""
    count = len(board.families)
    if count > 1:
        mean = f"{board.primary} is the mean over {count} families ({', '.join(board.families)})."
        if not two_intervals:
            interval = "a new family and includes the variation between families"
            return [f"{mean} Its interval is for {interval if board.for_new_family else 'these families'}."]
        order = "is shown first" if board.for_new_family else f"is shown first from {NEW_FAMILY} families on"
        return [
            f"{mean} The interval over images and seeds is for these families; the interval for a new family adds the "
            f"variation between families and {order}."
        ]
    if protocol > 1 and board.primary != Condition.UNSEEN and Condition.UNSEEN not in board.columns:
        return [
            f"Ranked by {board.primary}: there is no column {Condition.UNSEEN}, which needs generators of two families "
            "or more, and conditions.unseen not set to false."
        ]
    return []


def _scope(board: Leaderboard) -> str:
    """Name the families for which the ranks hold; empty with fewer than two."""
    if len(board.families) < 2:
        return ""
    different = [pair for pair in board.differences if pair.p_holm < ALPHA]
    kept = sum(pair.family_p_holm is not None and pair.family_p_holm < ALPHA for pair in different)
    return (
        f", for these families, by tests over images and seeds ({kept} of the {len(different)} pairs that differ also "
        "differ for a new family)"
    )


def _ratio(spread: Spread) -> str:
    """Format the ratio of a column, with the standard deviation of the detectors' values."""
    ratio = "" if spread.ratio is None else f"{spread.ratio:.1f}, "
    return f"{ratio}SD {spread.sd:.2g}"


class Ranked(Protocol):
    """A line of a leaderboard with its rank."""

    @property
    def rank(self) -> int | None:
        """Rank; None where tests are missing."""

    @property
    def rank_low(self) -> int | None:
        """Best rank that the tests do not exclude."""

    @property
    def rank_high(self) -> int | None:
        """Worst rank that the tests do not exclude."""


class TextTable(Protocol):
    """A table ready to print: a leaderboard, or the tests of a detector by generator."""

    @property
    def title(self) -> str:
        """Title of the suite."""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Sentences of failed audits, shown above the table."""

    @property
    def headings(self) -> list[str]:
        """Headings of the columns, `rank` and `detector` first, or `family` and `generator`."""

    @property
    def rows(self) -> list[list[str]]:
        """The table as text, best first."""

    @property
    def notes(self) -> list[str]:
        """Notes below the table."""


def rank(line: Ranked) -> str:
    """Format a rank with the range of ranks that the tests do not exclude: 1 (1–3); a dash where tests are missing."""
    if line.rank is None or line.rank_low is None or line.rank_high is None:
        return "–"
    return f"{line.rank}" if line.rank_low == line.rank_high else f"{line.rank} ({line.rank_low}–{line.rank_high})"


def standing(mean: Standing, *, new_family: bool = False) -> str:
    """Format a mean with its interval, or the number of missing tests; a dash where the detector has no test.

    Args:
        mean: of a detector in a column.
        new_family: show the interval for a new family where there is one.
    """
    if not mean.cells:
        return "–"
    if mean.value is None or mean.low is None or mean.high is None:
        return f"{mean.missing} of {mean.cells + mean.missing} missing"
    if new_family and mean.family_low is not None and mean.family_high is not None:
        return str(estimate(mean.value, mean.family_low, mean.family_high))
    return str(estimate(mean.value, mean.low, mean.high))


def interval(mean: Standing, *, new_family: bool) -> str:
    """Format one of the two intervals of a mean without its value; a dash where there is none."""
    if mean.value is None or (new_family and mean.family_low is None):
        return "–"
    return standing(mean, new_family=new_family).partition(" ")[2]


def mark(mean: Standing) -> str:
    """Return the sign behind a mean over a test set that the detector was trained on; empty behind others."""
    return f" {contamination.MARK}" if mean.seen and mean.value is not None else ""


def share(value: float | None) -> str:
    """Format a share with two decimals; a dash where it is not known."""
    return "–" if value is None else f"{value:.2f}"


def markdown(sheet: TextTable) -> str:
    """Format the table as Markdown."""
    lines = [f"**{verdict}**" for verdict in sheet.verdicts]
    lines += [""] if lines else []
    first = "---:" if sheet.headings[0] == "rank" else "---"
    lines += [_row(sheet.headings), f"|{first}|---|" + "---:|" * (len(sheet.headings) - 2)]
    lines += [_row(row) for row in sheet.rows]
    return "\n".join([*lines, "", *sheet.notes]) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(sheet: TextTable) -> str:
    """Format the table as HTML without styles."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in sheet.headings)
    body = []
    for row in sheet.rows:
        cells = [f"<td>{escape(row[0])}</td>", f'<th scope="row">{escape(row[1])}</th>']
        body.append("<tr>" + "".join(cells + [f"<td>{escape(cell)}</td>" for cell in row[2:]]) + "</tr>")
    notes = "".join(f"<p>{escape(note)}</p>" for note in sheet.notes)
    verdicts = "".join(f"<p><strong>{escape(verdict)}</strong></p>" for verdict in sheet.verdicts)
    caption = f"<caption>{escape(sheet.title)}</caption>"
    inner = "\n".join(body)
    return f"{verdicts}<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{inner}\n</tbody></table>\n{notes}\n"


def to_csv(sheet: Sheet) -> str:
    """Format the table as CSV, one row per detector: rank, then value, interval and SD of each column, six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("value", "low", "high", "family_low", "family_high", "sd", "missing")
    names = [f"{name} {part}".replace(" value", "") for name in sheet.board.columns for part in parts]
    # a column of its own where a detector has seen a test set; tables without have the columns they had
    marked = {name for name in sheet.board.columns if any(line.columns[name].seen for line in sheet.board.lines)}
    writer.writerow(
        [
            *("rank", "rank_low", "rank_high", "detector"),
            *map(csv_cell, names),
            *(csv_cell(f"{name} seen") for name in sheet.board.columns if name in marked),
            *MEASURES.values(),
            *("images_per_second", "parameters"),
        ]
    )
    for line in sheet.board.lines:
        values: list[object] = []
        for name in sheet.board.columns:
            mean = line.columns[name]
            numbers = (mean.value, mean.low, mean.high, mean.family_low, mean.family_high, mean.sd)
            values += ["" if number is None else f"{number:.6f}" for number in numbers] + [mean.missing]
        values += [csv_cell("; ".join(line.columns[name].seen)) for name in sheet.board.columns if name in marked]
        cost = sheet.costs.get(line.detector)
        ranks = ["" if rank is None else rank for rank in (line.rank, line.rank_low, line.rank_high)]
        speed = cost.images_per_second if cost and cost.images_per_second is not None else ""
        measured = [getattr(line, field) for field in MEASURES.values()]
        values += ["" if number is None else f"{number:.6f}" for number in measured]
        writer.writerow([*ranks, csv_cell(line.detector), *values, speed, cost.parameters if cost else ""])
    return text.getvalue()


def to_json(sheet: Sheet) -> str:
    """Format the whole leaderboard, with costs and verdicts, as JSON."""
    head = {"title": sheet.title, "protocol": sheet.protocol, "verdicts": list(sheet.verdicts)}
    costs = {name: vars(cost) for name, cost in sheet.costs.items()}
    return json.dumps(head | sheet.board.model_dump(mode="json") | {"costs": costs}, indent=1) + "\n"
