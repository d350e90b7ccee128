"""Residuals of image batches: differences of pixels to a prediction from their neighbours.

Both are compositions of whole-tensor operations that keep the memory order of their input (channels_last stays so),
need no window copies, and pass gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad


def neighbouring_pixels(images: Tensor) -> Tensor:
    """Return differences of each pixel to the first pixel of its 2 x 2 cell (NPR: Tan et al., CVPR 2024, section 3.2).

    x - up(down(x)), both by a factor of 2 with the nearest pixel: nearest-neighbour halving keeps the pixel at even
    row and column, doubling repeats it.

    Args:
        images: float [N, C, H, W], H and W at least 2.

    Returns:
        The same type, [N, C, 2 floor(H / 2), 2 floor(W / 2)]: a last odd row or column has no cell and is left out.
    """
    height, width = images.shape[-2] // 2, images.shape[-1] // 2
    even = images[..., : 2 * height, : 2 * width]
    return even - interpolate(interpolate(even, scale_factor=0.5), scale_factor=2.0)


def diagonal_details(images: Tensor) -> Tensor:
    """Return the diagonal details of one level of the wavelet transform bior1.3, borders mirrored, as SAFE uses them.

    The high-pass filter of bior1.3 is that of Haar: a detail is half of a - b - c + d over a 2 x 2 cell. The low-pass
    filter with its six taps, which details do not use, makes the transform reach two pixels beyond the image.

    Args:
        images: float [N, C, H, W], H and W at least 3.

    Returns:
        The same type, [N, C, floor((H + 5) / 2), floor((W + 5) / 2)].
    """
    height, width = images.shape[-2:]
    # mirrored with the border pixel repeated: ..., x1, x0 | x0, x1, ..., in whole cells of two
    rows, columns = (_mirrored(size, images.device) for size in (height, width))
    whole = images[..., rows, :][..., columns]
    across = whole[..., 0::2] - whole[..., 1::2]
    return (across[..., 0::2, :] - across[..., 1::2, :]) / 2


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Return the index of pixels -2, -1, ..., to the end of the last cell that begins within size + 1."""
    index = torch.arange(-2, 2 * ((size + 5) // 2) - 2, device=device)
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= size, 2 * size - 1 - index, index)


def local_median(images: Tensor, *, masked: bool = False) -> Tensor:
    """Return the median of each 3 x 3 window, pixels outside the image counting as 0.

    The middle of nine numbers is that of three: of the largest minimum, the middle median and the smallest maximum of
    the window's columns. Columns are sorted once for the three windows that share them.

    Args:
        images: float [N, C, H, W].
        masked: count the window's own centre as 0 too, so that the prediction comes from its neighbours alone
            (FerretNet: Liang et al., NeurIPS 2025, algorithm 1).

    Returns:
        The same shape and type.
    """
    framed = pad(images, (1, 1, 1, 1))
    above, middle, below = framed[..., :-2, :], framed[..., 1:-1, :], framed[..., 2:, :]
    # each column of three pixels, sorted; a window is three neighbouring columns
    low, mid, high = _sorted(above, middle, below)
    centre = low[..., 1:-1], mid[..., 1:-1], high[..., 1:-1]
    if masked:
        # the column through the centre holds (up, 0, down): its minimum, median and maximum without a third sort
        up, down = above[..., 1:-1], below[..., 1:-1]
        small, large = torch.minimum(up, down), torch.maximum(up, down)
        # the middle column with its centre replaced by 0, sorted
        centre = small.clamp_max(0), _middle_of_ordered(small, large), large.clamp_min(0)
    # median of nine = median of (largest minimum, median of medians, smallest maximum): every other value has at least
    # five of the nine on one side of it
    lows = torch.maximum(torch.maximum(low[..., :-2], centre[0]), low[..., 2:])
    mids = _sorted(mid[..., :-2], centre[1], mid[..., 2:])[1]
    highs = torch.minimum(torch.minimum(high[..., :-2], centre[2]), high[..., 2:])
    return _sorted(lows, mids, highs)[1]


def median_residual(images: Tensor, *, masked: bool = False) -> Tensor:
    """Return the difference of each pixel to its local median, see `local_median`; same shape."""
    return images - local_median(images, masked=masked)


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the minimum, median and maximum of three tensors, element by element."""
    small, large = torch.minimum(a, b), torch.maximum(a, b)
    return torch.minimum(small, c), torch.maximum(small, torch.minimum(large, c)), torch.maximum(large, c)


def _middle_of_ordered(small: Tensor, large: Tensor) -> Tensor:
    """Return the median of small, 0 and large, where small <= large."""
    return torch.maximum(small, large.clamp_max(0))
