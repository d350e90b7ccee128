"""Budgets of changes: projections and bytes stay inside, whatever the norm."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.attacks.budget import Norm, descent, projected, random_start, rms, rounded


def images(seed: int, count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 8, 8, 3), generator=torch.Generator().manual_seed(seed)).float()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), epsilon=st.floats(1, 255), reach=st.floats(0, 600), norm=st.sampled_from(["linf", "l2"])
)
def test_bytes_are_within_the_budget_and_near_the_point(seed: int, epsilon: float, reach: float, norm: Norm) -> None:
    originals = images(seed)
    source = torch.Generator().manual_seed(seed + 1)
    point = projected(originals + reach * torch.randn(originals.shape, generator=source), originals, epsilon, norm)
    assert float(point.min()) >= 0 and float(point.max()) <= 255
    whole = rounded(point, originals, epsilon, norm)
    assert whole.dtype == torch.uint8
    change = whole.float() - originals
    if norm == "linf":
        assert float((point - originals).abs().max()) <= epsilon + 1e-3
        assert float(change.abs().max()) <= epsilon
        assert float((whole.float() - point).abs().max()) <= 1  # of 1.99999, whose float is 2, one level is left
    else:
        assert float(rms(point - originals).max()) <= epsilon * (1 + 1e-5)
        assert float(rms(change).max()) <= epsilon
        # of a point inside the ball the nearest bytes are inside too, or nearly as long
        assert float((rms(change) - rms(point - originals)).abs().max()) <= 0.6


def test_a_point_within_the_budget_is_its_own_projection() -> None:
    originals = images(0)
    inside = (originals + 0.5).clamp(0, 255)
    assert torch.equal(projected(inside, originals, 2, "linf"), inside)
    torch.testing.assert_close(projected(inside, originals, 2, "l2"), inside)


def test_the_projection_in_l2_is_the_nearest_point() -> None:
    originals = torch.full((1, 4, 4, 3), 128.0)
    far = originals + torch.randn(originals.shape, generator=torch.Generator().manual_seed(0)) * 20
    nearest = projected(far, originals, 3, "l2")
    assert float(rms(nearest - originals)) == pytest.approx(3)
    for seed in range(50):
        other = originals + torch.randn(originals.shape, generator=torch.Generator().manual_seed(seed + 1))
        other = projected(other, originals, 3, "l2")
        assert float(rms(far - nearest)) <= float(rms(far - other)) + 1e-5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_are_within_the_budget_and_differ(norm: Norm) -> None:
    originals = torch.full((4, 8, 8, 3), 128.0)
    start = random_start(originals, 4, norm, torch.Generator().manual_seed(0))
    length = (start - originals).abs().amax() if norm == "linf" else rms(start - originals).max()
    assert 3.5 < float(length) <= 4 + 1e-5
    assert not torch.equal(start[0], start[1])


def test_descent_has_length_one_and_points_downhill() -> None:
    gradient = torch.randn(3, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    gradient[2] = 0
    for norm in ("linf", "l2"):
        step = descent(gradient, norm)
        assert ((gradient * step).sum(dim=(1, 2, 3))[:2] < 0).all() and (step[2] == 0).all()
    assert float(rms(descent(gradient, "l2"))[0]) == pytest.approx(1)
    assert set(descent(gradient, "linf")[:2].unique().tolist()) == {-1.0, 1.0}
