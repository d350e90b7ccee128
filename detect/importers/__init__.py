"""Readers of weights that authors published: one file a network, loaded when its name is asked for."""

from __future__ import annotations

from forge.core.registry import Registry

IMPORTERS = Registry(
    "published detector",
    "detect.importers",
    {
        "meso4": "detect.importers.meso:MESO4",
        "mesoinception4": "detect.importers.meso:MESOINCEPTION4",
        "npr": "detect.importers.npr:NPR",
        "ferretnet": "detect.importers.ferretnet:FERRETNET",
        "classnseg": "detect.importers.classnseg:CLASSNSEG",
        "capsule": "detect.importers.capsule:CAPSULE",
        "safe": "detect.importers.safe:SAFE",
        "tiny-ladeda": "detect.importers.tiny_ladeda:TINY_LADEDA",
        "univfd": "detect.importers.clip_heads:UNIVFD",
        "rine": "detect.importers.clip_heads:RINE",
        "cnndetection": "detect.importers.cnndetection:CNNDETECTION",
        "deepfakebench-xception": "detect.importers.deepfakebench:XCEPTION",
        "deepfakebench-efficientnet-b4": "detect.importers.deepfakebench:EFFICIENTNET_B4",
    },
    option="published",
)
