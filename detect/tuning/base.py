"""Interface of tuning methods, and the layers that they change."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from forge.core.errors import InputError


class Tuning(ABC):
    """A change of some layers of a frozen network, after which few weights learn.

    Args:
        rank: of the part that learns.
        scale: of that part, as the method defines it.
    """

    def __init__(self, rank: int, scale: float) -> None:
        self.rank, self.scale = rank, scale

    @abstractmethod
    def adapt(self, network: nn.Module, names: list[str]) -> None:
        """Change the layers of these names in place; what learns has `requires_grad`."""

    @abstractmethod
    def merge(self, network: nn.Module) -> None:
        """Put plain linear layers with the learned weights back, in place: the network is an ordinary one again."""

    def penalty(self, network: nn.Module) -> Tensor | None:
        """Return what is added to the loss, a scalar; None: nothing."""
        return None


def attention_layers(network: nn.Module, title: str) -> list[str]:
    """Return the names of the linear layers of all attention blocks: queries, keys, values and their projection.

    Args:
        network: of timm.
        title: its name, for messages.

    Raises:
        InputError: there are none.
    """
    names = [
        name for name, module in network.named_modules() if isinstance(module, nn.Linear) and ".attn." in f".{name}"
    ]
    if not names:
        raise InputError(
            f"{title} has no attention layers that could be tuned; name a transformer, e.g. "
            "tune:vit_small_patch14_dinov2, or fit the whole network as timm:NAME"
        )
    return names


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module where the one of this dotted name is."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
