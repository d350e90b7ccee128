"""Gram-Net: the global texture of a face, as correlations of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detect.detectors.network import NetworkDetector
from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD
from detect.layers.exact import ExactLinear
from detect.training.settings import NetworkSettings, with_defaults

TAPS = (3, 64, 64, 64, 128, 256)  # channels of the image, the stem, its pooling, and stages 1 to 3


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix: inner products of all pairs of channels, divided by C H W.

    G[n, i, j] = sum over pixels of F[n, i] F[n, j] / (C H W).

    Args:
        features: [N, C, H, W].

    Returns:
        float32 [N, 1, C, C].
    """
    flat = features.flatten(2).float()  # [N, C, H W]
    with torch.autocast(flat.device.type, enabled=False):  # sums over thousands of pixels need more than 8 bits
        products = flat @ flat.transpose(1, 2)  # [N, C, C]
    return (products / (flat.shape[1] * flat.shape[2])).unsqueeze(1)


class GramBlock(nn.Module):
    """Convolution to 32 channels, Gram matrix, two convolutions of stride 2, mean: 32 numbers an image.

    Args:
        channels: of what it looks at.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.align = _block(channels, 32, stride=1)
        # the Gram matrix is read as an image of one channel, 32 x 32
        self.refine = nn.Sequential(_block(1, 16, stride=2), _block(16, 32, stride=2))

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, 32]."""
        responses: Tensor = self.refine(gram(self.align(features)))
        return responses.mean(dim=(2, 3))


class GramNetwork(nn.Module):
    """ResNet18 and six Gram blocks, joined: 512 + 6 x 32 numbers into 512 hidden units and two outputs."""

    def __init__(self) -> None:
        import timm  # takes seconds to import, which listing detectors does not need

        super().__init__()
        # timm's ResNets would otherwise start residual branches at zero, which torchvision's do not
        self.resnet = timm.create_model("resnet18", pretrained=False, num_classes=0, zero_init_last=False)
        self.blocks = nn.ModuleList([GramBlock(channels) for channels in TAPS])
        self.scale = nn.Parameter(torch.ones(1))  # of all Gram features, beside those of ResNet18
        self.hidden = nn.Linear(512 + 32 * len(TAPS), 512)
        self.dropout = nn.Dropout(0.5)
        self.head = ExactLinear(512, 2)
        for module in self.blocks.modules():
            # fan_out: keeps the size of gradients through ReLU layers (He et al. 2015), as in ResNet18
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the log odds of forged: [N, 3, H, W] to float32 [N]."""
        net: Any = self.resnet
        stem = net.act1(net.bn1(net.conv1(inputs)))
        # inputs of the six blocks; `TAPS` are their channels
        seen = [inputs, stem, net.maxpool(stem)]
        for stage in (net.layer1, net.layer2, net.layer3):
            seen.append(stage(seen[-1]))
        last = net.layer4(seen[-1]).mean(dim=(2, 3))  # [N, 512]
        grams = [self.scale * block(maps) for block, maps in zip(self.blocks, seen, strict=True)]
        hidden = self.dropout(self.hidden(torch.cat([last, *grams], dim=1)).relu())
        outputs: Tensor = self.head(hidden)
        # difference of two logits: log odds of a softmax over real and forged
        return outputs[:, 1] - outputs[:, 0]


def _block(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


class GramNet(NetworkDetector[NetworkSettings]):
    """ResNet18 with six Gram blocks: on the image, the stem, its pooling, and the first three stages."""

    family = "gramnet"
    citation = "Liu, Qi and Torr, Global Texture Enhancement for Fake Face Detection in the Wild, CVPR 2020"
    variant = (
        "from random weights at the set's own resolution with normalised inputs and a learning rate of 3e-4; the "
        "paper: ResNet18 from ImageNet, 512 px, fine-tuned at 1e-5"
    )
    Settings = with_defaults(NetworkSettings, batch=14, learning_rate=3e-4, weight_decay=1e-4)
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        return GramNetwork()
