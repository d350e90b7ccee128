"""Augmentation of what the discriminator sees, real and forged: differentiable, since G learns through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from forge.faces.tensors import translate

AugmentationName = Literal["colour", "translation", "cutout"]


def jitter_colour(images: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0..2 and contrast x 0.5..1.5, drawn for each image [N, 3, H, W]."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)  # [N, 1, 1, 1] each
    images = images + (brightness - 0.5)  # +-0.5 where black to white is 2
    grey = images.mean(dim=1, keepdim=True)  # [N, 1, H, W]
    images = torch.lerp(grey, images, 2 * saturation)  # factor 0 (grey) .. 2 of the distance from grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)  # [N, 1, 1, 1]
    return torch.lerp(mean, images, contrast + 0.5)


def cut_out(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Make a square of `ratio` of the size, around a random point of each image [N, 3, H, W], grey (zero)."""
    count, _, height, width = images.shape
    device = images.device
    tall, wide = int(height * ratio + 0.5), int(width * ratio + 0.5)  # as DiffAugment rounds
    # upper left corner; the square may reach over the edge, and one of even side has one place more than pixels
    y = torch.randint(0, height + (1 - tall % 2), (count, 1), device=device) - tall // 2
    x = torch.randint(0, width + (1 - wide % 2), (count, 1), device=device) - wide // 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    # [N, H, W]
    inside = ((rows >= y) & (rows < y + tall))[:, :, None] & ((columns >= x) & (columns < x + wide))[:, None, :]
    # times 0 rather than overwritten: no gradient flows to what D cannot see
    return images * (~inside)[:, None].to(images.dtype)


AUGMENTATIONS: dict[AugmentationName, Callable[[Tensor], Tensor]] = {
    "colour": jitter_colour,
    "translation": translate,
    "cutout": cut_out,
}


def augment(images: Tensor, names: Sequence[AugmentationName], probability: float | Tensor) -> Tensor:
    """Apply augmentations, each to each image with a probability (DiffAugment of Zhao et al. 2020 where it is 1).

    Args:
        images: [N, 3, H, W] in -1..1.
        names: of AUGMENTATIONS, applied in this order.
        probability: of each; a scalar tensor on the images' device where it adapts, since reading it would wait.
    """
    for name in names:
        changed = AUGMENTATIONS[name](images)
        if isinstance(probability, Tensor) or probability < 1:
            # [N, 1, 1, 1]; a comparison on the device, nothing is read back
            chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
            changed = torch.where(chosen, changed, images)
        images = changed
    return images


def adapted(probability: Tensor, sign: Tensor, *, target: float, images: Tensor, kimg: float, upper: float) -> Tensor:
    """Return the next augmentation probability (Karras et al. 2020, "Training GANs with limited data", section 3).

    Args:
        probability: the present one, a scalar.
        sign: mean sign of D at real images since the last change, a scalar; above the target D is too sure.
        target: of the mean sign.
        images: real images shown since the last change, a scalar.
        kimg: thousands of images in which the probability can go from 0 to 1.
        upper: bound of the probability.

    Returns:
        A scalar, float32; all of it stays on the device.
    """
    # at this rate the probability crosses 0..1 in `kimg` thousand images, however often it is adapted
    change = images.double() / (kimg * 1000)
    # torch.where, as an `if` would wait for the device
    moved = probability.double() + torch.where(sign.double() > target, change, -change)
    return moved.clamp(0.0, upper).float()
