"""Labels of conditional generators: label columns of a set, and their values as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forge.core.errors import InputError, UnknownNameError, quoted
from forge.faces.faceset import FaceView
from forge.generators.domains import common_column

AUTO = "auto"
MAX_VALUES = 100  # more different values than this are measurements or names, not classes
Codes = NDArray[np.int64]
Mix = Literal["training", "uniform"] | Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Condition:
    """Label columns and the values each can take.

    Attributes:
        values: column -> its values, sorted; a label's code is its place.
        shares: column -> share of each value in the training set.
    """

    values: dict[str, tuple[str, ...]]
    shares: dict[str, tuple[float, ...]]

    @classmethod
    def of(cls, view: FaceView, columns: Sequence[str]) -> tuple[Self, FaceView, Codes]:
        """Read the labels of a set.

        Args:
            view: images; those without a label in one of the columns are left out.
            columns: of the set's table; "auto" stands for the first with 2 to 10 values that each have 5 % or more.

        Returns:
            The condition, the images that have all labels, and their codes int64 [N, C].

        Raises:
            UnknownNameError: no such label column.
            InputError: a column with fewer than two or more than 100 values.
        """
        known = view.faces.card.attributes
        # dict.fromkeys drops repetitions and keeps the order, which is that of the columns of codes
        columns = list(dict.fromkeys(common_column(view) if column == AUTO else column for column in columns))
        for column in columns:
            if column not in known:
                raise UnknownNameError("label column", column, known)
        rows = view.rows[list(columns)]
        # an image must have all labels: a missing one would be encoded as -1, which is no row of an embedding
        labelled = rows.notna().all(axis=1).to_numpy()
        # as text, whatever the column's type: cards store it and mixes on the command line name it
        view, texts = FaceView(view.faces, view.index[labelled]), rows[labelled].astype(str)
        values: dict[str, tuple[str, ...]] = {}
        for column in columns:
            # sorted, so that codes do not depend on the order of the images
            column_values = tuple(sorted(texts[column].unique()))
            if len(column_values) < 2:
                only = f"only {quoted(column_values[0])}" if column_values else "no value at all"
                raise InputError(f"label column {quoted(column)} has {only}; a condition needs at least two values")
            if len(column_values) > MAX_VALUES:
                raise InputError(
                    f"label column {quoted(column)} has {len(column_values)} different values; a condition needs "
                    f"classes, at most "
                    f"{MAX_VALUES}"
                )
            values[column] = column_values
        shares = {
            # value_counts sorts by frequency; .loc brings the shares into the order of the codes
            column: tuple(float(share) for share in texts[column].value_counts(normalize=True).loc[list(column_values)])
            for column, column_values in values.items()
        }
        condition = cls(values, shares)
        return condition, view, condition.encode(texts)

    @property
    def classes(self) -> tuple[int, ...]:
        """The number of values of each column."""
        return tuple(map(len, self.values.values()))

    def encode(self, rows: pd.DataFrame) -> Codes:
        """Labels of a table to codes int64 [N, C]."""
        # pandas gives -1 to a value outside `categories`
        columns = [pd.Categorical(rows[name], categories=values).codes for name, values in self.values.items()]
        return np.stack(columns, axis=1).astype(np.int64)

    def decode(self, codes: Codes) -> list[dict[str, str]]:
        """Return codes int64 [N, C] to one mapping column -> value per image."""
        return [
            {name: values[code] for (name, values), code in zip(self.values.items(), row, strict=True)} for row in codes
        ]

    def draw(self, count: int, mix: Mix, rng: np.random.Generator) -> Codes:
        """Draw labels, each column by itself.

        Args:
            count: labels.
            mix: "training": as often as in the training set; "uniform": every value alike; or column -> value -> weight
                (columns that are not named: as in the training set; values that are not named: never).
            rng: source of randomness.

        Returns:
            Codes int64 [count, C].

        Raises:
            UnknownNameError: a column or value that the generator does not know.
            InputError: weights that are negative or all zero.
        """
        chances = self.chances(mix)
        # columns are drawn independently: correlations between labels of the training set are not kept
        return np.stack([rng.choice(len(share), count, p=share) for share in chances], axis=1).astype(np.int64)

    def chances(self, mix: Mix) -> list[NDArray[np.float64]]:
        """Return the probability of each value, column by column; see `draw`."""
        if mix == "uniform":
            return [np.full(size, 1 / size) for size in self.classes]
        # divided by their sum again: rng.choice refuses probabilities that miss 1 by more than rounding
        chances = {name: np.array(share) / sum(share) for name, share in self.shares.items()}
        if not isinstance(mix, str):
            for column, weights in mix.items():
                if column not in self.values:
                    raise UnknownNameError("label column", column, self.values)
                for value in weights:
                    if value not in self.values[column]:
                        raise UnknownNameError(f"value of {column}", value, self.values[column])
                wanted = np.array([float(weights.get(value, 0.0)) for value in self.values[column]])
                # checked before the division, which an all-zero mix would turn into NaN
                if wanted.min() < 0 or wanted.sum() <= 0:
                    raise InputError(f"the mix of {quoted(column)} must be weights of 0 or more that are not all 0")
                chances[column] = wanted / wanted.sum()
        return list(chances.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for a card."""
        return {
            "values": {k: list(v) for k, v in self.values.items()},
            "shares": {k: list(v) for k, v in self.shares.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_json` gave."""
        return cls(
            {name: tuple(entries) for name, entries in value["values"].items()},
            {name: tuple(entries) for name, entries in value["shares"].items()},
        )
