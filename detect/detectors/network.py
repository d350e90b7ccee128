"""What all detectors that are networks share: settings of the fit, input preparation, loss, files."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from forge.compute import Compute, Precision, to_device
from forge.errors import InputError
from forge.faces.faceset import Images
from forge.files import read_json_object, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


# pixels put through a network at a time in scoring, by device: 128 images of 64 px, or 2,048; and at least 8 images
PART_PIXELS = {"cpu": 128 * 64**2, "cuda": 2048 * 64**2}
LEAST_PART = 8

Share = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]


@cache
def channel_values(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Channel values in 0..1 as grey levels, float32 [1, 3, 1, 1]; sent to a device once."""
    import torch

    with torch.inference_mode(False):  # the same tensor serves training too
        return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


class NetworkSettings(DetectorSettings):
    """How a network is fitted. A pass sees every image of the larger class once; batches are half real, half forged."""

    epochs: int = Field(30, ge=1, description="most passes over the training images")
    max_images: int | None = Field(
        None, ge=2, description="most images seen in training, repeats counted; null: epochs"
    )
    batch: int = Field(32, ge=2, multiple_of=2, description="images a step, half of them real")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Adam with L2, Adam with decoupled weight decay, or gradient descent with momentum and L2"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="after the warm-up")
    weight_decay: float = Field(0.0, ge=0, le=1, description="as the optimizer defines it")
    schedule: Literal["constant", "cosine", "step", "plateau"] = Field(
        "cosine",
        description="of the learning rate, after the warm-up: step falls every step_epochs passes, plateau whenever "
        "patience runs out",
    )
    step_epochs: int = Field(10, ge=1, description="passes between the steps of schedule step")
    decay: float = Field(0.1, gt=0, lt=1, description="what step and plateau multiply the learning rate with")
    min_learning_rate: float = Field(
        0.0, ge=0, description="where cosine ends, what step does not go below, and under which plateau stops the fit"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no limit")
    validate_every: int | None = Field(
        None, ge=1, description="training images between validations, about; null: one pass"
    )
    patience: int | None = Field(
        5,
        ge=1,
        description="validations without a higher AUC before stopping, or with schedule plateau before the learning "
        "rate falls; null: never",
    )
    flip: bool = Field(True, description="mirror training images left to right at random")
    shift: float = Field(0.06, ge=0, lt=0.5, description="largest random move of a training image, share of its side")
    rescale: Share = Field(0.0, description="probability that a training image is made smaller and enlarged back")
    rescale_range: tuple[float, float] = Field((0.5, 1.0), description="how much smaller, share of its side")
    blur: Share = Field(0.0, description="probability that a training image is blurred")
    blur_sigma: tuple[float, float] = Field((0.0, 3.0), description="standard deviation of the blur in pixels")
    noise: Share = Field(0.0, description="probability that a training image gets Gaussian noise")
    noise_sigma: tuple[float, float] = Field((0.0, 5.0), description="its standard deviation in grey levels of 255")
    jpeg: Share = Field(0.0, description="probability that a training image is compressed as JPEG")
    jpeg_quality: tuple[Quality, Quality] = Field((30, 100), description="lowest and highest quality of the JPEG")
    crop: float = Field(
        1.0, gt=0, le=1, description="side of the random window that training sees, share of the image's; not resized"
    )
    input_size: int | None = Field(None, ge=16, le=1024, description="pixels fed to the network; null: the set's own")

    @field_validator("rescale_range", "blur_sigma", "noise_sigma", "jpeg_quality")
    @classmethod
    def _ordered(cls, ends: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        least, most = {"rescale_range": (0.05, 1.0), "blur_sigma": (0.0, 50.0)}.get(info.field_name or "", (0.0, 255.0))
        if not least <= ends[0] <= ends[1] <= most:
            raise ValueError(f"must be [lowest, highest] within {least:g} to {most:g}, not {list(ends)}")
        return ends

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}"
            )
        if self.schedule == "plateau" and self.patience is None:
            raise ValueError("schedule plateau needs patience: validations without a higher AUC")
        return self


