"""Contrastive translation: what is at a site of the forgery must be told from what is elsewhere in the face.

FastCUT (Park et al. 2020): a game in the target domain, and PatchNCE (eq. 3 and 4) between the encoder's features of a
face and of its forgery. There is no second generator and nothing to restore the face from.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from forge.core.errors import InputError
from forge.generators.blocks.resnet import ResNetGenerator
from forge.generators.translation.base import TranslationNetwork
from forge.training.batches import Batch
from forge.training.steps.base import StepContext
from forge.training.steps.setup import move_network
from forge.training.steps.unpaired import Unpaired, UnpairedSettings


class ContrastiveSettings(UnpairedSettings):
    """Settings of a contrastive translation; the defaults are those of FastCUT, but for fewer sites."""

    nce_weight: float = Field(10.0, ge=0, description="weight of PatchNCE; 0: the game alone")
    sites: int = Field(64, ge=2, description="sites of each level that are compared (the paper, at 256 px: 256)")
    temperature: float = Field(0.07, gt=0, description="of PatchNCE: divides the cosines")
    head_width: int = Field(256, ge=1, description="width of the two dense layers before the comparison")
    flip_equivariance: bool = Field(True, description="in half of the steps the mirrored face must give equal patches")
    decay: float = Field(
        0.25, ge=0, le=1, description="last share of the training in which the learning rates fall to 0 on a line"
    )


class PatchHeads(nn.Module):
    """Features of each level to unit vectors, by two dense layers of its own (H of Park et al. 2020, section 3).

    Args:
        channels: of each level.
        width: of the vectors.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor], sites: Sequence[Tensor]) -> list[Tensor]:
        """Map features [N, C_i, H_i, W_i] at sites [S_i] of H_i x W_i to unit vectors [N, S_i, width], in fp32."""
        vectors = []
        for level, images, chosen in zip(self.levels, features, sites, strict=True):
            patches = images.permute(0, 2, 3, 1).flatten(1, 2)[:, chosen]  # channels last in memory: no copy of all
            vectors.append(normalize(level(patches).float(), dim=2))
        return vectors


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """PatchNCE (Park et al. 2020, eq. 3): find the site of a face that a site of its forgery belongs to.

    The sites of one image are the candidates for each other; other images are none.

    Args:
        queries: unit vectors of forgeries [N, S, D].
        keys: unit vectors of the faces at the same sites [N, S, D]; get no gradient.
        temperature: divides the cosines.

    Returns:
        The mean cross entropy, a scalar; ln(S) where nothing is told apart.
    """
    cosines = queries @ keys.detach().transpose(1, 2)  # [N, S, S]
    count, sites, _ = cosines.shape
    right = torch.arange(sites, device=cosines.device).repeat(count)  # the same site
    return cross_entropy(cosines.flatten(0, 1) / temperature, right)


def mirrored(sites: Tensor, width: int) -> Tensor:
    """Return sites of an image of this width, counted row by row, in the mirrored image."""
    return sites + width - 1 - 2 * (sites % width)


