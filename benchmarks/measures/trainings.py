"""What a detector was trained on, as the `trained_on` of a score row says it, and which condition a test then is.

`trained_on` names the generators of the training forgeries, joined by "+", then after ":" what was unusual about it:

    dcgan               forgeries of one generator
    cgan+dcgan+gan      forgeries of several, as many in all as of one
    dcgan:200           only 200 images a class
    dcgan:equalised     both classes re-encoded as JPEG of one quality last
    dcgan:shuffled      labels exchanged at random, a control
    elsewhere           nothing of this run: a fixed scorer, or scores from a file
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from forge.errors import InputError

CLEAN = "none"  # perturbation of images that were left alone
EQUALISED = "equalised"  # a perturbation, and a training on images that went through it
SHUFFLED = "shuffled"
ELSEWHERE = "elsewhere"  # the training of a detector that learned nothing here: a fixed scorer, or scores from a file
EXTERNAL = "external:"  # what begins the name of a pair of folders that nobody here made, as source and as generator
CONDITIONS = {
    "same": "the generator was seen in training, its forgeries are fresh",
    "cross": "trained on one generator, tested on another",
    "leave-one-out": "trained on all generators but the tested one",
    "robust": "the test images of both classes are changed: JPEG, blur, scaling, noise, cropping, brightness",
    "equalised": "both classes end with one JPEG quality, in training and in the test",
    "budget": "trained on few images",
    "snapshots": "tested on forgeries of a generator at earlier moments of its training",
    "external": "forged and real photos that nobody here made",
    "shuffled": "control: trained with labels exchanged at random",
}


@dataclass(frozen=True, order=True)
class Training:
    """What a detector was trained on.

    Attributes:
        generators: of the training forgeries, in order of their names.
        variant: what was unusual: "" nothing, "200" images a class, "equalised", "shuffled".
    """

    generators: tuple[str, ...]
    variant: str = ""

    @classmethod
    def of(cls, *generators: str, variant: str = "") -> Training:
        """A training on these generators, in whatever order."""
        return cls(tuple(sorted(set(generators))), variant)

    @classmethod
    def parse(cls, trained_on: str) -> Training:
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
        """Training images a class, where that was the point."""
        return int(self.variant) if self.variant.isdigit() else None

    @property
    def perturbation(self) -> str:
        """What both classes went through last in training: "equalised", or "none"."""
        return EQUALISED if self.variant == EQUALISED else CLEAN

    def condition(self, tested_on: str, perturbation: str = CLEAN, *, beside: bool = False) -> str:
        """Which of `CONDITIONS` a test on a generator's forgeries is; `beside` says what `beside` says of it."""
        if tested_on.startswith(EXTERNAL):
            return "external"
        if beside:
            return "snapshots"
        if self.variant == SHUFFLED:
            return "shuffled"
        if self.images is not None:
            return "budget"
        if perturbation != self.perturbation:
            return "robust"
        if self.variant == EQUALISED:
            return "equalised"
        if tested_on in self.generators:
            return "same"
        return "cross" if len(self.generators) == 1 else "leave-one-out"


def in_short(trained_on: str, generators: Iterable[str]) -> str:
    """What a training is called among the generators of a run: "all", "all but dcgan", else as it is written."""
    training, known = Training.parse(trained_on), set(generators)
    left = known - set(training.generators)
    if len(training.generators) < 2 or training.variant or not set(training.generators) <= known or len(left) > 1:
        return trained_on
    return f"all but {left.pop()}" if left else "all"


def beside(tested: Iterable[str], trained: Iterable[Training]) -> set[str]:
    """The tests that stand beside the grid of generators: external pairs, and snapshots that nothing was trained on.

    Means over generators leave them out; they have a column or a picture of their own.
    """
    named = {name for training in trained for name in training.generators}
    return {
        name
        for name in tested
        if name.startswith(EXTERNAL) or (name not in named and (at := moment(name)) is not None and at[0] in named)
    }


def moment(generator: str) -> tuple[str, float] | None:
    """Split "dcgan@24k" into the generator and the thousands of images it had seen; None: it is no snapshot."""
    found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)k", generator)
    return (found[1], float(found[2])) if found else None
