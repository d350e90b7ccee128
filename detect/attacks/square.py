"""Random search with squares: a black-box attack that asks for scores alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detect.attacks.base import Access, Attack, AttackSettings, Knowledge
from detect.attacks.target import Target
from forge.core.compute import derive_seed
from forge.faces.faceset import Images, Indices

_STAGES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries of 10,000 after which the area is halved
_PUBLISHED = 10_000  # queries that these stages are of
_REFERENCES = 500  # real images that the stopping score is a quantile of, at most


class SquareSettings(AttackSettings):
    """Settings of the Square attack."""

    queries: int = Field(500, ge=1, le=100_000, description="scores asked for per image")
    area: float = Field(0.8, gt=0, le=1, description="share of the image that the first squares cover")
    stop_quantile: float | None = Field(
        0.95,
        gt=0,
        lt=1,
        description="a forgery that scores as more real than this share of the attacker's real images is queried no "
        "further; none: all queries are used",
    )


class Square(Attack[SquareSettings]):
    """Squares of plus or minus the budget at random places, kept where they lower the loss; norm L-infinity.

    The first try is vertical stripes. The area of squares falls in the published stages, scaled to the number of
    queries. The published search ends when the verdict has changed; this one goes on until a forgery looks more real
    than most real images do, since an AUC asks for more than a verdict.
    """

    citation = (
        "Andriushchenko, Croce, Flammarion, Hein: Square Attack: a query-efficient black-box adversarial attack via "
        "random search, ECCV 2020, arXiv 1912.00049, algorithm 2"
    )
    access: ClassVar[Access] = "scores"
    needs = "reals"
    _real: Images | None = None
    _stop: tuple[Target, float] | None = None

    def learn(self, knowledge: Knowledge) -> None:
        """Take the real images whose scores decide when to stop, if there are any."""
        if knowledge.real is not None and len(knowledge.real):
            spread = np.linspace(0, len(knowledge.real) - 1, min(_REFERENCES, len(knowledge.real))).round()
            self._real = knowledge.real.read(spread.astype(np.int64))

    def _stop_loss(self, target: Target) -> float:
        """Return the loss at which an image is queried no further; minus infinity: at none."""
        if self.settings.stop_quantile is None or self._real is None or target.aim != "evade":
            return -np.inf
        if self._stop is None or self._stop[0] is not target:
            self._stop = target, float(np.quantile(target.losses(self._real), 1 - self.settings.stop_quantile))
        return self._stop[1]

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images; one whose score would not get better stays as it is."""
        count, height, width = images.shape[:3]
        source = np.random.default_rng(derive_seed(seed, "square"))
        level = int(epsilon)
        stop = self._stop_loss(target)
        originals = images.astype(np.int16)
        best, lowest = images.copy(), target.losses(images)
        active = np.flatnonzero(lowest > stop)
        stripes = level * _signs(source, (count, 1, width, 3))
        trial = np.clip(originals + stripes, 0, 255).astype(np.uint8)[active]
        for query in range(self.settings.queries):
            if query:
                side = side_at(query, self.settings.queries, self.settings.area, height, width)
                trial = _with_squares(best, originals, side, level, source, active)
            if not len(active):
                break
            losses = target.losses(trial)
            better = losses < lowest[active]
            best[active[better]], lowest[active[better]] = trial[better], losses[better]
            active = active[lowest[active] > stop]
        return best


def side_at(query: int, queries: int, area: float, height: int, width: int) -> int:
    """Return the side in pixels of the square of a query, at least 1 and less than the image.

    >>> [side_at(query, 10_000, 0.8, 32, 32) for query in (1, 11, 8001)]
    [29, 20, 1]
    """
    halvings = sum(query * _PUBLISHED / queries > stage for stage in _STAGES)
    side = round(float(np.sqrt(area / 2**halvings * height * width)))
    return min(max(side, 1), min(height, width) - 1)


def _with_squares(
    best: Images,
    originals: NDArray[np.int16],
    side: int,
    level: int,
    source: np.random.Generator,
    active: Indices,
) -> Images:
    """Return some of the images with one square of each set to the original plus or minus the level."""
    count, height, width = best.shape[:3]
    # drawn for all images, so that none depends on which others are still queried
    tops = source.integers(0, height - side + 1, count)[active]
    lefts = source.integers(0, width - side + 1, count)[active]
    changes = level * _signs(source, (count, 1, 1, 3))[active]
    # index arrays of the squares of these images, [n, side, side]
    images = np.arange(len(active))[:, None, None]
    rows = tops[:, None, None] + np.arange(side)[:, None]
    columns = lefts[:, None, None] + np.arange(side)
    trial = best[active]
    trial[images, rows, columns] = np.clip(originals[active[:, None, None], rows, columns] + changes, 0, 255)
    return trial


def _signs(source: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int16]:
    return (2 * source.integers(0, 2, shape) - 1).astype(np.int16)
