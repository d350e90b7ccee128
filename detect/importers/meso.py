"""MesoNet: Keras files of github.com/DariusAf/MesoNet, with or without the suffix .h5."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from detect.importers.importer import Importer
from detect.importers.keras import meso_tensors, read_keras

_INCEPTION = ("entries.0", "entries.1", "exits.0", "entries.2", "exits.1", "entries.3", "exits.2")


def _read_meso4(path: Path) -> dict[str, Tensor]:
    return meso_tensors(read_keras(path), [f"convolutions.{stage}" for stage in range(4)], f"weights file {path}")


def _read_mesoinception4(path: Path) -> dict[str, Tensor]:
    names = [f"convolutions.{block}.{branch}" for block in (0, 1) for branch in _INCEPTION]
    return meso_tensors(read_keras(path), [*names, "convolutions.2", "convolutions.3"], f"weights file {path}")


def _seen(path: Path) -> tuple[str, ...]:
    # the authors' files are Meso4_DF, Meso4_F2F, MesoInception_DF and MesoInception_F2F
    return ("ffpp", "face2face") if "f2f" in path.name.lower() else ("deepfakes",)


MESO4 = Importer(
    _read_meso4,
    weights="weights/Meso4_DF.h5, Meso4_F2F.h5",
    repository="DariusAf/MesoNet",
    licence="Apache-2.0",
    seen=_seen,
    preprocessing="the face, resized to 256 px",
)
MESOINCEPTION4 = Importer(
    _read_mesoinception4,
    weights="weights/MesoInception_DF.h5, MesoInception_F2F",
    repository="DariusAf/MesoNet",
    licence="Apache-2.0",
    seen=_seen,
    preprocessing="the face, resized to 256 px",
)
