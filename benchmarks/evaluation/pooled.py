"""Mean AUC of test sets that share images, from their score rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation import delong, means, roc
from benchmarks.evaluation.evaluate import identities


def people(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return the person of each row, or the image where it is unknown; forgeries of two seeds are two images."""
    # joined by a zero byte, which names do not hold: "ab" and "c" is another image than "a" and "bc"
    parts = [rows[name].astype(str) for name in ("generator", "source", "sample_id")]
    image = parts[0] + "\0" + parts[1] + "\0" + parts[2]
    # a real photo is one image in all seeds, a forgery another one in each
    image += np.where(rows["generator"] == "", "", "\0" + rows["seed"].astype(str))
    who = identities(rows)
    # images of unknown people begin with a zero byte, which no name of a person does
    return np.where(pd.isna(who), "\0" + image.to_numpy(dtype=object), who)


def mean_auc(tests: Sequence[pd.DataFrame], *, level: float = 0.95) -> means.Mean:
    """Compute the mean AUC of test sets with its interval; images and people in several of them count once.

    Args:
        tests: score rows of one test set each; a column `person`, where there is one, holds the result of `people`.
        level: of the interval.
    """
    names = [rows["person"].to_numpy(dtype=object) if "person" in rows else people(rows) for rows in tests]
    # one numbering over all tests: equal numbers are the same person or image, whose influences add up
    codes = pd.factorize(np.concatenate(names))[0]
    # [rows of the test] for each test
    units = np.split(codes, np.cumsum([len(of_test) for of_test in names])[:-1])
    pairs = [(rows["label"].to_numpy(), rows["score"].to_numpy()) for rows in tests]
    values = [roc.auc(*pair) for pair in pairs]
    ends = [delong.auc_interval(*pair, groups=unit, level=level) for pair, unit in zip(pairs, units, strict=True)]
    shared = means.covariance(units, [means.influence(*pair) for pair in pairs])
    # plain mean over tests: weights 1 / tests, with the covariance of tests that share images
    return means.combine(means.estimates_of(values, ends, shared), [1 / len(tests)] * len(tests))
