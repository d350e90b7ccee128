"""The Translator interface: an architecture that makes a forgery from a real face."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.faceset import Images
from forge.faces.tensors import to_uint8
from forge.generators.base import Architecture

Floats = NDArray[np.float32]
Merge = Callable[[Tensor, Tensor], Tensor]


class TranslationNetwork(nn.Module):
    """What a translator publishes: conditions [N, C, H, W] to images [N, 3, H, W] in -1..1.

    Args:
        body: the network: conditions to outputs [N, outputs, H, W].
        compose: outputs and conditions to predictions.
        decode: predictions and conditions to images.
    """

    def __init__(self, body: nn.Module, compose: Merge, decode: Merge) -> None:
        super().__init__()
        self.body, self._compose, self._decode = body, compose, decode

    def predict(self, conditions: Tensor) -> Tensor:
        """Predict what the translator compares with its target."""
        return self._compose(self.body(conditions), conditions)

    def forward(self, conditions: Tensor) -> Tensor:
        """Make images."""
        return self._decode(self.predict(conditions), conditions)


class Translator(Architecture):
    """An architecture that turns a real face into a forged one.

    What it is given is the *condition*: what is left of the face, e.g. its edges. A translator says how a condition is
    made from a face (`condition`), what is to be predicted (`target`), and how an output of the network becomes a
    prediction (`compose`), an image (`decode`) and the stored bytes (`finish`), where everything that the condition
    knows exactly is kept exactly.

    The networks have no dropout and no statistics of a batch: an image is the same whatever stands beside it.

    Attributes:
        inputs: channels of a condition.
        outputs: channels of outputs, predictions and targets.
        masks: whether `hole` says which pixels are forged; the forgeries are stored with these masks.
        restores: whether the face itself is what an image should be, as of its own drawing.
        without_learning: what `untrained` returns, a noun.
    """

    family = "translation"
    trained_by = "paired"
    takes_faces = True
    inputs: ClassVar[int]
    outputs: ClassVar[int] = 3
    masks: ClassVar[bool] = False
    restores: ClassVar[bool] = True
    without_learning: ClassVar[str] = "condition"

    @abstractmethod
    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Make the condition of a face.

        Args:
            image: uint8 [H, W, 3].
            source: of random numbers, e.g. for the style of an edge drawing.

        Returns:
            float32 [inputs, H, W] in -1..1.
        """

    @abstractmethod
    def body(self) -> nn.Module:
        """Return a fresh network: conditions [N, inputs, H, W] to outputs [N, outputs, H, W]."""

    def conditions(self, images: Images, seeds: Sequence[int]) -> Tensor:
        """Make the conditions of faces, each from a seed of its own.

        Args:
            images: uint8 [N, H, W, 3].
            seeds: [N].

        Returns:
            float32 [N, inputs, H, W].
        """
        made = [self.condition(image, np.random.default_rng(seed)) for image, seed in zip(images, seeds, strict=True)]
        return torch.from_numpy(np.stack(made))

    def target(self, images: Tensor) -> Tensor:
        """Return what should be predicted for real images [N, 3, H, W] in -1..1: by default the images."""
        return images

    def compose(self, outputs: Tensor, conditions: Tensor) -> Tensor:
        """Complete outputs of the network [N, outputs, H, W] by what conditions know: by default they stay."""
        return outputs

    def decode(self, predictions: Tensor, conditions: Tensor) -> Tensor:
        """Turn predictions [N, outputs, H, W] into images [N, 3, H, W] in -1..1."""
        return predictions

    def untrained(self, conditions: Tensor) -> Tensor | None:
        """Return the images [N, 3, H, W] in -1..1 that conditions give without learning, e.g. bicubic enlargement.

        Translations are measured beside them. By default a condition of three channels is itself such an image; None:
        the condition shows no face, as a drawing.
        """
        return conditions if self.inputs == 3 else None

    def finish(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Turn images [N, 3, H, W] into the bytes that are stored, uint8 [N, H, W, 3]."""
        return to_uint8(images)

    def hole(self, conditions: Tensor) -> Tensor | None:
        """Return 1 where pixels are forged and 0 where they are the source's, [N, 1, H, W]; None: all are forged."""
        return None

    def generator(self) -> nn.Module:
        """Return a fresh generator: conditions to images."""
        return TranslationNetwork(self.body(), self.compose, self.decode)

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Refuse: a translator's input is a real face.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{type(self).__name__} makes forgeries from real faces, not from latents; name a generator such as dcgan"
        )
