"""Convolutions of DCGAN and of networks made like it: first weights, and four ways to double the side of maps."""

from __future__ import annotations

from typing import Literal

from torch import nn

Upsampler = Literal["transposed", "nearest", "bilinear", "pixelshuffle"]


def initialise(module: nn.Module) -> None:
    """Set weights as in the paper: convolutions N(0, .02), batch-norm scales N(1, .02)."""
    # biases keep torch's initialisation
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)


def doubling(inputs: int, outputs: int, upsample: Upsampler, *, bias: bool) -> nn.Module:
    """Return a layer that maps [N, inputs, H, W] to [N, outputs, 2 H, 2 W]."""
    if upsample == "transposed":
        # output side (H - 1) 2 - 2 + 4 = 2 H. The kernel is a multiple of the stride, so that each output pixel sums
        # equally many taps: with kernel 3 a checkerboard would be built in (Odena et al. 2016)
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
    if upsample == "pixelshuffle":
        # the convolution gives [N, 4 outputs, H, W]; PixelShuffle moves groups of 4 channels to 2 x 2 pixels
        return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=bias), nn.PixelShuffle(2))
    resize = nn.Upsample(scale_factor=2, mode=upsample)  # bilinear: align_corners off
    return nn.Sequential(resize, nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
