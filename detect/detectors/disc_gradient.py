"""LGrad: the input gradients of a generator's discriminator, into a small CNN."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from detect.detectors.discriminator import DiscriminatorNetwork
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings


def input_gradients(critic: nn.Module, images: Tensor) -> Tensor:
    """Return the gradient of the sum of a network's outputs with respect to its input.

    Works where gradients are switched off, and leaves the network's own gradients alone.

    Args:
        critic: maps [N, C, H, W] to one number per image, each from its own image alone.
        images: float [N, C, H, W].

    Returns:
        float32 [N, C, H, W], without history.
    """
    # leaves inference mode too: its tensors cannot be part of a graph
    with torch.inference_mode(mode=False), torch.enable_grad():
        # a leaf without history; the sum over images gives each image the gradient of its own output
        leaf = images.detach().clone().requires_grad_()
        (outputs,) = torch.autograd.grad(critic(leaf).sum(), leaf)
    return outputs.detach().float()


def as_picture(gradients: Tensor) -> Tensor:
    """Stretch each image of gradients to 0..255, round to whole numbers as an 8-bit file would, and scale to -1..1.

    Args:
        gradients: [N, C, H, W]; a constant image becomes -1.
    """
    low = gradients.amin(dim=(1, 2, 3), keepdim=True)
    span = gradients.amax(dim=(1, 2, 3), keepdim=True) - low
    # rounded to 8 bits as in the paper: what is smaller than a step is noise of the arithmetic
    # tiny: a constant image has a span of 0 and becomes 0 / tiny = 0, that is -1
    return ((gradients - low) / span.clamp_min(torch.finfo(torch.float32).tiny) * 255).round() / 127.5 - 1


class GradientNetwork(nn.Module):
    """Frozen critic, gradients, CNN; images [N, 3, H, W] to logits [N].

    Args:
        critic: the frozen network.
        width: channels of the first stage.
    """

    def __init__(self, critic: nn.Module, width: int) -> None:
        super().__init__()
        # frozen: only the CNN learns, as in the paper
        self.critic = critic.eval().requires_grad_(False)
        # four halvings; [N, width, H/2, W/2] to [N, 4 width, H/16, W/16]
        channels = [3, width, 2 * width, 4 * width, 4 * width]
        stages: list[nn.Module] = []
        for before, after in pairwise(channels):
            stages += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1, stride=2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1], 1)

    def train(self, mode: bool = True) -> Self:
        """Switch the CNN; the critic stays as it is."""
        # `train()` reaches all submodules: batch norms of the critic keep their statistics
        super().train(mode)
        self.critic.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Judge images."""
        with torch.autocast(images.device.type, enabled=False):  # gradients of 8 bits would be noise
            picture = as_picture(input_gradients(self.critic, images.float()))
        # global mean over pixels: [N, 4 width] to one logit
        outputs: Tensor = self.head(self.stages(picture).mean(dim=(2, 3))).flatten()
        return outputs


class GradientSettings(NetworkSettings):
    """Settings of the detector that reads a discriminator's gradients."""

    width: int = Field(32, ge=4, le=512, description="channels after the first convolution; doubled at every halving")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="after the warm-up")


class InputGradients(DiscriminatorNetwork[GradientSettings]):
    """The gradient of the frozen discriminator's logit with respect to each pixel, into a small CNN (LGrad)."""

    family = "disc-gradient"
    citation = "Tan, Zhao, Wei, Gu, Wei: Learning on Gradients: Generalized Artifacts Representation, CVPR 2023"
    variant = (
        "a CNN of four stages instead of ResNet50, and the discriminator of the named training; the paper: ProGAN's"
    )

    def build(self, *, blank: bool = False) -> nn.Module:
        """Return the frozen discriminator and the CNN behind it."""
        return GradientNetwork(self.discriminator(trained=not blank), self.settings.width)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits of the CNN, float32 [N]."""
        # not that of DiscriminatorNetwork: this logit is the CNN's and already high for forged
        return NetworkDetector.logits(self, network, inputs)
