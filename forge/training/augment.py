"""What is done to images before the discriminator sees them; differentiable, as forged images pass through it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images [N, H, W, 3] into float32 [N, 3, H, W] in -1..1, channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Turn images [N, 3, H, W] in -1..1 into uint8 [N, H, W, 3]: clamped and rounded to nearest."""
    levels = images.float().add(1).mul(127.5).clamp(0, 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def flipped(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the images [N, 3, H, W] chosen by a boolean mask [N] left to right."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def jitter_colour(images: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0..2 and contrast x 0.5..1.5, drawn for each image [N, 3, H, W]."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)


def translate(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift each image [N, 3, H, W] by up to `ratio` of its size in both directions; what comes in is grey (zero)."""
    count, _, height, width = images.shape
    device = images.device
    reach_y, reach_x = int(height * ratio + 0.5), int(width * ratio + 0.5)
    down = torch.randint(-reach_y, reach_y + 1, (count, 1), device=device)
    right = torch.randint(-reach_x, reach_x + 1, (count, 1), device=device)
    rows = (torch.arange(height, device=device) + down + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=device) + right + 1).clamp(0, width + 1)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    batch = torch.arange(count, device=device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Make a square of `ratio` of the size, around a random point of each image [N, 3, H, W], grey (zero)."""
    count, _, height, width = images.shape
    device = images.device
    tall, wide = int(height * ratio + 0.5), int(width * ratio + 0.5)
    y = torch.randint(0, height + (1 - tall % 2), (count, 1), device=device) - tall // 2
    x = torch.randint(0, width + (1 - wide % 2), (count, 1), device=device) - wide // 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    inside = ((rows >= y) & (rows < y + tall))[:, :, None] & ((columns >= x) & (columns < x + wide))[:, None, :]
    return images * (~inside)[:, None].to(images.dtype)


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "colour": jitter_colour,
    "translation": translate,
    "cutout": cut_out,
}


def augment(images: Tensor, names: Sequence[str], probability: float | Tensor) -> Tensor:
    """Apply augmentations, each to each image with a probability (DiffAugment of Zhao et al. 2020 where it is 1).

    Args:
        images: [N, 3, H, W] in -1..1.
        names: of AUGMENTATIONS, applied in this order.
        probability: of each; a scalar tensor on the images' device where it adapts, since reading it would wait.
    """
    for name in names:
        changed = AUGMENTATIONS[name](images)
        if isinstance(probability, Tensor) or probability < 1:
            chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
            changed = torch.where(chosen, changed, images)
        images = changed
    return images


def adapted(probability: Tensor, sign: Tensor, *, target: float, images: Tensor, kimg: float, most: float) -> Tensor:
    """The next augmentation probability (Karras et al. 2020, "Training GANs with limited data", section 3).

    Args:
        probability: the present one, a scalar.
        sign: mean sign of D at real images since the last change, a scalar; above the target D is too sure.
        target: of the mean sign.
        images: real images shown since the last change, a scalar.
        kimg: thousands of images in which the probability can go from 0 to 1.
        most: upper bound.

    Returns:
        A scalar, float32; all of it stays on the device.
    """
    change = images.double() / (kimg * 1000)
    moved = probability.double() + torch.where(sign.double() > target, change, -change)
    return moved.clamp(0.0, most).float()
