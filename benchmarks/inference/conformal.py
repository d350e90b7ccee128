"""Split conformal prediction with one calibration set per class: which classes a score may belong to, at an error rate.

Of each class the share of photos whose own class is left out of the set is at most the error rate, whatever the
distribution of the scores, provided that the photos of that class and its validation images are exchangeable (Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 4.5: Mondrian predictors; Sadinle, Lei and
Wasserman, Least ambiguous set-valued classifiers with bounded error levels, JASA 2019). No prior enters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge.core.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def check_error_rate(error_rate: float) -> None:
    """Refuse a rate outside of (0, 1).

    Raises:
        InputError: it is 0, 1, beyond them, or no number.
    """
    if not 0 < error_rate < 1:  # also refuses NaN
        raise InputError(
            f"--error-rate must lie between 0 and 1, got {error_rate:g}; 0.05 is usual, smaller ones abstain more often"
        )


def images_needed(error_rate: float) -> int:
    """Return the smallest number of validation images of a class with which the class can ever be left out.

    The smallest p-value of n images is 1 / (n + 1), which must not exceed the rate.

    >>> images_needed(0.1), images_needed(0.01)
    (9, 99)
    """
    return math.ceil(1 / error_rate - 1e-9) - 1


@dataclass(frozen=True)
class Conformal:
    """Validation scores of both classes, as calibration sets.

    Attributes:
        real: scores of real validation images, float64 [n], n >= 1; higher for forged.
        forged: scores of forged validation images, float64 [m], m >= 1.
    """

    real: Floats
    forged: Floats

    @cached_property
    def _sorted(self) -> tuple[Floats, Floats]:
        return np.sort(self.real), np.sort(self.forged)

    def p_values(self, scores: ArrayLike) -> tuple[Floats, Floats]:
        """Return the conformal p-values of both classes: real, forged; each float64 [n] in (0, 1].

        That of "real" is (1 + number of real validation scores at or above the score) / (n + 1): it is small where
        hardly a real image looks as forged. That of "forged" counts the forged ones at or below. Ties count in full,
        which keeps the rate.

        Args:
            scores: float64 [n]; infinite ones are allowed.
        """
        values = np.asarray(scores, dtype=np.float64)
        real, forged = self._sorted
        above = len(real) - np.searchsorted(real, values, side="left")
        below = np.searchsorted(forged, values, side="right")
        return (1 + above) / (len(real) + 1), (1 + below) / (len(forged) + 1)

    def sets(self, scores: ArrayLike, error_rate: float) -> tuple[Bools, Bools]:
        """Return whether the set of each score contains "real", and whether it contains "forged"; each bool [n].

        Args:
            scores: float64 [n].
            error_rate: in (0, 1); a class is left out where its p-value is at most this.
        """
        p_real, p_forged = self.p_values(scores)
        return p_real > error_rate, p_forged > error_rate
