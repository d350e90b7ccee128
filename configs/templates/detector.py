"""MyPlugin: a small network that looks at the finest detail, to be changed into a detector of your own.

    bench run -g dcgan -d my_plugin.py:MyPlugin --preset smoke

A network gives `build`; the loop, checkpoints, early stopping, calibration and files come with `NetworkDetector`.
`pytest test_my_plugin.py` checks that it keeps the contract and beats guessing. A detector that is no network
subclasses `detect.detectors.base.Detector` and gives fit, score, save and load.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings


class MyPluginSettings(NetworkSettings):
    """Every field is a setting, with those of the fit: --set detector.width=32 --set detector.learning_rate=0.001."""

    width: int = Field(16, ge=1, description="channels of the first convolution; the second has twice as many")
    epochs: int = Field(20, ge=1, description="most passes over the training images")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="after the warm-up")


class MyPlugin(NetworkDetector[MyPluginSettings]):
    """Two convolutions on what a blur would take away."""

    family = "myplugin"
    citation = "nobody yet: say here whose idea it is"

    def build(self, *, blank: bool = False) -> nn.Module:
        """The network with one output, drawn from torch's random state, which is seeded by whoever calls."""
        width = self.settings.width
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),  # the mean over places: an image may have any size
            nn.Flatten(),
            nn.Linear(2 * width, 1),  # one logit: higher means forged
        )

    def prepare(self, pixels: Tensor) -> Tensor:
        """From uint8 [N, H, W, 3] to the network's input: each pixel minus the mean of its neighbourhood.

        Generators rarely match photos in the finest detail. Leave this method out to let the network see the image.
        """
        images = super().prepare(pixels)
        return 4 * (images - avg_pool2d(pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1))
