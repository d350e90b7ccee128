"""ClassNSeg: an encoder and a decoder in two files of github.com/nii-yamagishilab/ClassNSeg."""

from __future__ import annotations

from pathlib import Path

from detect.importers.importer import Importer
from forge.core.errors import InputError


def _files(encoder: Path) -> tuple[Path, ...]:
    decoder = encoder.with_name(encoder.name.replace("encoder", "decoder"))
    if decoder == encoder:
        raise InputError(
            f"{encoder} is not named as an encoder; ClassNSeg is published as encoder_46.pt and decoder_46.pt in one "
            "folder: name the first"
        )
    if not decoder.is_file():
        raise InputError(f"weights file {decoder} does not exist; put the decoder of {encoder.name} beside it")
    return encoder, decoder


CLASSNSEG = Importer(
    weights="checkpoints/full/encoder_46.pt and decoder_46.pt",
    repository="nii-yamagishilab/ClassNSeg",
    licence="BSD-3-Clause",
    seen=lambda file: ("ffpp", "faceforensics", "face2face"),
    marks={"encoder.0.weight": (8, 3, 3, 3), "encoder.24.weight": (128, 64, 3, 3)},
    files=_files,
    preprocessing="the face, resized to 256 px",
)
