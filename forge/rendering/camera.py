"""Camera model: lens blur, Bayer mosaic, noise, demosaicing, tone curve, JPEG."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from forge.rendering.noise import Array, chip


@dataclass(frozen=True)
class Camera:
    """One exposure.

    Attributes:
        blur: standard deviation of the lens's point spread, pixels, at most about 1.2.
        fringe: lateral chromatic aberration at the corner, pixels (red outwards).
        shot, read: noise variance per unit of light, and noise deviation in the dark (full well = 1).
        balance: gains of red, green and blue that the white balance got wrong.
        contrast: strength of the S-shaped tone curve, 0..1.
        vignette: loss of light in the corner, 0..1.
        quality: JPEG quality.
        subsampling: Pillow's name of the chroma subsampling, "4:2:0" or "4:4:4".
        noise_at: where in the shared strip of noise the sensor's is cut.
    """

    blur: float
    fringe: float
    shot: float
    read: float
    balance: tuple[float, float, float]
    contrast: float
    vignette: float
    quality: int
    subsampling: str
    noise_at: int


def _blur(light: Array, sigma: float) -> Array:
    # one pass [s, 1 - 2 s, s] has the variance 2 s; variances of passes add up. With 2 s = sigma^2 / passes each tap
    # stays positive up to the largest sigma
    """Separable three-tap point spread of [3, H, W] with that variance (two passes beyond sigma 0.7)."""
    passes = 1 if sigma <= 0.7 else 2
    side = np.float32(0.5 * sigma**2 / passes)
    for _ in range(passes):
        for axis in (1, 2):
            ahead, here, behind = (
                light[(slice(None),) * axis + (s,)] for s in (slice(2, None), slice(1, -1), slice(None, -2))
            )
            blurred = light.copy()
            # the outermost pixels stay as they are
            blurred[(slice(None),) * axis + (slice(1, -1),)] = here + side * (ahead + behind - 2 * here)
            light = blurred
    return light


def _demosaic(raw: Array) -> Array:
    """Return the bilinear interpolation of an RGGB mosaic [H, W] to [3, H, W]; H and W even."""
    # mirrored without the edge itself, so that the mosaic's parity goes on beyond it
    p = np.pad(raw, 1, mode="reflect")
    # mean of the four neighbours by side, [H, W]; then above and below, left and right, the four corners
    cross = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) * np.float32(0.25)
    rows = (p[:-2, 1:-1] + p[2:, 1:-1]) * np.float32(0.5)
    cols = (p[1:-1, :-2] + p[1:-1, 2:]) * np.float32(0.5)
    diagonal = (p[:-2, :-2] + p[:-2, 2:] + p[2:, :-2] + p[2:, 2:]) * np.float32(0.25)
    out = np.empty((3, *raw.shape), np.float32)
    # (row, column) parity: red at (0, 0), blue at (1, 1), green elsewhere
    sources = {
        (0, 0): (raw, cross, diagonal),
        (1, 1): (diagonal, cross, raw),
        (0, 1): (cols, raw, rows),
        (1, 0): (rows, raw, cols),
    }
    for (i, j), channels in sources.items():
        for c, source in enumerate(channels):
            out[c, i::2, j::2] = source[i::2, j::2]
    return out


def _fringe(light: Array, pixels: float) -> Array:
    """Magnify red and shrink blue by that many pixels at the corner (linear interpolation along rows and columns)."""
    n = light.shape[-1]
    for c, sign in ((0, 1.0), (2, -1.0)):
        # where each output pixel is read, -pixels..pixels away at the ends
        at = np.clip(np.arange(n) - sign * pixels * (2 * np.arange(n) / (n - 1) - 1), 0, n - 1)
        low = np.minimum(at.astype(np.int64), n - 2)
        part = (at - low).astype(np.float32)
        plane = light[c]
        plane = plane[low] * (1 - part)[:, None] + plane[low + 1] * part[:, None]
        light[c] = plane[:, low] * (1 - part) + plane[:, low + 1] * part
    return light


def _curve(contrast: float) -> np.ndarray:
    """Table of 4096 linear levels to 8 bits: sRGB gamma, then a blend with the smooth step t²(3 - 2t)."""
    linear = np.linspace(0, 1, 4096)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    # steeper in the middle, flatter at both ends, 0 and 1 stay
    toned = gamma + contrast * (gamma * gamma * (3 - 2 * gamma) - gamma)
    table: np.ndarray = np.round(255 * toned).astype(np.uint8)
    return table


def expose(light: Array, camera: Camera) -> np.ndarray:
    """Take the picture.

    Args:
        light: linear RGB [3, H, W], 1 is white; H and W even.
        camera: the exposure.

    Returns:
        uint8 RGB [H, W, 3], before any coding.
    """
    size = light.shape[-1]
    if camera.fringe:
        light = _fringe(light, camera.fringe)
    light = _blur(light, camera.blur)
    # half the squared distance along an axis: both add up to 1 in the corner
    r2 = np.square(np.linspace(-1, 1, size, dtype=np.float32)) * np.float32(0.5)
    fall = 1 - np.float32(camera.vignette) * (r2[:, None] + r2[None, :])
    raw = np.empty((size, size), np.float32)
    # RGGB: each pixel of the sensor sees one colour
    for (i, j), c in {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items():
        raw[i::2, j::2] = light[c, i::2, j::2]
    raw *= fall
    # highlights roll off softly, as film and phones render them, instead of clipping one channel
    # 0.7 + 0.3 (1 - exp((0.7 - x) / 0.3)) joins the line at 0.7 with slope 1 and approaches 1
    raw = np.where(raw > 0.7, 0.7 + 0.3 * (1 - np.exp((0.7 - raw) * np.float32(1 / 0.3))), raw)
    noise = chip()[camera.noise_at : camera.noise_at + size * size].reshape(size, size)
    # Poisson (in proportion to the light) and read noise, both as Gaussians of that variance
    raw += noise * np.sqrt(np.float32(camera.shot) * np.maximum(raw, 0) + np.float32(camera.read**2))
    colours = _demosaic(raw)
    # white balance after demosaicing, as gains on linear light; then 4096 levels for the table
    colours *= np.asarray(camera.balance, np.float32)[:, None, None] * np.float32(4095)
    levels = np.clip(colours, 0, 4095).astype(np.uint16)
    return np.ascontiguousarray(_curve(camera.contrast)[levels].transpose(1, 2, 0))


def encode(image: np.ndarray, camera: Camera) -> bytes:
    """Return the picture as a JPEG file with the camera's quality and chroma subsampling."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=camera.quality, subsampling=camera.subsampling)
    return file.getvalue()
