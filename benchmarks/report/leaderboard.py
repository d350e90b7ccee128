"""The short answer for many detectors: one table of detectors by pairings, and its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from benchmarks.measures.results import Cell
from benchmarks.protocol import TrainSet
from benchmarks.report.figures import Figure, Names
from benchmarks.report.numbers import estimate
from benchmarks.report.ranking import Duel, Key, Place, key
from benchmarks.report.svg import WIDTH, Axis, document, number, scale, shorten, text_at

_LINES = 20  # detectors in the picture


@dataclass(frozen=True)
class Field:
    """One cell of the table: a colour step 0..10, the AUC with its interval, the rank, and whether it leads."""

    step: int
    auc: str
    interval: str
    place: str
    leads: bool


@dataclass(frozen=True)
class Column:
    """One pairing; `same`: tested on a generator seen in training."""

    duel: Duel
    same: bool


@dataclass(frozen=True)
class Leaderboard:
    """Detectors by pairings, best first; None where a pairing was not run."""

    trained_on: list[tuple[str, int]]  # with the number of columns of each
    columns: list[Column]
    lines: list[tuple[str, list[Field | None]]]
    order: str


def leaderboard(cells: Sequence[Cell], ranks: Mapping[Key, Place]) -> Leaderboard:
    """Lay out every AUC as one table."""
    columns = columns_of(cells)
    lines = []
    for detector in ordered(cells):
        own = {Duel(c.trained_on, c.tested_on, c.seed): c for c in cells if c.detector == detector}
        lines.append((detector, [_field(own.get(column.duel), ranks) for column in columns]))
    trained = list(dict.fromkeys(column.duel.trained_on for column in columns))
    tested = {cell.tested_on for cell in cells}
    spans = [
        (TrainSet.parse(name).shortened(tested), sum(column.duel.trained_on == name for column in columns))
        for name in trained
    ]
    cross = any(not column.same for column in columns)
    what = "generators not seen in training" if cross else "all columns"
    return Leaderboard(spans, columns, lines, f"Best first by the mean AUC over {what}")


def columns_of(cells: Sequence[Cell]) -> list[Column]:
    """The pairings: those of one training side by side, the generator seen in it first."""
    found = {Duel(c.trained_on, c.tested_on, c.seed): c.seen for c in cells}
    order = {name: i for i, name in enumerate(dict.fromkeys(duel.trained_on for duel in found))}
    ranked = sorted(found, key=lambda duel: (order[duel.trained_on], not found[duel], duel.tested_on, duel.seed))
    return [Column(duel, found[duel]) for duel in ranked]


def ordered(cells: Sequence[Cell]) -> list[str]:
    """Detectors by their mean AUC over the generators they had not seen; those without all pairings at the end."""
    of: dict[str, list[Cell]] = {}
    for cell in cells:
        of.setdefault(cell.detector, []).append(cell)
    most = max((len(group) for group in of.values()), default=0)
    cross = any(not cell.seen for cell in cells)

    def merit(name: str) -> tuple[bool, float, str]:
        counted = [cell.auc for cell in of[name] if not cross or not cell.seen]
        return len(of[name]) < most, -float(np.mean(counted)) if counted else 0.0, name

    return sorted(of, key=merit)


def _field(cell: Cell | None, ranks: Mapping[Key, Place]) -> Field | None:
    if cell is None:
        return None
    shown, place = estimate(cell.auc, cell.auc_low, cell.auc_high), ranks[key(cell)]
    leads = place.rank == 1 and place.rivals > 1
    return Field(round(10 * cell.auc), shown.value, f"[{shown.low}, {shown.high}]", str(place), leads)


def picture_of(cells: Sequence[Cell], names: Names) -> Figure:
    """One row a detector, a mark with its interval for every pairing: rings for seen generators, discs for others."""
    chosen = ordered(cells)[:_LINES]
    seeds = len({cell.seed for cell in cells})
    row, left, right, top = 34.0, 8.0, WIDTH - 8, 46.0
    bottom = top + row * len(chosen)
    low = float(np.floor(min(0.5, *(c.auc_low for c in cells if c.detector in chosen)) * 5) / 5)
    axis = Axis(low, 1.0, [(round(t, 1), f"{t:.1f}") for t in np.arange(low, 1.01, 0.1 if low >= 0.3 else 0.2)], "")

    def px(value: float) -> float:
        return left + float(axis.place(value)[0]) * (right - left)

    body = [
        f'<circle class="ring s4" cx="{number(left + 5)}" cy="8" r="4"/>',
        text_at(left + 14, 12, "generator seen in training", kind="name"),
        f'<circle class="dot s5" cx="{number(left + 195)}" cy="8" r="4.5"/>',
        text_at(left + 204, 12, "never seen", kind="name"),
    ]
    body += scale(sorted({*axis.ticks, (0.5, "0.5")}), px, top - 6, bottom)
    body.append(text_at(px(0.5), top - 12, "guessing", anchor="start" if px(0.5) < 170 else "end", kind="tick"))
    body.append(text_at(right, bottom + 31, "AUC with 95 % interval", anchor="end", kind="label"))
    said = []
    for i, name in enumerate(chosen):
        own = sorted((c for c in cells if c.detector == name), key=lambda c: c.seen)
        body.append(text_at(left, top + row * i + 10, shorten(name, 40), kind="name"))
        body += [_mark(cell, px, top + row * i + 22) for cell in own]
        said.append(f"{name}: " + ", ".join(f"{c.trained_on} to {c.tested_on} {c.auc:.3f}" for c in own))
    alt = f"AUC of each detector on each pairing of training and test generator. {'; '.join(said)}."
    title = "Each detector on every generator" + (f", {seeds} seeds" if seeds > 1 else "")
    if len(ordered(cells)) > _LINES:
        title += f", the first {_LINES} of {len(ordered(cells))}"
    return Figure(names("overview"), title, document(WIDTH, bottom + 38, alt, "".join(body)), alt)


def _mark(cell: Cell, px: Callable[[float], float], y: float) -> str:
    same = cell.seen
    kind = "s4" if same else "s5"
    shape = f'<circle class="{"ring" if same else "dot"} {kind}" cx="{number(px(cell.auc))}" cy="{number(y)}" r="4">'
    arrow = f"{cell.trained_on} → {cell.tested_on}: {estimate(cell.auc, cell.auc_low, cell.auc_high)}"
    line = f'<path class="thin {kind}" d="M{number(px(cell.auc_low))} {number(y)}H{number(px(cell.auc_high))}"/>'
    return f"{line}{shape}<title>{escape(arrow)}</title></circle>"
