"""CIE L*a*b* of sRGB images (IEC 61966-2-1, white D65), differentiable, and the lightness of stored bytes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# linear sRGB to XYZ, IEC 61966-2-1; rows are X, Y, Z
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_CUBE = (6 / 29) ** 3  # CIE 15: below it the cube root is replaced by a line
_SLOPE = (29 / 6) ** 2 / 3
_BISECTIONS = 12  # of the chroma that still lies in sRGB: 1/4096 of it


def _matrix(like: Tensor, *, inverse: bool = False) -> Tensor:
    to_xyz = torch.tensor(_TO_XYZ, dtype=torch.float64)
    white = to_xyz.sum(1, keepdim=True)  # XYZ of R = G = B = 1, so that greys have a = b = 0 exactly
    matrix = to_xyz / white
    return (torch.linalg.inv(matrix) if inverse else matrix).to(like)


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB [N, 3, H, W] in 0..1 to L* (0..100), a*, b* (about -128..128)."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,njhw->nihw", _matrix(images), linear)
    # a clamped base in each branch, since the gradient of the branch that `where` drops must be finite too
    bent = torch.where(xyz > _CUBE, xyz.clamp(min=_CUBE) ** (1 / 3), xyz * _SLOPE + 4 / 29)
    x, y, z = bent.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert L*, a*, b* [N, 3, H, W] to sRGB; outside 0..1 where sRGB has no such colour."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    bent = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(bent > 6 / 29, bent**3, (bent - 4 / 29) / _SLOPE)
    linear = torch.einsum("ij,njhw->nihw", _matrix(lab, inverse=True), xyz)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def into_gamut(lab: Tensor) -> Tensor:
    """Reduce the chroma of colours that sRGB lacks until it has them; lightness and hue stay.

    Args:
        lab: L* in 0..100, a*, b* [N, 3, H, W].
    """
    lightness, chroma = lab[:, :1], lab[:, 1:]
    low, high = torch.zeros_like(lightness), torch.ones_like(lightness)

    def fits(share: Tensor) -> Tensor:
        rgb = lab_to_rgb(torch.cat([lightness, chroma * share], 1))
        return ((rgb > -1e-4) & (rgb < 1 + 1e-4)).all(1, keepdim=True)

    whole = fits(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        inside = fits(middle)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.cat([lightness, chroma * torch.where(whole, 1.0, low)], 1)


@functools.cache
def _lightness_of_bytes() -> tuple[Tensor, Tensor]:
    """Linear value of each byte [256], and the weights of Y [3], float64."""
    level = torch.arange(256, dtype=torch.float64) / 255
    linear = torch.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear, _matrix(linear)[1]


def lightness(images: Tensor) -> Tensor:
    """Return the lightness of stored pixels in 255ths: round(L* 255 / 100), as 8-bit Lab has it.

    Args:
        images: uint8 [..., 3].

    Returns:
        uint8 [...].
    """
    linear, weights = _lightness_of_bytes()
    luminance = linear[images.long()] @ weights
    bent = torch.where(luminance > _CUBE, luminance.clamp(min=_CUBE) ** (1 / 3), luminance * _SLOPE + 4 / 29)
    return ((116 * bent - 16) * 2.55).round().clamp(0, 255).to(torch.uint8)


@functools.cache
def _neighbours(reach: int) -> Tensor:
    """All changes of a pixel by up to `reach` per channel [n, 3], the smallest first."""
    axis = torch.arange(-reach, reach + 1)
    changes = torch.cartesian_prod(axis, axis, axis)
    return changes[changes.square().sum(1).argsort(stable=True)]


def with_lightness(images: Tensor, wanted: Tensor) -> Tensor:
    """Change pixels as little as possible until their lightness is the wanted one to the byte.

    Rounding to bytes moves the lightness of a few pixels by one step; a change of one or two levels in a channel
    brings it back.

    Args:
        images: uint8 [N, H, W, 3], of about that lightness.
        wanted: uint8 [N, H, W], as `lightness` returns it.

    Returns:
        uint8 [N, H, W, 3]; pixels for which no near colour exists become the nearest grey.
    """
    result = images.clone()
    for reach in (1, 3):
        wrong = lightness(result) != wanted
        if not wrong.any():
            return result
        changed = result[wrong].long()[:, None] + _neighbours(reach)  # [pixels, changes, 3]
        valid = ((changed >= 0) & (changed <= 255)).all(-1)
        right = (lightness(changed.clamp(0, 255)) == wanted[wrong][:, None]) & valid
        first = right.int().argmax(1)  # changes are in order of size: the first right one is the smallest
        best = changed[torch.arange(len(changed)), first]
        result[wrong] = torch.where(right.any(1, keepdim=True), best, result[wrong].long()).to(torch.uint8)
    wrong = lightness(result) != wanted
    if wrong.any():
        greys = lightness(torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, 3))
        nearest = (greys[None].int() - wanted[wrong][:, None].int()).abs().argmin(1)
        result[wrong] = nearest[:, None].expand(-1, 3).to(torch.uint8)
    return result
