"""Capsule-Forensics: the capsules of github.com/nii-yamagishilab/Capsule-Forensics; VGG-19 is a second file."""

from __future__ import annotations

from pathlib import Path

from detect.importers.importer import Importer

_SEEN = {
    "face2face": ("ffpp", "faceforensics", "face2face"),
    "deepfakes": ("deepfakes", "mesonet-deepfakes"),
    "cgvsphoto": ("cgvsphoto",),
    "replay-attack": ("replay-attack",),
}


def _seen(path: Path) -> tuple[str, ...]:
    # the authors' folders: checkpoints/deepfakes/capsule_95.pt, checkpoints/face2face/c23/capsule_35.pt, ...
    return next((_SEEN[part] for part in path.resolve().parts if part in _SEEN), ())


CAPSULE = Importer(
    weights="checkpoints/deepfakes/capsule_95.pt, face2face/c0/capsule_29.pt, c23/capsule_35.pt, c40/capsule_54.pt",
    repository="nii-yamagishilab/Capsule-Forensics",
    licence="BSD-3-Clause",
    seen=_seen,
    marks={"routing_stats.route_weights": (2, 3, 4, 8), "fea_ext.ext_1.0.weight": (64, 256, 3, 3)},
    input_size=128,
    resolution=128,
    backbone="VGG-19 of ImageNet (torchvision's, or timm's vgg19.tv_in1k)",
    preprocessing="the face, resized to 128 px; no noise in the routing",
)
