"""Assignment of identities to splits: an identity lies in one split, and the same identity always in the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError, quoted, short
from forge.faces.faceset import SPLITS

DEFAULT_SPLITS: Mapping[str, float] = {"forge": 0.4, "train": 0.3, "val": 0.1, "test": 0.2}


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Check asked-for fractions.

    Raises:
        InputError: an unknown split, a fraction not above 0, or a sum that is not 1.
    """
    for name, fraction in fractions.items():
        if name not in SPLITS:
            raise InputError(f"splits names {quoted(name)}; a split is one of {', '.join(SPLITS)}")
        if not fraction > 0:
            raise InputError(f"splits gives {short(name)} the fraction {fraction}; it must be above 0, or leave it out")
    total = sum(fractions.values())
    if not abs(total - 1) < 1e-6:  # decimal fractions such as .7 + .2 + .1 are not exact
        raise InputError(f"the fractions of splits sum to {total:g}; they must sum to 1")


def assign(
    groups: NDArray[np.int64], keys: Sequence[str], fractions: Mapping[str, float], *, seed: int
) -> NDArray[np.str_]:
    """Assign every group of images to a split.

    Groups are ordered by a hash of seed and key, and the line of their images is cut at the fractions. So the order
    of files does not matter, and a few more images move only the groups next to a cut.

    Args:
        groups: number of each image's group, 0..n-1, [images].
        keys: a lasting name for each group, [n].
        fractions: split -> share of the images; sums to 1.
        seed: other splits for each.

    Returns:
        The split of each image, [images]. Every split has at least one group.

    Raises:
        InputError: fewer groups than splits.
    """
    check_fractions(fractions)
    names = np.array(list(fractions))
    if len(keys) < len(names):
        raise InputError(
            f"there are {len(keys)} different people (or unrelated images), too few for {len(names)} splits "
            f"({', '.join(fractions)}) that share none; add people or ask for fewer splits"
        )
    # a hash, not a shuffle: one more group takes its own place and leaves the order of the others as it is
    order = sorted(range(len(keys)), key=lambda group: hashlib.sha256(f"{seed}/{keys[group]}".encode()).digest())
    sizes = np.bincount(groups, minlength=len(keys))[order]  # images a group, in that order
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # place of each group's middle image in 0..1
    cuts = np.cumsum(list(fractions.values()))[:-1]  # without the last, which is 1
    split_of = np.empty(len(keys), np.int64)
    # a group belongs where its middle lies: never cut, and a large group misses a fraction by half its size at most
    split_of[order] = _fill(np.searchsorted(cuts, middle, side="right"), sizes, len(names))
    return names[split_of[groups]]


def _fill(split: NDArray[np.int64], sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Give each empty split the smallest group of the split that has most groups."""
    for empty in range(count):
        if not (split == empty).any():
            # the split that can spare a group
            donor = np.flatnonzero(split == np.bincount(split, minlength=count).argmax())
            split[donor[sizes[donor].argmin()]] = empty
    return split
