"""The attacks by name; nothing heavy is imported until one is run."""

from __future__ import annotations

from forge.core.registry import Registry

ATTACKS = Registry(
    "attack",
    "detect.attacks",
    {
        # gradients of the attacked detector
        "fgsm": "detect.attacks.fgsm:FastGradientSign",
        "pgd": "detect.attacks.pgd:ProjectedGradient",
        "apgd": "detect.attacks.apgd:AutoProjectedGradient",
        "patch": "detect.attacks.patch:Patch",
        "latent": "detect.attacks.latent:Latent",
        # its scores alone
        "square": "detect.attacks.square:Square",
        # nothing of it
        "spectrum-match": "detect.attacks.spectrum_match:SpectrumMatch",
        "transfer": "detect.attacks.transfer:Transfer",
        "launder": "detect.attacks.launder:Launder",
    },
)
