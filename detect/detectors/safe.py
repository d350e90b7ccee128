"""SAFE: the diagonal wavelet details of an image that was cropped and never resized."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from detect.detectors.network import NetworkDetector
from detect.detectors.npr import NprNetwork
from detect.features.residuals import diagonal_details
from detect.layers.crops import centre, framed
from detect.training.settings import WindowSettings, with_defaults

WINDOW = 256  # pixels of the crop


class SafeNetwork(NprNetwork):
    """Diagonal details of bior1.3, enlarged to the image's size, then the network of NPR.

    1,437,761 parameters. Modules are named as in the published weights, whose two classes become one logit.
    """

    def residual(self, inputs: Tensor) -> Tensor:
        """Return the details of images [N, 3, H, W] at their size."""
        return interpolate(diagonal_details(inputs), size=inputs.shape[-2:], mode="bilinear", antialias=True)


class Safe(NetworkDetector[WindowSettings]):
    """Wavelet details of crops into the front half of ResNet50: what resizing would smooth away is kept."""

    family = "safe"
    citation = (
        "Li et al., Improving Synthetic Image Detection Towards Generalization: An Image Transformation Perspective, "
        "KDD 2025"
    )
    variant = (
        "the middle 256 px, images smaller than that whole; training without the authors' rotations, colour changes "
        "and masked patches"
    )
    # the authors' script: AdamW, learning rate 1e-2 for 256 images of which a step has 128
    Settings = with_defaults(
        WindowSettings,
        epochs=20,
        batch=128,
        optimizer="adamw",
        learning_rate=5e-3,
        weight_decay=0.01,
        patience=None,
        clip=None,
        shift=0,
        crop=0.875,
    )
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        return SafeNetwork()

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into values in 0..1 of the middle 256 px."""
        return super().prepare(centre(framed(pixels, self.settings.window), WINDOW))
