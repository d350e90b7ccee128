"""The discriminator's own verdict: its logit, of one moment of a training or of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from detect.data.views import View
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Needs, Scores
from detect.detectors.discriminator import discriminator_source_of, origin
from detect.discriminator_source import Blueprint, with_weights_of
from detect.training.calibration import Calibration, fit_platt, validation_auc
from detect.weights import load_weights, read_tensors, write_tensors
from forge.compute import Compute
from forge.errors import InputError
from forge.faces.faceset import Images
from forge.files import read_json_object, write_json
from forge.generator import TrainedGenerator

BLOCK = 256  # images judged at a time


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
        self.judges: list[nn.Module] = []
        self.signs: list[int] = []  # 1: a high logit means real, as the game wants it
        self.scales: list[Calibration] = []

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Take the discriminator, or those of several moments, and learn each one's sign and scale on `val`."""
        moments = self._moments(context)
        self.blueprint = Blueprint.of(moments[-1], self.resolution)
        history: list[dict[str, float]] = []
        for moment in moments:
            judge = with_weights_of(moment, self.blueprint.build())
            real, forged = (self._logits(judge, view, context.compute) for view in (data.val_real, data.val_forged))
            auc = validation_auc(-real, -forged)
            sign = 1 if auc >= 0.5 else -1
            self.judges.append(judge)
            self.signs.append(sign)
            self.scales.append(fit_platt(-sign * real, -sign * forged))
            history.append({"kimg": moment.card.kimg, "val_auc": auc, "sign": sign})
        facts: dict[str, Any] = origin(moments[-1]) | {"device": context.compute.describe(), "moments": len(moments)}
        return FitSummary(history, facts | {"sign": self.signs[-1]})

    def _moments(self, context: FitContext) -> list[TrainedGenerator]:
        return [discriminator_source_of(context, self.family).open()]

    def _logits(self, judge: nn.Module, view: View, compute: Compute) -> Scores:
        return np.concatenate([self._judged(judge, images, compute) for images in view.batches(BLOCK)])

    def _judged(self, judge: nn.Module, images: Images, compute: Compute) -> Scores:
        judge = judge.to(compute.torch_device)
        parts = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(images), BLOCK):
                pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device)
                inputs = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
                parts.append(judge(inputs).float().cpu().double().numpy().reshape(-1))
        return np.concatenate(parts)

    def score(self, images: Images, compute: Compute) -> Scores:
        """The logit with its sign learned on val; of several moments the mean of their calibrated log odds."""
        if not self.judges:
            raise InputError(f"{self.family} has not been fitted or loaded")
        verdicts = [
            -sign * self._judged(judge, images, compute) for judge, sign in zip(self.judges, self.signs, strict=True)
        ]
        if len(verdicts) == 1:
            return verdicts[0]
        odds = [scale.a * verdict + scale.b for scale, verdict in zip(self.scales, verdicts, strict=True)]
        return np.asarray(np.mean(odds, axis=0), dtype=np.float64)

    def save(self, directory: Path) -> None:
        """Write weights.safetensors, discriminator.json and verdict.json."""
        if self.blueprint is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        tensors = {f"{i}.{name}": t for i, judge in enumerate(self.judges) for name, t in judge.state_dict().items()}
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
            judge = detector.blueprint.build()
            weights = {name.removeprefix(f"{i}."): t for name, t in tensors.items() if name.startswith(f"{i}.")}
            load_weights(judge, weights, source=str(path))
            detector.judges.append(judge.eval())
        return detector

    @property
    def parameters(self) -> int:
        """Number of weights of all discriminators."""
        return sum(parameter.numel() for judge in self.judges for parameter in judge.parameters())


class EnsembleSettings(DetectorSettings):
    """Settings of the ensemble of moments."""

    moments: int = Field(8, ge=2, le=64, description="most moments of the training; more are thinned out evenly")


class SnapshotEnsemble(RawDiscriminator[EnsembleSettings]):
    """The mean verdict of the discriminators of several moments of one training, each calibrated on val."""

    family = "disc-ensemble"
    citation = "Huang, Li, Pleiss, Liu, Hopcroft, Weinberger: Snapshot Ensembles: Train 1, Get M for Free, ICLR 2017"
    variant = "discriminators of one training at several moments, mean of calibrated log odds"
    needs: ClassVar[Needs] = "snapshots"

    def _moments(self, context: FitContext) -> list[TrainedGenerator]:
        snapshots = discriminator_source_of(context, self.family).history()
        if len(snapshots) < 2:
            raise InputError(
                f"{self.family} needs snapshots of the training of {snapshots[0].card.name}; keep some: "
                "--set generator.training.snapshots_kimg=[12,24,36]"
            )
        chosen = sorted(
            set(np.linspace(0, len(snapshots) - 1, min(self.settings.moments, len(snapshots))).round().astype(int))
        )
        return [snapshots[i] for i in chosen]
