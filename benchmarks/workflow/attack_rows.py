"""Score rows of attacked images: an attack learns, changes images at each budget, and a detector scores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.experiment.configs import validated
from benchmarks.experiment.settings import AttackRequest
from benchmarks.protocol import AttackId
from detect.artifact import TrainedDetector
from detect.attacks.apply import Attacked, apply
from detect.attacks.base import Attack, Knowledge
from detect.attacks.registry import ATTACKS
from detect.attacks.target import Aim, Target
from detect.scoring import on_grid, score_table, stacked, write_scores
from forge.core.compute import Compute
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceView, Images
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import latents_of


@dataclass(frozen=True)
class AttackedSet:
    """Test images of one class that are attacked.

    Attributes:
        parts: attack and its images, one part per budget.
        name: of their generator; empty: real images.
        seed: of the run.
        on_progress: called with the progress of all parts.
    """

    parts: Sequence[tuple[AttackId, FaceView]]
    name: str
    seed: int
    on_progress: OnProgress


def method_of(request: AttackRequest, name: str, known: Mapping[str, Any]) -> Attack[Any]:
    """Return the attack of a request, which has learned what it needs.

    Args:
        request: the attack and its settings.
        name: of the attack, for messages.
        known: fields of `Knowledge`.
    """
    implementation = ATTACKS.load(request.attack)
    method: Attack[Any] = implementation(validated(implementation.Settings, request.settings, where=f"attacks.{name}"))
    method.learn(Knowledge(**known))
    return method


def latents_by_image(trained: TrainedGenerator, view: FaceView, *, seed: int, split: str) -> Callable[[Images], Tensor]:
    """Return a function from forgeries of a view to the latents they were made of, found by the bytes of the images."""
    latents = latents_of(trained, view.rows["latent_index"].to_numpy(), seed=seed, split=split)
    images = np.concatenate(list(view.batches(1024)))
    known = {image.tobytes(): latent for image, latent in zip(images, latents, strict=True)}
    return lambda images: torch.stack([known[image.tobytes()] for image in images])


def write_attacked(
    trained: TrainedDetector,
    compute: Compute,
    method: Attack[Any],
    attacked: AttackedSet,
    *,
    aim: Aim,
    step: float | None = None,
    out: Path,
) -> list[AttackFacts]:
    """Attack images, write their score rows, and return what each attack cost.

    A detector without the gradient that the attack needs has no rows and no facts.

    Args:
        trained: the attacked detector.
        compute: the device.
        method: the attack.
        attacked: the images.
        aim: of the attacker.
        step: scores are rounded to steps of at most this in log odds; None: as they are.
        out: file of the rows.

    Raises:
        DetectorError: a score is not finite or too large.
    """
    target = Target(trained.detector, compute, aim)
    tables, facts = [], []
    for number, (attack, view) in enumerate(attacked.parts):
        if method.access == "gradients" and not target.differentiable:  # no rows, with the columns of all others
            tables.append(score_table(trained, FaceView(view.faces, view.index[:0]), compute))
            continue
        made = apply(
            method,
            np.concatenate(list(view.batches(1024))),
            target,
            name=attack.attack,
            epsilon=attack.epsilon,
            seed=attacked.seed,
            on_progress=_share(attacked.on_progress, number, len(attacked.parts)),
        )
        change = _Replaced(made.images)
        tables.append(score_table(trained, view, compute, perturbation=str(attack), perturb=change))
        facts.append(_facts(trained, attacked, attack, method, made))
    rows = stacked(tables)
    write_scores(rows if step is None else on_grid(rows, trained.calibration, step), out)
    return facts


def _facts(
    trained: TrainedDetector, attacked: AttackedSet, attack: AttackId, method: Attack[Any], made: Attacked
) -> AttackFacts:
    return AttackFacts(
        detector=trained.name,
        trained_on=trained.trained_on,
        tested_on=attacked.name,
        seed=attacked.seed,
        attack=str(attack),
        access=method.access,
        images=len(made.images),
        **made.facts(),
    )


class _Replaced:
    """Gives other images in place of those it is called with, in their order."""

    def __init__(self, images: Images) -> None:
        self.images, self.done = images, 0

    def __call__(self, images: Images) -> Images:
        self.done += len(images)
        return self.images[self.done - len(images) : self.done]


def _share(on_progress: OnProgress, number: int, parts: int) -> OnProgress:
    """Return progress of one part as that of all."""

    def tell(event: ProgressEvent) -> None:
        on_progress(replace(event, done=number * event.total + event.done, total=parts * event.total))

    return tell
