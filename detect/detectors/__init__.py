"""The detectors by name; nothing heavy is imported until one is fitted or loaded."""

from __future__ import annotations

from forge.registry import Registry

DETECTORS = Registry(
    "detector",
    "detect.detectors",
    {
        "dct": "detect.detectors.dct:LogDct",
        "xception": "detect.detectors.cnn:Xception",
    },
)
