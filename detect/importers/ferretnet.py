"""FerretNet: a checkpoint of github.com/xigua7105/FerretNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detect.importers.importer import Importer, accuracies_and_precisions

_REPOSITORY = "xigua7105/FerretNet"


def _settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    stem = tensors.get("cbr2.0.weight")
    return {} if stem is None else {"width": len(stem)}


FERRETNET = Importer(
    weights="checkpoints/4cls_ckpt/ferretnet-s-median-3.pth, ferretnet-b-median-3.pth, video_ckpt/ferret-video-1.pth",
    repository=_REPOSITORY,
    licence="Apache-2.0",
    seen=lambda file: ("progan", "lsun"),
    marks={"cbr1.0.weight": None, "cbr2.0.weight": None},
    settings=_settings,
    input_size=None,
    window=256,
    preprocessing="the middle 256 px, never resized; smaller images in a black frame",
    reported=accuracies_and_precisions(
        f"docs/results/ForenSynths.txt of {_REPOSITORY}",
        "ferretnet-b-median-3.pth",
        ("ProGAN", 0.999, 1.0),
        ("StyleGAN", 0.980, 1.0),
        ("StyleGAN2", 0.985, 1.0),
        ("BigGAN", 0.926, 0.985),
        ("CycleGAN", 0.988, 0.999),
        ("StarGAN", 0.991, 1.0),
        ("GauGAN", 0.914, 0.998),
        ("Deepfake", 0.892, 0.967),
    )
    + accuracies_and_precisions(f"README of {_REPOSITORY}", "ferretnet-b-median-3.pth", ("VAR", 0.978, 0.999)),
)
