"""MyPlugin: steps along the sign of a gradient with momentum, to be changed into an attack of your own.

    bench run -g dcgan -d dct --preset smoke --set 'conditions.attacked={my_plugin.py:MyPlugin: [2, 4]}'

An attack gives `changed`; budgets, bytes, the cost of the changes and security curves come with the run.
`pytest test_my_plugin.py` checks that it keeps the budget and lowers scores.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from detect.attacks.base import Access, Attack, AttackSettings, as_pixels, best_of
from detect.attacks.budget import descent, projected, rounded
from detect.attacks.target import Target
from forge.faces.faceset import Images


class MyPluginSettings(AttackSettings):
    """Every field is a setting: --set attacks.myplugin.steps=20."""

    steps: int = Field(10, ge=1, description="steps, each of 1 / steps of the budget")
    momentum: float = Field(1.0, ge=0, description="share of the steps before that each step keeps")


class MyPlugin(Attack[MyPluginSettings]):
    """The gradients of all steps so far, added up, show where to go: less noise than one gradient alone."""

    citation = "Dong et al.: Boosting Adversarial Attacks with Momentum, CVPR 2018, arXiv 1710.06081"
    access: ClassVar[Access] = "gradients"  # or "scores", or "nothing" of the attacked detector

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images, uint8 [n, H, W, 3], each value within `epsilon` grey levels of what it was."""
        originals = as_pixels(images, target)
        pixels, direction = originals, torch.zeros_like(originals)
        for _ in range(self.settings.steps):
            _, gradient = target.gradients(pixels)  # of the loss, which is the score: lower is nearer to "real"
            scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
            direction = self.settings.momentum * direction + gradient / scale
            moved = pixels + epsilon / self.settings.steps * descent(direction, "linf")
            pixels = projected(moved, originals, epsilon, "linf")
        # bytes are what the detector will see: an image that they do not help stays as it is
        return best_of(images, [rounded(pixels, originals, epsilon, "linf").cpu().numpy()], target)
