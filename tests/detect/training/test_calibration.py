from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from detect.training.calibration import Calibration, fit_platt


def test_it_is_logistic_regression_on_smoothed_targets():
    rng = np.random.default_rng(0)
    real, forged = rng.normal(10, 2, 60), rng.normal(12, 2, 40)
    platt = fit_platt(real, forged)
    # each smoothed target t is t images forged and 1 - t real; classes weigh the same
    low, high = 1 / 62, 41 / 42
    x = np.tile(np.concatenate([real, forged]), 2)[:, None]
    target = np.concatenate([np.full(60, low), np.full(40, high)])
    weight = np.concatenate([np.full(60, 1 / 60), np.full(40, 1 / 40)])
    y, w = np.repeat([1, 0], 100), np.concatenate([target * weight, (1 - target) * weight])
    expected = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(x, y, sample_weight=w * 1e3)
    assert platt.a == pytest.approx(expected.coef_[0, 0], rel=1e-4)
    assert platt.b == pytest.approx(expected.intercept_[0], rel=1e-4)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_perfectly_separated_classes_stay_finite_and_ordered(scale):
    platt = fit_platt(np.array([-3.0, -2, -2.5, -2.2]) * scale, np.array([4.0, 5, 4.5, 4.2]) * scale)
    probability = platt.probability(np.array([-2.0, 0.5, 4.0]) * scale)
    assert np.isfinite([platt.a, platt.b]).all() and 0.1 < probability[0] < 0.3 and 0.7 < probability[2] < 0.9
    assert probability[0] < probability[1] < probability[2]


@pytest.mark.parametrize("value", [0.0, 1e-300, 0.1, -1e12])
def test_constant_scores_say_nothing(value):
    assert fit_platt(np.full(7, value), np.full(3, value)).probability(np.array([value])) == 0.5


def test_scores_that_rank_the_wrong_way_are_never_turned_round():
    platt = fit_platt(np.array([1.0, 2, 3, 4]), np.array([-1.0, -2, -3, -4]))
    assert platt.a == 0 and platt.probability(np.array([-9.0, 9.0])).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_never_decreasing_and_always_a_probability(real, forged):
    scores = np.sort(np.array(real + forged))
    probability = fit_platt(np.array(real), np.array(forged)).probability(scores)
    assert (np.diff(probability) >= 0).all() and ((probability >= 0) & (probability <= 1)).all()


@settings(max_examples=50, deadline=None)
@given(a=st.floats(1e-6, 1e6), step=st.floats(1e-4, 0.1), odds=st.lists(st.floats(-30, 30), min_size=1, max_size=9))
def test_scores_on_a_grid_change_log_odds_by_half_a_step_and_have_few_digits(a, step, odds):
    calibration = Calibration(a, 0.0)
    scores = np.array(odds) / a
    rounded = calibration.on_grid(scores, step)
    assert np.abs(a * (rounded - scores)).max() <= step / 2 * (1 + 1e-9)
    assert (rounded == rounded.astype(np.float32)).all()  # at most 2^19 steps: float32 holds them
    assert (calibration.on_grid(rounded, step) == rounded).all()
    alone = [calibration.on_grid(scores[[i]], step)[0] for i in range(len(scores))]
    assert (alone == rounded).all()  # whatever is scored beside it


def test_a_detector_without_a_slope_keeps_its_scores():
    scores = np.array([0.1234567, 5.0])
    assert (Calibration(0.0, 0.0).on_grid(scores, 0.01) == scores).all()
