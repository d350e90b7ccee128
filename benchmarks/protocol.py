"""The measuring protocol as types: what detectors are trained on, what they are tested on, and which condition that is.

Every name of a condition, every rule that assigns a test to one, and every rule that chooses an interval stands here.
docs: what each number means is in reports/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from forge.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PROTOCOL_VERSION = 1
ALPHA = 0.05  # significance level of every test, after Holm; 1 - ALPHA is the level of every interval
SMALL_CLASS = 200  # images of a class below which DeLong's interval is not used
FEW_UNITS = 30  # people of a class below which a percentile bootstrap over them covers too little (see the tests)

CLEAN = "none"  # perturbation of images that were left alone
ELSEWHERE = "elsewhere"  # train set of a detector that learned nothing here: a fixed scorer, or scores from a file
EXTERNAL_PREFIX = "external:"  # begins the name of a pair of folders that nobody here made, as source and as generator


class Condition(StrEnum):
    """How the test of a detector relates to its training; a column of the leaderboard each.

    Attributes:
        meaning: what it says of training and test, for a list of conditions.
        column: what its mean in a leaderboard is over; "" where it has no column.
        phrase: "AUC 0.9 {phrase}".
    """

    meaning: str
    column: str
    phrase: str

    def __new__(cls, value: str, meaning: str = "", column: str = "", phrase: str = "") -> Condition:
        """Make a member whose value is its name in files and columns."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning, member.column, member.phrase = meaning, column, phrase
        return member

    LEAVE_ONE_OUT = (
        "leave-one-out",
        "trained on all generators but the tested one",
        "trained on all generators but the tested one, or elsewhere",
        "on generators left out of its training",
    )
    CROSS = (
        "cross",
        "trained on other generators than the tested one",
        "trained on one generator, tested on each other one",
        "on generators it was not trained on",
    )
    SAME = (
        "same",
        "trained on the tested generator, whose forgeries are fresh",
        "trained on one generator, or elsewhere where the suite has one, tested on fresh forgeries of it",
        "on generators it was trained on",
    )
    UNION = (
        "union",
        "trained on all generators, tested on fresh forgeries of each",
        "trained on all generators, tested on fresh forgeries of each",
        "on fresh forgeries of all generators it was trained on",
    )
    ROBUST = (
        "robust",
        "the test images of both classes are changed: JPEG, blur, scaling, noise, cropping, brightness",
        "trained on all generators, test images perturbed",
        "on perturbed images",
    )
    EXTERNAL = (
        "external",
        "forged and real photos that nobody here made",
        "trained on all generators, tested on photos and forgeries that nobody here made",
        "on photos and forgeries from elsewhere",
    )
    EQUALISED = (
        "equalised",
        "both classes end with one JPEG quality, in training and in the test",
        "trained on all generators, both classes end with one JPEG quality in training and test",
        "after one JPEG quality for both classes",
    )
    BUDGET = ("budget", "trained on few images")
    SNAPSHOTS = ("snapshots", "tested on forgeries of a generator at earlier moments of its training")
    SHUFFLED = ("shuffled", "control: trained with labels exchanged at random")

    @property
    def seen(self) -> bool:
        """Whether the detector was trained on other forgeries of the tested generator."""
        return self in (Condition.SAME, Condition.UNION)


PRIMARIES = (Condition.LEAVE_ONE_OUT, Condition.CROSS, Condition.SAME)  # the first that a suite has ranks its detectors
EQUALISED = Condition.EQUALISED.value  # also the perturbation that re-encodes, and a variant of a train set
SHUFFLED = Condition.SHUFFLED.value  # also a variant of a train set


@dataclass(frozen=True, order=True)
class GeneratorId:
    """A generator, or a snapshot of its training: "dcgan", "dcgan@24k".

    Attributes:
        base: name of the training.
        kimg: thousands of real images that a snapshot had seen; None: the end of the training.
    """

    base: str
    kimg: float | None = None

    @classmethod
    def parse(cls, name: str) -> GeneratorId:
        """Read a name; what follows an "@" and is no count of thousands belongs to the name."""
        found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)k", name)
        return cls(found[1], float(found[2])) if found else cls(name)

    def __str__(self) -> str:
        return self.base if self.kimg is None else f"{self.base}@{self.kimg:g}k"


