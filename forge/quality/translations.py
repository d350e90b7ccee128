"""Forgeries that were made from real faces, beside these faces: the inputs of the metrics of translations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.faces.faceset import Images, Indices, Masks
from forge.quality.result import Result

Truths = Callable[[Indices], tuple[Images, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Translations:
    """Some forgeries and the real images that they were made from, in the same order.

    Attributes:
        forged: uint8 [n, H, H, 3].
        sources: uint8 [n, H, H, 3].
        restores: whether the source is the target, as of a photo made grey and coloured again.
        untrained: what the conditions give without learning, e.g. the grey photos; None: nothing is known.
        without_learning: its name.
        masks: uint8 [n, H, H], above 0 where pixels were forged; None: everywhere.
        truth: of some of them, by position: what they should be, uint8 [m, H, H, 3], and whether it shows the label
            that was asked for, bool [m]; None: it is not known. Made when it is asked for, as rendering takes time.
        inherited: label columns in which each forgery has the label of its source.
    """

    forged: Images
    sources: Images
    restores: bool = False
    untrained: Images | None = None
    without_learning: str = ""
    masks: Masks | None = None
    truth: Truths | None = None
    inherited: frozenset[str] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.forged)

    def of(self, chosen: Indices) -> Translations:
        """Return some of them, by position."""
        untrained, masks = (None if each is None else each[chosen] for each in (self.untrained, self.masks))
        whole, positions = self.truth, np.asarray(chosen)
        return replace(
            self,
            forged=self.forged[chosen],
            sources=self.sources[chosen],
            untrained=untrained,
            masks=masks,
            truth=None if whole is None else lambda some: whole(positions[some]),
        )


@dataclass(frozen=True)
class People:
    """Who is on the real images; empty where it is not known.

    Attributes:
        reference: of the reference, [m].
        held_out: of the held-out images, [k].
    """

    reference: NDArray[np.str_]
    held_out: NDArray[np.str_]


class Beside(Result):
    """A mean over translations, beside what it has to be read against."""

    value: float
    reference: float | None = Field(description="the same of what needs no learning; null: not known")
