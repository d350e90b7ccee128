"""Ways to tune a few weights of a pretrained network; each is loaded when its name is asked for."""

from __future__ import annotations

from forge.core.registry import Registry

METHODS = Registry(
    "tuning method",
    "detect.tuning",
    {"lora": "detect.tuning.lora:LoRA", "svd": "detect.tuning.svd:PrincipalSplit"},
    option="method",
)
