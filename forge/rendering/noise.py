"""Random textures of skin, hair and walls: periodic tiles, made once from fixed seeds."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 in fact; NumPy's stubs type too many float32 expressions as float64 for the narrow type to be of use
Array = NDArray[np.floating[Any]]

TILE = 512
# name -> (seed, wavelength across in texels, wavelength along in texels, spectral slope)
_SPECTRA = {
    "cloud": (11, 220.0, 220.0, 2.2),
    "blotch": (12, 26.0, 26.0, 1.2),
    "pores": (13, 3.2, 3.2, 0.0),
    "strand": (14, 4.5, 70.0, 0.3),
    "lock": (15, 17.0, 150.0, 0.6),
    "bristle": (16, 2.6, 9.0, 0.0),
    "curl": (17, 11.0, 11.0, 0.2),
}


@lru_cache(maxsize=len(_SPECTRA))
def tile(name: str) -> Array:
    """Return a periodic Gaussian random field with zero mean and unit variance, clipped to ±3.

    White noise is multiplied in the Fourier domain by exp(-q²) / q^slope with q the frequency in units of the texture's
    own wavelength, so strands (long one way, fine the other) and blotches come from the same few lines.

    Args:
        name: one of cloud, blotch, pores, strand, lock, bristle, curl.

    Returns:
        Shape [TILE, TILE]; read-only, because every caller shares it.
    """
    seed, across, along, slope = _SPECTRA[name]
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    # 1/2 at the texture's own wavelength
    q = np.hypot(np.fft.fftfreq(TILE)[:, None] * along, np.fft.rfftfreq(TILE)[None, :] * across) / 2
    # a floor under q keeps the lowest frequencies of a 1/f field finite
    # real white noise, filtered by a real, even function, stays real; the FFT makes the tile periodic
    field = np.fft.irfft2(np.fft.rfft2(white) * np.exp(-(q**2)) / np.maximum(q, 0.25) ** slope, s=(TILE, TILE))
    field = (field - field.mean()) / field.std()
    result: Array = np.clip(field, -3, 3).astype(np.float32)
    result.setflags(write=False)  # shared by the cache: a painter that wrote into it would change every later head
    return result


def window(name: str, rng: np.random.Generator, rows: int, cols: int) -> Array:
    """Return a view of `rows` x `cols` texels of a tile at a random place (both at most TILE)."""
    # within the tile, so that it is a view and nothing is copied
    top, left = (int(rng.integers(0, TILE - n + 1)) for n in (rows, cols))
    cut: Array = tile(name)[top : top + rows, left : left + cols]
    return cut


@lru_cache(maxsize=2)
def chip(seed: int = 31) -> Array:
    """Return standard normal values of a long read-only strip: sensor noise is cheaper to cut from it than to draw."""
    strip = np.random.default_rng(seed).standard_normal(1 << 21, dtype=np.float32)
    strip.setflags(write=False)
    return strip
