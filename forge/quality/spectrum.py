"""Azimuthal mean power spectrum: how much detail there is at each frequency.

Durall et al.: Watch your Up-Convolution. CVPR 2020. Generators leave gaps and peaks at high frequencies.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic import Field

from forge.faces.faceset import Images
from forge.faces.imaging.luma import luminance
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

KAISER_BETA = 8.0  # side lobes fall below -50 dB: edges of the frame do not leak into high frequencies
_IMAGES_AT_ONCE = 256
_LEAST_POWER = 1e-12  # far below the 1e-6 that rounding to 8 bits leaves

Profile = NDArray[np.float64]


class Spectrum(Result):
    """Two spectra and how far apart they are."""

    distance: float = Field(description="mean absolute difference of the log10 profiles; 0.3 is a factor of two")
    frequencies: list[float] = Field(description="cycles a pixel; 0.5 is the finest along an axis, 0.707 diagonally")
    candidate: list[float] = Field(description="log10 of the mean power at each frequency, grey levels in 0..1")
    reference: list[float]
    n: int = Field(description="images of the candidate")


def azimuthal_profile(images: Images) -> tuple[Profile, Profile]:
    """Return the mean power at each distance from the spectrum's centre, averaged over images and directions.

    Each grey image loses its mean and is multiplied by a Kaiser window (beta 8); white noise of variance v has the flat
    spectrum v.

    Args:
        images: uint8 [n, H, H, 3].

    Returns:
        Frequencies in cycles a pixel and log10 of the power, both [round(H / sqrt 2)]; without the mean (frequency 0).

    Raises:
        InputError: unusable images.
    """
    check_images({"images": images})
    side = images.shape[1]
    window = np.outer(*[np.kaiser(side, KAISER_BETA).astype(np.float32)] * 2)  # [H, H]
    power = np.zeros((side, side))
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        grey = luminance(images[start : start + _IMAGES_AT_ONCE])
        # a mean that is left would pass through the window and outshine the lowest frequencies
        grey -= grey.mean(axis=(1, 2), keepdims=True)
        # |F|^2, summed over images, [H, H]
        power += (np.abs(scipy.fft.fft2(grey * window)) ** 2).sum(axis=0, dtype=np.float64)
    # divided by the window's energy: for white noise of variance v, E|F|^2 = v times the sum of the squared window
    power /= len(images) * float((window.astype(np.float64) ** 2).sum())
    steps = scipy.fft.fftfreq(side, 1 / side)  # whole frequencies 0, 1, ..., -1 in cycles an image
    radius = np.rint(np.hypot(steps[:, None], steps[None, :])).astype(int).ravel()  # rings one frequency wide, [H * H]
    mean = np.bincount(radius, power.ravel()) / np.bincount(radius)  # mean over each ring
    # in the logarithm: octaves far below the image's own power count as much as those near it
    return np.arange(1, len(mean)) / side, np.log10(mean[1:] + _LEAST_POWER)


def spectrum_distance(candidate: Images, reference: Images) -> Spectrum:
    """Compare the azimuthal power spectra of two sets of images uint8 [n, H, H, 3].

    Raises:
        InputError: unusable images.
    """
    check_images({"candidate": candidate, "reference": reference})
    frequencies, ours = azimuthal_profile(candidate)
    _, theirs = azimuthal_profile(reference)
    return Spectrum(
        distance=float(np.abs(ours - theirs).mean()),
        frequencies=frequencies.tolist(),
        candidate=ours.tolist(),
        reference=theirs.tolist(),
        n=len(candidate),
    )


class SpectrumMetric(QualityMetric):
    """Difference of the mean power spectra."""

    id = "spectrum"
    title = "spectrum"

    def measure(self, sides: Sides) -> Spectrum:
        """See `spectrum_distance`."""
        return spectrum_distance(sides.candidate, sides.reference)

    def rows(self, ours: Spectrum, floor: Spectrum, n: int) -> list[Row]:
        """Return the distance."""
        return [Row("spectrum, log10 difference", ours.distance, floor.distance, "lower", n)]
