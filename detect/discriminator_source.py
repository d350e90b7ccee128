"""The discriminator that a generator was trained against, as a detector may use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from forge.core.errors import InputError
from forge.core.files import read_json_object, write_json
from forge.core.registry import is_file_reference, was_loaded
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, generator_folder
from forge.generators.base import Architecture
from forge.generators.blocks.layers import MinibatchDeviation


@dataclass(frozen=True)
class DiscriminatorSource:
    """A finished training.

    Attributes:
        training: directory of the training.
        snapshot: thousands of images after which its discriminator is taken; None: the end.
        implementation: the architecture's class, needed only where it came from a file.
    """

    training: Path
    snapshot: float | None = None
    implementation: type[Architecture] | None = None

    def open(self) -> TrainedGenerator:
        """Return the generator whose discriminator is meant.

        Raises:
            InputError, CorruptError: as `TrainedGenerator.open`.
        """
        return self._at(self.snapshot)

    def history(self) -> list[TrainedGenerator]:
        """Return the snapshots taken before that moment, in order, and the moment itself."""
        # folders are called by thousands of images, e.g. "24k"; in order of numbers, not of names ("8k" before "24k")
        taken = [float(folder.name.removesuffix("k")) for folder in (self.training / "snapshots").glob("*k")]
        before = sorted(kimg for kimg in taken if self.snapshot is None or kimg < self.snapshot)
        return [*(self._at(kimg) for kimg in before), self.open()]

    def _at(self, snapshot: float | None) -> TrainedGenerator:
        return TrainedGenerator.open(generator_folder(self.training, snapshot), implementation=self.implementation)


@dataclass(frozen=True)
class Blueprint:
    """Description of a discriminator's network, stored beside its weights, from which it is built again.

    Attributes:
        architecture: registered name, or "path/to/file.py:Class".
        settings: of the architecture.
        resolution: pixels.
        classes: number of values of each label column of a conditional one.
    """

    architecture: str
    settings: dict[str, Any]
    resolution: int
    classes: tuple[int, ...] = ()

    @classmethod
    def of(cls, trained: TrainedGenerator, resolution: int) -> Blueprint:
        """Return the blueprint of a trained generator's discriminator.

        Raises:
            InputError: it was trained on images of another resolution.
        """
        card = trained.card
        # never resized: a discriminator judges images of the size that its generator made
        if card.resolution != resolution:
            raise InputError(
                f"the discriminator of {card.name} takes {card.resolution} px and the images have {resolution} px; "
                "train the generator at their resolution"
            )
        # labels are left out later, but the network has parameters for them and must be built alike
        classes = trained.condition.classes if trained.condition else ()
        return cls(card.architecture, card.settings, card.resolution, classes)

    def build(self) -> nn.Module:
        """Return a fresh discriminator: images [N, 3, H, W] in -1..1 to logits [N], high for real.

        It scores every image by itself: statistics over a batch would tell a half-real, half-forged training batch
        from the batches of one class that follow.
        """
        if is_file_reference(self.architecture) and not was_loaded(self.architecture):
            raise InputError(
                f"this detector contains a discriminator from a file; name that file: --generator {self.architecture}"
            )
        architecture_class = GENERATORS.load(self.architecture)
        classes = (self.classes,) if self.classes else ()
        network: nn.Module = architecture_class(
            architecture_class.Settings(**self.settings), self.resolution, *classes
        ).discriminator()
        for layer in network.modules():
            # groups of one: the deviation over a batch is then that of a single image, which is constant
            if isinstance(layer, MinibatchDeviation):
                layer.group = 1
        return network

    def write(self, directory: Path) -> None:
        """Store it as discriminator.json."""
        write_json(directory / "discriminator.json", asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Blueprint:
        """Read what `write` wrote."""
        stored = read_json_object(directory / "discriminator.json")
        # JSON keeps tuples as lists
        return cls(**stored | {"classes": tuple(stored["classes"])})


def with_weights_of(trained: TrainedGenerator, network: nn.Module) -> nn.Module:
    """Give a network that `Blueprint.build` made the weights from the training; returns it in evaluation mode."""
    # strict: a missing or foreign tensor raises, so that no layer keeps random weights
    network.load_state_dict(trained.discriminator().state_dict())
    return network.eval()


def layers(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return activations of a discriminator's layers, from fine to coarse: [N, C, H, W] or [N, C].

    Raises:
        InputError: the architecture does not offer them.
    """
    features = getattr(network, "features", None)
    if features is None:
        class_name = type(network).__name__
        raise InputError(
            f"{class_name} has no method features(images) that gives its layers' activations; disc-probe asks it"
        )
    activations: list[Tensor] = features(images)
    return activations