class Contrastive(Unpaired):
    """One generator, one discriminator of the target domain, and the heads that compare patches."""

    Settings = ContrastiveSettings
    title = "contrastive"
    remedy = "lower generator.training.discriminator_lr and generator_lr, or raise nce_weight"

    settings: ContrastiveSettings

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        generator = self.translator.generator()
        if not (isinstance(generator, TranslationNetwork) and isinstance(generator.body, ResNetGenerator)):
            raise InputError(
                f"{type(self.translator).__name__} is trained by contrast, but its body() is no ResNetGenerator, whose "
                "encoder is compared; return one"
            )
        self.generator, self.body = move_network(generator, context.device), generator.body
        # made now and not at the first batch: several processes, optimisers and checkpoints need them from the start
        self.heads = PatchHeads(self.body.feature_channels, self.settings.head_width).to(context.device)
        self.generator_optimizer = self.adam(self.generator.parameters(), self.settings.generator_lr)
        self.heads_optimizer = self.adam(self.heads.parameters(), self.settings.generator_lr)

    def networks(self) -> Mapping[str, nn.Module]:
        """Generator, discriminator and heads."""
        return {"generator": self.generator, "discriminator": self.discriminator, "heads": self.heads}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return an optimiser for each network."""
        return {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "heads_optimizer": self.heads_optimizer,
        }

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train the discriminator, then generator and heads, on the same forgeries."""
        context, measure = self.context, bool(plan)
        faces, targets = (self.varied(batch) for batch in batches)
        mirror = self.settings.flip_equivariance and bool(torch.rand(()) < 0.5)
        sites = [torch.randperm(count)[: self.settings.sites] for count in self._site_counts(faces)]
        context.random.local()
        with context.training.compute.autocast(context.precision):
            features = self.body.features(faces.flip(3) if mirror else faces)
            forged = self.body.decode(features[-1]).float()
        self.discriminator.requires_grad_(True)
        # instance norm does not mix images: real and forged ones pass as one batch
        logits = self.logits(self.discriminator, torch.cat([targets, forged.detach()]))
        accuracy = self.update_discriminator(self.discriminator, self.discriminator_optimizer, logits, measure=measure)
        self.count_accuracy(accuracy)
        self._g_step(faces, forged, None if mirror else features, sites, measure=measure)

    def _site_counts(self, images: Tensor) -> list[int]:
        """Return the number of sites of each level: of the pixels, of both halvings, of the middle block."""
        pixels = images.shape[2] * images.shape[3]
        return [pixels, pixels // 4, pixels // 16, pixels // 16]

    def _g_step(
        self,
        faces: Tensor,
        forged: Tensor,
        features: Sequence[Tensor] | None,
        sites: Sequence[Tensor],
        *,
        measure: bool,
    ) -> None:
        """Train generator and heads.

        Args:
            faces: [N, 3, H, W].
            forged: their forgeries, with gradients; of mirrored faces where there are no features.
            features: of the faces, which were computed on the way to the forgeries.
            sites: of each level.
            measure: also read the norm of the gradient.
        """
        settings = self.settings
        self.discriminator.requires_grad_(False)
        logits = self.logits(self.discriminator, forged)
        game = self.objective.generator(logits, logits)
        loss = game
        if settings.nce_weight:
            nce = self._nce(faces, forged, features, sites)
            loss = loss + settings.nce_weight * nce
        self.context.readings.record("gan_loss", game)
        optimizers = [self.generator_optimizer, self.heads_optimizer]
        self.update_generator(loss, [self.generator, self.heads], optimizers, measure=measure)

    def _nce(self, faces: Tensor, forged: Tensor, features: Sequence[Tensor] | None, sites: Sequence[Tensor]) -> Tensor:
        """Return PatchNCE as the mean over levels; also read, as share of what guessing gives."""
        with self.context.training.compute.autocast(self.context.precision):
            with torch.no_grad():
                # the encoder of the face was run already, unless it was the mirrored face that was translated
                of_face = self.body.features(faces) if features is None else features
                keys = self.heads(of_face, sites)
            of_forgery = self.body.features(forged)
            if features is None:  # a site of the face is at the opposite column of the mirrored forgery
                sites = [mirrored(chosen, images.shape[3]) for chosen, images in zip(sites, of_forgery, strict=True)]
            queries = self.heads(of_forgery, sites)
        losses = [patch_nce(query, key, self.settings.temperature) for query, key in zip(queries, keys, strict=True)]
        nce = torch.stack(losses).mean()
        # guessing among S sites has the cross entropy ln S
        guessing = sum(math.log(len(chosen)) for chosen in sites) / len(sites)
        self.context.readings.record("nce_loss", nce)
        self.context.readings.record("nce_ratio", nce / guessing)
        return nce
