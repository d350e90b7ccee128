"""One step along the sign of the gradient."""

from __future__ import annotations

from typing import ClassVar

from detect.attacks.base import Access, Attack, AttackSettings, as_pixels
from detect.attacks.budget import descent, projected, rounded
from detect.attacks.target import Target
from forge.faces.faceset import Images


class FastGradientSign(Attack[AttackSettings]):
    """x - epsilon sign(grad loss), whether or not that helps: the published attack has no second look."""

    citation = "Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572"
    access: ClassVar[Access] = "gradients"

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images."""
        pixels = as_pixels(images, target)
        _, gradient = target.gradients(pixels)
        moved = projected(pixels + epsilon * descent(gradient, "linf"), pixels, epsilon, "linf")
        return rounded(moved, pixels, epsilon, "linf").cpu().numpy()
