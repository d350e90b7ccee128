"""Domains of an unpaired translation: faces with one value of a label column, and those with another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from forge.core.errors import BenchWarning, InputError, UnknownNameError, quoted
from forge.faces.faceset import FaceSet, FaceView

if TYPE_CHECKING:
    import pandas as pd  # takes a second and a half to import

Requested = Mapping[str, Sequence[str]]

EXAMPLE = "e.g. {gender: [Female, Male]}"
# YAML reads a bare yes, no, true or false as a truth value: what a column may have in place of the word
_SYNONYMS = {"yes": ("true", "1"), "no": ("false", "0")}


@dataclass(frozen=True)
class Domains:
    """What is translated into what: values of a label column, as text whatever the column's type.

    Attributes:
        column: the label column.
        source: its value in faces that are translated.
        target: its value in faces that the forgeries should look like.
    """

    column: str
    source: str
    target: str

    @classmethod
    def of(cls, view: FaceView, requested: Requested) -> tuple[Self, FaceView]:
        """Read the domains of a training.

        Args:
            view: images to learn from; those of neither domain are left out.
            requested: column -> (source, target). Empty: the two most frequent values, the most frequent one first, of
                the first column with 2 to 10 frequent values.

        Returns:
            The domains, and the images of both.

        Raises:
            UnknownNameError: no such label column, or no such value in it.
            InputError: several columns, a column with one value, or a value that no image of the view has.
        """
        column, values = _requested(requested) if requested else _common(view)
        known = view.faces.card.attributes
        if column not in known:
            raise UnknownNameError("label column", column, known)
        counts = label_text(view.rows[column]).value_counts()
        anywhere = sorted(label_text(view.faces.table[column]).dropna().unique())
        if len(anywhere) < 2:
            only = f"only {quoted(anywhere[0])}" if anywhere else "no value at all"
            raise InputError(f"label column {quoted(column)} has {only}; a translation needs two values")
        source, target = (_spelled(column, value, anywhere) for value in values)
        if source == target:
            raise InputError(f"both domains are {column} {quoted(source)}; name two different values")
        for value in (source, target):
            images = int(counts.get(value, 0))
            if not images:
                there = ", ".join(f"{name} {count}" for name, count in counts.items())
                raise InputError(
                    f"no image to learn from has {column} {quoted(value)} (there are: {there}); prepare more photos, "
                    "or name other domains"
                )
            if images == 1:
                warnings.warn(
                    f"one image alone has {column} {quoted(value)}: a translation learns nothing of it but this face",
                    BenchWarning,
                    stacklevel=2,
                )
        domains = cls(column, source, target)
        return domains, domains._within(view, (source, target))

    def sources(self, view: FaceView) -> FaceView:
        """Return the faces of a view that are translated."""
        return self._within(view, (self.source,))

    def targets(self, view: FaceView) -> FaceView:
        """Return the faces of a view that forgeries should look like."""
        return self._within(view, (self.target,))

    def _within(self, view: FaceView, values: Sequence[str]) -> FaceView:
        if self.column not in view.faces.card.attributes:
            raise UnknownNameError("label column", self.column, view.faces.card.attributes)
        members = label_text(view.rows[self.column]).isin(list(values))
        return FaceView(view.faces, view.index[members.to_numpy(dtype=bool)])

    def sources_of(self, views: Mapping[str, FaceView]) -> dict[str, FaceView]:
        """Return the faces of each split that are translated.

        Raises:
            InputError: a split has none; names it, the column and the value.
        """
        sources = {split: self.sources(view) for split, view in views.items()}
        for split, view in sources.items():
            if not len(view):
                raise InputError(
                    f"split {quoted(split)} has no face with {self.column} {quoted(self.source)} to translate; prepare "
                    "more photos, or name other domains"
                )
        return sources

    @property
    def swapped(self) -> Self:
        """The opposite direction."""
        return replace(self, source=self.target, target=self.source)

    def moved(self, faces: FaceSet) -> dict[str, Any]:
        """Return the label that a translation changes, of the type that the set's column has."""
        convert = {"int64": int, "double": float}.get(faces.label_types[self.column], str)
        return {self.column: convert(self.target)}

    def to_json(self) -> dict[str, list[str]]:
        """As JSON values, for a card."""
        return {self.column: [self.source, self.target]}

    @classmethod
    def from_json(cls, value: Requested) -> Self:
        """From what `to_json` gave."""
        ((column, (source, target)),) = value.items()
        return cls(column, source, target)


def label_text(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels as text, missing ones as missing; whole numbers without a point.

    A column of whole numbers with gaps is one of floats to pandas, whose 3 would be "3.0".
    """
    if cells.dtype.kind == "f":
        return cells.map(lambda cell: None if cell != cell else f"{cell:.15g}").astype("string")
    return cells.astype("string")


def _requested(requested: Requested) -> tuple[str, Sequence[str]]:
    if len(requested) != 1 or len(next(iter(requested.values()))) != 2:
        raise InputError(f"domains {dict(requested)} must name one label column and two values, {EXAMPLE}")
    ((column, values),) = requested.items()
    return column, values


def _common(view: FaceView) -> tuple[str, Sequence[str]]:
    """Return the first column with few and frequent values, and its two most frequent ones."""
    column = common_column(view, "translate between", "name one with --set generator.domains='{COLUMN: [FROM, TO]}'")
    counts = label_text(view.rows[column]).value_counts()
    # by name where two are equally frequent: the order of the rows must not decide
    ranked = sorted(counts.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
    return column, [str(value) for value, _ in ranked[:2]]


def _spelled(column: str, value: str, known: Sequence[str]) -> str:
    """Return a value as the column spells it.

    Raises:
        UnknownNameError: the column has nothing like it.
    """
    if value not in known:
        for name in known:
            if name.lower() in _SYNONYMS.get(value, ()):
                return name
        raise UnknownNameError(f"value of {column}", value, known)
    return value


def common_column(
    view: FaceView,
    purpose: str = "condition on",
    remedy: str = "name one with --condition, or use a generator without labels",
) -> str:
    """Return the first label column whose values are few and all frequent.

    Args:
        view: the images.
        purpose: of the column, for the message where there is none.
        remedy: for that message.

    Raises:
        InputError: there is none.
    """
    known = view.faces.card.attributes
    for column in known:
        # missing labels do not count: shares are among the images that have one
        shares = view.rows[column].value_counts(normalize=True)
        if 2 <= len(shares) <= 10 and shares.min() >= 0.05:
            return column
    there = f"its label columns are: {', '.join(known)}" if known else "it has no label columns"
    raise InputError(
        f"{view.faces.card.name} has no label column with 2 to 10 frequent values to {purpose} ({there}); {remedy}"
    )
