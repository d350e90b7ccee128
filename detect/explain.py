"""Where did it look: the pixels a verdict hangs on, the frequencies in which forgeries and weights differ."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.data.views import View
from detect.features.spectrum import mean_log_spectrum
from forge.compute import Compute
from forge.faces.faceset import Images

Maps = NDArray[np.float32]

STEPS = 12  # of the path that integrated gradients sum over; its maps correlate .996 with those of 128 steps (xception)
BLOCK = 16  # images at a time


def method() -> str:
    """How saliency is computed here: the extra `explain` brings integrated gradients, plain gradients need nothing."""
    return "integrated gradients" if find_spec("captum") else "input gradients"


def saliency(verdict: Callable[[Tensor], Tensor], images: Images, compute: Compute) -> Maps | None:
    """How much each pixel moves the verdict.

    With captum: the magnitude of integrated gradients (Sundararajan, Taly and Yan 2017) from mid-grey to the image;
    without: the magnitude of the gradient (Simonyan, Vedaldi and Zisserman 2014). Both summed over the channels.

    Args:
        verdict: float32 pixels [N, H, W, 3], 0..255, to one logit an image [N], differentiable.
        images: uint8 [N, H, W, 3].
        compute: the device.

    Returns:
        float32 [N, H, W], each image's largest value 1 (0 throughout where nothing matters); None where the verdict
        is not a differentiable function of the pixels.
    """
    found = []
    for start in range(0, len(images), BLOCK):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device).float()
        moved = _attribution(verdict, pixels)
        if moved is None:
            return None
        strength = moved.detach().abs().sum(-1)
        peak = strength.amax(dim=(1, 2), keepdim=True)
        found.append((strength / peak.clamp_min(torch.finfo(torch.float32).tiny)).cpu().numpy().astype(np.float32))
    return np.concatenate(found) if found else None


def _attribution(verdict: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor | None:
    leaf = pixels.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(verdict(leaf).sum(), leaf, allow_unused=True)
    if gradient is None or method() == "input gradients":
        return gradient
    from captum.attr import IntegratedGradients

    grey = torch.full_like(pixels, 127.5)
    attributed: Tensor = IntegratedGradients(verdict).attribute(
        leaf, baselines=grey, n_steps=STEPS, internal_batch_size=4 * BLOCK
    )
    return attributed


def spectrum_difference(real: View, forged: View, *, limit: int = 2000) -> Maps:
    """Mean log power spectrum of forged images minus that of real ones, in decibel.

    Args:
        real: images of one resolution.
        forged: images of the same resolution.
        limit: most images of each, the first ones.

    Returns:
        float32 [H, W], the zero frequency in the middle; above 0 where forgeries have more power.
    """
    means = [mean_log_spectrum(_first(view, limit)) for view in (forged, real)]
    return (means[0] - means[1]).cpu().numpy().astype(np.float32)


def _first(view: View, limit: int) -> list[Tensor]:
    blocks, left = [], limit
    for images in view.batches(256):
        blocks.append(torch.from_numpy(images[:left]))
        left -= len(blocks[-1])
        if left <= 0:
            break
    return blocks
