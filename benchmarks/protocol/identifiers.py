"""Names of generators, train sets, fits and tests as types, each with its text form in score rows and stage names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.protocol.conditions import CLEAN, EQUALISED, NEXT, SHUFFLED
from forge.core.errors import InputError

CONTROL_DETECTORS = ("random", "metadata", "trivial-cues")  # by name: audits and pages know them
ELSEWHERE = "elsewhere"  # train set of a detector that learned nothing here: a fixed scorer, or scores from a file


_NAMED = 6  # generators that a text for people names
_CHOICE = "choice"  # begins the variant of a train set of the condition `variants`
_VARIANT = re.compile(rf"[1-9]\d*|{EQUALISED}|{SHUFFLED}|{NEXT}|{_CHOICE}[1-9]\d*")


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
        """Parse a name; after an "@", text other than a count of thousands belongs to the name."""
        # the first group is greedy: of "a@1k@2k" only the last part is the snapshot
        match = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)k", name)
        return cls(match[1], float(match[2])) if match else cls(name)

    def __str__(self) -> str:
        return self.base if self.kimg is None else f"{self.base}@{self.kimg:g}k"


@dataclass(frozen=True, order=True)
class TrainSet:
    """Training forgeries of a detector, in the form of the `trained_on` of a score row.

    dcgan               forgeries of one generator
    cgan+dcgan+gan      forgeries of several, as many in all as of one
    dcgan:200           only 200 images per class
    dcgan:equalised     both classes re-encoded as JPEG of one quality last
    dcgan:shuffled      labels exchanged at random, a control
    dcgan+gan:next      all generators up to a moment: see the condition `next`
    dcgan-a+dcgan-b:choice1   these models of a family, chosen first: see the condition `variants`
    elsewhere           nothing of this run: a fixed scorer, or scores from a file

    Attributes:
        generators: of the training forgeries, in order of their names.
        variant: departure from plain training: "" none, "200" images per class, "equalised", "shuffled", "next",
            "choice1".
    """

    generators: tuple[str, ...]
    variant: str = ""

    @classmethod
    def of(cls, *generators: str, variant: str = "") -> TrainSet:
        """Return the train set of these generators, given in any order."""
        # sorted and without repetitions: one training has one text form, by which score rows are grouped
        return cls(tuple(sorted(set(generators))), variant)

    @classmethod
    def parse(cls, trained_on: str) -> TrainSet:
        """Parse the `trained_on` of a score row; text that follows no rule (a name with "++") is one name.

        Raises:
            InputError: it is empty.
        """
        if not trained_on:
            raise InputError("trained_on is empty; it names the generators of the training forgeries")
        names, colon, variant = trained_on.rpartition(":")
        # a name may contain a colon (external:mine): only a known variant after the last one is split off
        if not (colon and names and _VARIANT.fullmatch(variant)):
            names, variant = trained_on, ""
        parts = names.split("+")
        # "a++b" has an empty part: taken as one name, so that writing it again gives the same text
        return cls.of(*parts, variant=variant) if all(parts) else cls((names,), variant)

    def __str__(self) -> str:
        return "+".join(self.generators) + (f":{self.variant}" if self.variant else "")

    @property
    def readable(self) -> str:
        """Return its name for sentences and tables: as it is written, of more than six generators two and a number.

        >>> TrainSet.of(*"abcdefgh", variant="equalised").readable
        'a, b and 6 more:equalised'
        """
        if len(self.generators) <= _NAMED:
            return str(self)
        variant = f":{self.variant}" if self.variant else ""
        return f"{', '.join(self.generators[:2])} and {len(self.generators) - 2} more{variant}"

    @property
    def images(self) -> int | None:
        """Training images per class of a budget variant; None for other variants."""
        return int(self.variant) if self.variant.isdigit() else None

    @property
    def choice(self) -> int | None:
        """Number of a choice of models, from 1, that the condition `variants` made; None for other trainings."""
        number = self.variant.removeprefix(_CHOICE)
        return int(number) if number != self.variant else None

    @classmethod
    def of_choice(cls, number: int, generators: Iterable[str]) -> TrainSet:
        """Return the train set of models that were chosen; choices are numbered from 1."""
        return cls.of(*generators, variant=f"{_CHOICE}{number}")

    @property
    def perturbation(self) -> str:
        """Last perturbation of both classes in training: "equalised", or "none"."""
        return EQUALISED if self.variant == EQUALISED else CLEAN

    def shortened(self, generators: Iterable[str]) -> str:
        """Return its name among the generators of a run: "all", "all but dcgan", else as it is written."""
        known = set(generators)
        missing = known - set(self.generators)
        # shortened only where the text stays unambiguous: a variant, a foreign generator or two missing ones need it
        # whole
        if len(self.generators) < 2 or self.variant or not set(self.generators) <= known or len(missing) > 1:
            return str(self)
        return f"all but {missing.pop()}" if missing else "all"


@dataclass(frozen=True, order=True)
class AttackId:
    """An attack on a detector at one budget, in the form of the `perturbation` of a score row.

    attack:pgd:4            test forgeries are changed by at most 4 grey levels to pass for real
    attack:spectrum-match   likewise, by an attack without a budget
    frame:pgd:4             real test images are changed to pass for forged

    Attributes:
        attack: its name.
        epsilon: the budget in grey levels, of 255; None: it has none.
        frames: whether real images are changed, and not forgeries.
    """

    attack: str
    epsilon: float | None = None
    frames: bool = False

    @classmethod
    def parse(cls, perturbation: str) -> AttackId | None:
        """Parse the perturbation of a score row; None: it is no attack."""
        match = re.fullmatch(r"(attack|frame):([^:]+)(?::(\d+(?:\.\d+)?))?", perturbation)
        if not match:
            return None
        return cls(match[2], None if match[3] is None else float(match[3]), match[1] == "frame")

    def __str__(self) -> str:
        budget = "" if self.epsilon is None else f":{self.epsilon:g}"
        return f"{'frame' if self.frames else 'attack'}:{self.attack}{budget}"

    @property
    def readable(self) -> str:
        """Return its name on pages, e.g. "pgd, 4/255"."""
        name = self.attack if self.epsilon is None else f"{self.attack}, {self.epsilon:g}/255"
        return f"{name}, on real faces" if self.frames else name


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

    __test__: ClassVar = False  # pytest collects classes that are called Test
    fit: FitId | str
    tested_on: str
    perturbation: str
    seed: int

    def __str__(self) -> str:
        changed = f" ({self.perturbation})" if self.perturbation != CLEAN else ""
        return f"{self.fit} on {self.tested_on}{changed} #{self.seed}"
