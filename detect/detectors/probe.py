"""Linear probes of frozen embeddings: any timm backbone, facenet-pytorch's face network, CLIP."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from detect.detectors.base import FitContext, FitData, FitSummary
from detect.detectors.feature_based import RegressionDetector, RegressionSettings
from detect.layers.backbones import SHORT_NAMES, Backbone, make_backbone
from detect.weights import load_weights, read_tensors, write_tensors
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import digest_file

BACKBONE_FILE = "backbone.safetensors"
EMBEDDED = 32  # images embedded at a time: a large backbone at 224 px needs much memory for each


class ProbeSettings(RegressionSettings):
    """Settings of a linear probe."""

    weights: str = Field(
        "hub",
        description="of the backbone: hub (published ones, cached or downloaded), a .safetensors file, or random",
    )
    input_size: int | None = Field(
        None, ge=16, le=1024, description="pixels fed to the backbone; null: what its weights were trained with"
    )

    @field_validator("weights")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("hub", "random") and not value.endswith(".safetensors"):
            raise ValueError("must be hub, random, or a path that ends in .safetensors (pickles are never opened)")
        return value


P = TypeVar("P", bound=ProbeSettings)


class Probe(RegressionDetector[P]):
    """Logistic regression on the embedding of a frozen, pretrained network; `probe:NAME` names it."""

    family = "probe"
    citation = "Alain, Bengio: Understanding intermediate layers using linear classifier probes, ICLR workshop 2017"
    variant = "images are resized from the set's resolution to what the backbone was trained with"
    backbone_name: ClassVar[str] = ""
    backbone: Backbone | None = None

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Get the backbone and learn the regression.

        Raises:
            InputError: the backbone's weights cannot be had.
        """
        # seed: random weights of a control are those of the run's seed
        self.backbone = self._make(self.settings.weights, seed=context.seed)
        start = {"backbone": self.backbone_name, "start": self.settings.weights}
        if self.settings.weights.endswith(".safetensors"):
            start["start_sha256"] = digest_file(Path(self.settings.weights).expanduser())
        summary = super().fit(data, context)
        return FitSummary(summary.history, start | summary.facts)

    def _make(self, weights: str, *, seed: int) -> Backbone:
        weights = str(Path(weights).expanduser()) if weights.endswith(".safetensors") else weights
        return make_backbone(self.backbone_name, weights, input_size=self.settings.input_size, seed=seed)

    def features(self, pixels: Tensor) -> Tensor:
        """Return embeddings, [N, D]."""
        if self.backbone is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        self.backbone.network.to(pixels.device)
        if torch.compiler.is_exporting():  # the graph is one for every number of images
            return self.backbone.embed(pixels)
        return torch.cat([self.backbone.embed(part) for part in torch.split(pixels, EMBEDDED)])

    def save(self, directory: Path) -> None:
        """Write the regression and the backbone, so that the detector needs no other file."""
        super().save(directory)
        if self.backbone is not None:
            write_tensors(directory / BACKBONE_FILE, self.backbone.network.state_dict())

    @classmethod
    def load(cls, directory: Path, settings: P, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = super().load(directory, settings, resolution)
        # random, since every weight is read from the detector's own file: nothing is downloaded
        detector.backbone = detector._make("random", seed=0)
        path = directory / BACKBONE_FILE
        load_weights(detector.backbone.network, read_tensors(path), source=str(path))
        return detector


class ClipSettings(ProbeSettings):
    """Settings of the CLIP probe."""

    network: str = Field(
        "vit_large_patch14_clip_quickgelu_224", description="timm's name of the image side; the paper's is ViT-L/14"
    )


class ClipProbe(Probe[ClipSettings]):
    """Logistic regression on the image embedding of a frozen CLIP (UnivFD)."""

    family = "clip-probe"
    citation = (
        "Ojha, Li, Lee: Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR 2023"
    )
    variant = (
        "resized from the set's resolution; weights: FILE is OpenAI's or an open_clip model as safetensors; logistic "
        "regression with L2 fitted to its optimum"
    )

    def _make(self, weights: str, *, seed: int) -> Backbone:
        network = self.settings.network
        if "clip" not in network:
            raise InputError(
                f"clip-probe: network {quoted(network)} is not one of timm's CLIP networks (vit_..._clip_...)"
            )
        return make_backbone(network, weights, input_size=self.settings.input_size, seed=seed)


@functools.cache
def probe_of(name: str) -> type[Probe[ProbeSettings]]:
    """The probe of a timm network, by timm's name or one of `SHORT_NAMES`, or of "facenet".

    Raises:
        UnknownNameError: timm has no such network.
    """
    import timm  # takes seconds to import

    name = SHORT_NAMES.get(name, name)
    if name != "facenet" and not timm.is_model(name):
        raise UnknownNameError("backbone", name, [*timm.list_models(), *SHORT_NAMES, "facenet"])
    described = {"backbone_name": name, "__doc__": Probe.__doc__, "__module__": __name__}
    return type("Probe", (Probe,), described)
