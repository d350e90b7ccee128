"""What all detectors that are networks share: settings of the fit, input preparation, loss, files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from forge.compute import Compute, Precision
from forge.errors import InputError
from forge.faces.faceset import Images
from forge.files import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn


class NetworkSettings(DetectorSettings):
    """How a network is fitted. A pass sees every image of the larger class once; batches are half real, half forged."""

    epochs: int = Field(30, ge=1, description="most passes over the training images")
    max_images: int | None = Field(
        None, ge=2, description="most images seen in training, repeats counted; null: epochs"
    )
    batch: int = Field(32, ge=2, multiple_of=2, description="images a step, half of them real")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="Adam with L2, or with decoupled weight decay")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="after the warm-up")
    weight_decay: float = Field(0.0, ge=0, le=1, description="as the optimizer defines it")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="of the learning rate, after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no limit")
    validate_every: int | None = Field(
        None, ge=1, description="training images between validations, about; null: one pass"
    )
    patience: int | None = Field(5, ge=1, description="validations without a higher AUC before stopping; null: never")
    flip: bool = Field(True, description="mirror training images left to right at random")
    shift: float = Field(0.06, ge=0, lt=0.5, description="largest random move of a training image, share of its side")
    input_size: int | None = Field(None, ge=16, le=1024, description="pixels fed to the network; null: the set's own")


class NetworkDetector(Detector):
    """A detector that is one network with one logit; a subclass gives `build` and, where it must, the rest."""

    Settings: ClassVar[type[DetectorSettings]] = NetworkSettings
    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)  # of channels in 0..1
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)

    def __init__(self, settings: DetectorSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        if not isinstance(settings, NetworkSettings):
            raise TypeError(f"{type(self).__name__} needs NetworkSettings, not {type(settings).__name__}")
        self.network_settings = settings
        self.network: nn.Module | None = None
        self.precision: Precision = "fp32"

    @abstractmethod
    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network from torch's global generator, which the caller has seeded.

        Args:
            blank: its weights will be overwritten at once, so nothing needs to be downloaded or read.
        """

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the network's input: float32 [N, 3, h, w], resized if asked, normalised."""
        from torch.nn.functional import interpolate

        inputs = pixels.permute(0, 3, 1, 2).float()  # keeps the memory order, which is channels_last
        size = self.network_settings.input_size
        if size is not None and size != self.resolution:
            inputs = interpolate(inputs, size=(size, size), mode="bilinear", antialias=True)
        mean = inputs.new_tensor(self.mean).view(1, 3, 1, 1) * 255
        std = inputs.new_tensor(self.std).view(1, 3, 1, 1) * 255
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
        import torch

        from detect.fitting import predict

        network = self._fitted().to(compute.torch_device)
        precision = self.precision if compute.precision == "auto" else compute.precision
        size, parts = self.network_settings.batch, []
        for start in range(0, len(images), size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).to(compute.torch_device)
            parts.append(predict(self, network, pixels, compute, precision).cpu().double().numpy())
        return np.concatenate(parts) if parts else np.empty(0)

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
        path = directory / "weights.safetensors"
        with torch.random.fork_rng(devices=[]):
            network = detector.build(blank=True).to(memory_format=torch.channels_last)
        load_weights(network, read_tensors(path), source=str(path))
        detector.network = network.eval()
        detector.precision = read_json(directory / "network.json")["precision"]
        return detector

    @property
    def parameters(self) -> int:
        """Number of weights of the network."""
        return sum(parameter.numel() for parameter in self._fitted().parameters())

    def _fitted(self) -> nn.Module:
        if self.network is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        return self.network
