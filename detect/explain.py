"""Explanations: saliency maps of a detector, and the difference of the mean spectra of forged and real images."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.data.views import View
from detect.features.spectrum import mean_log_spectrum
from forge.core.compute import Compute
from forge.faces.faceset import Images

Maps = NDArray[np.float32]

STEPS = 12  # of the path that integrated gradients sum over; its maps correlate .996 with those of 128 steps (xception)
BLOCK = 16  # images at a time


def method() -> str:
    """Name the method of saliency: integrated gradients with the extra `explain`, else plain gradients."""
    return "integrated gradients" if find_spec("captum") else "input gradients"


def saliency(logit: Callable[[Tensor], Tensor], images: Images, compute: Compute) -> Maps | None:
    """Compute the influence of each pixel on the logit.

    With captum: the magnitude of integrated gradients (Sundararajan, Taly and Yan 2017) from mid-grey to the image;
    without: the magnitude of the gradient (Simonyan, Vedaldi and Zisserman 2014). Both summed over the channels.

    Args:
        logit: float32 pixels [N, H, W, 3], 0..255, to one logit an image [N], differentiable.
        images: uint8 [N, H, W, 3].
        compute: the device.

    Returns:
        float32 [N, H, W], each image's largest value 1 (0 throughout where nothing matters); None where the logit
        is not a differentiable function of the pixels.
    """
    maps = []
    for start in range(0, len(images), BLOCK):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device).float()
        attribution = _attribution(logit, pixels)
        if attribution is None:
            return None
        # summed over channels: [n, H, W]
        strength = attribution.detach().abs().sum(-1)
        peak = strength.amax(dim=(1, 2), keepdim=True)
        # tiny: where nothing matters the peak is 0, and 0 / tiny is 0
        maps.append((strength / peak.clamp_min(torch.finfo(torch.float32).tiny)).cpu().numpy().astype(np.float32))
    return np.concatenate(maps) if maps else None


def gradient_maps(logit: Callable[[Tensor], Tensor], images: Images, compute: Compute) -> Maps | None:
    """Compute the magnitude of the logit's gradient at each pixel, summed over the channels.

    Unlike `saliency` it costs one backward pass whatever is installed, and no image is scaled by its own values: one
    threshold is to serve all images.

    Args:
        logit: float32 pixels [N, H, W, 3], 0..255, to one logit an image [N], differentiable.
        images: uint8 [N, H, W, 3].
        compute: the device.

    Returns:
        float32 [N, H, W], at least 0, in logits per 255 grey levels; None where the logit is not a differentiable
        function of the pixels.
    """
    maps = []
    for start in range(0, len(images), BLOCK):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device).float()
        gradient = _gradient(logit, pixels.requires_grad_())
        if gradient is None:
            return None
        maps.append((255 * gradient.abs().sum(-1)).cpu().numpy())
    return np.concatenate(maps) if maps else np.empty(images.shape[:3], np.float32)


def has_gradient(logit: Callable[[Tensor], Tensor], resolution: int, compute: Compute) -> bool:
    """Return whether a logit of pixels is a differentiable function of them, tried on a grey image.

    Args:
        logit: float32 pixels [N, H, W, 3], 0..255, to one logit an image [N].
        resolution: H and W.
        compute: the device.
    """
    grey = torch.full((1, resolution, resolution, 3), 127.5, device=compute.torch_device, requires_grad=True)
    return _gradient(logit, grey) is not None


def _gradient(logit: Callable[[Tensor], Tensor], leaf: Tensor) -> Tensor | None:
    # the sum of logits: each depends on its own image, so that its gradient there is that of one logit
    logits = logit(leaf).sum()
    if not logits.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(logits, leaf, allow_unused=True)
    return gradient


def _attribution(logit: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor | None:
    # a leaf of its own: the caller's pixels get no gradient
    leaf = pixels.detach().clone().requires_grad_()
    gradient = _gradient(logit, leaf)
    if gradient is None or method() == "input gradients":
        return gradient
    from captum.attr import IntegratedGradients  # an extra, which may be missing

    # 127.5 is 0 for networks that take -1..1: an image without content
    grey = torch.full_like(pixels, 127.5)
    attributed: Tensor = IntegratedGradients(logit).attribute(
        leaf, baselines=grey, n_steps=STEPS, internal_batch_size=4 * BLOCK
    )
    return attributed


def spectrum_difference(real: View, forged: View, *, limit: int = 2000) -> Maps:
    """Return the mean log power spectrum of forged images minus that of real ones, in decibel.

    Args:
        real: images of one resolution.
        forged: images of the same resolution.
        limit: most images of each, the first ones.

    Returns:
        float32 [H, W], the zero frequency in the middle; above 0 where forgeries have more power.
    """
    means = [mean_log_spectrum(_first(view, limit)) for view in (forged, real)]
    # a difference of logarithms is a ratio of powers
    return (means[0] - means[1]).cpu().numpy().astype(np.float32)


def _first(view: View, limit: int) -> list[Tensor]:
    blocks, left = [], limit
    for images in view.batches(256):
        blocks.append(torch.from_numpy(images[:left]))
        left -= len(blocks[-1])
        if left <= 0:
            break
    return blocks
