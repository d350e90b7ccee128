"""A leaderboard as text: Markdown, HTML, CSV, JSON, and the rows of a terminal's table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.leaderboard import Leaderboard, Line, Spread, Standing
from benchmarks.evaluation.numbers import amount, count, estimate, p_value
from benchmarks.evaluation.seed_variance import FEWEST
from benchmarks.protocol import ALPHA, NEW_FAMILY, Condition
from forge.core.files import csv_cell

MEASURES = {"balanced accuracy": "balanced_accuracy", "TPR at 1 % FPR": "tpr_at_fpr_1pct"}
FORMATS = ("table", "md", "html", "csv", "json")


@dataclass(frozen=True)
class Cost:
    """What a detector costs: images scored a second, learned values, seconds of the median fit."""

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
        verdicts: what audits found, sentences that stand above the table.
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
        """Of the columns of `rows`."""
        second = [self.second] if self.second else []
        names = []
        for name in self.columns:
            names += [name, *second] if name == self.board.primary else [name]
        return ["rank", "detector", *names, *self.measures, "images/s", "parameters"]

    @property
    def second(self) -> str:
        """Heading of the primary column's other interval; empty where there is one interval alone."""
        if len(self.board.families) < 2:
            return ""
        return "95 %, these families" if self.board.for_new_family else "95 %, new family"

    @property
    def measures(self) -> dict[str, str]:
        """What detectors do at their thresholds, heading -> field of a line; empty where nothing is known."""
        return {
            heading: field
            for heading, field in MEASURES.items()
            if any(getattr(line, field) is not None for line in self.board.lines)
        }

    @property
    def rows(self) -> list[list[str]]:
        """The table as text, best first; what a detector lacks is said and not averaged."""
        return [self._row(line) for line in self.board.lines]

    def _row(self, line: Line) -> list[str]:
        cost = self.costs.get(line.detector)
        speed = count(round(cost.images_per_second)) if cost and cost.images_per_second else "–"
        values = []
        for name in self.columns:
            values.append(standing(line.columns[name], new_family=self.board.for_new_family))
            if self.second and name == self.board.primary:
                values.append(interval(line.columns[name], new_family=not self.board.for_new_family))
        values += [share(getattr(line, field)) for field in self.measures.values()]
        return [rank(line), line.detector, *values, speed, amount(cost.parameters) if cost else "–"]

    @property
    def notes(self) -> list[str]:
        """What a reader has to know, below the table."""
        board = self.board
        seeds = f"{len(board.seeds)} seeds" if len(board.seeds) > 1 else "one seed"
        cover = "images and seeds" if len(board.seeds) > 1 else "images alone: one seed says nothing of another run"
        ranked = sum(line.rank is not None and line.detector not in CONTROLS for line in board.lines)
        pooled = len(board.seeds) > 1 and ranked >= FEWEST
        learned = " All detectors together say how much seeds matter." if pooled else ""
        found = [
            f"Mean AUC over the tests of a column, {seeds}, with its 95 % interval over {cover}.{learned} Protocol "
            f"{self.protocol}.",
            *_family_notes(board, self.protocol),
            f"Rank: by {board.primary} ({board.columns[board.primary]}){_scope(board)}; a detector that a paired test "
            "cannot tell from the leader (Holm over all pairs) shares its rank, in brackets the ranks that the tests "
            "leave open.",
        ]
        if board.detectable is not None:
            found.append(f"Minimum detectable difference of two mean AUCs at 80 % power: {board.detectable:.2g}.")
        if self.measures:
            found.append(
                f"Balanced accuracy at the threshold fixed on validation data, and TPR at 1 % FPR, are means over the "
                f"tests of {board.primary}."
            )
        spreads = [spread for spread in board.spreads if spread.column in self.columns]
        if len(spreads) > 1:
            first, last = spreads[0], spreads[-1]
            found.append(
                f"Detectors are told apart best by {first.column} (SD of their values {_by_width(first)}) and worst by "
                f"{last.column} ({_by_width(last)})."
            )
        if board.many is not None:
            many = board.many
            found.append(
                f"Friedman over the {many.sets} test sets: {p_value(many.p)}; Nemenyi: mean ranks that differ by "
                f"{many.critical_difference:.2f} differ significantly."
            )
        return found