@dataclass(frozen=True, order=True)
class TrainSet:
    """What a detector was trained on, as the `trained_on` of a score row says it.

    dcgan               forgeries of one generator
    cgan+dcgan+gan      forgeries of several, as many in all as of one
    dcgan:200           only 200 images per class
    dcgan:equalised     both classes re-encoded as JPEG of one quality last
    dcgan:shuffled      labels exchanged at random, a control
    elsewhere           nothing of this run: a fixed scorer, or scores from a file

    Attributes:
        generators: of the training forgeries, in order of their names.
        variant: what was unusual: "" nothing, "200" images per class, "equalised", "shuffled".
    """

    generators: tuple[str, ...]
    variant: str = ""

    @classmethod
    def of(cls, *generators: str, variant: str = "") -> TrainSet:
        """Return the training on these generators, in whatever order."""
        return cls(tuple(sorted(set(generators))), variant)

    @classmethod
    def parse(cls, trained_on: str) -> TrainSet:
        """Read the `trained_on` of a score row; what follows no rule (a name with "++") is one name.

        Raises:
            InputError: it is empty.
        """
        if not trained_on:
            raise InputError("trained_on is empty; it names the generators of the training forgeries")
        names, colon, variant = trained_on.rpartition(":")
        if not colon or not names or not re.fullmatch(rf"[1-9]\d*|{EQUALISED}|{SHUFFLED}", variant):
            names, variant = trained_on, ""
        parts = names.split("+")
        return cls.of(*parts, variant=variant) if all(parts) else cls((names,), variant)

    def __str__(self) -> str:
        return "+".join(self.generators) + (f":{self.variant}" if self.variant else "")

    @property
    def images(self) -> int | None:
        """Training images per class, where that was the point."""
        return int(self.variant) if self.variant.isdigit() else None

    @property
    def perturbation(self) -> str:
        """What both classes went through last in training: "equalised", or "none"."""
        return EQUALISED if self.variant == EQUALISED else CLEAN

    def shortened(self, generators: Iterable[str]) -> str:
        """Return its name among the generators of a run: "all", "all but dcgan", else as it is written."""
        known = set(generators)
        missing = known - set(self.generators)
        if len(self.generators) < 2 or self.variant or not set(self.generators) <= known or len(missing) > 1:
            return str(self)
        return f"all but {missing.pop()}" if missing else "all"


@dataclass(frozen=True)
class FitId:
    """A detector and what it was trained on: "dct@cgan+dcgan"."""

    detector: str
    train_set: TrainSet

    def __str__(self) -> str:
        return f"{self.detector}@{self.train_set}"


@dataclass(frozen=True)
class TestId:
    """One test: "dct@gan on dcgan #0", "dct@gan on dcgan (jpeg75) #0".

    Attributes:
        fit: the fit, or its name.
        tested_on: generator, snapshot or external pair.
        perturbation: of the test images.
        seed: of the run.
    """

    fit: FitId | str
    tested_on: str
    perturbation: str
    seed: int

    def __str__(self) -> str:
        changed = f" ({self.perturbation})" if self.perturbation != CLEAN else ""
        return f"{self.fit} on {self.tested_on}{changed} #{self.seed}"


@dataclass(frozen=True)
class TestGrid:
    """The tests of a run, told apart: generators, and what stands beside them.

    Attributes:
        generators: those that means are over.
        snapshots: snapshots of their trainings that nothing was trained on.
        external: names of external pairs.
    """

    generators: frozenset[str]
    snapshots: frozenset[str] = frozenset()
    external: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tested: Iterable[str], train_sets: Iterable[TrainSet]) -> TestGrid:
        """Sort what was tested.

        Args:
            tested: generators of the test forgeries; "" is left out.
            train_sets: what detectors were trained on.
        """
        names = {name for name in tested if name}
        trained = {name for train_set in train_sets for name in train_set.generators}
        external = frozenset(name for name in names if name.startswith(EXTERNAL_PREFIX))
        snapshots = frozenset(
            name
            for name in names - external - trained
            if (parsed := GeneratorId.parse(name)).kimg is not None and parsed.base in trained
        )
        rest = names - external - snapshots
        return cls(frozenset(rest & trained or rest), snapshots, external)

    @classmethod
    def of_scores(cls, scores: pd.DataFrame) -> TestGrid:
        """Sort what score rows were tested on."""
        train_sets = [TrainSet.parse(str(text)) for text in scores["trained_on"].unique()]
        return cls.of(map(str, scores["generator"].unique()), train_sets)

    @property
    def beside(self) -> frozenset[str]:
        """Tests that means over generators leave out."""
        return self.snapshots | self.external


