"""Cycle-consistent translation: two generators in opposite directions, each of which must undo the other.

CycleGAN (Zhu et al. 2017): a game in each domain (eq. 1), the cycle loss (eq. 2), and the identity loss of its section
5.2 (a face that is of the target domain already must stay as it is). Discriminators see a pool of earlier forgeries.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.tensors import to_float
from forge.generators.translation.cyclegan import TwoWayNetwork, cycle_errors
from forge.training.batches import Batch
from forge.training.steps.base import StepContext
from forge.training.steps.setup import move_network
from forge.training.steps.unpaired import Unpaired, UnpairedSettings

_CYCLED = 16  # faces whose restoration is measured at each look of the monitor


class CycleSettings(UnpairedSettings):
    """Settings of a cycle-consistent translation; the defaults are the paper's."""

    cycle_weight: float = Field(10.0, ge=0, description="weight of the L1 distance between faces and restored faces")
    identity_weight: float = Field(
        5.0, ge=0, description="weight of the L1 distance that a face of the target domain is moved; 0 saves a fifth"
    )
    pool: int = Field(50, ge=0, description="earlier forgeries that discriminators are shown in half of the cases")


class ImagePool:
    """Earlier forgeries (Shrivastava et al. 2017): half of the images that come are exchanged for an older one.

    A discriminator that sees the newest forgeries alone forgets what it knew of earlier ones, and the game swings.

    Args:
        size: images; 0 passes all images on.
        shape: of an image.
        device: where they are kept.

    Attributes:
        images: float32 [size, C, H, W].
        filled: the number of images that are there, int64 [1]; both belong to a checkpoint.
    """

    def __init__(self, size: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.images = torch.zeros((size, *shape), device=device)
        self.filled = torch.zeros(1, dtype=torch.int64)

    def exchange(self, forged: Tensor) -> Tensor:
        """Return as many images, old or new; torch's random state on the CPU decides.

        Args:
            forged: [N, C, H, W], without a gradient.
        """
        size, count = len(self.images), len(forged)
        if not size:
            return forged
        chances, slots = torch.rand(count).tolist(), torch.randint(size, (count,)).tolist()
        given, filled = forged.clone(), int(self.filled)  # read back once, not for each image
        for number, (chance, slot) in enumerate(zip(chances, slots, strict=True)):
            if filled < size:  # the first ones fill it, and pass
                self.images[filled].copy_(forged[number])
                filled += 1
            elif chance < 0.5:
                given[number].copy_(self.images[slot])
                self.images[slot].copy_(forged[number])
        self.filled.fill_(filled)
        return given


class Cycle(Unpaired):
    """Two generators and two discriminators; the inherited discriminator is that of the target domain."""

    Settings = CycleSettings
    title = "cycle-consistent"
    remedy = "lower generator.training.discriminator_lr and generator_lr, or raise cycle_weight"

    settings: CycleSettings

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        generator = self.translator.generator()
        if not isinstance(generator, TwoWayNetwork):
            raise InputError(
                f"{type(self.translator).__name__} is trained by cycles, but its generator() is no TwoWayNetwork; "
                "return one, with a network for each direction"
            )
        self.generator: TwoWayNetwork = generator
        move_network(generator, context.device)
        self.source_discriminator = move_network(self.translator.discriminator(), context.device)
        self.generator_optimizer = self.adam(generator.parameters(), self.settings.generator_lr)
        self.source_optimizer = self.adam(self.source_discriminator.parameters(), self.settings.discriminator_lr)
        size = self.translator.resolution
        self.pools = [ImagePool(self.settings.pool, (3, size, size), context.device) for _ in range(2)]

    def networks(self) -> Mapping[str, nn.Module]:
        """Both generators as one network, and both discriminators."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "source_discriminator": self.source_discriminator,
        }

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return an optimiser for both generators, and for each discriminator."""
        return {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "source_optimizer": self.source_optimizer,
        }

    def scalars(self) -> Mapping[str, Tensor]:
        """Sums over steps, and both pools."""
        pools = {
            f"pool{number}.{name}": tensor
            for number, pool in enumerate(self.pools)
            for name, tensor in (("images", pool.images), ("filled", pool.filled))
        }
        return {**super().scalars(), **pools}

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train both discriminators, then both generators, on the same forgeries."""
        context, settings, measure = self.context, self.settings, bool(plan)
        faces, targets = (self.varied(batch) for batch in batches)
        context.random.local()
        forth, back, count = self.generator.forth, self.generator.back, len(faces)
        with context.training.compute.autocast(context.precision):
            # one pass for what is translated and what should stay as it is
            towards = forth(torch.cat([faces, targets]) if settings.identity_weight else faces).float()
            returned = back(torch.cat([targets, faces]) if settings.identity_weight else targets).float()
            forged, forged_sources = towards[:count], returned[:count]
            restored, restored_targets = back(forged).float(), forth(forged_sources).float()
        self._d_steps(((targets, forged), (faces, forged_sources)), measure=measure)
        cycle = (restored - faces).abs().mean() + (restored_targets - targets).abs().mean()
        kept = None
        if settings.identity_weight:
            kept = (towards[count:] - targets).abs().mean() + (returned[count:] - faces).abs().mean()
        self._g_step(forged, forged_sources, cycle, kept, measure=measure)

    def _d_steps(self, pairs: Sequence[tuple[Tensor, Tensor]], *, measure: bool) -> None:
        """Move both discriminators; pairs are real and forged images of the target domain and of the source domain."""
        networks = (self.discriminator, self.source_discriminator)
        optimizers = (self.discriminator_optimizer, self.source_optimizer)
        for network, optimizer, pool, (real, forged), prefix in zip(
            networks, optimizers, self.pools, pairs, ("d", "d_source"), strict=True
        ):
            network.requires_grad_(True)
            logits = self.logits(network, torch.cat([real, pool.exchange(forged.detach())]))
            accuracy = self.update_discriminator(network, optimizer, logits, measure=measure, prefix=prefix)
            if network is self.discriminator:
                self.count_accuracy(accuracy)

    def _g_step(
        self, forged: Tensor, forged_sources: Tensor, cycle: Tensor, kept: Tensor | None, *, measure: bool
    ) -> None:
        """Move both generators.

        Args:
            forged: forgeries of the target domain.
            forged_sources: forgeries of the source domain.
            cycle: the cycle loss of both directions.
            kept: the identity loss of both directions.
            measure: also read the norm of the gradient.
        """
        settings, readings, games = self.settings, self.context.readings, list[Tensor]()
        for network, images in ((self.discriminator, forged), (self.source_discriminator, forged_sources)):
            network.requires_grad_(False)
            logits = self.logits(network, images)
            games.append(self.objective.generator(logits, logits))
        game = torch.stack(games).sum()
        loss = game + settings.cycle_weight * cycle
        if kept is not None:
            loss = loss + settings.identity_weight * kept
            readings.record("identity_loss", kept)
        readings.record("gan_loss", game)
        readings.record("cycle_loss", cycle)
        self.update_generator(loss, [self.generator], [self.generator_optimizer], measure=measure)

    def generator_readings(self, generator: nn.Module) -> dict[str, float]:
        """Return also how well faces are restored, and how well from forgeries that went through JPEG."""
        assert isinstance(generator, TwoWayNetwork)
        faces = to_float(torch.from_numpy(self.sources()[0].head(_CYCLED).read())).to(self.context.device)
        plain, coded, saved = cycle_errors(generator, faces)
        errors = {"cycle_error": plain, "cycle_error_jpeg": coded, "jpeg_error": saved}
        return super().generator_readings(generator) | errors
