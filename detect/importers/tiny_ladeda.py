"""Tiny-LaDeDa: a checkpoint of github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld."""

from __future__ import annotations

from pathlib import Path

from detect.importers.importer import Importer


def _seen(path: Path) -> tuple[str, ...]:
    # the authors' files are ForenSynth_Tiny_LaDeDa.pth and WildRF_Tiny_LaDeDa.pth
    return ("wildrf", "reddit") if "wildrf" in path.name.lower() else ("progan", "lsun")


TINY_LADEDA = Importer(
    weights="weights/Tiny_LaDeDa/ForenSynth_Tiny_LaDeDa.pth, WildRF_Tiny_LaDeDa.pth",
    repository="barcavia/RealTime-DeepfakeDetection-in-the-RealWorld",
    licence="Yissum research licence",
    seen=_seen,
    marks={"layer1.0.conv2.weight": (8, 8, 3, 3), "fc.weight": (1, 8)},
    settings=lambda tensors: {"diagonal": "right"},  # as --tiny_preprocess of the authors' code has it
    preprocessing="resized to 256 px",
)
