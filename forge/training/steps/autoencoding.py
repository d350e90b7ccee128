"""Autoencoding: a network learns to code images and to decode them again, while its codes stay near a prior.

The loss of an image is the distance of its reconstruction, plus beta times the nats of its code, both divided by the
number of values of an image, plus what the autoencoder itself adds (`Coding.penalties`). With the distance "l2" that is
the negative log-likelihood of a Gaussian decoder of variance 1 (constants left out), so that beta 1 is the evidence
lower bound, and beta the variance of the decoder: a smaller one keeps more detail in the codes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from forge.core.errors import InputError
from forge.faces.tensors import to_float
from forge.generators.autoencoder import Autoencoder, Coding
from forge.training.batches import Batch
from forge.training.steps.base import StepContext
from forge.training.steps.descent import Descent, DescentPlan, DescentSettings
from forge.training.task import Training

PREPARED = 4096  # training images that fresh weights are fitted to
Distance = Literal["l1", "l2"]


class AutoencodingSettings(DescentSettings):
    """Settings of an autoencoding training."""

    distance: Distance = Field("l2", description="of a reconstruction: half the squared, or the absolute, differences")
    laplacian: float = Field(
        0.0, ge=0, description="weight of the absolute differences of the levels of a Laplacian pyramid; 0: off"
    )
    beta: float = Field(0.1, ge=0, description="weight of the nats by which codes differ from their prior")
    beta_warm_up: int = Field(200, ge=0, description="steps in which beta rises from 0")
    free_bits: float = Field(
        0.0, ge=0, description="nats of each latent dimension, as a mean over the batch, that cost nothing"
    )


def distances(decoded: Tensor, images: Tensor, measure: Distance) -> Tensor:
    """Return the distance of each reconstruction, [N]: a sum over all values of an image.

    Args:
        decoded: [N, 3, H, W].
        images: likewise.
        measure: "l2": sum of d^2 / 2; "l1": sum of |d|.
    """
    differences = decoded - images
    return (differences.square() / 2 if measure == "l2" else differences.abs()).flatten(1).sum(1)


def laplacian_distances(decoded: Tensor, images: Tensor, levels: int = 3) -> Tensor:
    """Return the distance of Laplacian pyramids of each reconstruction, [N] (Bojanowski et al. 2018, section 3.2).

    The sum over levels j of 4^j times the absolute differences: all levels, of 4^-j as many pixels, count alike.

    Args:
        decoded: [N, 3, H, W].
        images: likewise; H and W are divisible by 2^levels.
        levels: of the pyramid, from the finest on; the rest below them is left out.
    """
    rest, total = decoded - images, images.new_zeros(len(images))
    for level in range(levels):
        coarser = avg_pool2d(rest, 2)
        detail = rest - interpolate(coarser, scale_factor=2, mode="nearest")
        total, rest = total + 4**level * detail.abs().flatten(1).sum(1), coarser
    return total


def rate_with_free_bits(divergence: Tensor, free: float) -> Tensor:
    """Return the nats per image that are to be paid for, a scalar (Kingma et al. 2016, appendix C.8).

    Args:
        divergence: nats by image and latent dimension, [N, L].
        free: a dimension whose mean over the batch is below this costs as much as if it were there, and so does not
            get smaller.
    """
    return divergence.mean(0).clamp(min=free).sum()


def autoencoding_settings(training: Training) -> AutoencodingSettings:
    """Return the settings of an autoencoding training.

    Raises:
        InputError: it has those of another method.
    """
    if not isinstance(training.settings, AutoencodingSettings):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of an autoencoding training")
    return training.settings


class Autoencoding(Descent):
    """One network that learns to code images."""

    Settings = AutoencodingSettings
    starts_tellable = False  # `Autoencoder.prepare` may fit the fresh network, whose images then look like real ones
    generator: Autoencoder

    def __init__(self, context: StepContext) -> None:
        self.settings = autoencoding_settings(context.training)
        architecture = context.training.architecture
        generator = architecture.generator()
        if not isinstance(generator, Autoencoder):
            raise InputError(
                f"{type(architecture).__name__} is trained by autoencoding, but its generator() returns "
                f"{type(generator).__name__}; return a subclass of forge.generators.autoencoder.Autoencoder"
            )
        super().__init__(context, generator, self.settings)
        training = context.training
        some = to_float(torch.from_numpy(training.view.sample(PREPARED, training.seed).read())).to(context.device)
        if self.settings.flip:  # as a training does
            some = torch.cat([some, some.flip(3)])
        self.generator.prepare(some, self.settings.beta)
        # sum and number of the information of codes since the health monitor asked
        self._information = torch.zeros(2, device=context.device)

    def scalars(self) -> dict[str, Tensor]:
        """Sums over steps."""
        return {"information": self._information}

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train for one step."""
        plan, batch = cast(DescentPlan, plan), batches[0]
        context, settings = self.context, self.settings
        real = self.real_images(batch)
        context.random.local()  # for the codes, which are drawn
        with context.training.compute.autocast(context.precision):
            coding = self.generator.code(real, batch.labels)
        decoded, values = coding.images.float(), real[0].numel()
        distance = distances(decoded, real, settings.distance).mean()
        if settings.laplacian:
            distance = distance + settings.laplacian * laplacian_distances(decoded, real).mean()
        beta = settings.beta * min(1.0, (context.random.step + 1) / max(1, settings.beta_warm_up))
        rate = rate_with_free_bits(coding.divergence, settings.free_bits)
        penalties = torch.stack([*coding.penalties.values(), distance.new_zeros(())]).sum()
        self.descend((distance + beta * rate) / values + penalties, plan)
        self._read(coding, distance / values)

    def _read(self, coding: Coding, error: Tensor) -> None:
        readings, information = self.context.readings, coding.information.detach()
        readings.record("error", error)
        readings.record("information", information)
        for name, penalty in coding.penalties.items():
            readings.record(name, penalty)
        # buffers such as fitted moments are means over images: those of all processes are averaged
        self.context.processes.average([buffer for buffer in self.generator.buffers() if buffer.is_floating_point()])
        self._information.add_(torch.stack([information, torch.ones_like(information)]))

    def interval_readings(self) -> dict[str, float]:
        """Return the mean information of codes since the last call, in nats per image."""
        mean = (self._information[0] / self._information[1].clamp(min=1)).reshape(1)
        self.context.processes.average([mean])
        self._information.zero_()
        return {"information": float(mean)}
