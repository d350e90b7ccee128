"""Task super-resolution: a small photo to a large one that, made small again, is the small one to the byte."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from forge.generators.translation.base import Floats
from forge.generators.translation.pix2pix import Pix2Pix, Pix2PixSettings


class SuperResolutionSettings(Pix2PixSettings):
    """Settings of pix2pix, the factor, and how small photos are degraded."""

    factor: Literal[2, 4] = Field(4, description="sides of the output over sides of the input")
    degrade: bool = Field(
        True, description="blur, noise and JPEG of the small photo, strengths drawn per image; else only area averages"
    )


class SuperResolution(Pix2Pix):
    """Enlarge photos. The network adds detail to bicubic enlargement; a forgery averaged over blocks is its input.

    Without that constraint colours drift (krasserm/super-resolution issue 30), and their mean gives forgeries away.
    The degradations are a mild first order of Real-ESRGAN (Wang et al. 2021), scaled to small faces: since the output
    must reproduce its input, noise of the input is noise of the output.
    """

    inputs = 3
    without_learning = "bicubic enlargement"
    Settings = SuperResolutionSettings
    settings: SuperResolutionSettings

    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Return the small photo with each pixel repeated `factor` x `factor` times, in -1..1 [3, H, W]."""
        factor, side = self.settings.factor, len(image)
        pixels = image.astype(np.float64)
        blur, noise, quality = source.uniform(0, 0.8), source.uniform(0, 2), int(source.integers(75, 101))
        if self.settings.degrade and source.random() < 0.5:
            pixels = gaussian_filter(pixels, (blur, blur, 0))
        small = pixels.reshape(side // factor, factor, side // factor, factor, 3).mean((1, 3))
        if self.settings.degrade and source.random() < 0.5:
            small = small + source.normal(0, noise, small.shape)
        stored = np.clip(np.rint(small), 0, 255).astype(np.uint8)
        if self.settings.degrade and source.random() < 0.5:
            stored = _recompressed(stored, quality)
        repeated = stored.repeat(factor, 0).repeat(factor, 1).transpose(2, 0, 1)
        return np.asarray(repeated / 127.5 - 1, np.float32)

    def compose(self, outputs: Tensor, conditions: Tensor) -> Tensor:
        """Add the predicted detail to bicubic enlargement, and project back to the input's block averages."""
        factor = self.settings.factor
        small = conditions[:, :, ::factor, ::factor].float()
        detailed = interpolate(small, scale_factor=factor, mode="bicubic", align_corners=False) + outputs.float()
        # back-projection (Irani and Peleg 1991): what the average of a block lacks is added to all of its pixels
        missing = small - avg_pool2d(detailed, factor)
        return detailed + missing.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    def untrained(self, conditions: Tensor) -> Tensor:
        """Return bicubic enlargements with the block averages of their inputs: what a network of no detail makes."""
        return self.compose(torch.zeros_like(conditions), conditions).clamp(-1, 1)

    def finish(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Round to bytes whose block sums are exactly those of the input."""
        factor = self.settings.factor
        small = ((conditions[:, :, ::factor, ::factor].double() + 1) * 127.5).round()
        levels = ((images.double() + 1) * 127.5).clamp(0, 255)
        count, channels, height, width = levels.shape
        blocks = levels.reshape(count, channels, height // factor, factor, width // factor, factor)
        blocks = blocks.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, height // factor, width // factor, -1)
        exact = _with_sum(blocks, small * factor**2)
        exact = exact.reshape(count, channels, height // factor, width // factor, factor, factor)
        return exact.permute(0, 2, 4, 3, 5, 1).reshape(count, height, width, channels).to(torch.uint8)


def _recompressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def _with_sum(values: Tensor, wanted: Tensor) -> Tensor:
    """Round values [..., n] in 0..255 to whole numbers in 0..255 whose sum is `wanted` [...], changing them least.

    First the missing amount is spread over the values that have room, as clamping at black or white takes some away;
    then largest remainders are rounded up.
    """
    for _ in range(8):
        missing = wanted - values.sum(-1)
        room = torch.where(missing[..., None] > 0, values < 255, values > 0)
        share = missing / room.sum(-1).clamp(min=1)
        values = (values + share[..., None] * room).clamp(0, 255)
    # bisection steps may leave a rest when all room is used up in turns; whole steps below close it
    whole = values.floor()
    for _ in range(values.shape[-1] + 2):
        rest = (wanted - whole.sum(-1)).round()  # how many values must go up (or, negative, down) by one
        if not rest.any():
            break
        up = torch.where(whole < 255, values - whole, -torch.inf)
        down = torch.where(whole > 0, whole - values, -torch.inf)
        rank_up = up.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1, stable=True)
        rank_down = down.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1, stable=True)
        whole = whole + ((rank_up < rest[..., None]) & (whole < 255)).to(whole.dtype)
        whole = whole - ((rank_down < -rest[..., None]) & (whole > 0)).to(whole.dtype)
    return whole
