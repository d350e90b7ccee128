"""Training methods by name: what one step of a training computes; one file each.

An architecture names the one it uses (`Architecture.trained_by`), or brings a class of its own.
"""

from __future__ import annotations

from typing import Any

from forge.core.errors import InputError, quoted
from forge.core.registry import Registry
from forge.generators.base import Architecture
from forge.training.steps.base import TrainingMethod

METHODS = Registry(
    "training method",
    "forge.training_methods",
    {
        "adversarial": "forge.training.steps.adversarial:Adversarial",
        "autoencoding": "forge.training.steps.autoencoding:Autoencoding",
        "contrastive": "forge.training.steps.contrastive:Contrastive",
        "cycle": "forge.training.steps.cycle:Cycle",
        "denoising": "forge.training.steps.denoising:Denoising",
        "paired": "forge.training.steps.paired:Paired",
    },
)


def method_of(architecture: Architecture | type[Architecture]) -> type[TrainingMethod]:
    """Return the training method that an architecture declares.

    Raises:
        InputError: it declares something that is no training method.
    """
    declared: Any = architecture.trained_by
    method = METHODS.load(declared) if isinstance(declared, str) else declared
    if not (isinstance(method, type) and issubclass(method, TrainingMethod)):
        raise InputError(
            f"trained_by is {quoted(declared)}; it must be one of {', '.join(METHODS.names())}, or a subclass of "
            "forge.training.steps.base.TrainingMethod"
        )
    return method
