"""Forgeries drawn again: the latent of each moves against the detector, so that only faces of the generator result."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from detect.attacks.base import Access, Attack, AttackSettings, Budget, Knowledge, best_of
from detect.attacks.target import Target
from forge.core.errors import InputError
from forge.core.seeding import seed_torch
from forge.faces.faceset import Images
from forge.faces.tensors import to_uint8

_BLOCK = 64  # images made at a time


class LatentSettings(AttackSettings):
    """Settings of the latent attack."""

    steps: int = Field(20, ge=1, le=10_000, description="steps of the descent")
    rate: float = Field(0.05, gt=0, description="length of a step, share of the length of the latent")


class Latent(Attack[LatentSettings]):
    """Gradient steps of each forgery's latent, at its length: the attacker owns the generator.

    The image changes as a whole, within what the generator makes; the ratio of signal to noise says how much.
    """

    citation = (
        "Carlini, Farid: Evading Deepfake-Image Detectors with White- and Black-Box Attacks, CVPR workshop 2020, arXiv "
        "2004.00622 (attack in the latent space; there one pattern for all images, here one for each)"
    )
    access: ClassVar[Access] = "gradients"
    budget: ClassVar[Budget] = "none"
    needs = "generator"

    def learn(self, knowledge: Knowledge) -> None:
        """Take the generator and the latents of its forgeries.

        Raises:
            InputError: one of both is missing.
        """
        if knowledge.generator is None or knowledge.latents is None:
            raise InputError("latent needs the generator of the forgeries, and their latents")
        self._network = knowledge.generator.generator(averaged=True)
        self._latents = knowledge.latents

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return forgeries of moved latents; one whose score would not get better stays as it is."""
        parts = [images[:0]]
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            parts.append(self._moved(block, self._latents(block).to(target.device), target, seed))
        return best_of(images, [np.concatenate(parts)], target)

    def _moved(self, images: Images, begin: Tensor, target: Target, seed: int) -> Images:
        network, settings = self._network.to(target.device), self.settings
        length = begin.flatten(1).norm(dim=1).view(-1, *[1] * (begin.ndim - 1))
        latents = best = begin
        lowest: Tensor | None = None
        with torch.random.fork_rng(devices=[]):
            for _ in range(settings.steps):
                leaf = latents.detach().requires_grad_()
                seed_torch(seed)  # a generator with noise draws the same at every step
                with torch.enable_grad():
                    pixels = (network(leaf).float().clamp(-1, 1).permute(0, 2, 3, 1) + 1) * 127.5
                losses, gradient = target.gradients(pixels.detach())
                (slope,) = torch.autograd.grad(pixels, leaf, gradient)
                lowest = losses if lowest is None else lowest
                better = (losses < lowest).view(-1, *[1] * (begin.ndim - 1))
                best, lowest = torch.where(better, latents, best), torch.minimum(losses, lowest)
                unit = slope / slope.flatten(1).norm(dim=1).clamp(min=1e-30).view_as(length)
                moved = latents - settings.rate * length * unit
                # back to the length that the generator was trained with
                latents = moved * (length / moved.flatten(1).norm(dim=1).clamp(min=1e-30).view_as(length))
            seed_torch(seed)
            with torch.no_grad():
                return to_uint8(network(best).float()).cpu().numpy()
