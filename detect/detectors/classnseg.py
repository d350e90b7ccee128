"""ClassNSeg: an auto-encoder whose code says whether a face was manipulated, and whose decoder says where."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from detect.detectors.network import NetworkDetector
from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD
from detect.layers.initial import draw_normal
from detect.training.settings import NetworkSettings, with_defaults

_COLOURS = 3
_WIDTHS = (8, 16, 32, 64)  # channels of the encoder; each level halves the side
_HALF = 0.5  # a mask's weight from which on a pixel counts as altered


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _down(inputs: int, width: int) -> list[nn.Module]:
    """Two convolutions, of which the second halves the side."""
    halving = nn.Conv2d(width, width, 3, stride=2, padding=1)
    return [*_normed(nn.Conv2d(inputs, width, 3, padding=1)), *_normed(halving)]


def _up(inputs: int, width: int) -> list[nn.Module]:
    """Two transposed convolutions, of which the second doubles the side."""
    doubling = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
    return [*_normed(nn.ConvTranspose2d(inputs, width, 3, padding=1)), *_normed(doubling)]


def _last(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, padding=1)


class ClassNSegNetwork(nn.Module):
    """Encoder to 128 channels at a sixteenth of the side, and a decoder with two ends: a mask and the image.

    Modules are numbered as in the published weights, so that these load as they are. 304,949 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = _WIDTHS
        levels = [*_down(_COLOURS, first), *_down(first, second), *_down(second, third), *_down(third, fourth)]
        self.encoder = nn.Sequential(*levels, *_normed(nn.Conv2d(fourth, 2 * fourth, 3, padding=1)))
        self.shared = nn.Sequential(*_up(2 * fourth, fourth), *_up(fourth, third))
        self.segmenter = nn.Sequential(*_up(third, second), *_up(second, first), _last(first, 2))
        self.decoder = nn.Sequential(*_up(third, second), *_up(second, first), _last(first, _COLOURS), nn.Tanh())
        # the authors' initialisation, which leaves out the shared part
        for part in (self.encoder, self.segmenter, self.decoder):
            draw_normal(part, norms=0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images, [N, 3, H, W] to [N, 2, 64, H / 16, W / 16]: the half of forged faces, and that of real ones.

        The order is that of the published weights: the authors' folders are `altered` and `original`, which torchvision
        numbers by the alphabet. A side that is no multiple of 16 is halved upwards.
        """
        codes: Tensor = self.encoder(images)
        return codes.reshape(codes.shape[0], 2, -1, *codes.shape[2:])

    def altered(self, codes: Tensor, forged: Tensor) -> Tensor:
        """Decode codes to two logits a pixel, untouched and altered: [N, 2, 64, h, w] to [N, 2, 16 h, 16 w].

        Args:
            codes: see `forward`.
            forged: bool [N], which half is decoded; the other one counts as 0.
        """
        logits: Tensor = self.segmenter(self._selected(codes, forged))
        return logits

    def decoded(self, codes: Tensor, forged: Tensor) -> tuple[Tensor, Tensor]:
        """Decode codes to the logits of `altered` and to the image in -1..1, [N, 3, 16 h, 16 w]."""
        features = self._selected(codes, forged)
        return self.segmenter(features), self.decoder(features)

    def _selected(self, codes: Tensor, forged: Tensor) -> Tensor:
        selected = torch.stack([forged, ~forged], dim=1)[:, :, None, None, None]
        features: Tensor = self.shared((codes * selected).flatten(1, 2))
        return features


class ClassNSegSettings(NetworkSettings):
    """Settings of ClassNSeg."""

    segmentation: float = Field(1.0, ge=0, description="weight of the loss of the mask")
    reconstruction: float = Field(1.0, ge=0, description="weight of the loss of the reconstructed image")


class ClassNSeg(NetworkDetector[ClassNSegSettings]):
    """An auto-encoder with two halves of the code, one active in real faces and one in forged; it decodes a mask."""

    family = "classnseg"
    citation = (
        "Nguyen et al., Multi-task Learning for Detecting and Segmenting Manipulated Facial Images and Videos, "
        "BTAS 2019"
    )
    variant = (
        "at the set's own resolution; cross entropy of the mask's logits, where the authors' code takes it of "
        "probabilities; the paper: input_size 256"
    )
    Settings = with_defaults(
        ClassNSegSettings,
        epochs=100,
        batch=64,
        learning_rate=1e-3,
        weight_decay=5e-4,
        warmup=0,
        clip=None,
        schedule="constant",
        patience=None,
        flip=False,
        shift=0,
    )
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    learns_masks = True

    def build(self, *, blank: bool = False) -> ClassNSegNetwork:
        """Make the network."""
        return ClassNSegNetwork()

    def logits(self, network: ClassNSegNetwork, inputs: Tensor) -> Tensor:  # type: ignore[override]
        """Return the mean activation of the half of forged faces minus that of the other one, [N].

        The authors take the softmax of both means for the probability, of which this is the log odds.
        """
        forged, real = _activations(network(inputs[:, :_COLOURS]))
        return forged - real

    def pixel_logits(self, network: ClassNSegNetwork, inputs: Tensor) -> Tensor:  # type: ignore[override]
        """Return the log odds of altered, [N, H, W], decoded from the half of the code that is more active."""
        codes = network(inputs[:, :_COLOURS])
        forged, real = _activations(codes)
        # at a tie, as where nothing is active, the authors decide for real
        both = network.altered(codes, forged > real).float()
        return _cut(both[:, 1] - both[:, 0], inputs)

    def loss(self, network: ClassNSegNetwork, inputs: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Return the sum of three losses: activations of the code, cross entropy of the mask, squared error.

        Args:
            network: the network.
            inputs: [N, 4, H, W], the fourth channel is the mask in 0..1.
            labels: [N], 1 = forged.
        """
        images, masks = inputs[:, :_COLOURS], inputs[:, _COLOURS]
        codes = network(images)
        forged, real = _activations(codes)
        # mean activation 1 in the image's own half, 0 in the other one
        activation = ((forged - labels).abs() + (real - (1 - labels)).abs()).mean()
        both, rebuilt = network.decoded(codes, labels > _HALF)
        pixels = cross_entropy(_cut(both.float(), inputs), (masks >= _HALF).long())
        error = mse_loss(_cut(rebuilt.float(), inputs), images)
        return activation + self.settings.segmentation * pixels + self.settings.reconstruction * error


def _activations(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean activation of each half, forged and real, [N, 2, 64, h, w] to two float32 [N]."""
    means = codes.float().abs().mean(dim=(2, 3, 4))
    return means[:, 0], means[:, 1]


def _cut(decoded: Tensor, inputs: Tensor) -> Tensor:
    """Cut what was decoded to the size of the inputs: with sides that are no multiple of 16 it is larger."""
    return decoded[..., : inputs.shape[-2], : inputs.shape[-1]]
