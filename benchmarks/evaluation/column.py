"""Column of a leaderboard: means of its detectors over cells and seeds, and differences of pairs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.evaluation import means, seed_variance
from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM, TRIVIAL
from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.families import FamilyInterval, new_family
from benchmarks.evaluation.means import Estimates, SeedMean
from benchmarks.evaluation.roc import Floats, Ints
from benchmarks.evaluation.seed_variance import Pool

CONTROLS = (RANDOM, METADATA, TRIVIAL)  # control detectors


@dataclass(frozen=True)
class _Means:
    """A detector's means over the cells of a column, one a seed.

    Attributes:
        seeds: [S].
        value: mean AUC of each seed, [S]; `low` and `high`: ends of its interval over images.
        units: images or people of each seed.
        influence: influence of each of them on the mean.
    """

    seeds: list[int]
    value: Floats
    low: Floats
    high: Floats
    units: list[Ints]
    influence: list[Floats]


@dataclass(frozen=True)
class VarianceParts:
    """The variance of a detector's mean, by its source; each is at least 0.

    Attributes:
        images: of sampling the test images.
        seeds: of repeating the run; None with one seed.
        generators: of taking other families of generators, or other generators where the column has no families; None
            with fewer than two.
    """

    images: float
    seeds: float | None
    generators: float | None


class Column:
    """Detectors that have the same cells of one column.

    With several seeds the between-seed variance is pooled over all detectors but the controls (`seed_variance`):
    controls learn little or nothing, so that their variance between seeds is not representative.

    Args:
        cells: detector -> its cells; the same ones for all.
    """

    def __init__(self, cells: Mapping[str, Sequence[Scored]]) -> None:
        self._cells = cells
        self._means = {name: _means(of) for name, of in cells.items()}

    @property
    def names(self) -> list[str]:
        """The detectors, sorted."""
        return sorted(self._means)

    def mean(self, name: str) -> SeedMean:
        """Return the mean AUC of a detector over cells and seeds."""
        # a control has no between-seed variance like that of detectors: it neither enters a pool nor is moderated by
        # one
        return means.over_seeds(*self._of([name], [1]), None if name in CONTROLS else self._alone)

    def difference(self, a: str, b: str) -> SeedMean:
        """Return the mean AUC of a minus that of b, on the same images."""
        return means.over_seeds(*self._of([a, b], [1, -1]), self._paired)

    @property
    def families(self) -> list[str]:
        """Families of the tested generators, sorted; empty in a column whose mean is over tests."""
        return sorted({cell.family for cells in self._cells.values() for cell in cells} - {""})

    def mean_of_families(self, name: str) -> FamilyInterval | None:
        """Return the interval of a detector's mean AUC for a new family; None with fewer than two families.

        It is never narrower than the interval over images and seeds: a new family adds variation.
        """
        return self._over_families([name], [1], self.mean(name))

    def difference_of_families(self, a: str, b: str) -> FamilyInterval | None:
        """Return the interval of `difference` for a new family; None with fewer than two families."""
        return self._over_families([a, b], [1, -1], self.difference(a, b))

    def variance_parts(self, name: str) -> VarianceParts:
        """Return the variance of a detector's mean by its source."""
        estimates, weights = self._of([name], [1])
        images = float((weights @ estimates.covariance @ weights.T).mean())
        share = self.mean(name).share
        if share is None:
            seeds = None
        elif share < 1:  # it is that of seeds in the sum of both
            seeds = images * share / (1 - share)
        else:  # no image is in doubt: what differs is due to seeds
            seeds = float(estimates.value.var(ddof=1)) / len(estimates.value)
        sums, errors = self._by_group(name)
        if len(sums) < 2:
            return VarianceParts(images, seeds, None)
        count = len(sums)
        # what groups scatter, less what their own images explain; those that all groups share move them alike
        shared = float(errors.sum() - np.trace(errors)) / (count * (count - 1))
        between = float(np.var(sums, ddof=1)) - (float(np.trace(errors)) / count - shared)
        return VarianceParts(images, seeds, max(0.0, between) / count)

    def _by_group(self, name: str) -> tuple[list[float], Floats]:
        """Return the mean AUC of a detector on each family, or generator, and the covariance of these means."""
        groups: dict[str, list[Scored]] = {}
        for cell in self._cells[name]:
            groups.setdefault(group_of(cell), []).append(cell)
        of_groups = list(groups.values())
        covariance = means.covariance(
            [np.concatenate([cell.units for cell in of]) for of in of_groups],
            [np.concatenate([cell.influence / len(of) for cell in of]) for of in of_groups],
        )
        return [float(np.mean([cell.auc for cell in of])) for of in of_groups], covariance

    def _over_families(self, names: Sequence[str], signs: Sequence[int], fixed: SeedMean) -> FamilyInterval | None:
        if len(self.families) < 2:
            return None
        sums, units, influences = [], [], []
        for family in self.families:
            parts: list[tuple[float, Scored]] = []
            for name, sign in zip(names, signs, strict=True):
                of_family = [cell for cell in self._cells[name] if cell.family == family]
                # equally many tests per seed: the mean over all of them is the mean over seeds
                parts += [(sign / len(of_family), cell) for cell in of_family]
            sums.append(sum(weight * cell.auc for weight, cell in parts))
            units.append(np.concatenate([cell.units for _, cell in parts]))
            # influence is linear: that of a weighted sum of AUCs is the weighted sum of the influences
            influences.append(np.concatenate([weight * cell.influence for weight, cell in parts]))
        interval = new_family(sums, means.covariance(units, influences))
        # the union of both intervals and the larger p: the claim for new families is never stronger than for these
        return interval._replace(
            low=min(interval.low, fixed.low), high=max(interval.high, fixed.high), p=max(interval.p, fixed.p)
        )

    @property
    def _seeds(self) -> int:
        return len(next(iter(self._means.values())).seeds)

    @property
    def _learned(self) -> list[str]:
        # one seed gives no variance between seeds
        """Detectors over which the between-seed variance is pooled."""
        return [name for name in self.names if name not in CONTROLS] if self._means and self._seeds > 1 else []

    @cached_property
    def _alone(self) -> Pool | None:
        """Pool of the detectors' means, which are correlated: a seed's forgeries are easy or hard for all detectors."""
        names = self._learned
        if len(names) < seed_variance.FEWEST:
            return None
        # effective number of detectors: a seed's forgeries are hard or easy for all of them at once
        count = seed_variance.independent([self._means[name].value for name in names])
        variances = [means.seed_variance(*self._of([name], [1])) for name in names]
        return seed_variance.pooled(variances, self._seeds - 1, (self._seeds - 1) * count)

    @cached_property
    def _paired(self) -> Pool | None:
        """Pool of differences of two detectors: effects of a seed that all detectors share cancel."""
        names = self._learned
        if len(names) < seed_variance.FEWEST:
            return None
        pairs = [means.seed_variance(*self._of(pair, [1, -1])) for pair in itertools.combinations(names, 2)]
        # k detectors have k (k - 1) / 2 differences, of which only k - 1 are linearly independent
        return seed_variance.pooled(pairs, self._seeds - 1, (self._seeds - 1) * (len(names) - 1))

    def _of(self, names: Sequence[str], signs: Sequence[int]) -> tuple[Estimates, Floats]:
        """Return the means of some detectors in each seed, and the weights of their sum in each seed."""
        selected = [self._means[name] for name in names]
        value, low, high = (
            np.concatenate([getattr(mean, what) for mean in selected]) for what in ("value", "low", "high")
        )
        # of one detector its own covariance is enough; of pairs it is a part of that of all, computed once
        if len(names) == 1:
            covariance = _covariance(selected)
        else:
            index = {name: i * self._seeds for i, name in enumerate(self.names)}
            chosen = np.concatenate([np.arange(index[name], index[name] + self._seeds) for name in names])
            covariance = self._shared[np.ix_(chosen, chosen)]
        # [S, detectors x S]: row s takes the mean of seed s of each detector with its sign
        return Estimates(value, low, high, covariance), np.hstack([sign * np.eye(self._seeds) for sign in signs])

    @cached_property
    def _shared(self) -> Floats:
        """Return the covariance of the means of all detectors in all seeds."""
        return _covariance([self._means[name] for name in self.names])


