import numpy as np
import pytest

from forge.core.errors import InputError
from forge.faces.splits import DEFAULT_SPLITS, assign, check_fractions


def groups_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def test_fractions_are_met_as_closely_as_the_groups_allow():
    sizes = np.random.default_rng(0).integers(1, 6, 1000)
    split = assign(groups_of(sizes), [f"p{i}" for i in range(1000)], DEFAULT_SPLITS, seed=0)
    for name, fraction in DEFAULT_SPLITS.items():
        assert abs((split == name).mean() - fraction) * sizes.sum() <= 5


def test_groups_stay_whole():
    sizes = np.random.default_rng(1).integers(1, 40, 60)
    groups = groups_of(sizes)
    split = assign(groups, [str(i) for i in range(60)], DEFAULT_SPLITS, seed=0)
    assert all(len(set(split[groups == g])) == 1 for g in range(60))


def test_the_order_of_groups_does_not_matter_and_the_seed_does():
    keys = [f"p{i}" for i in range(100)]
    order = np.random.default_rng(2).permutation(100)
    first = assign(np.arange(100), keys, DEFAULT_SPLITS, seed=0)
    other = assign(np.arange(100), [keys[i] for i in order], DEFAULT_SPLITS, seed=0)
    assert dict(zip(keys, first, strict=True)) == dict(zip([keys[i] for i in order], other, strict=True))
    assert (assign(np.arange(100), keys, DEFAULT_SPLITS, seed=1) != first).mean() > 0.3


def test_one_more_person_moves_few():
    keys = [f"p{i}" for i in range(1000)]
    before = assign(np.arange(999), keys[:-1], DEFAULT_SPLITS, seed=0)
    after = assign(np.arange(1000), keys, DEFAULT_SPLITS, seed=0)
    assert (before != after[:-1]).sum() <= 3


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [1000, 1, 1, 1], [1, 1, 1, 1000], [50, 50, 50, 50, 50]])
def test_no_split_is_empty(sizes):
    for seed in range(20):
        split = assign(groups_of(sizes), [str(i) for i in range(len(sizes))], DEFAULT_SPLITS, seed=seed)
        assert set(split) == set(DEFAULT_SPLITS)


def test_too_few_people():
    with pytest.raises(InputError, match=r"there are 3 different people .* too few for 4 splits"):
        assign(groups_of([100, 100, 100]), ["a", "b", "c"], DEFAULT_SPLITS, seed=0)


@pytest.mark.parametrize(
    ("fractions", "sentence"),
    [
        ({"train": 0.5, "dev": 0.5}, "splits names 'dev'; a split is one of forge, train, val, test"),
        ({"train": 1.0, "val": 0.0}, "gives val the fraction 0.0"),
        ({"train": 1.5, "val": -0.5}, "gives val the fraction -0.5"),
        ({"train": 0.5, "val": float("nan")}, "gives val the fraction nan"),
        ({"train": 0.5, "val": 0.4}, "sum to 0.9"),
        ({}, "sum to 0"),
    ],
)
def test_wrong_fractions(fractions, sentence):
    with pytest.raises(InputError, match=sentence):
        check_fractions(fractions)
