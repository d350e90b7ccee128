"""A leaderboard taken apart by tested generator: its columns for one condition, or rows for one detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.leaderboard import Standing, expected_of, standing_of, within_bounds
from benchmarks.protocol import order_of_columns

Cells = Mapping[str, Mapping[str, Sequence[Scored]]]  # detector -> column -> its cells


def generators_in(cells: Cells, column: str | None = None) -> list[str]:
    """Return the names of the tested generators, sorted; of one column or of all."""
    return sorted(
        {
            cell.where.tested_on
            for of in cells.values()
            for name, some in of.items()
            if column in (None, name)
            for cell in some
        }
    )


def columns_by_generator(cells: Cells, column: str) -> dict[str, dict[str, list[Scored]]]:
    """Return the cells of a column under its name, and those of each tested generator under the generator's."""
    by_generator: dict[str, dict[str, list[Scored]]] = {}
    for detector, of in cells.items():
        if of.get(column):
            parts: dict[str, list[Scored]] = {column: list(of[column])}
            for cell in of[column]:
                parts.setdefault(cell.where.tested_on, []).append(cell)
            by_generator[detector] = parts
    return by_generator


def standings_by_generator(cells: Cells) -> dict[str, dict[str, dict[str, Standing]]]:
    """Return detector -> tested generator -> column -> the mean over its tests with this generator, and over seeds.

    As in a leaderboard the variance between seeds is pooled over the detectors that have all of these tests.
    """
    standings: dict[str, dict[str, dict[str, Standing]]] = {detector: {} for detector in cells}
    for column in order_of_columns({name for of in cells.values() for name in of}):
        for generator in generators_in(cells, column):
            some = {
                detector: {column: [cell for cell in of.get(column, []) if cell.where.tested_on == generator]}
                for detector, of in cells.items()
            }
            expected = expected_of(column, some)
            whole = Column({name: of[column] for name, of in some.items() if len(of[column]) == len(expected)})
            for detector, of in some.items():
                if of[column]:
                    standing = standing_of(whole, detector, of[column], expected)
                    standings[detector].setdefault(generator, {})[column] = within_bounds(standing)
    return standings
