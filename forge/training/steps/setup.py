"""Setup of the networks of an adversarial training: device, joint or separate batches, trial of their memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from forge.core.compute import Precision
from forge.generators.blocks.layers import MinibatchDeviation
from forge.training.task import Training


def accepts_joint_batch(discriminator: nn.Module, batch: int) -> bool:
    """Return whether real and forged images can pass the discriminator as one batch without affecting each other."""
    for module in discriminator.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return False
        if isinstance(module, MinibatchDeviation) and batch % module.group:
            return False
    return True


def move_network(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, channels last in memory."""
    network.to(device)
    return network.to(memory_format=torch.channels_last)


def trial_step(training: Training) -> Callable[[Precision], None]:
    """Return a training step on networks of its own, to learn what fits into memory and how long it takes."""
    architecture, device = training.architecture, training.compute.torch_device
    networks: list[nn.Module] = []

    def step(precision: Precision) -> None:
        if not networks:
            networks.extend(move_network(n, device) for n in (architecture.generator(), architecture.discriminator()))
        generator, discriminator = networks
        with training.compute.autocast(precision):
            batch = training.settings.batch
            labels = None if training.codes is None else torch.from_numpy(training.codes[:batch]).to(device)
            given = () if labels is None else (labels,)
            forged = generator(architecture.latents(batch, device), *given)
            both = () if labels is None else (torch.cat([labels, labels]),)
            logits = discriminator(torch.cat([forged.float(), forged.float()]), *both)
        torch.autograd.backward(logits.float().mean())

    return step
