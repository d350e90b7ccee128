"""Heads on a frozen CLIP that learn by gradient descent: UnivFD's linear layer and RINE's weighting of all blocks."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from detect.detectors.network import NetworkDetector, channel_values
from detect.layers.backbones import make_backbone
from detect.layers.crops import centre, framed
from detect.layers.exact import ExactLinear
from detect.layers.frozen import BackboneWeights, FrozenNetwork
from detect.training.settings import WindowSettings, with_defaults
from forge.core.errors import InputError, quoted

SIDE = 224  # pixels of CLIP's images where no other size is asked for


class ClipHeadSettings(WindowSettings):
    """Settings of a head on CLIP."""

    weights: BackboneWeights = Field(
        "hub",
        description="of CLIP: hub (timm's published ones, cached or downloaded), a .safetensors file of OpenAI's or "
        "an open_clip model, or random",
    )
    network: str = Field(
        "vit_large_patch14_clip_quickgelu_224", description="timm's name of the image side; the paper's is ViT-L/14"
    )


class RineSettings(ClipHeadSettings):
    """Settings of RINE."""

    width: int = Field(128, ge=1, le=4096, description="length of the projected features")
    layers: int = Field(4, ge=1, le=16, description="layers of each of the two projections")


class UnivfdNetwork(FrozenNetwork):
    """CLIP's image embedding, as it is, and one linear layer.

    Args:
        backbone: timm's image side of CLIP with its projection.
        width: length of the embedding.
    """

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__(backbone)
        self.head = ExactLinear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, S, S] to logits float32 [N, 1]."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


class RineHead(nn.Module):
    """Project the class token of each block, weigh blocks, project again, one logit.

    Modules are numbered as in the published weights, so that these load as they are.

    Args:
        blocks: of the transformer.
        tokens: length of its tokens.
        width: length of the projections.
        layers: of each projection.
    """

    def __init__(self, blocks: int, tokens: int, width: int, layers: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.randn(1, blocks, width))
        self.proj1 = nn.Sequential(nn.Dropout(), *_projection(tokens, width, layers))
        self.proj2 = nn.Sequential(nn.Dropout(), *_projection(width, width, layers))
        self.head = nn.Sequential(*_projection(width, width, 2), ExactLinear(width, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map class tokens [N, blocks, D] to logits float32 [N, 1]."""
        weighted = (self.alpha.softmax(dim=1) * self.proj1(tokens)).sum(dim=1)
        logits: Tensor = self.head(self.proj2(weighted))
        return logits


def _projection(inputs: int, width: int, layers: int) -> list[nn.Module]:
    sizes = [inputs, *[width] * layers]
    return [
        part
        for before, after in itertools.pairwise(sizes)
        for part in (nn.Linear(before, after), nn.ReLU(), nn.Dropout())
    ]


class RineNetwork(FrozenNetwork):
    """The class token of every block of CLIP, normalised as the block's second half reads it, and a head.

    Args:
        backbone: a vision transformer of timm.
        width: length of the projections.
        layers: of each projection.
    """

    def __init__(self, backbone: nn.Module, width: int, layers: int) -> None:
        super().__init__(backbone)
        self.head = RineHead(len(backbone.blocks), backbone.embed_dim, width, layers)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, S, S] to logits float32 [N, 1]."""
        body: Any = self.backbone
        x = body.norm_pre(body.patch_drop(body._pos_embed(body.patch_embed(images))))
        tokens = []
        for block in body.blocks:
            x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
            normalised = block.norm2(x)
            tokens.append(normalised[:, 0])
            x = x + block.drop_path2(block.ls2(block.mlp(normalised)))
        logits: Tensor = self.head(torch.stack(tokens, dim=1))
        return logits


class Univfd(NetworkDetector[ClipHeadSettings]):
    """One linear layer on the image embedding of a frozen CLIP, learned by gradient descent as its authors did."""

    family = "univfd"
    citation = (
        "Ojha, Li, Lee: Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR 2023"
    )
    variant = (
        "images larger than 224 px are cropped to their middle as in the paper, smaller ones enlarged; clip-probe is "
        "the same with the optimum of a regularised regression"
    )
    Settings = with_defaults(
        ClipHeadSettings,
        epochs=100,
        batch=256,
        optimizer="adamw",
        learning_rate=1e-4,
        warmup=0,
        clip=None,
        schedule="plateau",
        min_learning_rate=1e-6,
        patience=5,
        shift=0,
        blur=0.5,
        blur_sigma=(0, 3),
        jpeg=0.5,
        jpeg_quality=(30, 100),
    )
    # CLIP's channels
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

    @property
    def side(self) -> int:
        """Height and width of CLIP's input in pixels."""
        return self.settings.input_size or SIDE

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the middle window, or where that is larger the enlarged image, normalised."""
        inputs = centre(framed(pixels, self.settings.window), self.side).permute(0, 3, 1, 2).float()
        if inputs.shape[-1] != self.side:
            inputs = interpolate(inputs, size=(self.side, self.side), mode="bicubic", antialias=True).clamp(0, 255)
        mean, std = channel_values(self.mean, inputs.device), channel_values(self.std, inputs.device)
        return (inputs - mean) / std

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network and give CLIP the weights that `weights` asks for.

        Raises:
            InputError: no network of CLIP, or weights that cannot be had or do not fit.
        """
        name = self.settings.network
        if not name.startswith("vit_") or "clip" not in name:
            raise InputError(
                f"{self.family}: network {quoted(name)} is not one of timm's transformers of CLIP (vit_..._clip_...)"
            )
        weights = "random" if blank else self.settings.weights
        seed = int(
            torch.randint(2**31, (), device="cpu")
        )  # of random weights: from the caller's generator, which is seeded
        backbone = make_backbone(name, weights, input_size=self.side, seed=seed)
        return self.headed(backbone.network)

    def headed(self, backbone: nn.Module) -> nn.Module:
        """Put the head on CLIP."""
        return UnivfdNetwork(backbone, backbone.num_classes)  # type: ignore[arg-type]


class Rine(Univfd):
    """A learned weighting of the class tokens of all blocks of a frozen CLIP: details of early blocks count too."""

    family = "rine"
    citation = (
        "Koutlis and Papadopoulos, Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image "
        "Detection, ECCV 2024"
    )
    variant = (
        "cross entropy alone, without the authors' contrastive loss; images larger than 224 px are cropped to their "
        "middle as in the paper, smaller ones enlarged"
    )
    Settings = with_defaults(
        RineSettings, epochs=1, batch=128, learning_rate=1e-3, warmup=0, clip=None, schedule="constant", shift=0
    )
    settings: RineSettings

    def headed(self, backbone: nn.Module) -> nn.Module:
        """Put the head on CLIP."""
        return RineNetwork(backbone, self.settings.width, self.settings.layers)
