"""Capsule-Forensics: statistics of VGG-19 features in capsules that agree on real or forged."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from detect.detectors.network import NetworkDetector
from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD
from detect.layers.frozen import BackboneWeights, FrozenNetwork
from detect.layers.initial import draw_normal
from detect.training.settings import NetworkSettings, with_defaults
from detect.weights import load_weights, read_tensors, timm_pretrained

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256, 256))  # of VGG-19 up to the third pooling
_CAPSULES, _LENGTH = 3, 8  # capsules of features, and values of each
_CLASSES, _OUTPUT = 2, 4  # capsules of classes, forged first, and values of each
_ROUNDS = 2  # of the routing
_NOISE = 0.01  # standard deviation of the noise on the routing's weights in training
_TINY = 1e-12  # squared norm of a capsule of zeros, whose direction is undefined


def vgg_features() -> nn.Sequential:
    """Make the first 19 modules of VGG-19, numbered as in torchvision and timm: [N, 3, H, W] to [N, 256, H/8, W/8]."""
    modules: list[nn.Module] = []
    width = 3
    for stage in _WIDTHS:
        for wider in stage:
            modules += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
            width = wider
        modules.append(nn.MaxPool2d(2))
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return nn.Sequential(*modules)


class _Statistics(nn.Module):
    """Mean and standard deviation of each channel, [N, C, H, W] to [N, 2, C]."""

    def forward(self, x: Tensor) -> Tensor:
        values = x.float().flatten(2)
        # of a single position there is no deviation
        deviation = values.std(2) if values.shape[2] > 1 else torch.zeros_like(values[:, :, 0])
        return torch.stack([values.mean(2), deviation], dim=1)


def _capsule() -> nn.Sequential:
    """Make a capsule of features, [N, 256, H, W] to [N, 1, 8]."""
    layers = nn.Sequential(
        *(nn.Conv2d(256, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.Conv2d(64, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        _Statistics(),
        *(nn.Conv1d(2, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8)),
        *(nn.Conv1d(8, 1, 3, padding=1), nn.BatchNorm1d(1)),
    )
    # the authors' initialisation
    draw_normal(layers, norms=1.0)
    return layers


def squashed(x: Tensor, dim: int) -> Tensor:
    """Shrink vectors to a length below 1 without turning them: |x|^2 / (1 + |x|^2) x / |x|."""
    squared = x.square().sum(dim=dim, keepdim=True).clamp(min=_TINY)
    return squared / (1 + squared) * x / squared.sqrt()


class Routing(nn.Module):
    """Dynamic routing from three capsules of features to two of classes (Sabour et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.route_weights = nn.Parameter(torch.randn(_CLASSES, _CAPSULES, _OUTPUT, _LENGTH))

    def forward(self, x: Tensor) -> Tensor:
        """Map capsules [N, 3, 8] to those of classes, [N, 2, 4], forged first."""
        weights: Tensor = self.route_weights
        if self.training:
            weights = weights + _NOISE * torch.randn_like(weights)
        # [N, classes, capsules, values]: what each capsule of features proposes to each class
        votes = torch.einsum("kcod,ncd->nkco", weights, x)
        agreement = torch.zeros_like(votes)
        for number in range(_ROUNDS):
            outputs = squashed((agreement.softmax(dim=2) * votes).sum(dim=2, keepdim=True), dim=3)
            if number < _ROUNDS - 1:
                agreement = agreement + votes * outputs
        return outputs[:, :, 0]


class CapsuleNetwork(FrozenNetwork):
    """VGG-19 to its third pooling, three capsules of features, and two capsules of classes.

    Names but `backbone` are those of the published weights, so that these load as they are.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__(backbone)
        self.fea_ext = nn.ModuleDict({f"ext_{number + 1}": _capsule() for number in range(_CAPSULES)})
        self.routing_stats = Routing()

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to capsules of classes, float32 [N, 2, 4]: forged, real.

        The order is that of the published weights: torchvision numbers the authors' folders by the alphabet, Fake
        before Real.
        """
        features = self.backbone(images)
        capsules = torch.stack([capsule(features).flatten(1) for capsule in self.fea_ext.values()], dim=2)
        # squashed over the three capsules, as the authors' code does it
        with torch.autocast(images.device.type, enabled=False):
            classes: Tensor = self.routing_stats(squashed(capsules.float(), dim=2).transpose(1, 2))
        return classes


class CapsuleSettings(NetworkSettings):
    """Settings of Capsule-Forensics."""

    weights: BackboneWeights = Field(
        "hub",
        description="of VGG-19: hub (timm's published ones, cached or downloaded), a .safetensors file with "
        "torchvision's or timm's names, or random",
    )


class Capsule(NetworkDetector[CapsuleSettings]):
    """Capsules on frozen VGG-19 features: two class capsules whose values vote for real or forged."""

    family = "capsule"
    citation = (
        "Nguyen, Yamagishi, Echizen: Capsule-Forensics: Using Capsule Networks to Detect Forged Images and Videos, "
        "ICASSP 2019"
    )
    variant = (
        "at the set's own resolution, the paper: input_size 128; cross entropy of the capsules, where the authors' "
        "code takes it of their softmax"
    )
    Settings = with_defaults(
        CapsuleSettings,
        epochs=100,
        batch=100,
        learning_rate=5e-4,
        warmup=0,
        clip=None,
        schedule="constant",
        patience=None,
        flip=False,
        shift=0,
    )
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, blank: bool = False) -> CapsuleNetwork:
        """Make the network and give VGG-19 the weights that `weights` asks for.

        Raises:
            InputError: these weights cannot be had, or are not VGG-19's.
        """
        features, weights = vgg_features(), "random" if blank else self.settings.weights
        if weights == "hub":
            features.load_state_dict(_first(timm_pretrained("vgg19").state_dict(), features))
        elif weights != "random":
            path = Path(weights).expanduser()
            load_weights(features, _first(read_tensors(path), features), source=f"weights file {path} (VGG-19)")
        return CapsuleNetwork(features)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the log odds of the mean probability over the values of both capsules, float32 [N]."""
        forged, real = network(inputs).softmax(dim=1).mean(dim=2).unbind(1)
        logits: Tensor = forged.log() - real.log()
        return logits

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of cross entropies over the values of the capsules; labels float32 [N], 1 = forged."""
        classes = network(inputs)
        # class 0 is forged; the mean over images and values, times the values
        targets = (1 - labels).long()[:, None].expand(-1, _OUTPUT)
        return _OUTPUT * cross_entropy(classes, targets)


def _first(tensors: dict[str, Tensor], features: nn.Module) -> dict[str, Tensor]:
    """Return what the first modules of VGG-19 need of all of it, without the prefix."""
    state = features.state_dict()
    named = {name.removeprefix("features."): value for name, value in tensors.items()}
    return {name: value for name, value in named.items() if name in state}
