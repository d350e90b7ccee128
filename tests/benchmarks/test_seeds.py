"""What many detectors say together about seeds: Smyth's moments recovered, and coverage in simulated tables."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from benchmarks.evaluation import means, seed_variance
from benchmarks.evaluation.means import Estimates
from benchmarks.evaluation.seed_variance import Pool, SeedVariance
from forge.core.errors import InputError

pytestmark = pytest.mark.e2e


def test_trigamma_is_inverted():
    for y in (1e-3, 0.5, 1.0, 7.0, 400.0):
        assert seed_variance._trigamma_inverse(float(special.polygamma(1, y))) == pytest.approx(y)
    assert seed_variance._trigamma_inverse(math.pi**2 / 6) == pytest.approx(1)


@pytest.mark.parametrize(("freedom", "degrees"), [(1, 4.0), (2, 4.0), (4, 10.0)])
def test_a_known_scatter_of_variances_is_found(freedom, degrees):
    """Variances around .01 whose truth is inverse chi-square of d degrees: s is .01 and d comes back."""
    rng = np.random.default_rng(0)
    truth = 0.01 * degrees / rng.chisquare(degrees, 40_000)
    estimates = truth * rng.chisquare(freedom, truth.size) / freedom
    pool = seed_variance.pooled([SeedVariance(variance, 0.0) for variance in estimates], freedom, math.inf)
    assert pool.degrees == pytest.approx(degrees, rel=0.1)
    assert pool.scale * pool.of_seeds == pytest.approx(0.01, rel=0.05)
    between, freedoms = pool.moderated(SeedVariance(0.03, 0.0), freedom)
    assert between == pytest.approx((degrees * 0.01 + freedom * 0.03) / (degrees + freedom), rel=0.1)
    assert freedoms == pytest.approx(degrees + freedom, rel=0.1)


def test_equal_variances_are_taken_for_one():
    """Ratios that scatter less than chance alone would make them: every one is the mean, with all degrees there are."""
    pool = seed_variance.pooled([SeedVariance(value, 0.001) for value in (0.010, 0.011, 0.012, 0.011)], 2, 8)
    assert pool.degrees == math.inf and pool.moderated(SeedVariance(0.03, 0.001), 2) == pytest.approx((0.011, 8))


def test_images_alone_are_no_seeds():
    """Detectors whose images alone vary, each by another amount: each keeps its own, so that nothing is left over."""
    images = np.geomspace(1e-6, 1e-3, 40)
    rng = np.random.default_rng(1)
    estimates = [SeedVariance(float(v * rng.chisquare(4) / 4), float(v)) for v in images]
    pool = seed_variance.pooled(estimates, 4, 160)
    for variance in estimates:
        assert pool.moderated(variance, 4)[0] == pytest.approx(variance.images, rel=0.8)


def test_no_more_degrees_than_all_have_together():
    values = np.geomspace(1e-3, 1e-1, 12)
    pool = seed_variance.pooled([SeedVariance(v, 0.0) for v in values], 2, 3.0)
    assert pool.moderated(SeedVariance(0.01, 0.0), 2)[1] == 3.0


def test_what_says_nothing_is_not_pooled():
    assert seed_variance.pooled([SeedVariance(0.1, 0.0)] * 2, 1, 2) is None
    assert seed_variance.pooled([SeedVariance(0.0, 0.1)] * 5, 1, 5) is None
    assert Pool(0.0, 1.0, math.inf, 5).moderated(SeedVariance(0.0, 0.0), 1) == (0.0, 5)
    with pytest.raises(InputError, match="two seeds"):
        seed_variance.pooled([SeedVariance(0.1, 0.0)] * 5, 0, 5)


def test_detectors_that_go_together_count_less():
    rng = np.random.default_rng(2)
    alone, common = rng.normal(size=(10, 400)), rng.normal(size=400)
    assert seed_variance.independent(alone) == pytest.approx(10, rel=0.05)
    assert seed_variance.independent(alone * 0.01 + common) == pytest.approx(1, rel=0.05)
    half = seed_variance.independent(alone + common)  # correlation .5
    assert half == pytest.approx(10 / (1 + 9 / 4), rel=0.15)
    assert seed_variance.independent([[0.5, 0.7]]) == 1 and seed_variance.independent([[0.5, 0.5], [0.6, 0.6]]) == 2


def studies(count, runs, together, scatter, size, *, detectors=11):
    """Coverage of the means, of the differences, and of all differences at once (Bonferroni), by the pool's rules.

    Each detector's seeds spread by `size`, scattered as `scatter` degrees say, a share `together` of it common to all;
    its images add errors of .004 to .012, which are known.
    """
    rng = np.random.default_rng(count + runs)
    image = np.linspace(0.004, 0.012, detectors) ** 2
    pairs = list(itertools.combinations(range(detectors), 2))
    hit = np.zeros(3)
    for _ in range(count):
        spread = size * np.sqrt(scatter / rng.chisquare(scatter, detectors)) if math.isfinite(scatter) else size
        effect = math.sqrt(together) * rng.normal(size=runs)
        effect = effect + math.sqrt(1 - together) * rng.normal(size=(detectors, runs))
        y = (np.broadcast_to(spread, detectors)[:, None]) * effect
        y = y + np.sqrt(image)[:, None] * rng.normal(size=y.shape)
        count_of = seed_variance.independent(y)
        alone = [SeedVariance(float(v), i) for v, i in zip(y.var(axis=1, ddof=1), image, strict=True)]
        differences = [(y[a] - y[b], image[a] + image[b]) for a, b in pairs]
        both = [SeedVariance(float(d.var(ddof=1)), i) for d, i in differences]
        pools = (
            seed_variance.pooled(alone, runs - 1, (runs - 1) * count_of),
            seed_variance.pooled(both, runs - 1, (runs - 1) * (detectors - 1)),
        )
        estimates = [
            halves(pool, of, runs, level)
            for pool, of, level in ((pools[0], alone, 0.95), (pools[1], both, 0.95), (pools[1], both, 1 - 0.05 / 55))
        ]
        off = np.abs([d.mean() for d, _ in differences])
        inside = np.abs(y.mean(axis=1)) <= estimates[0]
        hit += inside.mean(), (off <= estimates[1]).mean(), (off <= estimates[2]).all()
    return hit / count


def halves(pool, variances, runs, level):
    """`means.over_seeds` written once more, for many at once: half the width of each interval."""
    between, freedom = np.array([pool.moderated(variance, runs - 1) for variance in variances]).T
    between_seeds = np.maximum(0.0, between - [variance.images for variance in variances])
    total = ([variance.images for variance in variances] + between_seeds) / runs
    freedom = np.where(between_seeds > 0, freedom * (total * runs / between) ** 2, 1e12)
    return special.stdtrit(freedom, 0.5 + level / 2) * np.sqrt(total)


@pytest.mark.parametrize(
    ("runs", "together", "scatter", "size"),
    [
        (2, 0.0, math.inf, 0.03),
        (2, 0.0, math.inf, 0.0),
        (2, 0.5, 10.0, 0.03),
        (3, 0.0, math.inf, 0.03),
        (3, 0.5, 4.0, 0.03),
    ],
)
def test_coverage_in_tables_of_few_seeds(runs, together, scatter, size):
    """Near 95 % where detectors are alike; a few per cent less where they differ much or all go together."""
    alone, differences, family = studies(400, runs, together, scatter, size)
    easy = together == 0
    assert (0.925 if easy else 0.89) <= alone <= 0.985
    assert (0.93 if easy else 0.91) <= differences <= 0.985
    assert family >= (0.93 if easy else 0.87)


def test_the_mean_over_seeds_takes_the_pool():
    value, image = np.array([0.80, 0.84]), 1e-5
    estimates = Estimates(
        value, value - 1.959964 * math.sqrt(image), value + 1.959964 * math.sqrt(image), np.eye(2) * image
    )
    pool = seed_variance.pooled([SeedVariance(v, image) for v in (2e-4, 9e-4, 1.4e-3, 3e-5, 6e-4, 1e-3)], 1, 6)
    variance = means.seed_variance(estimates, np.eye(2))
    assert variance.between == pytest.approx(0.0008) and variance.images == pytest.approx(image)
    alone, together = means.over_seeds(estimates, np.eye(2)), means.over_seeds(estimates, np.eye(2), pool)
    assert together.high - together.value == pytest.approx(halves(pool, [variance], 2, 0.95)[0], rel=1e-4)
    assert alone.high - alone.low > 3 * (together.high - together.low)
    assert (alone.value, alone.sd) == (together.value, together.sd)