def group_of(cell: Scored) -> str:
    """Return the family of the tested generator, or the generator in a column without families."""
    return cell.family or cell.where.tested_on


def weights_of(families: Sequence[str]) -> list[float]:
    """Return the weights of tests in the mean over families of the mean over the tests of each; they add up to one.

    Two generators of one family weigh together as much as the only one of another, so that twins do not count twice.

    Args:
        families: of the tested generator of each test; all "" where the mean is over tests.

    >>> weights_of(["conv-gan", "conv-gan", "style-gan"])
    [0.25, 0.25, 0.5]
    """
    # number of tests of each family; 1 / (families x tests of the family)
    count = Counter(families)
    return [1 / (len(count) * count[family]) for family in families]


def _means(cells: Sequence[Scored]) -> _Means:
    """Collapse the cells of each seed into their mean: its influences are the mean of theirs."""
    names = sorted({cell.where.seed for cell in cells})
    combined, units, influences = [], [], []
    for seed in names:
        # seed by seed: cells of two seeds share their reals, which `_covariance` finds by the units
        of_seed = [cell for cell in cells if cell.where.seed == seed]
        weights = weights_of([cell.family for cell in of_seed])
        # covariance of the cells of this seed over their shared images
        shared = means.covariance([cell.units for cell in of_seed], [cell.influence for cell in of_seed])
        estimates = means.estimates_of([cell.auc for cell in of_seed], [cell.interval for cell in of_seed], shared)
        combined.append(means.combine(estimates, weights))
        units.append(np.concatenate([cell.units for cell in of_seed]))
        influences.append(
            np.concatenate([weight * cell.influence for weight, cell in zip(weights, of_seed, strict=True)])
        )
    value, low, high = (np.array([getattr(mean, name) for mean in combined]) for name in ("value", "low", "high"))
    return _Means(names, value, low, high, units, influences)


def _covariance(of_detectors: Sequence[_Means]) -> Floats:
    """Return the covariance of the means of all seeds of some detectors, in their order."""
    return means.covariance(
        [u for mean in of_detectors for u in mean.units], [i for mean in of_detectors for i in mean.influence]
    )
