"""SAFE: checkpoint-best.pth of github.com/Ouxiang-Li/SAFE."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer, one_logit


def _read(path: Path) -> dict[str, Tensor]:
    return one_logit(read_checkpoint(path), "fc1")


SAFE = Importer(
    _read,
    weights="checkpoint/checkpoint-best.pth",
    repository="Ouxiang-Li/SAFE",
    licence="Apache-2.0",
    seen=lambda file: ("progan", "lsun"),
    marks={"conv1.weight": (64, 3, 3, 3), "layer2.3.conv3.weight": None, "fc1.weight": (2, 512)},
    input_size=None,
    window=256,
    preprocessing="the middle 256 px, never resized; smaller images in a black frame",
)
