"""Pixel measures against scikit-learn on the pixels themselves, and on maps whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from benchmarks.evaluation.pixels import (
    LEVELS,
    LevelScale,
    PixelCounts,
    average_precision,
    f1,
    f1_by_level,
    false_alarm_area,
    iou,
    pixel_auc,
    threshold,
)
from forge.core.errors import InputError

SIDE = 16


def truth(n: int = 12) -> np.ndarray:
    masks = np.zeros((n, SIDE, SIDE), bool)
    for k in range(n):
        masks[k, k % 5 : k % 5 + 4, 2 : 5 + k % 7] = True
    return masks


def counted(maps: np.ndarray, masks: np.ndarray) -> PixelCounts:
    maps = maps.astype(np.float32)
    return PixelCounts.of(LevelScale.of(maps).levels(maps), masks)


def test_measures_are_those_of_the_pixels():
    masks = truth()
    levels = np.random.default_rng(0).integers(0, LEVELS, masks.shape).astype(np.uint8)
    levels[masks] = np.minimum(255, levels[masks].astype(int) + 60)
    counts = PixelCounts.of(levels, masks)
    for k in range(len(masks)):
        flat, values = masks[k].ravel(), levels[k].ravel()
        assert pixel_auc(counts)[k] == pytest.approx(roc_auc_score(flat, values), abs=1e-12)
        assert average_precision(counts)[k] == pytest.approx(average_precision_score(flat, values), abs=1e-12)
        for level in (0, 1, 130, 255):
            assert f1(counts, level)[k] == pytest.approx(f1_score(flat, values >= level), abs=1e-12)
            assert iou(counts, level)[k] == pytest.approx(jaccard_score(flat, values >= level), abs=1e-12)
            assert false_alarm_area(counts, level)[k] == pytest.approx((values >= level)[~flat].mean())
    pooled = counts.weighted(np.ones((1, len(masks)), int))
    assert pixel_auc(pooled)[0] == pytest.approx(roc_auc_score(masks.ravel(), levels.ravel()), abs=1e-12)
    assert average_precision(pooled)[0] == pytest.approx(average_precision_score(masks.ravel(), levels.ravel()))
    twice = counts.weighted(np.eye(len(masks), dtype=int)[[3, 3]].sum(0, keepdims=True))
    assert pixel_auc(twice)[0] == pytest.approx(pixel_auc(counts)[3])
    assert (counts.highest == levels.reshape(len(levels), -1).max(1)).all()


# case 25 of the project's list: known maps and their values
def test_the_truth_as_a_map_is_perfect_and_its_inverse_is_not_turned_round():
    masks = truth()
    perfect, inverted = counted(masks * 1.0, masks), counted(1.0 - masks, masks)
    level = threshold(perfect)
    assert (f1(perfect, level) == 1).all() and (iou(perfect, level) == 1).all()
    assert (pixel_auc(perfect) == 1).all() and (average_precision(perfect) == 1).all()
    assert (pixel_auc(inverted) == 0).all() and (f1(inverted, level) == 0).all()
    # its own best threshold takes everything for altered
    share = masks.mean((1, 2))
    assert threshold(inverted) == 0
    np.testing.assert_allclose(f1(inverted, 0), 2 * share / (1 + share))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_map_says_nothing(value):
    masks = truth()
    flat = counted(np.full(masks.shape, value), masks)
    share = masks.mean((1, 2))
    assert (pixel_auc(flat) == 0.5).all()
    np.testing.assert_allclose(average_precision(flat), share)
    assert threshold(flat) == 0 and (f1(flat, 1) == 0).all()
    np.testing.assert_allclose(f1(flat, 0), 2 * share / (1 + share))


def test_the_mean_mask_has_its_value():
    masks = truth()
    mean = np.repeat(masks.mean(0)[None], len(masks), axis=0)
    counts = counted(mean, masks)
    level = threshold(counts)
    values = LevelScale.of(mean.astype(np.float32)).levels(mean.astype(np.float32))
    expected = np.mean([f1_score(masks[k].ravel(), (values[k] >= level).ravel()) for k in range(len(masks))])
    assert f1(counts, level).mean() == pytest.approx(expected)
    best = max(
        np.mean([f1_score(masks[k].ravel(), (values[k] >= t).ravel()) for k in range(len(masks))]) for t in range(9)
    )
    assert expected == pytest.approx(best) and 0.3 < expected < 1


def test_untouched_images_count_in_the_false_alarm_area_only():
    masks = truth()
    masks[::2] = False
    maps = np.random.default_rng(1).random(masks.shape)
    counts = counted(maps, masks)
    for measure in (f1(counts, 9), iou(counts, 9), pixel_auc(counts), average_precision(counts)):
        assert np.isnan(measure[::2]).all() and np.isfinite(measure[1::2]).all()
    assert np.isfinite(false_alarm_area(counts, 9)).all()
    assert threshold(counts) == threshold(counts[np.arange(1, len(masks), 2)])


def test_what_is_altered_everywhere_has_no_auc_and_no_false_alarms():
    masks = np.ones((2, SIDE, SIDE), bool)
    counts = counted(np.random.default_rng(0).random(masks.shape), masks)
    assert np.isnan(pixel_auc(counts)).all() and np.isnan(false_alarm_area(counts, 0)).all()
    assert (average_precision(counts) == 1).all() and (f1(counts, 0) == 1).all()


def test_no_threshold_without_altered_pixels():
    masks = np.zeros((3, SIDE, SIDE), bool)
    with pytest.raises(InputError, match="validation images with altered pixels"):
        threshold(counted(np.zeros(masks.shape), masks))


# levels
def test_few_values_keep_a_level_each_and_many_keep_their_order():
    few = np.array([-3.0, 0.0, 0.25, 7.0, 7.0], np.float32)
    assert LevelScale.of(few).levels(few).tolist() == [0, 1, 2, 3, 3]
    many = np.random.default_rng(0).normal(0, 3, 100_000).astype(np.float32)
    scale = LevelScale.of(many)
    levels = scale.levels(many)
    order = np.argsort(many)
    assert (np.diff(levels[order].astype(int)) >= 0).all() and levels.max() > 250
    # fine among high values: a step of the upper end holds few of them
    counts = np.bincount(levels, minlength=LEVELS)
    assert counts[levels.max()] < 50 and counts[: LEVELS // 2].max() < 2_000
    assert scale.levels(np.array([-1e9, 1e9], np.float32)).tolist() == [0, levels.max()]


def test_negative_zero_is_zero():
    values = np.array([-0.0, 0.0, 1.0, -1.0], np.float32)
    assert LevelScale.of(values).levels(values).tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    maps = np.zeros((1, 4, 4), np.float32)
    scale = LevelScale.of(maps)
    maps[0, 1, 2] = bad
    for ask in (LevelScale.of, scale.levels):
        with pytest.raises(InputError, match="no numbers"):
            ask(maps)


def test_maps_and_masks_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="different shapes"):
        PixelCounts.of(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 5, 5), bool))


def test_256_levels_cost_little():
    masks = truth(40)
    maps = np.random.default_rng(2).normal(0, 1, masks.shape) + 1.5 * masks
    counts = counted(maps, masks)
    exact = [roc_auc_score(mask.ravel(), values.ravel()) for mask, values in zip(masks, maps, strict=True)]
    assert abs(pixel_auc(counts) - exact).max() < 2e-3
    assert f1_by_level(counts).shape == (40, LEVELS)
