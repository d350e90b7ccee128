"""Task of a training: networks, settings, images, labels, seed, and the held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from forge.core.compute import Compute, Precision, derive_seed
from forge.faces.faceset import FaceView, Indices
from forge.generators.base import Architecture
from forge.generators.domains import Domains
from forge.generators.labels import Codes, Condition
from forge.training.settings import LoopSettings

if TYPE_CHECKING:
    from forge.generators.artifact import TrainedGenerator


@dataclass(frozen=True)
class Guidance:
    """A further loss of a generator beside that of its method, e.g. the score of a frozen detector.

    Attributes:
        loss: images [N, 3, H, W], about -1..1, to a scalar, differentiable.
        weight: that it is multiplied with.
        origin: what decides the loss, JSON values: a checkpoint made with another one is not continued.
    """

    loss: Callable[[Tensor], Tensor]
    weight: float
    origin: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """Task of a training: networks, data, settings and device.

    Attributes:
        name: what people call the generator.
        reference: registered name or file.py:Class of the architecture.
        architecture: the networks.
        settings: of the loop and of the architecture's training method.
        view: real images, of the architecture's resolution.
        seed: everything random follows from it.
        compute: device and precision.
        work: directory that keeps the checkpoint, log and sample grids between calls.
        held_out: real images that the discriminator never trains on, for the health monitor.
        condition: label columns and values of a conditional generator.
        codes: the labels of `view`, int64 [N, C].
        domains: of an unpaired translation: what is translated into what; `view` and `held_out` have faces of both.
        track: folder for TensorBoard events, if any are wanted.
        start: a finished training of the same architecture whose weights this one begins with.
        guidance: a further loss of the generator.
    """

    name: str
    reference: str
    architecture: Architecture
    settings: LoopSettings
    view: FaceView
    seed: int
    compute: Compute
    work: Path
    held_out: FaceView | None = None
    condition: Condition | None = None
    codes: Codes | None = None
    domains: Domains | None = None
    track: Path | None = None
    start: TrainedGenerator | None = None
    guidance: Guidance | None = None

    def some_labels(self, count: int, device: torch.device) -> tuple[Tensor, ...]:
        """Labels as often as in the training set: what a network is called with after latents; none: an empty tuple.

        They follow from torch's current random state.
        """
        if self.codes is None:
            return ()
        chosen = torch.randint(len(self.codes), (count,))  # from the CPU's stream: one order of labels on every device
        return (torch.from_numpy(self.codes)[chosen].to(device),)

    def with_batch(self, batch: int) -> Training:
        """Return the same training with another batch size."""
        return replace(self, settings=self.settings.model_copy(update={"batch": batch}))

    def identity(self, precision: Precision) -> dict[str, Any]:
        # precision is among them: a checkpoint in bf16 that goes on in fp32 is not what one uninterrupted training
        # gives
        """Return the values that a checkpoint must agree with to be continued."""
        more: dict[str, Any] = {"domains": self.domains.to_json()} if self.domains else {}
        more |= {"start": self.start.card.weights_sha256} if self.start else {}
        more |= {"guidance": self.guidance.origin | {"weight": self.guidance.weight}} if self.guidance else {}
        return {
            "architecture": self.reference,
            "network": self.architecture.settings.model_dump(mode="json"),
            "training": self.settings.model_dump(mode="json"),
            "resolution": self.architecture.resolution,
            "data": self.view.faces.card.digest,
            "images": len(self.view),
            # the columns alone: their values follow from the set's digest
            "condition": list(self.condition.values) if self.condition else [],
            **more,
            "seed": self.seed,
            "precision": precision,
        }


def hold_out(training: Training) -> Training:
    """Set images aside for the health monitor: of each domain a twentieth, at most 256, where that is 16 or more.

    Without domains, all images are one.
    """
    view, domains = training.view, training.domains
    parts = [np.ones(len(view), bool)]
    if domains:
        parts = [np.isin(view.index, domain.index) for domain in (domains.sources(view), domains.targets(view))]
    members = np.zeros(len(view), bool)  # a mask, so that both views keep the order of the set
    for number, part in enumerate(parts):
        members[_aside(np.flatnonzero(part), training.seed, number)] = True
    if not members.any():
        return training
    return replace(
        training,
        view=FaceView(view.faces, view.index[~members]),
        held_out=FaceView(view.faces, view.index[members]),
        codes=None if training.codes is None else training.codes[~members],  # labels stay beside their images
    )


def _aside(positions: Indices, seed: int, number: int) -> Indices:
    """Return the positions of a domain that are held out."""
    count = min(256, len(positions) // 20)  # 256 is also what the monitor compares at a time
    # with fewer, shares of held-out images say nothing, and a small set loses training images it needs
    if count < 16:
        return positions[:0]
    # a stream of its own, so that the choice does not depend on what else is drawn
    stream = ("held out", number) if number else ("held out",)
    return positions[np.random.default_rng(derive_seed(seed, *stream)).permutation(len(positions))[:count]]
