"""Choice of the interval of an AUC, and the constants of tests and intervals."""

from __future__ import annotations

from typing import Literal

ALPHA = 0.05  # significance level of every test, after Holm; 1 - ALPHA is the level of every interval
SMALL_CLASS = 200  # images of a class below which DeLong's interval is not used
NEW_FAMILY = 5  # families from which the interval over families too is the headline
FEW_UNITS = 30  # people of a class below which a percentile bootstrap over them covers too little (see the tests)

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
