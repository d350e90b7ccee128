"""Fidelity of translations to the photos that they should give back: PSNR, SSIM, MS-SSIM, and PSNR and SSIM of holes.

Each stands beside the same value of what the condition gives without learning (bicubic enlargement, the grey photo, the
mean colour in a hole, the mean face), which a translation has to exceed to be worth anything.

PSNR = 10 log10(255^2 / mean squared error) over all three channels. SSIM: Wang, Bovik, Sheikh and Simoncelli: Image
Quality Assessment: From Error Visibility to Structural Similarity. IEEE TIP 2004; on luminance, with its 11 x 11
Gaussian window, as scikit-image computes it with gaussian_weights=True, sigma=1.5 and use_sample_covariance=False. All
are means over images. MS-SSIM: see `forge.quality.ms_ssim`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from forge.faces.faceset import Images, Masks
from forge.faces.imaging.luma import luminance
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.ms_ssim import WINDOW, ms_ssim, scales_for, ssim_map
from forge.quality.result import Result
from forge.quality.translations import Beside, Translations

LEAST_ERROR = 1 / 12  # mean squared error of rounding to whole levels: PSNR is at most 58.9 dB, also of equal images
_IMAGES_AT_ONCE = 64

Floats = NDArray[np.float64]
Compared = Callable[[Images, Images], Floats]


class Fidelity(Result):
    """Translations beside their targets."""

    psnr: Beside = Field(description="decibels")
    ssim: Beside
    ms_ssim: Beside
    psnr_hole: Beside | None = Field(None, description="over pixels of the holes; null: there are no holes")
    ssim_hole: Beside | None = Field(None, description="over windows with their middle in a hole; null: none")
    without_learning: str = Field(description="what the references are of, a noun")
    n: int


def psnr(a: Images, b: Images, masks: Masks | None = None) -> Floats:
    """Return the peak signal-to-noise ratio of each pair of images [n] in decibels, at most 58.9.

    Args:
        a: uint8 [n, H, W, 3].
        b: uint8 [n, H, W, 3].
        masks: [n, H, W], above 0 where pixels count; None: all do. An image without such pixels has NaN.
    """
    squares = ((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean(axis=3)
    inside = np.ones(squares.shape, bool) if masks is None else masks > 0
    error = _mean_inside(squares, inside)
    return np.asarray(10 * np.log10(255**2 / np.maximum(error, LEAST_ERROR)), np.float64)


def ssim(a: Images, b: Images, masks: Masks | None = None, *, device: str = "cpu") -> Floats:
    """Return the structural similarity of each pair of images on luminance, [n] in -1..1.

    Args:
        a: uint8 [n, H, H, 3].
        b: uint8 [n, H, H, 3].
        masks: uint8 [n, H, H]: windows count whose middle is above 0; None: all do. An image without one has NaN.
        device: where to compute.

    Raises:
        InputError: unusable images, unequal n, or smaller than the window.
    """
    check_images({"a": a, "b": b}, equal_n=True, min_images=1)
    scales_for(a.shape[1])  # raises where the window does not fit
    out, rim = np.empty(len(a)), WINDOW // 2
    for start in range(0, len(a), _IMAGES_AT_ONCE):
        some = slice(start, start + _IMAGES_AT_ONCE)
        pair = (torch.from_numpy(luminance(images[some]))[:, None].to(device) for images in (a, b))
        similar = ssim_map(*pair)[0][:, 0].double().cpu().numpy()  # [n, H - 10, W - 10], one value per whole window
        inside = np.ones(similar.shape, bool) if masks is None else masks[some, rim:-rim, rim:-rim] > 0
        out[some] = _mean_inside(similar, inside)
    return out


def _mean_inside(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return the mean of values [n, H, W] where `inside`, [n]; NaN where nothing is."""
    count = inside.sum(axis=(1, 2))
    total = (values * inside).sum(axis=(1, 2))
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), np.float64)


def fidelity(pairs: Translations, mean_face: Images, *, device: str = "cpu") -> Fidelity:
    """Compare translations with the photos that they should give back.

    Args:
        pairs: the translations.
        mean_face: uint8 [H, H, 3], stands for what needs no learning where a condition gives nothing.
        device: where to compute.

    Raises:
        InputError: images smaller than the window of SSIM.
    """
    plain = np.broadcast_to(mean_face, pairs.sources.shape) if pairs.untrained is None else pairs.untrained

    def beside(compared: Compared) -> Beside:
        # images without a hole have no value there
        return Beside(
            value=float(np.nanmean(compared(pairs.forged, pairs.sources))),
            reference=float(np.nanmean(compared(plain, pairs.sources))),
        )

    # a hole near the rim is in the middle of no window: the image has no SSIM there
    rim, masks = WINDOW // 2, pairs.masks
    holes = masks is not None and bool(masks.any())
    windows = masks is not None and bool(masks[:, rim:-rim, rim:-rim].any())
    return Fidelity(
        psnr=beside(psnr),
        ssim=beside(lambda a, b: ssim(a, b, device=device)),
        ms_ssim=beside(lambda a, b: ms_ssim(a, b, device=device)),
        psnr_hole=beside(lambda a, b: psnr(a, b, masks)) if holes else None,
        ssim_hole=beside(lambda a, b: ssim(a, b, masks, device=device)) if windows else None,
        without_learning=pairs.without_learning if pairs.untrained is not None else "mean face",
        n=len(pairs),
    )


class FidelityMetric(QualityMetric):
    """PSNR, SSIM and MS-SSIM of translations whose target is their source; None of other sets."""

    id = "fidelity"
    title = "fidelity"

    def measure(self, sides: Sides) -> Fidelity | None:
        """See `fidelity`."""
        pairs = sides.translations
        if pairs is None or not pairs.restores or pairs.forged.shape[1] < WINDOW:
            return None
        mean_face = np.rint(sides.reference.mean(axis=0)).astype(np.uint8)
        return fidelity(pairs, mean_face, device=sides.device)

    def rows(self, ours: Fidelity | None, floor: Fidelity | None, n: int) -> list[Row]:
        """One line per measure, beside what needs no learning."""
        if ours is None:
            return []
        measures = {
            "PSNR to the photo, dB": ours.psnr,
            "SSIM to the photo": ours.ssim,
            "MS-SSIM to the photo": ours.ms_ssim,
            "PSNR in the hole, dB": ours.psnr_hole,
            "SSIM in the hole": ours.ssim_hole,
        }
        return [
            Row(name, measure.value, measure.reference, "higher", ours.n, ours.without_learning)
            for name, measure in measures.items()
            if measure is not None
        ]