def condition_of(train_set: TrainSet, tested_on: str, perturbation: str, grid: TestGrid) -> Condition:
    """Return the condition of a test.

    Of two generators, training on one is leaving the other out. A detector that was trained elsewhere has seen none.

    Args:
        train_set: what the detector was trained on.
        tested_on: generator, snapshot or external pair of the test forgeries.
        perturbation: of the test images.
        grid: the tests of the run.
    """
    trained = set(train_set.generators)
    others = grid.generators - {tested_on}
    if tested_on in grid.external:
        return Condition.EXTERNAL
    if tested_on in grid.snapshots:
        return Condition.SNAPSHOTS
    if train_set.variant == SHUFFLED:
        return Condition.SHUFFLED
    if train_set.images is not None:
        return Condition.BUDGET
    if perturbation != train_set.perturbation:
        return Condition.ROBUST
    if train_set.variant == EQUALISED:
        return Condition.EQUALISED
    if tested_on in trained:
        return Condition.UNION if len(trained) > 1 and trained == grid.generators else Condition.SAME
    if trained == others or not trained & grid.generators:
        return Condition.LEAVE_ONE_OUT
    return Condition.CROSS


def column_of(train_set: TrainSet, tested_on: str, perturbation: str, grid: TestGrid) -> str:
    """Return the leaderboard's column of a test: its condition, and of budgets the number of images.

    Empty where it belongs to none: controls, snapshots, trainings that no condition asks for. In a suite of one
    generator what was trained elsewhere shares the column of what was trained on it, so that both have a rank.
    """
    condition = condition_of(train_set, tested_on, perturbation, grid)
    trained = set(train_set.generators)
    if condition is Condition.BUDGET:
        return f"{condition} {train_set.images}"
    if not condition.column:
        return ""
    if condition is Condition.EXTERNAL:
        usual = not train_set.variant and perturbation == CLEAN
        return condition if usual and trained & grid.generators in (grid.generators, set()) else ""
    if condition is Condition.ROBUST and train_set.variant:
        return ""
    if condition in (Condition.SAME, Condition.CROSS):
        return condition if len(trained) == 1 else ""
    if condition is Condition.LEAVE_ONE_OUT and grid.generators == {tested_on}:
        return Condition.SAME
    return condition


def meaning_of_column(name: str) -> str:
    """Return what the mean of a leaderboard's column is over."""
    condition, _, images = name.partition(" ")
    if images:
        return f"trained on {images} images per class"
    return Condition(condition).column


def order_of_columns(names: Iterable[str]) -> list[str]:
    """Sort columns as the protocol lists its conditions; budgets last, the smallest first."""
    order = {str(condition): i for i, condition in enumerate(Condition)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), len(name), name))


def phrase_of_column(name: str) -> str:
    """Return the end of the sentence "AUC 0.9 …"."""
    known = name in Condition._value2member_map_
    return (Condition(name).phrase if known else "") or f"in the column {name}"


IntervalMethod = Literal["DeLong", "Newcombe", "Newcombe over identities", "bootstrap over identities"]


def choose_interval(real: int, forged: int, *, variance: float, repeated: bool, people: int) -> IntervalMethod:
    """Choose the interval of an AUC.

    DeLong's interval is too narrow for small classes and has no width where the classes separate perfectly, so there
    Newcombe's score interval is used. Images of one identity are not independent: where identities repeat, they are
    resampled, or counted instead of images.

    Args:
        real: real images.
        forged: forged images.
        variance: DeLong's variance of the AUC.
        repeated: whether an identity has several images.
        people: identities of the class that has fewer.
    """
    small = min(real, forged) < SMALL_CLASS or variance == 0
    if repeated:
        return "Newcombe over identities" if small or people < FEW_UNITS else "bootstrap over identities"
    return "Newcombe" if small else "DeLong"
