"""Attacks on sets of images: block by block, with what the changes cost and what the detector was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from detect.attacks.base import Attack, check_epsilon, check_target
from detect.attacks.target import Target
from forge.core.compute import derive_seed
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.faceset import Images

_BLOCK_PIXELS = 256 * 64**2  # of images that are attacked at a time


@dataclass(frozen=True)
class Attacked:
    """Changed images and what they cost.

    Attributes:
        images: uint8 [n, H, W, 3].
        psnr: peak signal-to-noise ratio of all changes together in decibels; infinite where nothing was changed.
        largest: largest change of a value in grey levels.
        changed: share of images with a change.
        scored: scores asked for, per image.
        differentiated: gradients asked for, per image.
        flat: share of these gradients that were zero everywhere.
    """

    images: Images
    psnr: float
    largest: int
    changed: float
    scored: float
    differentiated: float
    flat: float

    def facts(self) -> dict[str, float | int | None]:
        """Return all but the images as JSON values; None stands for an infinite ratio."""
        return {
            "psnr": round(self.psnr, 2) if math.isfinite(self.psnr) else None,
            "largest": self.largest,
            "changed": round(self.changed, 4),
            "scored": round(self.scored, 2),
            "differentiated": round(self.differentiated, 2),
            "flat": round(self.flat, 4),
        }


def apply(
    attack: Attack[Any],
    images: Images,
    target: Target,
    *,
    name: str,
    epsilon: float | None = None,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> Attacked:
    """Attack images.

    Args:
        attack: an attack that has learned what it needs.
        images: uint8 [n, H, W, 3].
        target: the attacked detector.
        name: of the attack, for messages.
        epsilon: the budget in grey levels; None of an attack that has no budget.
        seed: of all randomness.
        on_progress: called with each progress event.

    Raises:
        InputError: the budget is not possible, or the detector has no gradient where one is needed.
    """
    level = check_epsilon(0.0 if epsilon is None else epsilon) if attack.budget == "levels" else 0.0
    check_target(attack, target, name)
    before = target.scored, target.differentiated, target.flat
    size = max(1, _BLOCK_PIXELS // (images.shape[1] * images.shape[2]))
    parts = [np.empty((0, *images.shape[1:]), np.uint8)]
    for start in range(0, len(images), size):
        block = images[start : start + size]
        parts.append(attack.changed(block, target, level, derive_seed(seed, name, start)))
        on_progress(ProgressEvent(start + len(block), len(images)))
    changed = np.concatenate(parts)
    scored, differentiated, flat = (
        now - then for now, then in zip((target.scored, target.differentiated, target.flat), before, strict=True)
    )
    count = max(1, len(images))
    difference = np.abs(changed.astype(np.int16) - images)
    error = float(np.square(difference.astype(np.float64)).mean()) if len(images) else 0.0
    return Attacked(
        images=changed,
        psnr=10 * math.log10(255**2 / error) if error else math.inf,
        largest=int(difference.max(initial=0)),
        changed=float(difference.any(axis=(1, 2, 3)).mean()) if len(images) else 0.0,
        scored=scored / count,
        differentiated=differentiated / count,
        flat=flat / max(1, differentiated),
    )
