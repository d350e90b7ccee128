"""Base class of detectors that are networks: input preparation, loss, scoring, files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from detect.data.views import with_masks
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.explain import gradient_maps, has_gradient, saliency
from detect.layers.fusion import fuse_batch_norms
from detect.training.loop import fit_network
from detect.training.settings import NetworkSettings
from detect.weights import load_weights, read_tensors, write_tensors
from forge.core.compute import Compute, Precision, to_device
from forge.core.errors import InputError
from forge.core.files import read_json_object, write_json
from forge.faces.faceset import Images

# pixels put through a network at a time in scoring, by device: 128 images of 64 px, or 2,048; and at least 8 images
PART_PIXELS = {"cpu": 128 * 64**2, "cuda": 2048 * 64**2}
LEAST_PART = 8


@cache
def channel_values(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Channel values in 0..1 as grey levels, float32 [1, 3, 1, 1]; sent to a device once."""
    with torch.inference_mode(False):  # the same tensor serves training too
        return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


def _last(network: nn.Module) -> list[nn.Module]:
    """Return the layers that give a value or one a class, of which the last one called gives the logit."""
    linear: list[nn.Module] = [
        layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.out_features <= 2
    ]
    convolutions: list[nn.Module] = [
        layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.out_channels <= 2
    ]
    return linear or convolutions


N = TypeVar("N", bound=NetworkSettings)


