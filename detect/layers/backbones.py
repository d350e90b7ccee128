"""Networks that turn an image into an embedding: timm's, CLIP's image side, and the face network of facenet-pytorch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from detect.weights import load_weights, read_tensors, timm_pretrained
from forge.core.errors import InputError
from forge.core.seeding import seed_torch

FACENET = "facenet"
SHORT_NAMES = {  # of networks that many papers start from -> timm's name
    "clip": "vit_base_patch16_clip_quickgelu_224",
    "dinov2": "vit_base_patch14_dinov2",
    "dinov3": "vit_base_patch16_dinov3",
    "siglip": "vit_base_patch16_siglip_224",
}

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A frozen network with the preprocessing it was trained with.

    Attributes:
        network: normalised images [N, 3, S, S] to embeddings [N, D], in evaluation mode.
        size: S, pixels fed to it.
        mean: of the channels in 0..1, subtracted.
        std: of the channels in 0..1, divided by.
        unit: whether embeddings are scaled to length 1, as CLIP and facenet compare them.
    """

    network: nn.Module
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unit: bool = False

    def embed(self, pixels: Tensor) -> Tensor:
        """Return embeddings float32 [N, D] of uint8 pixels [N, H, W, 3], resized with an antialiased bicubic filter."""
        images = pixels.permute(0, 3, 1, 2).float() / 255
        # bicubic overshoots at edges: back into the range that the backbone was trained with
        if images.shape[-1] != self.size:
            images = interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        # float(): embeddings leave in fp32 whatever the backbone computes in; maps become rows, [N, D]
        embeddings: Tensor = self.network((images - mean) / std).float().flatten(1)
        return normalize(embeddings) if self.unit else embeddings


def make_backbone(name: str, weights: str, *, input_size: int | None, seed: int) -> Backbone:
    """Make a backbone.

    Args:
        name: of a timm network, or "facenet" for the InceptionResnetV1 of facenet-pytorch.
        weights: "hub" (timm's published ones, cached or downloaded), "random", or a .safetensors file.
        input_size: pixels fed to it; None: what its published weights were trained with.
        seed: of random weights.

    Raises:
        InputError: an unknown name, weights that cannot be had, or a file that does not fit.
    """
    # random weights of a backbone must not depend on what was drawn before, nor move the caller's generator
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        backbone = _facenet(weights) if name == FACENET else _timm(name, weights, input_size)
    # evaluation: batch norms with stored statistics, so that an embedding depends on its image alone
    backbone.network.eval().requires_grad_(False)
    if input_size is None:
        return backbone
    return Backbone(backbone.network, input_size, backbone.mean, backbone.std, backbone.unit)


def _facenet(weights: str) -> Backbone:
    from facenet_pytorch import InceptionResnetV1  # imports torchvision, which only this backbone needs

    if weights == "hub":
        raise InputError(
            "timm's hub has no weights for probe:facenet; download 20180402-114759-vggface2.pt of facenet-pytorch "
            "where there is a network, store it as safetensors and give it as weights: FILE.safetensors"
        )
    network = InceptionResnetV1(pretrained=None)
    if weights != "random":
        # the classifier of VGGFace2's identities is not part of the embedding
        tensors = {key: value for key, value in read_tensors(Path(weights)).items() if not key.startswith("logits.")}
        load_weights(network, tensors, source=f"weights file {weights}")
    spread = 128 / 255  # its inputs are (pixel - 127.5) / 128
    return Backbone(network, 160, (0.5, 0.5, 0.5), (spread, spread, spread), unit=True)


def _timm(name: str, weights: str, input_size: int | None) -> Backbone:
    import timm  # takes seconds to import

    clip = "clip" in name
    # CLIP is compared by its projected embedding, other networks by what precedes their classifier (0 outputs)
    outputs = _outputs(name) if clip else 0
    published = timm.get_pretrained_cfg(name)
    # networks with learned positions are made for one size, all others take any
    fixed = published is not None and published.fixed_input_size and input_size is not None
    size: dict[str, Any] = {"img_size": input_size} if fixed else {}
    if weights == "hub":
        network = timm_pretrained(name, outputs=outputs, **size)
    else:
        network = timm.create_model(name, pretrained=False, num_classes=outputs, **size)
    if weights not in ("hub", "random"):
        load_weights(network, own_names(network, read_tensors(Path(weights))), source=f"weights file {weights}")
    if published is None:
        return Backbone(network, input_size or 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), unit=clip)
    return Backbone(
        network, published.input_size[-1], cast("Triple", published.mean), cast("Triple", published.std), unit=clip
    )


def _outputs(name: str) -> int:
    """Return length of the joint embedding of a CLIP network: what its published head gives."""
    import timm  # takes seconds to import

    published = timm.get_pretrained_cfg(name)
    # 512 is the joint dimension of CLIP's ViT-B
    return int(published.num_classes) if published is not None and published.num_classes else 512


def own_names(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename what open_clip and other publishers call differently, and drop the classifier that is not used."""
    renamed = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if renamed is not None:
        tensors = renamed(tensors, network)
    state = network.state_dict()
    heads = network.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    # tensors of a classifier that this network does not have; all others must fit, see `load_weights`
    return {
        key: value
        for key, value in tensors.items()
        if key in state or not key.startswith(tuple(f"{n}." for n in names))
    }
