"""Auto-PGD: projected gradient descent with momentum whose steps shrink where they stop helping."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from detect.attacks.base import Access, Attack, StepSettings, as_pixels, best_of, source_of
from detect.attacks.budget import Norm, descent, projected, random_start, rounded
from detect.attacks.target import Target
from forge.faces.faceset import Images

_MOMENTUM = 0.75  # alpha of the paper: share of the new step, the rest is that of the step before
_IMPROVING = 0.75  # rho of the paper: share of steps between two checkpoints that must lower the loss


class APGDSettings(StepSettings):
    """Settings of Auto-PGD."""

    steps: int = Field(100, ge=1, le=10_000, description="steps from each start")


class AutoProjectedGradient(Attack[APGDSettings]):
    """Auto-PGD on the logit, which is the margin of a detector with one output: no step length to choose."""

    citation = (
        "Croce, Hein: Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free "
        "attacks, ICML 2020, arXiv 2003.01690, algorithm 1"
    )
    access: ClassVar[Access] = "gradients"

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images; one whose score would not get better stays as it is."""
        settings, originals = self.settings, as_pixels(images, target)
        candidates = []
        for restart in range(settings.restarts):
            start = random_start(originals, epsilon, settings.norm, source_of(seed, "apgd", restart))
            best = _descended(start, originals, target, epsilon, settings.norm, settings.steps)
            candidates.append(rounded(best, originals, epsilon, settings.norm).cpu().numpy())
        return best_of(images, candidates, target)


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which the step length is looked at: shares 0.22, then ever closer (section 3.2).

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # rounded first: 0.7 of 100 steps is 70, whatever the last bit of the sum of shares
    return [math.ceil(round(share * steps, 9)) for share in shares[1:] if share < 1]


def _descended(start: Tensor, originals: Tensor, target: Target, epsilon: float, norm: Norm, steps: int) -> Tensor:
    """Return the best point of a descent [n, H, W, 3]."""

    def project(pixels: Tensor) -> Tensor:
        return projected(pixels, originals, epsilon, norm)

    def of_images(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    losses, gradient = target.gradients(start)
    length = torch.full_like(losses, 2 * epsilon).float()
    before, here = start, project(start + of_images(length) * descent(gradient, norm))
    lowest, best, best_gradient = losses, start, gradient
    looked, improved = 0, torch.zeros_like(losses)
    shrunk, lowest_then = torch.zeros_like(losses, dtype=torch.bool), lowest
    due = checkpoints(steps)
    for step in range(1, steps + 1):
        previous = losses
        losses, gradient = target.gradients(here)
        improved += losses < previous
        better = losses < lowest
        best = torch.where(of_images(better), here, best)
        best_gradient = torch.where(of_images(better), gradient, best_gradient)
        lowest = torch.minimum(losses, lowest)
        if step in due:
            # too few steps helped, or none since the last checkpoint although the length was kept there
            few = improved < _IMPROVING * (step - looked)
            stuck = ~shrunk & (lowest >= lowest_then)
            shrunk, lowest_then = few | stuck, lowest
            length = torch.where(shrunk, length / 2, length)
            here = torch.where(of_images(shrunk), best, here)
            before = torch.where(of_images(shrunk), best, before)
            gradient = torch.where(of_images(shrunk), best_gradient, gradient)
            losses = torch.where(shrunk, lowest, losses)
            looked, improved = step, torch.zeros_like(losses)
        ahead = project(here + of_images(length) * descent(gradient, norm))
        moved = here + _MOMENTUM * (ahead - here) + (1 - _MOMENTUM) * (here - before)
        before, here = here, project(moved)
    return best