def _family_notes(board: Leaderboard, protocol: int) -> list[str]:
    """What the two intervals of the primary column mean, or why there is no column of unseen families."""
    count = len(board.families)
    if count > 1:
        headline = "is the headline" if board.for_new_family else f"is the headline from {NEW_FAMILY} families on"
        return [
            f"{board.primary} is the mean over {count} families ({', '.join(board.families)}). The interval over "
            "images and seeds holds for these families; that for a new family adds the variation between families and "
            f"{headline}."
        ]
    if protocol > 1 and board.primary != Condition.UNSEEN and Condition.UNSEEN not in board.columns:
        return [
            f"Ranked by {board.primary}: there is no column {Condition.UNSEEN}, which needs generators of two families "
            "or more and the setting conditions.unseen."
        ]
    return []


def _scope(board: Leaderboard) -> str:
    """For which families the ranks hold."""
    if len(board.families) < 2:
        return ""
    apart = [duel for duel in board.duels if duel.p_holm < ALPHA]
    kept = sum(duel.family_p_holm is not None and duel.family_p_holm < ALPHA for duel in apart)
    return (
        f", for these families, by tests over images and seeds ({kept} of the {len(apart)} pairs that differ also "
        "differ for a new family)"
    )


def _by_width(spread: Spread) -> str:
    times = "" if spread.ratio is None else f", {spread.ratio:.1f} times the width of an interval"
    return f"{spread.sd:.2g}{times}"


def rank(line: Line) -> str:
    """The rank with the ranks that tests leave open: 1 (1–3); a dash where cells are missing."""
    if line.rank is None or line.rank_low is None or line.rank_high is None:
        return "–"
    return f"{line.rank}" if line.rank_low == line.rank_high else f"{line.rank} ({line.rank_low}–{line.rank_high})"


def standing(found: Standing, *, new_family: bool = False) -> str:
    """A value with its interval, or how much is missing; a dash where a detector was not in the column at all.

    Args:
        found: the value.
        new_family: show the interval for a new family where there is one.
    """
    if not found.cells:
        return "–"
    if found.value is None or found.low is None or found.high is None:
        return f"{found.missing} of {found.cells + found.missing} missing"
    if new_family and found.family_low is not None and found.family_high is not None:
        return str(estimate(found.value, found.family_low, found.family_high))
    return str(estimate(found.value, found.low, found.high))


def interval(found: Standing, *, new_family: bool) -> str:
    """One of the two intervals of a value alone; a dash where there is none."""
    if found.value is None or (new_family and found.family_low is None):
        return "–"
    return standing(found, new_family=new_family).partition(" ")[2]


def share(value: float | None) -> str:
    """A share with two decimals; a dash where it is not known."""
    return "–" if value is None else f"{value:.2f}"


def markdown(sheet: Sheet) -> str:
    """A table for a README or a pull request."""
    lines = [f"**{verdict}**" for verdict in sheet.verdicts]
    lines += [""] if lines else []
    lines += [_row(sheet.headings), "|---:|---|" + "---:|" * (len(sheet.headings) - 2)]
    lines += [_row(row) for row in sheet.rows]
    return "\n".join([*lines, "", *sheet.notes]) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(sheet: Sheet) -> str:
    """A table for a page; styles are the page's."""
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
    """One row a detector: rank, then value, ends and spread of every column, six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("value", "low", "high", "family_low", "family_high", "sd", "missing")
    names = [f"{name} {part}".replace(" value", "") for name in sheet.board.columns for part in parts]
    writer.writerow(
        [
            *("rank", "rank_low", "rank_high", "detector"),
            *map(csv_cell, names),
            *MEASURES.values(),
            *("images_per_second", "parameters"),
        ]
    )
    for line in sheet.board.lines:
        values: list[object] = []
        for name in sheet.board.columns:
            found = line.columns[name]
            numbers = (found.value, found.low, found.high, found.family_low, found.family_high, found.sd)
            values += ["" if number is None else f"{number:.6f}" for number in numbers] + [found.missing]
        cost = sheet.costs.get(line.detector)
        ranks = ["" if one is None else one for one in (line.rank, line.rank_low, line.rank_high)]
        speed = cost.images_per_second if cost and cost.images_per_second is not None else ""
        measured = [getattr(line, field) for field in MEASURES.values()]
        values += ["" if number is None else f"{number:.6f}" for number in measured]
        writer.writerow([*ranks, csv_cell(line.detector), *values, speed, cost.parameters if cost else ""])
    return text.getvalue()


def to_json(sheet: Sheet) -> str:
    """Everything."""
    found = {"title": sheet.title, "protocol": sheet.protocol, "verdicts": list(sheet.verdicts)}
    costs = {name: vars(cost) for name, cost in sheet.costs.items()}
    return json.dumps(found | sheet.board.model_dump(mode="json") | {"costs": costs}, indent=1) + "\n"