class NetworkDetector(Detector[N]):
    """A detector that is one network with one logit; a subclass gives `build` and, where it must, the rest."""

    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)  # of channels in 0..1
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    fuses_batch_norms: ClassVar[bool] = False  # batch norms may become part of the convolutions before them in scoring
    learns_masks: ClassVar[bool] = False  # training images come with a mask as fourth channel, see `prepare`
    fits_jointly: ClassVar[bool] = True
    any_size: ClassVar[bool] = True  # the network takes images of every size, so that training may see a crop of them

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - keywords of the class statement
        """Let networks that take images of every size score crops."""
        super().__init_subclass__(**options)
        cls.takes_crops = cls.any_size

    def __init__(self, settings: N, resolution: int) -> None:
        super().__init__(settings, resolution)
        if settings.crop < 1 and settings.input_size is None and not self.any_size:
            raise InputError(
                f"{self.family} takes images of one size, but crop {settings.crop:g} would train it on smaller ones; "
                "set crop: 1, or input_size to resize them"
            )
        self.network: nn.Module | None = None
        self.precision: Precision = "fp32"
        self._fused: tuple[object, nn.Module] | None = None

    @abstractmethod
    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network from torch's global generator, which the caller has seeded.

        Args:
            blank: its weights will be overwritten at once, so nothing needs to be downloaded or read.
        """

    def recall(self, directory: Path) -> None:
        """Read what `build` needs to know beside the settings; a subclass that needs it stores it in `save`."""

    @property
    def side(self) -> int:
        """Height and width of the network's input in pixels."""
        return self.settings.input_size or self.resolution

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the network's input: float32 [N, 3, h, w], resized if asked, normalised.

        A fourth channel, the mask of a network that learns masks, comes out as fourth channel in 0..1.
        """
        inputs = pixels[..., :3].permute(0, 3, 1, 2).float()  # keeps the memory order, which is channels_last
        size = self.settings.input_size
        if size is not None and size != inputs.shape[-1]:  # a crop in training is another size than the set's
            inputs = interpolate(inputs, size=(size, size), mode="bilinear", antialias=True)
        # mean and std in grey levels 0..255, so that uint8 needs no division by 255 first
        mean, std = channel_values(self.mean, inputs.device), channel_values(self.std, inputs.device)
        inputs = (inputs - mean) / std
        if pixels.shape[-1] == 3:
            return inputs
        masks = pixels[..., 3:].permute(0, 3, 1, 2).float() / 255
        if masks.shape[-1] != inputs.shape[-1]:
            masks = interpolate(masks, size=inputs.shape[-2:], mode="area")
        return torch.cat([inputs, masks], dim=1)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Run the network on prepared inputs; one float32 logit an image, [N], higher for forged."""
        outputs: Tensor = network(inputs)
        # [N, 1] to [N]; fp32 outside of autocast, whatever the network computes in
        return outputs.flatten().float()

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Training loss of a prepared batch: binary cross entropy of the logits; labels float32 [N], 1 = forged."""
        return binary_cross_entropy_with_logits(self.logits(network, inputs), labels)

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Train the network with `detect.training.loop`; see there."""
        if self.learns_masks:
            views = {role: with_masks(view) for role, view in data.views.items()}
            data = FitData(**views, surrogate=data.surrogate)
        self.network, self.precision, summary = fit_network(self, data, context)
        return summary

    @classmethod
    def localises(cls, settings: DetectorSettings) -> bool:
        """Return whether the network has a logit for each pixel or patch."""
        return cls.pixel_logits is not NetworkDetector.pixel_logits

    def pixel_logits(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Run the network on prepared inputs; one float32 logit a pixel or patch, [N, h, w]; None: it has none."""
        return None

    def maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Return the logits of pixels, float32 [n, H, W], resized to the images where they are of another size."""
        device, made = compute.torch_device, []
        network, part = self._fitted().to(device), self.part(device)
        with torch.inference_mode(), compute.autocast(self.scoring_precision(compute)):
            for start in range(0, len(images), part):
                pixels = to_device(torch.from_numpy(np.ascontiguousarray(images[start : start + part])), device)
                logits = self.pixel_logits(network, self.prepare(pixels))
                if logits is None:
                    return None
                # a network whose input is larger than the images has more logits than these have pixels
                size, smaller = images.shape[1:3], logits.shape[1] > images.shape[1]
                whole = interpolate(logits.float()[:, None], size=size, mode="bilinear", antialias=smaller)
                made.append(whole[:, 0].cpu().numpy())
        return np.concatenate(made) if made else np.empty(images.shape[:3], np.float32)

    def score(self, images: Images, compute: Compute) -> Scores:
        """Logits, float64 [n]; in the precision of the fit unless `compute` asks for one."""
        device = compute.torch_device
        return self.predict(self._scorer(device), images, compute, self.scoring_precision(compute), self.part(device))

    def embeddings(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Return what the last layer is given, float32 [n, D]; of a convolution its mean over the image."""
        device = compute.torch_device
        network, part = self._fitted().to(device), self.part(device)
        given: list[Tensor] = []
        hooks = [layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for layer in _last(network)]
        embedded = []
        try:
            with torch.inference_mode(), compute.autocast(self.scoring_precision(compute)):
                for start in range(0, len(images), part):
                    given.clear()
                    pixels = to_device(torch.from_numpy(np.ascontiguousarray(images[start : start + part])), device)
                    self.logits(network, self.prepare(pixels))
                    if not given:
                        return None
                    last = given[-1].float()  # the layer that is called last, where several give one value
                    embedded.append((last.mean(dim=(2, 3)) if last.ndim == 4 else last.flatten(1)).cpu().numpy())
        finally:
            for hook in hooks:
                hook.remove()
        return np.concatenate(embedded)

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the precision of the fit unless `compute` asks for one."""
        return self.precision if compute.precision == "auto" else compute.precision

    def part(self, device: torch.device) -> int:
        """Return images to put through the network at a time in scoring on a device."""
        return max(LEAST_PART, PART_PIXELS[device.type] // self.side**2)

    def predict(self, network: nn.Module, images: Images, compute: Compute, precision: Precision, part: int) -> Scores:
        """Logits of images without gradients, float64 [n].

        Args:
            network: in evaluation mode, on the device.
            images: uint8 [n, H, W, 3].
            compute: the device.
            precision: of the network's arithmetic.
            part: images put through the network at a time.
        """
        logits, device = [], compute.torch_device
        # the device is asked for results once, after all parts are on their way
        # inference mode: no graph and no version counters; batch norms use stored statistics, as `network` is evaluated
        with torch.inference_mode(), compute.autocast(precision):
            for start in range(0, len(images), part):
                pixels = to_device(torch.from_numpy(np.ascontiguousarray(images[start : start + part])), device)
                logits.append(self.logits(network, self.prepare(pixels)))
        return torch.cat(logits).cpu().double().numpy() if logits else np.empty(0)

    def _scorer(self, device: torch.device) -> nn.Module:
        """Return the fitted network as it scores on a device; made anew when it is another one than before."""
        # moved once; nothing happens where it is there already
        network = self._fitted().to(device)
        if not self.fuses_batch_norms:
            return network
        # the network object is replaced by a new fit, which must not score with folded weights of the old one
        if self._fused is None or self._fused[0] != (network, device):
            self._fused = (network, device), fuse_batch_norms(network)
        return self._fused[1]

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor] | None:
        """Return the logit as a function of pixels, or None where what comes before the network has no gradient."""
        logit = self._logit_of(compute)
        return logit if has_gradient(logit, self.resolution, compute) else None

    def saliency(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute saliency maps of the logit, float32 [n, H, W]; see `detect.explain`."""
        return saliency(self._logit_of(compute), images, compute)

    def gradient_maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute the magnitude of the logit's gradient, float32 [n, H, W]; see `detect.explain`."""
        return gradient_maps(self._logit_of(compute), images, compute)

    def _logit_of(self, compute: Compute) -> Callable[[Tensor], Tensor]:
        # the network as it was trained, not its copy for scoring
        network = self._fitted().to(compute.torch_device)
        return lambda pixels: self.logits(network, self.prepare(pixels))

    def save(self, directory: Path) -> None:
        """Write weights.safetensors and network.json."""
        write_tensors(directory / "weights.safetensors", self._fitted().state_dict())
        write_json(directory / "network.json", {"precision": self.precision})

    @classmethod
    def load(cls, directory: Path, settings: N, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = cls(settings, resolution)
        detector.recall(directory)
        path = directory / "weights.safetensors"
        # building draws random weights, which are overwritten: the caller's generator is left alone
        with torch.random.fork_rng(devices=[]):
            network = detector.build(blank=True).to(memory_format=torch.channels_last)
        load_weights(network, read_tensors(path), source=str(path))
        detector.network = network.eval()
        detector.precision = read_json_object(directory / "network.json")["precision"]
        return detector

    @property
    def parameters(self) -> int:
        """Number of weights of the network."""
        return sum(parameter.numel() for parameter in self._fitted().parameters())

    def _fitted(self) -> nn.Module:
        if self.network is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        return self.network