class NetworkDetector(Detector):
    """A detector that is one network with one logit; a subclass gives `build` and, where it must, the rest."""

    Settings: ClassVar[type[DetectorSettings]] = NetworkSettings
    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)  # of channels in 0..1
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    folds: ClassVar[bool] = False  # batch norms may become part of the convolutions before them in scoring
    any_size: ClassVar[bool] = True  # the network takes images of every size, so that training may see a crop of them

    def __init__(self, settings: DetectorSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        if not isinstance(settings, NetworkSettings):
            raise TypeError(f"{type(self).__name__} needs NetworkSettings, not {type(settings).__name__}")
        if settings.crop < 1 and settings.input_size is None and not self.any_size:
            raise InputError(
                f"{self.family} takes images of one size, but crop {settings.crop:g} would train it on smaller ones; "
                "set crop: 1, or input_size to resize them"
            )
        self.network_settings = settings
        self.network: nn.Module | None = None
        self.precision: Precision = "fp32"
        self._folded: tuple[object, nn.Module] | None = None

    @abstractmethod
    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network from torch's global generator, which the caller has seeded.

        Args:
            blank: its weights will be overwritten at once, so nothing needs to be downloaded or read.
        """

    def recall(self, directory: Path) -> None:
        """Read what `build` needs to know beside the settings; a subclass that needs it stores it in `save`."""

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the network's input: float32 [N, 3, h, w], resized if asked, normalised."""
        from torch.nn.functional import interpolate

        inputs = pixels.permute(0, 3, 1, 2).float()  # keeps the memory order, which is channels_last
        size = self.network_settings.input_size
        if size is not None and size != inputs.shape[-1]:  # a crop in training is another size than the set's
            inputs = interpolate(inputs, size=(size, size), mode="bilinear", antialias=True)
        mean, std = channel_values(self.mean, inputs.device), channel_values(self.std, inputs.device)
        return (inputs - mean) / std

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Run the network on prepared inputs; one float32 logit an image, [N], higher for forged."""
        outputs: Tensor = network(inputs)
        return outputs.flatten().float()

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Training loss of a prepared batch: binary cross entropy of the logits; labels float32 [N], 1 = forged."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(self.logits(network, inputs), labels)

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Train the network with `detect.fitting`; see there."""
        from detect.fitting import fit_network

        self.network, self.precision, summary = fit_network(self, data, context)
        return summary

    def score(self, images: Images, compute: Compute) -> Scores:
        """Logits, float64 [n]; in the precision of the fit unless `compute` asks for one."""
        device = compute.torch_device
        return self.predict(self._scorer(device), images, compute, self.scoring_precision(compute), self.part(device))

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the precision of the fit unless `compute` asks for one."""
        return self.precision if compute.precision == "auto" else compute.precision

    def part(self, device: torch.device) -> int:
        """Images to put through the network at a time in scoring on a device."""
        side = self.network_settings.input_size or self.resolution
        return max(LEAST_PART, PART_PIXELS[device.type] // side**2)

    def predict(self, network: nn.Module, images: Images, compute: Compute, precision: Precision, part: int) -> Scores:
        """Logits of images without gradients, float64 [n].

        Args:
            network: in evaluation mode, on the device.
            images: uint8 [n, H, W, 3].
            compute: the device.
            precision: of the network's arithmetic.
            part: images put through the network at a time.
        """
        import torch

        found, device = [], compute.torch_device
        # the device is asked for results once, after all parts are on their way
        with torch.inference_mode(), compute.autocast(precision):
            for start in range(0, len(images), part):
                pixels = to_device(torch.from_numpy(np.ascontiguousarray(images[start : start + part])), device)
                found.append(self.logits(network, self.prepare(pixels)))
        return torch.cat(found).cpu().double().numpy() if found else np.empty(0)

    def _scorer(self, device: torch.device) -> nn.Module:
        """The fitted network as it scores on a device; made anew when it is another one than before."""
        from detect.folding import folded

        network = self._fitted().to(device)
        if not self.folds:
            return network
        if self._folded is None or self._folded[0] != (network, device):
            self._folded = (network, device), folded(network)
        return self._folded[1]

    def saliency(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Which pixels the logit hangs on, float32 [n, H, W]; see `detect.explain`."""
        from detect.explain import saliency

        network = self._fitted().to(compute.torch_device)
        return saliency(lambda pixels: self.logits(network, self.prepare(pixels)), images, compute)

    def save(self, directory: Path) -> None:
        """Write weights.safetensors and network.json."""
        from detect.weights import write_tensors

        write_tensors(directory / "weights.safetensors", self._fitted().state_dict())
        write_json(directory / "network.json", {"precision": self.precision})

    @classmethod
    def load(cls, directory: Path, settings: DetectorSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        import torch

        from detect.weights import load_weights, read_tensors

        detector = cls(settings, resolution)
        detector.recall(directory)
        path = directory / "weights.safetensors"
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
