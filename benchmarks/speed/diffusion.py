"""Speed of the training of `flow`, against a loop as tutorials write it: full resolution, fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import backward

from benchmarks.speed.beside import adam, beside_plain, first_batch, training_at_quick
from benchmarks.speed.figure import Figure
from forge.faces.tensors import to_float
from forge.generators.blocks.unet import UNet
from forge.generators.flow import FlowSettings, between


def flow_training(photos: str | None) -> list[Figure]:
    """Training steps of flow matching."""
    training = training_at_quick("flow")
    settings = training.architecture.settings
    assert isinstance(settings, FlowSettings)
    images = to_float(torch.from_numpy(first_batch(training))).contiguous()
    return beside_plain(training, flow_step(settings, images), "flow", "full resolution")


def flow_step(settings: FlowSettings, images: Tensor) -> Callable[[], None]:
    """Return a step of flow matching, with the levels of our U-Net and above them one at the full resolution.

    Args:
        settings: of our network.
        images: float [N, 3, H, W] in -1..1.
    """
    # the level that our network does not have, since it sees 2x2 pixels as one
    widths = (settings.widths[0] // 2, *settings.widths) if settings.unshuffle else settings.widths
    network = UNet(settings.model_copy(update={"widths": widths, "unshuffle": False}))
    move = adam(network)

    def step() -> None:
        noise, times = torch.randn_like(images), torch.rand(len(images))
        velocity = network(between(noise, images, times), times)
        move.zero_grad()
        backward((velocity - (images - noise)).square().mean())
        move.step()

    return step
