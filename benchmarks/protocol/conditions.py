"""Conditions, their words on pages, and the leaderboard's columns, those of protocol 1 included."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from forge.faces.imaging.views import VIEWS

CLEAN = "none"  # perturbation of images that were left alone
VIEW_PREFIX = "view:"  # prefix of a view in place of a perturbation: "view:tiles"


class Condition(StrEnum):
    """Relation between the training of a detector and a test.

    Attributes:
        meaning: definition by training and test, for a list of conditions.
        column: tests that the mean of its leaderboard column is over; "" where it has no column.
        phrase: end of the sentence "AUC 0.9 {phrase}".
    """

    meaning: str
    column: str
    phrase: str

    def __new__(cls, value: str, meaning: str = "", column: str = "", phrase: str = "") -> Condition:
        """Make a member whose value is its name in files and columns."""
        # a member is its value as text, so that it is written to files and compared with columns as it is
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning, member.column, member.phrase = meaning, column, phrase
        return member

    @classmethod
    def _missing_(cls, value: object) -> Condition | None:
        """Read the words of protocol 1 in stored results."""
        # called for an unknown value: "leave-one-out" and the like become the condition that their tests have now
        earlier = PROTOCOL_1_COLUMNS.get(value) if isinstance(value, str) else None
        return cls(earlier.condition) if earlier else None

    # value, definition, tests of the column's mean, phrase; the order of the members is that of the columns on pages
    UNSEEN = (
        "unseen",
        "trained on all families of generators but that of the tested generator, or elsewhere",
        "trained on all families of generators but one, or elsewhere, tested on the generators of that family; mean "
        "over families of the mean over their generators",
        "on generators of families left out of its training",
    )
    WILD = (
        "wild",
        "as `unseen`, and the test images of both classes are changed as on the web, each by a chain of its own",
        "as unseen, each test image through one random chain of one to four changes (scaling, JPEG, WebP, blur, noise, "
        "crop, brightness, contrast, rim), the same law for both classes",
        "on changed images of generators of families left out of its training",
    )
    MATRIX = (
        "matrix",
        "trained on other generators than the tested one, but not on all other families",
        "trained on one generator, tested on each other one",
        "on generators it was not trained on",
    )
    SEEN = (
        "seen",
        "trained on the tested generator, alone or among others; the test forgeries are fresh",
        "trained on all generators, tested on fresh forgeries of each",
        "on generators it was trained on",
    )
    NEXT = (
        "next",
        "trained on all generators that came up before the tested one, in the order that the run names",
        "trained on all generators up to a moment, tested on each that came up next",
        "on generators that came up after those of its training",
    )
    ROBUST = (
        "robust",
        "the test images of both classes are changed: JPEG, blur, scaling, noise, cropping, brightness",
        "trained on all generators, test images perturbed",
        "on perturbed images",
    )
    EXTERNAL = (
        "external",
        "forged and real photos from outside the project",
        "trained on all generators, tested on photos and forgeries from outside the project",
        "on photos and forgeries from elsewhere",
    )
    VIEWS = (
        "views",
        "as `external`, the photos in their own pixels: scores of crops, pooled, in place of the whole photo resized",
        "trained on all generators, tested on crops of photos and forgeries from outside the project, not resized",
        "on photos and forgeries from elsewhere, at their own resolution",
    )
    PAIRED = (
        "paired",
        "the real images are the photos that the tested forgeries were made from: the same photo before and after",
        "trained on all generators, tested on forgeries made from real faces and these faces; in no other mean",
        "on forgeries beside the photos they were made from",
    )
    ATTACKED = (
        "attacked",
        "test forgeries are changed against the detector within a budget of grey levels so that they pass for real, or "
        "real images so that they pass for forged; the threshold stays that of clean images",
    )
    EQUALISED = (
        "equalised",
        "both classes end with one JPEG quality, in training and in the test",
        "trained on all generators, both classes end with one JPEG quality in training and test",
        "after one JPEG quality for both classes",
    )
    BUDGET = ("budget", "trained on few images")
    VARIANTS = (
        "variants",
        "trained on some models of a family, with as many images in all, and tested on its other models or on other "
        "families",
    )
    ROUNDS = (
        "rounds",
        "trained on the rounds of an arms race so far, tested on generators of every round and on controls",
    )
    SNAPSHOTS = ("snapshots", "tested on forgeries of a generator at earlier points of its training")
    SHUFFLED = ("shuffled", "control: trained with labels exchanged at random")

    @property
    def seen(self) -> bool:
        """True where the detector was trained on other forgeries of the tested generator."""
        return self is Condition.SEEN


class Protocol1Column(NamedTuple):
    """A column of protocol 1 that protocol 2 no longer has.

    Attributes:
        condition: value of the condition that its tests have now.
        column: tests that its mean is over.
        phrase: end of the sentence "AUC 0.9 {phrase}".
    """

    condition: str
    column: str
    phrase: str


PROTOCOL_1_COLUMNS = {
    "leave-one-out": Protocol1Column(
        "unseen",
        "trained on all generators but the tested one, or elsewhere",
        "on generators left out of its training",
    ),
    "cross": Protocol1Column(
        "matrix",
        "trained on one generator, tested on each other one",
        "on generators it was not trained on",
    ),
    "same": Protocol1Column(
        "seen",
        "trained on one generator, or elsewhere where the suite has one, tested on fresh forgeries of it",
        "on generators it was trained on",
    ),
    "union": Protocol1Column(
        "seen",
        "trained on all generators, tested on fresh forgeries of each",
        "on fresh forgeries of all generators it was trained on",
    ),
}
# the first that a suite has ranks its detectors; the names of the two protocols never stand in one table
PRIMARIES = (Condition.UNSEEN, Condition.MATRIX, Condition.SEEN, "leave-one-out", "cross", "same")
EQUALISED = Condition.EQUALISED.value  # also the perturbation that re-encodes, and a variant of a train set
WILD = Condition.WILD.value  # also the perturbation
NEXT = Condition.NEXT.value  # also a variant of a train set
SHUFFLED = Condition.SHUFFLED.value  # also a variant of a train set


def condition_of_column(name: str) -> Condition:
    """Return the condition of a leaderboard's column, of either protocol.

    Raises:
        ValueError: no such column.
    """
    # "budget 200" is the condition `budget`; other columns are called as their condition, or by a word of protocol 1
    return Condition(name.partition(" ")[0])


def meaning_of_column(name: str) -> str:
    """Describe the tests that the mean of a leaderboard's column is over."""
    condition, _, images = name.partition(" ")
    if condition == Condition.VIEWS:
        return f"{Condition.VIEWS.column}: {VIEWS.get(images, images)}"
    if images:
        return f"trained on {images} images per class"
    return PROTOCOL_1_COLUMNS[name].column if name in PROTOCOL_1_COLUMNS else Condition(condition).column


def order_of_columns(names: Iterable[str]) -> list[str]:
    """Sort columns as the protocol lists its conditions, those of protocol 1 first; budgets last, smallest first."""
    # budgets are in no list and come last; by length first, so that "budget 50" is before "budget 200"
    order = {name: i for i, name in enumerate([*PROTOCOL_1_COLUMNS, *map(str, Condition)])}
    return sorted(names, key=lambda name: (order.get(name, len(order)), len(name), name))


def phrase_of_column(name: str) -> str:
    """Return the end of the sentence "AUC 0.9 …"."""
    if name in PROTOCOL_1_COLUMNS:
        return PROTOCOL_1_COLUMNS[name].phrase
    # "budget 200" and "views tiles" are no values of the enumeration: such a column is named instead
    known = name in Condition._value2member_map_
    return (Condition(name).phrase if known else "") or f"in the column {name}"
