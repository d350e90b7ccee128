"""Random weights that layers begin with."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_DEVIATION = 0.02


def draw_normal(modules: Iterable[nn.Module], *, norms: float) -> None:
    """Draw weights as DCGAN does (Radford et al. 2016): normal, of standard deviation .02, in the order of the modules.

    Args:
        modules: convolutions get the mean 0, batch norms `norms`; others stay as they are.
        norms: mean of the weights of batch norms.
    """
    for module in modules:
        if isinstance(module, CONVOLUTIONS):
            nn.init.normal_(module.weight, 0.0, _DEVIATION)
        elif isinstance(module, NORMS):
            nn.init.normal_(module.weight, norms, _DEVIATION)
