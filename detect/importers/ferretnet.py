"""FerretNet: a checkpoint of github.com/xigua7105/FerretNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detect.importers.importer import Importer, Reported

_SOURCE = "README of xigua7105/FerretNet"


def _settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    stem = tensors.get("cbr2.0.weight")
    return {} if stem is None else {"width": len(stem)}


FERRETNET = Importer(
    weights="ferretnet-b-median-3.pth",
    repository="xigua7105/FerretNet",
    licence="Apache-2.0",
    seen=lambda file: ("progan", "lsun"),
    marks={"cbr1.0.weight": None, "cbr2.0.weight": None},
    settings=_settings,
    preprocessing="resized to 256 px",
    reported=(Reported("VAR", "accuracy", 0.978, _SOURCE), Reported("VAR", "AP", 0.999, _SOURCE)),
)
