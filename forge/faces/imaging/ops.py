"""Image operations on batches, uint8 [N, H, W, 3] on any device: blur, rescale, crop, noise, brightness, JPEG.

An image gets the same bytes alone, in any batch and on any device: filter weights are whole multiples of 2^-22, so that
every sum of products is exact in float64 whatever its order, noise is a hash of a key an image, JPEG always Pillow's.
Filters are applied as matrices, which suits faces (some hundred pixels a side) and grows with the cube of the side.

Parameters are one number, or one number per image: a tensor [N] on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from forge.core.compute import default_threads
from forge.faces.imaging.jpeg import coded

WEIGHT_UNIT = 2.0**22  # two passes over 8-bit pixels then need 8 + 22 + 22 of float64's 53 bits
TRUNCATE = 4.0  # a Gaussian ends after this many standard deviations, as scipy's does
JPEGS_A_THREAD = 8  # fewer are not worth a thread
LEVELS = 1 << 16  # of the random numbers that become noise


def blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """Gaussian blur, each image with its own sigma; `scipy.ndimage.gaussian_filter` (mode "reflect"), rounded once.

    Args:
        images: uint8 [N, H, W, 3].
        sigma: standard deviation in pixels, 0 and more.

    Returns:
        A new tensor like `images`.
    """
    spread = _each(sigma)
    reach = (TRUNCATE * spread + 0.5).floor()  # [N]
    offset = torch.arange(-int(reach.max()), int(reach.max()) + 1, dtype=torch.float64)  # [K], of the largest sigma
    # a sigma of 0 has no reach, so that only the middle, exp(0), remains
    # [N, K]; taps beyond an image's own reach are zero, so that it gets the bytes it would get alone
    weights = torch.exp(-0.5 * (offset / spread.clamp_min(1e-9)[:, None]).square()) * (offset.abs() <= reach[:, None])
    weights = _quantised(weights / weights.sum(1, keepdim=True)).to(images.device)
    blurred = images.double()
    for axis in (1, 2):
        blurred = _along(axis, blurred, _reflecting(weights, images.shape[axis]))
    return _to_uint8(blurred)


def rescale(images: Tensor, share: float | Tensor) -> Tensor:
    """Shrink each image to a share of its sides and enlarge it back; byte for byte what Pillow's BILINEAR does twice.

    Args:
        images: uint8 [N, H, W, 3].
        share: of both sides, above 0; the smaller image has whole pixels.

    Returns:
        A new tensor like `images`.
    """
    sides = [torch.full_like(_each(share), images.shape[axis]) for axis in (1, 2)]  # [N] each
    small = [(side * _each(share) + 0.5).floor().clamp_min(1) for side in sides]  # whole pixels, rounded half up
    zero = torch.zeros_like(small[0])
    shrunk = _resized(images, [_triangle(zero, *pair) for pair in zip(sides, small, strict=True)])
    return _resized(shrunk, [_triangle(zero, *pair) for pair in zip(small, sides, strict=True)])


def crop(images: Tensor, share: float) -> Tensor:
    """Cut the middle out and enlarge it to the old size; byte for byte Pillow's BILINEAR with that box.

    Args:
        images: uint8 [N, H, W, 3].
        share: of both sides that is kept, in whole pixels; above 0, at most 1.

    Returns:
        A new tensor like `images`.
    """
    matrices = []
    for side in images.shape[1:3]:
        kept = max(1, int(side * share + 0.5))
        whole, start = torch.tensor([float(side)]), torch.tensor([float((side - kept) // 2)])
        # whole pixels, so that the box is the one Pillow gets
        matrices.append(_triangle(start, whole, whole, span=torch.tensor([float(kept)])))
    return _resized(images, matrices)


def noise(images: Tensor, sigma: float | Tensor, keys: Tensor) -> Tensor:
    """Add Gaussian noise of its own to every value, rounded and clipped.

    The random numbers are splitmix64 (Steele et al. 2014) of the key and the position, 16 bits a value, made normal by
    a table of quantiles: no library's generator is involved, so no version of one changes them.

    Args:
        images: uint8 [N, H, W, 3].
        sigma: standard deviation in grey levels of 255.
        keys: int64 [N]; the same key gives the same noise.

    Returns:
        A new tensor like `images`.
    """
    device, values = images.device, images.shape[1:].numel()
    # 64 bits give four values of 16 bits
    position = torch.arange(1, -(-values // 4) + 1, device=device)
    # splitmix64: the state of value i is key + i * golden, so that all are computed at once
    bits = _splitmix(keys.to(device)[:, None] + position * _GOLDEN)
    level = bits.view(torch.int16)[:, :values].to(torch.int64) + LEVELS // 2  # int16 -32768..32767 to 0..65535
    spread = _each(sigma).float().to(device).view(-1, 1, 1, 1)
    return _to_uint8(_quantiles().to(device)[level].view(images.shape) * spread + images)


def adjust(images: Tensor, *, brightness: float = 1.0, contrast: float = 1.0) -> Tensor:
    """Scale brightness, then contrast about the image's own mean.

    Args:
        images: uint8 [N, H, W, 3].
        brightness: factor of every value.
        contrast: factor of every value's distance from the mean of all values of its image.

    Returns:
        A new tensor like `images`.
    """
    # the sum of whole numbers is exact, so the mean does not depend on who adds it up
    mean = images.sum((1, 2, 3), dtype=torch.int64).double() / images.shape[1:].numel()
    # contrast keeps the mean: c x + (1 - c) mean
    return _to_uint8((images.double() * contrast + (1 - contrast) * mean.view(-1, 1, 1, 1)) * brightness)


def jpeg(images: Tensor, quality: int | Tensor, *, workers: int | None = None) -> Tensor:
    """Encode each image as JPEG and decode it again, with Pillow: libjpeg's tables for the quality, chroma at 4:2:0.

    Args:
        images: uint8 [N, H, W, 3].
        quality: 1..100.
        workers: threads; by default as many as this process computes with.

    Returns:
        A new tensor like `images`.
    """
    pixels = images.cpu().contiguous().numpy()
    wanted = torch.as_tensor(quality).expand(len(pixels)).tolist()
    decoded = np.empty_like(pixels)

    def code(numbers: Iterable[int]) -> None:
        for number in numbers:
            decoded[number] = coded(pixels[number], wanted[number])

    threads = min(workers or default_threads(), -(-len(pixels) // JPEGS_A_THREAD))
    if threads > 1:
        # one long row of images each: handing over single ones costs more than coding them
        # list: errors of threads are raised here
        list(_pool(threads).map(code, [range(start, len(pixels), threads) for start in range(threads)]))
    else:
        code(range(len(pixels)))
    return torch.from_numpy(decoded).to(images.device)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="jpeg")


# --- filters as matrices -------------------------------------------------------------------------------------------


def _each(value: float | Tensor) -> Tensor:
    """One parameter an image, float64 [N]; or for all images, [1]."""
    return torch.as_tensor(value, dtype=torch.float64).reshape(-1)


def _quantised(weights: Tensor) -> Tensor:
    # whole multiples of 2^-22. They need not sum to 1 exactly; the error is far below half a grey level
    return (weights * WEIGHT_UNIT + 0.5).floor() / WEIGHT_UNIT


def _reflecting(weights: Tensor, side: int) -> Tensor:
    """Return the matrices [N, side, side] of filters [N, odd] with reflected edges: b a | a b c | c b."""
    reach = weights.shape[1] // 2
    column = torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)
    # reflection repeats with twice the side: 0 .. side - 1 forwards, then backwards
    column = column.remainder(2 * side)
    column = torch.minimum(column, 2 * side - 1 - column).to(weights.device)
    empty = weights.new_zeros(len(weights), side, side)
    shape = (len(weights), *column.shape)
    # added, as several taps of a wide filter may fall on one pixel near an edge
    return empty.scatter_add_(2, column.expand(shape), weights[:, None].expand(shape))


def _triangle(start: Tensor, old: Tensor, new: Tensor, *, span: Tensor | None = None) -> Tensor:
    """Pillow's antialiased triangle filter from `old` to `new` pixels along one side, as matrices.

    Args:
        start: where the part that is resized begins, in old pixels, float64 [N].
        old: pixels before, whole numbers.
        new: pixels after, whole numbers.
        span: length of the part; by default all.

    Returns:
        float64 [N, largest new, largest old]; rows and columns beyond an image's own sides are zero.
    """
    start, old, new = start.double(), old.double(), new.double()
    row = torch.arange(int(new.max()), dtype=torch.float64)
    column = torch.arange(int(old.max()), dtype=torch.float64)
    scale = (old if span is None else span.double()) / new  # old pixels a new one spans
    centre = start[:, None] + (row + 0.5) * scale[:, None]  # of each new pixel, in old pixels
    narrow = 1 / scale.clamp_min(1)  # enlarging interpolates between neighbours, shrinking averages over more
    # from pixel centres, in units of the triangle's half width
    distance = (column - centre[:, :, None] + 0.5) * narrow[:, None, None]
    # columns beyond an image's own side do not count: images of several sizes share one matrix
    weights = (1 - distance.abs()).clamp_min_(0) * (column < old[:, None])[:, None, :]
    weights /= weights.sum(2, keepdim=True).clamp_min_(1e-9)  # rows that no image of this size has may be empty
    return _quantised(weights * (row < new[:, None])[:, :, None])


def _resized(images: Tensor, matrices: list[Tensor]) -> Tensor:
    """Apply matrices along height and width; like Pillow across first, and to 8 bits after each."""
    for axis in (2, 1):  # matrices[0] is for axis 1, height
        matrix = matrices[axis - 1].to(images.device)
        images = _to_uint8(_along(axis, images.double(), matrix))
    return images


def _along(axis: int, images: Tensor, matrices: Tensor) -> Tensor:
    """Multiply [N, H, W, 3] along one axis with matrices [N or 1, new, old]."""
    turned = images.transpose(1, axis)
    product = matrices @ turned.reshape(*turned.shape[:2], -1)  # [N, new, other * 3]
    return product.view(*product.shape[:2], *turned.shape[2:]).transpose(1, axis)


def _to_uint8(images: Tensor) -> Tensor:
    """Round half up and clip; `images` is overwritten."""
    return images.add_(0.5).clamp_(0, 255).to(torch.uint8).contiguous()


# --- noise ---------------------------------------------------------------------------------------------------------


def _signed(constant: int) -> int:
    # two's complement: torch multiplies int64 modulo 2^64 as if unsigned
    return constant - (1 << 64) if constant >> 63 else constant


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_ROUNDS = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)))


def _splitmix(state: Tensor) -> Tensor:
    """Return the output function of splitmix64 on int64 whose bits are those of the unsigned numbers."""
    for shift, factor in _ROUNDS:
        state = (state ^ _shifted(state, shift)) * factor
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift of int64 repeats the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)  # the mask clears the repeated sign bits


@functools.cache
def _quantiles() -> Tensor:
    """Return the standard normal quantiles of the middles of 2^16 equal parts, float32."""
    middles = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS  # of equal parts, so that the ends stay finite
    quantiles: Tensor = torch.special.ndtri(middles)
    return quantiles.float()
