"""Pretrained transformers of timm of which a few weights are tuned: `tune:NAME`."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from detect.detectors.base import FitContext, FitData, FitSummary
from detect.detectors.timm_network import TimmDetector, TimmSettings, head_of, timm_named
from detect.layers.backbones import SHORT_NAMES, own_names
from detect.training.settings import with_defaults
from detect.tuning import METHODS
from detect.tuning.base import Tuning, attention_layers


class TuneSettings(TimmSettings):
    """Settings of a tuned network."""

    method: Literal["lora", "svd"] = Field(
        "lora",
        description="lora: low-rank adapters (needs peft); svd: the smallest singular directions of each attention "
        "weight, kept orthogonal to the others (Effort)",
    )
    rank: int = Field(8, ge=1, le=1024, description="of an adapter, or singular values of each weight that learn")
    scale: float = Field(16.0, ge=0, description="lora: its alpha; svd: weight of the losses of orthogonality")


class Tuned(TimmDetector[TuneSettings]):
    """A pretrained transformer, frozen but for a low-rank part of its attention weights and a new head."""

    family = "tune"
    citation = (
        "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (method lora); Yan et al., "
        "Orthogonal Subspace Decomposition for Generalizable AI-Generated Image Detection, arXiv "
        "2411.15633, 2024 (method svd)"
    )
    variant = (
        "Effort itself: method svd, rank 1, scale 1, vit_large_patch14_clip_quickgelu_224, two logits in place of one"
    )
    Settings = with_defaults(
        TuneSettings, weights="imagenet", epochs=10, optimizer="adamw", learning_rate=2e-4, warmup=0.05
    )

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network, frozen and adapted; blank, it is the ordinary network that is stored after a fit.

        Raises:
            InputError: as `TimmDetector.build`, or a network without attention, or peft is missing.
        """
        network = super().build(blank=blank)
        if blank:
            return network
        head = head_of(network)
        network.requires_grad_(False)
        self._method().adapt(network, attention_layers(network, f"tune:{self.timm_name}"))
        for name, parameter in network.named_parameters():
            if name in head:
                parameter.requires_grad_(True)
        return network

    def renamed(self, network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Read the files of open_clip, DINO and others as timm does."""
        return own_names(network, tensors)

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy, and what the method adds to it."""
        loss, penalty = super().loss(network, inputs, labels), self._method().penalty(network)
        return loss if penalty is None else loss + penalty

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Tune the network, then merge what was learned, so that loading it needs no adapters."""
        summary = super().fit(data, context)
        network = self._fitted()
        learned = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        self._method().merge(network)
        return FitSummary(summary.history, summary.facts | {"tuned_parameters": learned})

    def _method(self) -> Tuning:
        method: Tuning = METHODS.load(self.settings.method)(self.settings.rank, self.settings.scale)
        return method


@functools.cache
def tuned(name: str) -> type[Tuned]:
    """The detector `tune:NAME`, with timm's normalisation.

    Args:
        name: as in `timm.list_models()`, or one of `SHORT_NAMES`.

    Raises:
        UnknownNameError: timm has no such network; carries the nearest names.
    """
    plain = timm_named(SHORT_NAMES.get(name, name))
    described = {
        "timm_name": plain.timm_name,
        "any_size": plain.any_size,
        "mean": plain.mean,
        "std": plain.std,
        "__doc__": Tuned.__doc__,
        "__module__": __name__,
    }
    return type("Tuned", (Tuned,), described)
