"""FerretNet: a checkpoint of github.com/xigua7105/FerretNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detect.importers.importer import Importer


def _settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    stem = tensors.get("cbr2.0.weight")
    return {} if stem is None else {"width": len(stem)}


FERRETNET = Importer(
    weights="ferretnet.pth",
    repository="xigua7105/FerretNet",
    seen=lambda file: ("progan", "lsun"),
    marks={"cbr1.0.weight": None, "cbr2.0.weight": None},
    settings=_settings,
    preprocessing="resized to 256 px",
)
