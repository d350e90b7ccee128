"""The detector under attack: what an attack may ask of it, with a count of what it asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.detectors.base import Detector
from forge.core.compute import Compute
from forge.faces.faceset import Images

Aim = Literal["evade", "frame"]
Losses = NDArray[np.float64]

_PART_PIXELS = 64 * 64**2  # of the images whose gradients are computed at a time


class Target:
    """A fitted detector as an attack sees it: lower losses are nearer to the attacker's aim.

    Args:
        detector: a fitted one.
        compute: the device.
        aim: "evade": forged images are to pass for real ones, the loss is the score; "frame": real ones are to pass for
            forged, the loss is minus the score.

    Attributes:
        scored: images whose score was asked for.
        differentiated: images whose gradient was asked for.
        flat: of these, images whose gradient was zero everywhere.
    """

    def __init__(self, detector: Detector[Any], compute: Compute, aim: Aim = "evade") -> None:
        self.detector, self.compute, self.aim = detector, compute, aim
        self._sign = 1.0 if aim == "evade" else -1.0
        self._function: Callable[[Tensor], Tensor] | None = detector.score_function(compute)
        self.scored = self.differentiated = self.flat = 0

    @property
    def differentiable(self) -> bool:
        """Return whether the detector's score has a gradient."""
        return self._function is not None

    @property
    def device(self) -> torch.device:
        """Return the device of pixels and gradients."""
        return self.compute.torch_device

    def losses(self, images: Images) -> Losses:
        """Return the losses of images as bytes, as the benchmark will score them: float64 [n].

        Args:
            images: uint8 [n, H, W, 3].
        """
        self.scored += len(images)
        return self._sign * self.detector.score(images, self.compute)

    def gradients(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses float64 [n] and their gradients float32 [n, H, W, 3].

        Args:
            pixels: float32 [n, H, W, 3] in 0..255, not necessarily whole numbers.

        Raises:
            ValueError: the detector has no gradient; see `differentiable`.
        """
        function = self._function
        if function is None:
            raise ValueError(f"the score of {self.detector.family} has no gradient")
        losses, gradients = [], []
        part = max(1, _PART_PIXELS // (pixels.shape[1] * pixels.shape[2]))
        for block in torch.split(pixels, part):
            leaf = block.detach().clone().requires_grad_()
            with torch.enable_grad():
                loss = self._sign * function(leaf).double()
                # each loss depends on its own image alone: the gradient of the sum holds those of all
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            losses.append(loss.detach())
            gradients.append(gradient)
        gradient = torch.cat(gradients)
        self.differentiated += len(pixels)
        self.flat += int((gradient.abs().amax(dim=(1, 2, 3)) == 0).sum())
        return torch.cat(losses), gradient
