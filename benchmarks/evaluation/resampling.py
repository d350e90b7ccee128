"""Bootstrap resamples of identities: units, draws, and counts of draws per unit.

`label`, `score` and their checks are those of `roc`. `groups` names the identity of every row, shape [n]; None,
NaN or "" is a unit of its own, as is every row where `groups` is None. Everything is deterministic given `seed`.

The unit is the identity with all its rows. Units with real rows only, with forged rows only, and with both (a forgery
that keeps its source's identity) are three strata, each resampled with replacement to its own number of units. So an
identity in both classes is drawn jointly, and no resample ever lacks a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.roc import Bools, Floats, Ints, check_scores
from forge.core.compute import default_threads
from forge.core.errors import InputError

_THREADS = 8
_CHUNK = 2**20  # cells of a weight matrix held at once: bounds memory to some tens of MB whatever n is
_KEPT = 2**22  # cells of all draws of a bootstrap that are kept for the next one: 2,000 resamples of 2,000 units, 50 MB


class Units(NamedTuple):
    """Units of a bootstrap.

    Attributes:
        of_row: unit of each row, shape [n]; numbers 0..k-1, ordered by stratum.
        strata: units with real rows only, with both, with forged rows only.
    """

    of_row: Ints
    strata: tuple[int, int, int]

    @property
    def in_real(self) -> int:
        """Units with real rows."""
        return self.strata[0] + self.strata[1]

    @property
    def in_forged(self) -> int:
        """Units with forged rows."""
        return self.strata[1] + self.strata[2]

    @property
    def repeat(self) -> bool:
        """True where any unit has more than one row."""
        return self.of_row.size > sum(self.strata)


class Draws:
    """The units that some resamples drew, computed when asked for.

    Args:
        strata: of `Units`.
        resamples: how many.
        seed: of the bootstrap, and number of the chunk: the draws depend on nothing else.
    """

    def __init__(self, strata: tuple[int, int, int], resamples: int, seed: tuple[int, int]) -> None:
        self._strata, self.resamples, self._seed = strata, resamples, seed

    @cached_property
    def of_stratum(self) -> list[NDArray[np.int32]]:
        """Of each stratum the units drawn in each resample, by their place in it, [resamples, size]."""
        rng, rows = np.random.default_rng(self._seed), self.resamples
        return [
            rng.integers(size, size=(rows, size), dtype=np.int32) if size else np.empty((rows, 0), np.int32)
            for size in self._strata
        ]

    @cached_property
    def weights(self) -> Ints:
        """How often each resample drew each unit, [resamples, units]: multinomial per stratum."""
        return np.concatenate([self.weights_in(stratum) for stratum in range(3)], axis=1)

    def weights_in(self, stratum: int) -> Ints:
        """Return the weights of the units of one stratum, [resamples, size]."""
        drawn = self.of_stratum[stratum]
        rows, size = drawn.shape
        # shift the draws of each resample into a range of their own and count all resamples at once
        # draws of resample r lie in r size .. (r + 1) size - 1; [resamples, size]
        of_all = drawn + size * np.arange(rows, dtype=np.int32)[:, None]
        return np.asarray(counts_of(of_all.ravel(), rows * size).reshape(rows, size))

    @cached_property
    def running(self) -> tuple[NDArray[np.int32], ...]:
        """Of each stratum the weight of its first 0, 1, ... units in each resample, [resamples, size + 1]."""
        # column i holds the weight of the i lowest units, column 0 that of none
        sums = []
        for stratum, size in enumerate(self._strata):
            sums.append(np.zeros((self.resamples, size + 1), np.int32))
            np.cumsum(self.weights_in(stratum), axis=1, out=sums[-1][:, 1:])
        return tuple(sums)


def units_of(forged: Bools, code: Ints) -> Units:
    """Number the units by stratum and then by first row, so that sorted rows meet their units in memory order."""
    # first row of each code, and the codes renumbered 0..k-1
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    # stratum 0: real rows only, 1: rows of both classes, 2: forged rows only
    has_forged = np.bincount(code, weights=forged) > 0
    has_real = np.bincount(code, weights=~forged) > 0
    stratum = np.where(has_forged & has_real, 1, np.where(has_forged, 2, 0))
    # new number of each code: by stratum, then by first row; draws of a stratum are then a contiguous range of columns
    number = np.empty(first.size, np.intp)
    number[np.lexsort((first, stratum))] = np.arange(first.size)
    sizes = np.bincount(stratum, minlength=3)
    return Units(number[code], (int(sizes[0]), int(sizes[1]), int(sizes[2])))


def codes(groups: ArrayLike | None, rows: int) -> Ints:
    """Return one integer per identity, for names of any type."""
    if groups is None:
        return np.arange(rows)  # every row is an identity of its own
    names = np.asarray(groups)
    if names.shape != (rows,):
        raise InputError(f"groups must name one identity per row, shape ({rows},), got shape {names.shape}")
    if names.dtype.kind in "iu":
        return names.astype(np.intp)
    if names.tolist().count(None) == rows:  # nobody is known
        return -1 - np.arange(rows)
    known: dict[Any, int] = {}
    unnamed = 0
    codes = np.empty(rows, np.intp)
    for row, name in enumerate(names.tolist()):
        if name is None or name == "" or name != name:  # unknown (NaN differs from itself): a unit of its own
            unnamed += 1
            # below zero: no clash with the numbers of known names
            codes[row] = -unnamed
        else:
            codes[row] = known.setdefault(name, len(known))
    return codes


def sorted_rows(label: ArrayLike, score: ArrayLike, groups: ArrayLike | None) -> tuple[Bools, Floats, Units]:
    """Check rows and sort them by rising score; return labels, scores and units."""
    forged, scores = check_scores(label, score)
    # stable: equal scores keep the order of the rows, so that a draw means the same unit whichever sort NumPy picks
    order = np.argsort(scores, kind="stable")
    forged, scores = forged[order], scores[order]
    if groups is None:  # as `units_of` numbers rows that all stand for themselves
        reals = forged.size - int(np.count_nonzero(forged))
        # reals are numbered before forgeries, each class in the order of its scores
        unit = np.where(forged, reals + np.cumsum(forged), np.cumsum(~forged)) - 1
        return forged, scores, Units(unit, (reals, 0, forged.size - reals))
    return forged, scores, units_of(forged, codes(groups, forged.size)[order])


def resample(values: Callable[[Draws], Floats], units: Units, resamples: int, seed: int, cells: int) -> Floats:
    """Apply `values` to the draws of all resamples, chunk by chunk, and join the results.

    Each chunk has its own seed, so that the result does not depend on the number of threads.

    Args:
        values: pure; runs in threads, which pays off where NumPy does the work.
        units: what is resampled.
        resamples: how many.
        seed: of the draws.
        cells: of the largest array a resample makes in `values`.
    """
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}; 2000 is usual")
    # arrays of a chunk have at most about 2^20 cells, but at least one resample is made at a time
    chunk = max(1, _CHUNK // cells)
    # draws depend on the sizes of the strata alone: those of small sets are kept, others fill the memory
    chunks = _kept if resamples * sum(units.strata) <= _KEPT else _chunks

    # ceil(resamples / chunk) chunks
    draws = chunks(units.strata, resamples, chunk, seed)
    if (threads := min(default_threads(), _THREADS)) == 1:
        return np.concatenate([values(each) for each in draws])
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(values, draws)))  # in order, whichever thread ends first


def _chunks(strata: tuple[int, int, int], resamples: int, chunk: int, seed: int) -> Iterator[Draws]:
    """Yield the draws of all resamples, at most `chunk` of them at a time."""
    starts = range(0, resamples, chunk)
    # the last chunk may be shorter; its draws depend on the seed and its number alone
    return (Draws(strata, min(chunk, resamples - start), (seed, number)) for number, start in enumerate(starts))


@lru_cache(maxsize=1)
def _kept(strata: tuple[int, int, int], resamples: int, chunk: int, seed: int) -> list[Draws]:
    """Return `_chunks`, and keep them for the next bootstrap: metrics and detectors on the same images share draws."""
    return list(_chunks(strata, resamples, chunk, seed))


def counts_of(draws: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Count the draws of each of 0..size-1, as `numpy.bincount`, which is twice as slow and holds the GIL.

    The counts are the row sums of a sparse matrix with one entry per draw, in the row of the drawn number.
    """
    from scipy.sparse import csc_array  # imports scipy, which most commands do without

    # column j holds one entry in row draws[j]: the products with ones are the counts, in one pass of compiled code
    units, starts = np.ones(draws.size, np.int16), np.arange(draws.size + 1, dtype=np.int32)
    return np.asarray(csc_array((units, draws, starts), shape=(size, draws.size)) @ units)


def percentile(values: Floats, level: float, method: str) -> Interval:
    """Return the percentile interval of the values of resamples, named as `method`."""
    two_sided(level)  # checks the level
    # equal tails: (1 - level) / 2 of the resamples lie beyond each end
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), method, level)
