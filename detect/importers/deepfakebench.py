"""DeepfakeBench: xception_best.pth and effnb4_best.pth of github.com/SCLBD/DeepfakeBench."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer, Reported, one_logit

_SOURCE = "README of SCLBD/DeepfakeBench: trained on FF++ c23, AUC of frames"
_SETS = ("FF++ c23", "FF++ c40", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "Celeb-DF v1", "Celeb-DF v2", "DFD", "DFDC")
_DEPTHS = (2, 4, 4, 6, 6, 8, 2)  # blocks in each stage of EfficientNet-B4
# names of efficientnet_pytorch -> timm's, in a block that widens its input and in one of the first stage
_WIDENING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST = _WIDENING | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}


def _seen(path: Path) -> tuple[str, ...]:
    return ("ffpp", "faceforensics", "deepfakes", "face2face", "faceswap", "neuraltextures")


def _read_xception(path: Path) -> dict[str, Tensor]:
    tensors = {name.removeprefix("backbone."): value for name, value in read_checkpoint(path).items()}
    # a layer that only another mode of the network reads; with dropout the last layer is the second of two
    kept = {name: value for name, value in tensors.items() if not name.startswith("adjust_channel.")}
    named = {re.sub(r"^last_linear\.(1\.)?", "fc.", name): value for name, value in kept.items()}
    return one_logit(named, "fc")


def _read_efficientnet(path: Path) -> dict[str, Tensor]:
    tensors = {name.removeprefix("backbone."): value for name, value in read_checkpoint(path).items()}
    blocks = [f"blocks.{stage}.{number}" for stage, depth in enumerate(_DEPTHS) for number in range(depth)]
    return one_logit({_timm_name(name, blocks): value for name, value in tensors.items()}, "classifier")


def _timm_name(name: str, blocks: list[str]) -> str:
    name = re.sub(r"^last_layer\.", "classifier.", name.removeprefix("efficientnet."))
    layer, _, role = name.rpartition(".")
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if match is None or int(match[1]) >= len(blocks):
        return f"{_AROUND.get(layer, layer)}.{role}"
    block = blocks[int(match[1])]
    names = _FIRST if block.startswith("blocks.0.") else _WIDENING
    return f"{block}.{names.get(match[2], match[2])}.{role}"


def _reported(*values: float) -> tuple[Reported, ...]:
    return tuple(Reported(*pair, _SOURCE) for pair in zip(_SETS, itertools.repeat("AUC"), values, strict=False))


XCEPTION = Importer(
    _read_xception,
    weights="xception_best.pth",
    repository="SCLBD/DeepfakeBench",
    licence="CC BY-NC 4.0",
    seen=_seen,
    marks={"backbone.block1.skip.weight": None, "backbone.last_linear.weight": (2, 2048)},
    preprocessing="the face, 1.3 times its box, resized to 256 px with a bicubic filter",
    reported=_reported(0.9637, 0.8261, 0.9799, 0.9785, 0.9833, 0.9385, 0.7794, 0.7365, 0.8163, 0.7077),
)
EFFICIENTNET_B4 = Importer(
    _read_efficientnet,
    weights="effnb4_best.pth",
    repository="SCLBD/DeepfakeBench",
    licence="CC BY-NC 4.0",
    seen=_seen,
    marks={"backbone.efficientnet._conv_stem.weight": (48, 3, 3, 3), "backbone.last_layer.weight": (2, 1792)},
    preprocessing="the face, 1.3 times its box, resized to 256 px with a bicubic filter",
    reported=_reported(0.9567, 0.8150, 0.9757, 0.9758, 0.9797, 0.9308, 0.7909, 0.7487, 0.8148, 0.6955),
)
