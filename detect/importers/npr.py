"""NPR: a checkpoint of github.com/chuangchuangtan/NPR-DeepfakeDetection."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer, Reported

_REPOSITORY = "chuangchuangtan/NPR-DeepfakeDetection"
_SOURCE = f"README of {_REPOSITORY}: AIGCDetectBenchmark, images never resized"
_ACCURACIES = {
    "ProGAN": 0.999,
    "StyleGAN": 0.961,
    "BigGAN": 0.873,
    "CycleGAN": 0.903,
    "StarGAN": 0.996,
    "GauGAN": 0.854,
    "StyleGAN2": 0.981,
    "Whichfaceisreal": 0.607,
    "ADM": 0.849,
    "Glide": 0.967,
    "Midjourney": 0.926,
    "SD v1.4": 0.974,
    "SD v1.5": 0.975,
    "VQDM": 0.901,
    "Wukong": 0.917,
    "DALL-E 2": 0.996,
}


def _read(path: Path) -> dict[str, Tensor]:
    # the authors' training adds a layer `fc` that nothing reads
    return {name: value for name, value in read_checkpoint(path).items() if not name.startswith("fc.")}


NPR = Importer(
    _read,
    weights="NPR.pth",
    repository=_REPOSITORY,
    seen=lambda file: ("progan", "lsun"),
    marks={"conv1.weight": (64, 3, 3, 3), "layer2.3.conv3.weight": None, "fc1.weight": (1, 512)},
    preprocessing="resized to 256 px",
    reported=tuple(Reported(test_set, "accuracy", value, _SOURCE) for test_set, value in _ACCURACIES.items()),
)
