"""Augmentation of training batches on the device; both classes alike, since no operation is told the labels.

By default nothing interpolates: resampling rewrites the very traces that detectors look for. Where a fit asks for it,
images are degraded as they are on their way through the world: resized, blurred, noisy, compressed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from detect.data.wild import changed_once
from detect.training.settings import NetworkSettings
from forge.core.compute import to_device
from forge.core.errors import InputError
from forge.faces.imaging import ops


def augment(
    pixels: Tensor,
    generator: torch.Generator,
    settings: NetworkSettings,
    *,
    of: tuple[int, Tensor] | None = None,
) -> Tensor:
    """Mirror, move, change as the web does, rescale, blur, add noise, compress and crop, each image with its own draws.

    Every number is drawn whatever the settings are, so that switching one operation off, or changing its range, leaves
    all others as they were.

    Args:
        pixels: uint8 [N, H, W, 3], or with a mask as fourth channel, which is mirrored, moved and cropped alike.
        generator: a CPU generator, so that the same seed augments alike on every device.
        settings: which operations, how often and how strong.
        of: images of the whole batch that numbers are drawn for, and the positions of these in it, int64 [N]; None:
            these are the whole batch.

    Returns:
        A new tensor uint8 [N, h, w, C] on the same device, where h and w are H and W, or `cropped` of them.

    Raises:
        InputError: `wild` is asked of images with masks.
    """
    height, width = pixels.shape[1:3]
    count, mine = of or (len(pixels), torch.arange(len(pixels)))
    # drawn before all else, as in fits from the time when there was nothing else
    shift = round(settings.shift * height)
    pixels = flip_and_shift(pixels, generator, flip=settings.flip, shift=shift, of=(count, mine))
    # occurrence of each operation, and its strength within its range
    happens = torch.rand(4, count, generator=generator, dtype=torch.float64)[:, mine]
    strength = torch.rand(4, count, generator=generator, dtype=torch.float64)[:, mine]
    corner = torch.rand(2, count, generator=generator, dtype=torch.float64)[:, mine]
    keys = torch.randint(1 << 62, (count,), generator=generator)[mine]  # int64: one key of noise per image
    wild = torch.rand(count, generator=generator, dtype=torch.float64)[mine] < settings.wild

    def some(row: int, probability: float, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        chosen = (happens[row] < probability).nonzero().flatten()
        # only images that are changed are copied and processed
        if len(chosen):
            positions = to_device(chosen, pixels.device)
            # in place: `pixels` is a new tensor since `flip_and_shift`
            # a fourth channel, a mask, is moved with the image and nothing else
            pixels[positions, ..., :3] = change(pixels[positions][..., :3].contiguous(), chosen)

    def within(row: int, ends: tuple[float, float], chosen: Tensor) -> Tensor:
        return ends[0] + (ends[1] - ends[0]) * strength[row, chosen]

    # first, since an image that was saved by somebody is then changed by somebody else
    _change_wildly(pixels, wild.nonzero().flatten(), keys)
    # the order of an image's way: resized, blurred, noisy, compressed; JPEG last, as files are saved
    some(0, settings.rescale, lambda old, at: ops.rescale(old, within(0, settings.rescale_range, at)))
    some(1, settings.blur, lambda old, at: ops.blur(old, within(1, settings.blur_sigma, at)))
    some(2, settings.noise, lambda old, at: ops.noise(old, within(2, settings.noise_sigma, at), keys[at]))
    low, high = settings.jpeg_quality
    # quality + share of (high - low + 1), cut to whole numbers: each quality is equally likely; a share next to 1 is
    # clamped
    some(3, settings.jpeg, lambda old, at: ops.jpeg(old, within(3, (low, high + 1), at).long().clamp(max=high)))
    # the crop comes last: filters still see the pixels beyond its edges
    side = cropped(height, settings.crop), cropped(width, settings.crop)
    return random_crop(pixels, corner, side) if side != (height, width) else pixels


def _change_wildly(pixels: Tensor, chosen: Tensor, keys: Tensor) -> None:
    """Change some images by a chain of `wild` each, in place, on the CPU whatever the device.

    Raises:
        InputError: they have masks, which a crop within the chain would not move.
    """
    if not len(chosen):
        return
    if pixels.shape[-1] > 3:
        raise InputError("wild augmentation crops images but not their masks; leave wild out for a localiser")
    # another stream than the noise of `augment`, which takes the same key
    sources = (np.random.default_rng([1, key]) for key in keys[chosen].tolist())
    positions = to_device(chosen, pixels.device)
    parts = pixels[positions].cpu()
    changed = torch.stack([changed_once(image, source) for image, source in zip(parts, sources, strict=True)])
    pixels[positions] = to_device(changed, pixels.device)


def flip_and_shift(
    pixels: Tensor, generator: torch.Generator, *, flip: bool, shift: int, of: tuple[int, Tensor] | None = None
) -> Tensor:
    """Mirror every image left to right with probability one half and move it by whole pixels, edges reflected.

    Args:
        pixels: [N, H, W, C] of any type.
        generator: a CPU generator, so that the same seed augments alike on every device.
        flip: whether to mirror.
        shift: largest move in each direction in pixels, below H and W.
        of: as of `augment`.

    Returns:
        A new tensor of the same shape, type and device.
    """
    height, width = pixels.shape[1:3]
    count, mine = of or (len(pixels), torch.arange(len(pixels)))
    # always drawn, so that switching one operation off leaves the random numbers of the other as they were
    # on the CPU generator, whatever the device: the same seed gives the same numbers everywhere
    mirrored = torch.rand(count, generator=generator)[mine] < 0.5
    moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)[:, mine]
    y = _reflect(torch.arange(height) + moves[0], height)  # source row of each row, [N, H]
    x = _reflect(torch.arange(width) + moves[1], width)  # source column of each column, [N, W]
    if flip:
        # the mirrored image takes the reflected and shifted columns from the other side
        x = torch.where(mirrored[:, None], width - 1 - x, x)
    return _taken(pixels, y, x)


def cropped(side: int, share: float) -> int:
    """Return pixels that a crop to a share of a side leaves, at least one."""
    return max(1, round(side * share))


def random_crop(pixels: Tensor, corner: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a window out of every image; nothing is resized.

    Args:
        pixels: [N, H, W, C] of any type.
        corner: float64 [2, N] in 0..1, evenly spread: where the window lies down and across.
        size: height and width of the window.

    Returns:
        A new tensor [N, *size, C] of the same type and device.
    """
    positions = [
        # whole - part + 1 positions, each equally likely; [N, part]
        (share * (whole - part + 1)).long().clamp(max=whole - part)[:, None] + torch.arange(part)
        for share, whole, part in zip(corner, pixels.shape[1:3], size, strict=True)
    ]
    return _taken(pixels, *positions)


def _taken(pixels: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return rows [N, h] and columns [N, w] of each image."""
    y, x = to_device(y, pixels.device), to_device(x, pixels.device)
    # [N, 1, 1], [N, h, 1] and [N, 1, w] broadcast to [N, h, w]; the channels follow
    return pixels[torch.arange(len(pixels), device=pixels.device)[:, None, None], y[:, :, None], x[:, None, :]]


def _reflect(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    # mirrored about the outermost pixel, which is not repeated; enough for moves below `size`
    return torch.where(position >= size, 2 * (size - 1) - position, position)
