"""The logit of a generator's discriminator as a score, of one snapshot of its training or of several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from detect.data.views import View
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Needs, Scores
from detect.detectors.discriminator import discriminator_source_of, origin
from detect.discriminator_source import Blueprint, with_weights_of
from detect.training.calibration import Calibration, fit_platt, validation_auc
from detect.weights import load_weights, read_tensors, write_tensors
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.files import read_json_object, write_json
from forge.faces.faceset import Images
from forge.generators.artifact import TrainedGenerator

BLOCK = 256  # images scored at a time


V = TypeVar("V", bound=DetectorSettings)


class RawDiscriminator(Detector[V]):
    """The discriminator's logit as the game left it; only its sign and scale are learned, on val."""

    family = "disc-raw"
    citation = "Goodfellow et al.: Generative Adversarial Nets, NeurIPS 2014 (D as the judge of real and forged)"
    variant = "sign and scale calibrated on val; statistics over a batch are switched off, labels left out"
    needs: ClassVar[Needs] = "discriminator"

    def __init__(self, settings: V, resolution: int) -> None:
        super().__init__(settings, resolution)
        self.blueprint: Blueprint | None = None
        self.discriminators: list[nn.Module] = []
        self.signs: list[int] = []  # 1: a high logit means real, as the game wants it
        self.scales: list[Calibration] = []

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Take the discriminator, or those of several snapshots, and learn each sign and scale on `val`."""
        snapshots = self._snapshots(context)
        self.blueprint = Blueprint.of(snapshots[-1], self.resolution)
        history: list[dict[str, float]] = []
        for snapshot in snapshots:
            discriminator = with_weights_of(snapshot, self.blueprint.build())
            # on val: the sign and scale must not come from test images
            real, forged = (
                self._logits(discriminator, view, context.compute) for view in (data.val_real, data.val_forged)
            )
            # minus the logit: a discriminator's is high for real, a score is high for forged
            auc = validation_auc(-real, -forged)
            # below 0.5 on val the logit points the other way: it is turned, and the sign recorded
            sign = 1 if auc >= 0.5 else -1
            self.discriminators.append(discriminator)
            self.signs.append(sign)
            # of the score with its sign, so that the slope is positive; needed to average snapshots of different scales
            self.scales.append(fit_platt(-sign * real, -sign * forged))
            history.append({"kimg": snapshot.card.kimg, "val_auc": auc, "sign": sign})
        facts: dict[str, Any] = origin(snapshots[-1]) | {
            "device": context.compute.describe(),
            "moments": len(snapshots),
        }
        return FitSummary(history, facts | {"sign": self.signs[-1]})

    def _snapshots(self, context: FitContext) -> list[TrainedGenerator]:
        return [discriminator_source_of(context, self.family).open()]

    def _logits(self, discriminator: nn.Module, view: View, compute: Compute) -> Scores:
        return np.concatenate([self._logits_of(discriminator, images, compute) for images in view.batches(BLOCK)])

    def _logits_of(self, discriminator: nn.Module, images: Images, compute: Compute) -> Scores:
        discriminator = discriminator.to(compute.torch_device)
        parts = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(images), BLOCK):
                pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device)
                parts.append(_logits(discriminator, pixels).cpu().double().numpy())
        return np.concatenate(parts)

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor]:
        """Return the score as a function of pixels."""
        critics = [discriminator.to(compute.torch_device) for discriminator in self.discriminators]

        def score(pixels: Tensor) -> Tensor:
            logits = [-sign * _logits(critic, pixels) for critic, sign in zip(critics, self.signs, strict=True)]
            if len(logits) == 1:
                return logits[0]
            odds = [scale.a * logit + scale.b for scale, logit in zip(self.scales, logits, strict=True)]
            return torch.stack(odds).mean(0)

        return score

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return the logit with its sign learned on val; of several snapshots the mean of their calibrated log odds."""
        if not self.discriminators:
            raise InputError(f"{self.family} has not been fitted or loaded")
        logits = [
            # [n] for each snapshot
            -sign * self._logits_of(discriminator, images, compute)
            for discriminator, sign in zip(self.discriminators, self.signs, strict=True)
        ]
        # one snapshot: the raw logit; the calibration of every detector follows outside
        if len(logits) == 1:
            return logits[0]
        # log odds, since logits of two snapshots have different scales; the mean is the geometric mean of the odds
        odds = [scale.a * logit + scale.b for scale, logit in zip(self.scales, logits, strict=True)]
        return np.asarray(np.mean(odds, axis=0), dtype=np.float64)

    def save(self, directory: Path) -> None:
        """Write weights.safetensors, discriminator.json and verdict.json."""
        if self.blueprint is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        # weights of snapshot i under "i."
        tensors = {
            f"{i}.{name}": t
            for i, discriminator in enumerate(self.discriminators)
            for name, t in discriminator.state_dict().items()
        }
        write_tensors(directory / "weights.safetensors", tensors)
        self.blueprint.write(directory)
        scales = [{"a": scale.a, "b": scale.b} for scale in self.scales]
        write_json(directory / "verdict.json", {"signs": self.signs, "scales": scales})

    @classmethod
    def load(cls, directory: Path, settings: V, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = cls(settings, resolution)
        detector.blueprint = Blueprint.read(directory)
        path = directory / "weights.safetensors"
        tensors, stored = read_tensors(path), read_json_object(directory / "verdict.json")
        detector.signs = [int(sign) for sign in stored["signs"]]
        detector.scales = [Calibration(**scale) for scale in stored["scales"]]
        for i in range(len(detector.signs)):
            discriminator = detector.blueprint.build()
            weights = {name.removeprefix(f"{i}."): t for name, t in tensors.items() if name.startswith(f"{i}.")}
            load_weights(discriminator, weights, source=str(path))
            detector.discriminators.append(discriminator.eval())
        return detector

    @property
    def parameters(self) -> int:
        """Number of weights of all discriminators."""
        return sum(
            parameter.numel() for discriminator in self.discriminators for parameter in discriminator.parameters()
        )


def _logits(discriminator: nn.Module, pixels: Tensor) -> Tensor:
    """Return the logits [N] of pixels [N, H, W, 3] in 0..255, which become -1..1, the range of the game."""
    logits: Tensor = discriminator(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    return logits.float().flatten()


class EnsembleSettings(DetectorSettings):
    """Settings of the ensemble of snapshots."""

    moments: int = Field(
        8, ge=2, le=64, description="largest number of snapshots of the training; more are thinned out evenly"
    )


class SnapshotEnsemble(RawDiscriminator[EnsembleSettings]):
    """The mean calibrated logit of the discriminators of several snapshots of one training, calibrated on val."""

    family = "disc-ensemble"
    citation = "Huang, Li, Pleiss, Liu, Hopcroft, Weinberger: Snapshot Ensembles: Train 1, Get M for Free, ICLR 2017"
    variant = "discriminators of one training at several moments, mean of calibrated log odds"
    needs: ClassVar[Needs] = "snapshots"

    def _snapshots(self, context: FitContext) -> list[TrainedGenerator]:
        snapshots = discriminator_source_of(context, self.family).history()
        if len(snapshots) < 2:
            raise InputError(
                f"{self.family} needs snapshots of the training of {snapshots[0].card.name}; keep some: "
                "--set generator.training.snapshots_kimg=[12,24,36]"
            )
        # evenly spread over the training, first and last included; a set, since rounding may choose one twice
        chosen = sorted(
            set(np.linspace(0, len(snapshots) - 1, min(self.settings.moments, len(snapshots))).round().astype(int))
        )
        return [snapshots[i] for i in chosen]
