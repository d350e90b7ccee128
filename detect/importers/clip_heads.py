"""UnivFD and RINE: heads on CLIP ViT-L/14, whose image side is a second file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer, renamed

_CLIP = "the image side of CLIP ViT-L/14 (OpenAI's or open_clip's model, timm vit_large_patch14_clip_quickgelu_224)"


def _read_head(path: Path) -> dict[str, Tensor]:
    return renamed(read_checkpoint(path), "head.")


def _rine_settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    weighting = tensors.get("head.alpha")
    layers = [name for name in tensors if name.startswith("head.proj1.") and name.endswith(".weight")]
    return {} if weighting is None else {"width": weighting.shape[-1], "layers": len(layers)}


def _rine_seen(path: Path) -> tuple[str, ...]:
    # model_ldm_trainable.pth learned latent diffusion and COCO, all others ProGAN
    return ("ldm", "latent-diffusion", "coco") if "ldm" in path.name.lower() else ("progan", "lsun")


UNIVFD = Importer(
    _read_head,
    weights="pretrained_weights/fc_weights.pth",
    repository="WisconsinAIVision/UniversalFakeDetect",
    licence="MIT",
    seen=lambda file: ("progan", "lsun"),
    marks={"weight": (1, 768), "bias": (1,)},
    input_size=224,
    window=224,
    resolution=224,
    backbone=_CLIP,
    preprocessing="the middle 224 px, never resized; smaller images in a black frame",
)
RINE = Importer(
    _read_head,
    weights="ckpt/model_1class_trainable.pth, model_2class_…, model_4class_…, model_ldm_trainable.pth",
    repository="mever-team/rine",
    licence="Apache-2.0",
    seen=_rine_seen,
    marks={"alpha": None, "proj1.1.weight": None, "proj2.1.weight": None, "head.6.weight": None},
    settings=_rine_settings,
    input_size=224,
    window=224,
    resolution=224,
    backbone=_CLIP,
    preprocessing="the middle 224 px, never resized; smaller images in a black frame",
)
