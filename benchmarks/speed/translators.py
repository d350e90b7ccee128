"""Speed of the trainings of translators, against loops as the papers' code has them, in fp32 and contiguous memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional
from torch.nn.functional import binary_cross_entropy_with_logits, instance_norm, l1_loss, mse_loss

from benchmarks.speed.beside import adam, beside_plain, first_batch, training_at_quick
from benchmarks.speed.figure import Figure
from forge.faces.tensors import to_float
from forge.generators.blocks.layers import Downsample, InstanceNorm
from forge.generators.blocks.resnet import ResNetGenerator, reflected
from forge.generators.translation.base import Translator
from forge.training.steps.contrastive import ContrastiveSettings, PatchHeads, mirrored, patch_nce


def translator_training(photos: str | None) -> list[Figure]:
    """Training steps of pix2pix:edges and fastcut."""
    paired, unpaired = training_at_quick("pix2pix:edges"), training_at_quick("fastcut")
    edges, fastcut = cast(Translator, paired.architecture), cast(Translator, unpaired.architecture)
    pixels = first_batch(paired)
    conditions, targets = edges.conditions(pixels, range(len(pixels))), to_float(torch.from_numpy(pixels)).contiguous()
    faces = to_float(torch.from_numpy(first_batch(unpaired))).contiguous()
    contrastive = cast(ContrastiveSettings, unpaired.settings)
    apart = "real and forged images apart, drawings ready"
    filtered = "real and forged images apart, faces encoded twice, filters after convolutions at full size"
    return [
        *beside_plain(paired, pix2pix_step(edges, conditions, targets), "pix2pix:edges", apart),
        *beside_plain(unpaired, fastcut_step(fastcut, faces, faces.flip(0), contrastive), "FastCUT", filtered),
    ]


def pix2pix_step(translator: Translator, conditions: Tensor, photos: Tensor) -> Callable[[], None]:
    """Return the step of pix2pix's code.

    Args:
        translator: whose networks are trained; their prediction is the photo.
        conditions: float [N, C, H, W].
        photos: float [N, 3, H, W] in -1..1.
    """
    generator, discriminator = as_published(translator.body()), as_published(translator.discriminator())
    moves = [adam(network) for network in (generator, discriminator)]

    def judged(images: Tensor, target: float) -> Tensor:
        logits: Tensor = discriminator(torch.cat([conditions, images], 1))
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def step() -> None:
        forged = generator(conditions)
        discriminator.requires_grad_(True)
        moves[1].zero_grad()
        backward((judged(forged.detach(), 0.0) + judged(photos, 1.0)) / 2)
        moves[1].step()
        discriminator.requires_grad_(False)
        moves[0].zero_grad()
        backward(judged(forged, 1.0) + 100 * l1_loss(forged, photos))
        moves[0].step()

    return step


def fastcut_step(
    translator: Translator, faces: Tensor, targets: Tensor, settings: ContrastiveSettings
) -> Callable[[], None]:
    """Return the step of CUT's code, with the weights of FastCUT and our number of sites.

    Args:
        translator: whose networks are trained.
        faces: float [N, 3, H, W] in -1..1.
        targets: as many of the other domain.
        settings: of our training.
    """
    body, discriminator = translator.body(), as_published(translator.discriminator())
    assert isinstance(body, ResNetGenerator)
    generator = cast(ResNetGenerator, as_published(body))
    heads = PatchHeads(generator.feature_channels, settings.head_width)
    moves = [adam(network) for network in (generator, discriminator, heads)]

    def judged(images: Tensor, target: float) -> Tensor:
        logits: Tensor = discriminator(images)
        return mse_loss(logits, torch.full_like(logits, target))

    def contrast(forged: Tensor, *, mirror: bool) -> Tensor:
        queries, keys = generator.features(forged), generator.features(faces)
        sites = [torch.randperm(level.shape[2] * level.shape[3])[: settings.sites] for level in keys]
        opposite = [mirrored(chosen, level.shape[3]) for chosen, level in zip(sites, keys, strict=True)]
        pairs = zip(heads(queries, opposite if mirror else sites), heads(keys, sites), strict=True)
        return torch.stack([patch_nce(query, key, settings.temperature) for query, key in pairs]).mean()

    def step() -> None:
        mirror = bool(torch.rand(()) < 0.5)
        forged = generator(faces.flip(3) if mirror else faces)
        discriminator.requires_grad_(True)
        moves[1].zero_grad()
        backward((judged(forged.detach(), 0.0) + judged(targets, 1.0)) / 2)
        moves[1].step()
        discriminator.requires_grad_(False)
        for move in (moves[0], moves[2]):
            move.zero_grad()
        backward(judged(forged, 1.0) + settings.nce_weight * contrast(forged, mirror=mirror))
        for move in (moves[0], moves[2]):
            move.step()

    return step


def as_published(network: nn.Module) -> nn.Module:
    """Return a network with the layers of the papers' code: norm, then ReLU; a convolution, then the filter."""
    for name, child in list(network.named_children()):
        if isinstance(child, InstanceNorm):
            setattr(network, name, _NormThenReLU() if child.rectify else _Norm())
        elif isinstance(child, nn.Sequential) and isinstance(child[0], Downsample):
            convolution = cast(nn.Conv2d, child[1])
            inputs, outputs = convolution.in_channels, convolution.out_channels
            later = nn.Sequential(reflected(inputs, outputs, 3), Downsample(outputs, reflect=True))
            cast(nn.ModuleList, network)[int(name)] = later
        else:
            as_published(child)
    return network


class _Norm(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return instance_norm(images)


class _NormThenReLU(_Norm):
    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(super().forward(images))
