from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from detect.features.dct import cosine_basis, dct2, log_dct


@pytest.mark.parametrize("shape", [(5, 16, 16, 3), (2, 8, 12, 3)])
def test_dct_is_scipys(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = dctn(images.transpose(0, 3, 1, 2).astype(float), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(dct2(torch.from_numpy(images)).numpy(), expected, atol=2e-3)


def test_log_dct_is_the_logarithm_of_scipys():
    images = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    coefficients = np.abs(dctn(images.transpose(0, 3, 1, 2).astype(float), axes=(2, 3), norm="ortho")).reshape(4, -1)
    clear = coefficients > 0.5  # below, float32 rounding shows in the logarithm
    computed = log_dct(torch.from_numpy(images)).numpy()
    assert computed.shape == (4, 768) and clear.mean() > 0.95
    np.testing.assert_allclose(computed[clear], np.log(coefficients + 1e-12)[clear], atol=1e-3)


def test_a_black_image_has_finite_features():
    assert torch.isfinite(log_dct(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))).all()


def test_basis_is_orthonormal():
    basis = cosine_basis(64)
    torch.testing.assert_close(basis @ basis.T, torch.eye(64), atol=1e-5, rtol=0)
