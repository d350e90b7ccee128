"""Inversion of a generator: the codes and offsets whose images are most like given photos.

An encoder, a small network, gives a first code; some steps of Adam then lower the distance between its image and the
photo, together with the lengths of code and offset, which keep the result where the generator makes faces (GAN
inversion by both, as in Zhu et al., Generative Visual Manipulation, ECCV 2016, and In-Domain GAN Inversion, ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from forge.core.compute import derive_seed
from forge.core.seeding import seed_torch
from forge.faces.faceset import FaceView, Images
from forge.faces.tensors import to_float
from forge.generators.blocks.coder import CoderSettings
from forge.generators.blocks.coder import Encoder as Body
from forge.generators.latent_space import LatentSpace

BLOCK = 32  # photos that are inverted at once, filled up where there are fewer: a result depends on its photo alone
SCALES = 4  # of the distance of two images: 1, 1/2, 1/4, 1/8 of the side
_BETAS = (0.5, 0.9)  # of Adam over few steps


class EncoderSettings(BaseModel):
    """Settings of an encoder and of its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kimg: float = Field(16.0, gt=0, description="thousands of photos that the training shows, each beside a forgery")
    batch: int = Field(16, ge=1, description="photos of a step, and as many forgeries")
    lr: float = Field(0.001, gt=0, description="learning rate at the start; it falls to zero along half a cosine")
    widths: tuple[int, ...] = Field(
        (32, 64, 128, 128), min_length=1, description="channels of each level; each has half the side of the last"
    )
    code_weight: float = Field(0.1, ge=0, description="weight of the error of codes of forgeries, which are known")
    prior: float = Field(0.01, ge=0, description="weight of the mean square of codes of photos")


class InversionSettings(BaseModel):
    """Settings of the steps behind the encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(40, ge=0, description="steps of Adam; 0: what the encoder gives")
    rate: float = Field(0.2, gt=0, description="their length at the start, deviations; it falls along half a cosine")
    prior: float = Field(0.003, ge=0, description="weight of the mean square of the code")
    offset_prior: float = Field(0.003, ge=0, description="weight of the mean square of the offset")
    outside: float = Field(0.1, ge=0, le=1, description="weight of pixels outside of the region")


class Encoder(nn.Module):
    """Images [N, 3, H, W] in -1..1 to codes [N, size]; a fresh one gives the mean code."""

    def __init__(self, widths: tuple[int, ...], resolution: int, size: int) -> None:
        super().__init__()
        settings = CoderSettings(widths=widths)
        self.body = Body(settings)
        self.head = nn.Linear(widths[-1] * settings.side(resolution) ** 2, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        codes: Tensor = self.head(self.body(images).flatten(1))
        return codes


def distances(made: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the distance of each image from its photo, [N]: mean absolute difference, averaged over scales.

    Args:
        made: [N, 3, H, W].
        images: likewise.
        weights: [N, 1, H, W], of pixels; None: all alike.
    """
    apart = made - images
    weights = torch.ones_like(apart[:, :1]) if weights is None else weights
    total = apart.new_zeros(len(apart))
    for _ in range(SCALES):
        total = total + (apart.abs() * weights).flatten(1).sum(1) / (3 * weights.flatten(1).sum(1)).clamp(min=1e-6)
        apart, weights = avg_pool2d(apart, 2), avg_pool2d(weights, 2)
    return total / SCALES


def train_encoder(
    space: LatentSpace,
    view: FaceView,
    settings: EncoderSettings,
    seed: int,
    on_step: Callable[[int, int], None],
    *,
    device: str = "cpu",
) -> Encoder:
    """Train an encoder on the generator's forgeries, whose codes are known, and on photos, which it must give back.

    Args:
        space: of the generator, whose weights stay as they are.
        view: the photos that the generator was trained on.
        settings: of the training.
        seed: everything random follows from it.
        on_step: called with the number of steps done, and of all.
        device: where to compute.

    Returns:
        The encoder in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        seed_torch(derive_seed(seed, "encoder"))
        encoder = Encoder(settings.widths, view.faces.resolution, space.size).to(device)
    source = torch.Generator().manual_seed(derive_seed(seed, "encoder batches"))
    steps = max(1, round(settings.kimg * 1000 / settings.batch))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=settings.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        chosen = torch.randint(len(view), (settings.batch,), generator=source)
        real = to_float(torch.from_numpy(view.read(chosen.numpy()))).to(device)
        real = torch.where(torch.rand(settings.batch, 1, 1, 1, generator=source).to(device) < 0.5, real.flip(3), real)
        wanted = space.draw(settings.batch, source)
        with torch.no_grad():
            forged = space.decode(wanted)
        codes, known = encoder(torch.cat([real, forged.clamp(-1, 1)])).chunk(2)
        error = distances(space.decode(codes), real).mean()
        loss = error + settings.code_weight * (known - wanted).square().mean() + settings.prior * codes.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        on_step(step + 1, steps)
    return encoder.eval().requires_grad_(False)


@dataclass(frozen=True)
class Inverted:
    """Inverted photos.

    Attributes:
        codes: [N, size].
        offsets: [N, *offset_shape].
    """

    codes: Tensor
    offsets: Tensor


def invert(
    space: LatentSpace,
    encoder: nn.Module,
    images: Images,
    weights: NDArray[np.float64],
    settings: InversionSettings,
    *,
    device: str = "cpu",
) -> Inverted:
    """Find codes and offsets of photos.

    Args:
        space: of the generator.
        encoder: of the same generator.
        images: uint8 [N, H, W, 3].
        weights: of pixels, [N, H, W] in 0..1.
        settings: of the steps.
        device: where to compute.

    Returns:
        The same of each photo, whatever the others are.
    """
    parts = []
    for start in range(0, len(images), BLOCK):
        part, count = slice(start, start + BLOCK), len(images[start : start + BLOCK])
        # the last bits of a product depend on how many images pass at once, and steps of Adam make them larger
        filled = np.resize(images[part], (BLOCK, *images.shape[1:]))
        wanted = np.resize(weights[part], (BLOCK, *weights.shape[1:]))
        given = to_float(torch.from_numpy(filled)).to(device)
        codes, offsets = _descended(
            space, encoder(given), given, torch.from_numpy(wanted)[:, None].float().to(device), settings
        )
        parts.append(Inverted(codes[:count], offsets[:count]))
    return Inverted(torch.cat([part.codes for part in parts]), torch.cat([part.offsets for part in parts]))


def _descended(
    space: LatentSpace, codes: Tensor, images: Tensor, weights: Tensor, settings: InversionSettings
) -> tuple[Tensor, Tensor]:
    weights = settings.outside + (1 - settings.outside) * weights
    codes = codes.detach().clone().requires_grad_()
    offsets = codes.new_zeros((len(codes), *space.offset_shape)).requires_grad_()
    optimizer = torch.optim.Adam([codes, offsets], lr=settings.rate, betas=_BETAS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, settings.steps))
    for _ in range(settings.steps):
        loss = distances(space.decode(codes, offsets), images, weights)
        loss = loss + settings.prior * codes.square().mean(1)
        loss = loss + settings.offset_prior * offsets.square().flatten(1).mean(1)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return codes.detach(), offsets.detach()
