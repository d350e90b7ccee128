"""NPR: a checkpoint of github.com/chuangchuangtan/NPR-DeepfakeDetection."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer


def _read(path: Path) -> dict[str, Tensor]:
    # the authors' training adds a layer `fc` that nothing reads
    return {name: value for name, value in read_checkpoint(path).items() if not name.startswith("fc.")}


NPR = Importer(
    _read,
    weights="NPR.pth",
    repository="chuangchuangtan/NPR-DeepfakeDetection",
    seen=lambda file: ("progan", "lsun"),
    marks={"conv1.weight": (64, 3, 3, 3), "layer2.3.conv3.weight": None, "fc1.weight": (1, 512)},
    preprocessing="resized to 256 px",
)
