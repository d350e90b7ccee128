"""Usefulness of forgeries as training images, as the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmarks.evaluation.run_facts import Design, UsefulnessRow

if TYPE_CHECKING:
    from forge.quality.result import SeedMean
    from forge.quality.usefulness import Usefulness  # imports torch


def usefulness_rows(measured: Mapping[str, Usefulness]) -> list[UsefulnessRow]:
    """Return per label column the accuracy score, then the gains, smallest set first.

    Args:
        measured: label column -> its measurement.
    """
    return [row for column, score in measured.items() for row in _of_column(column, score)]


def _of_column(column: str, score: Usefulness) -> list[UsefulnessRow]:
    def row(
        design: Design, reals: int, forgeries: int, without: SeedMean, augmented: SeedMean, difference: SeedMean
    ) -> UsefulnessRow:
        return UsefulnessRow(
            column=column,
            design=design,
            reals=reals,
            forgeries=forgeries,
            without=without.value,
            augmented=augmented.value,
            difference=difference.value,
            low=difference.low,
            high=difference.high,
            seeds=len(difference.seeds),
            labels=len(score.labels),
            rare=score.rare,
            n_test=score.n_test,
        )

    # each classifier of the accuracy score has n images: one of them real ones alone, the other forgeries alone
    in_place = row("in place", score.n, score.n, score.reals, score.forgeries, score.difference)
    gains = [
        row("balanced" if g.ratio == 1 else "unbalanced", g.reals, g.forgeries, g.without, g.augmented, g.gain)
        for g in score.gains
    ]
    return [in_place, *gains]
