"""Projected gradient descent of the score within a budget."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from detect.attacks.base import Access, Attack, StepSettings, as_pixels, best_of, source_of
from detect.attacks.budget import descent, projected, random_start, rounded
from detect.attacks.target import Target
from forge.faces.faceset import Images


class PGDSettings(StepSettings):
    """Settings of projected gradient descent."""

    step: float = Field(2.5, gt=0, description="length of all steps together, in budgets: each is step / steps of it")


class ProjectedGradient(Attack[PGDSettings]):
    """Steps of 2.5 budgets over their number from a random start, each projected back; the best point is kept."""

    citation = (
        "Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks, "
        "ICLR 2018, arXiv 1706.06083"
    )
    access: ClassVar[Access] = "gradients"

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images; one whose score would not get better stays as it is."""
        settings, originals = self.settings, as_pixels(images, target)
        length = settings.step * epsilon / settings.steps
        candidates = []
        for restart in range(settings.restarts):
            pixels = random_start(originals, epsilon, settings.norm, source_of(seed, "pgd", restart))
            best, lowest = pixels, None
            for _ in range(settings.steps):
                losses, gradient = target.gradients(pixels)
                if lowest is None:
                    lowest = losses
                better = losses < lowest
                best = torch.where(better[:, None, None, None], pixels, best)
                lowest = torch.minimum(losses, lowest)
                moved = pixels + length * descent(gradient, settings.norm)
                pixels = projected(moved, originals, epsilon, settings.norm)
            # the last point has not been looked at: both are scored as bytes
            candidates += [rounded(point, originals, epsilon, settings.norm).cpu().numpy() for point in (best, pixels)]
        return best_of(images, candidates, target)
