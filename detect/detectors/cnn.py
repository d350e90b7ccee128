"""Image classification networks of timm with one logit; a further network is a class of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from detect.detectors.base import DetectorSettings, FitContext, FitData, FitSummary
from detect.detectors.network import NetworkDetector, NetworkSettings
from forge.files import digest_file

if TYPE_CHECKING:
    from torch import Tensor, nn


class TimmSettings(NetworkSettings):
    """Settings of a timm network."""

    weights: str = Field(
        "scratch",
        description="start from: scratch (random, downloads nothing), imagenet (timm's, cached or downloaded), "
        "or a .safetensors file with the network's timm names; a head of another size is replaced by a random one",
    )

    @field_validator("weights")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("scratch", "imagenet") and not value.endswith(".safetensors"):
            raise ValueError(
                "must be scratch, imagenet, or a path that ends in .safetensors (pickles are never opened)"
            )
        return value


class TimmDetector(NetworkDetector):
    """A timm network; a subclass names it."""

    Settings: ClassVar[type[DetectorSettings]] = TimmSettings
    timm_name: ClassVar[str]

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network and give it the weights that `weights` asks for."""
        import timm

        from detect.weights import load_weights, read_tensors, timm_pretrained

        weights = "scratch" if blank else self._weights
        if weights == "imagenet":
            return timm_pretrained(self.timm_name)
        network: nn.Module = timm.create_model(self.timm_name, pretrained=False, num_classes=1)
        if weights != "scratch":
            path = Path(weights).expanduser()
            head = network.pretrained_cfg["classifier"]  # type: ignore[index]
            names = [f"{head}.{kind}" for kind in ("weight", "bias")]
            load_weights(network, read_tensors(path), source=f"weights file {path}", head=names)
        return network

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits, float32 [N]; the head is computed in fp32, since a logit of 8 bits ties where nothing is equal."""
        import torch

        features: Tensor = network.forward_features(inputs)  # type: ignore[operator]
        with torch.autocast(inputs.device.type, enabled=False):
            outputs: Tensor = network.forward_head(features.float())  # type: ignore[operator]
        return outputs.flatten()

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Train the network; records what it started from."""
        summary = super().fit(data, context)
        start: dict[str, Any] = {"start": self._weights}
        if self._weights not in ("scratch", "imagenet"):
            start["start_sha256"] = digest_file(Path(self._weights).expanduser())
        return FitSummary(summary.history, start | summary.facts)

    @property
    def _weights(self) -> str:
        return self.settings.weights  # type: ignore[attr-defined, no-any-return]


class Xception(TimmDetector):
    """Xception as the FaceForensics++ benchmark uses it: the network of Chollet 2017 with one logit, Adam at 2e-4."""

    family = "xception"
    citation = (
        "Roessler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019; "
        "Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017"
    )
    variant = (
        "from random weights at the set's own resolution with a cosine schedule; the paper: weights imagenet, "
        "input_size 299, face crop 1.3 times the box"
    )
    timm_name = "legacy_xception"
