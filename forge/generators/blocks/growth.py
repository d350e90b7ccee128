"""Growth: a network that trains at half its resolution first (Karras et al. 2018, section 2), at half the cost.

Both networks have all their weights from the beginning. While a network is not grown, its finest block is left out: the
generator's picture of half the side is doubled, and the discriminator halves what it is shown. The finest block begins
with an output of zero. At the switch both networks so compute what they computed before, and there is nothing to fade
in; the averaged weights need no switch at all. The stage follows from the share of the steps that are done, never from
a clock, so that a continued training switches at the same step.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from forge.generators.blocks.layers import Downsample, EqualConv


class Growing(nn.Module):
    """A network that may leave its finest block out.

    Attributes:
        growth: share of the steps in which it does; None: in none.
        grown: whether the finest block computes; always so outside of a training.
    """

    growth: float | None = None
    grown: bool = True

    def follow(self, progress: float) -> None:
        """Leave the finest block out, or take it in, when this share of the steps is done."""
        self.grown = self.growth is None or progress >= self.growth


def begin_at_zero(*layers: nn.Module | None) -> None:
    """Set the weights of layers to 0, so that the block which they end adds nothing until it is trained."""
    for layer in layers:
        if layer is not None:
            nn.init.zeros_(cast(Tensor, layer.weight))  # biases begin at 0 in any case


class HalfEntry(nn.Module):
    """Colours [N, 3, H, W] to the discriminator's features [N, C, H/2, W/2], past its finest block.

    Args:
        channels: C.
        gain: of the convolution.
    """

    def __init__(self, channels: int, *, gain: float) -> None:
        super().__init__()
        self.down = Downsample(3)
        self.colours = EqualConv(3, channels, 1, gain=gain)

    def forward(self, images: Tensor) -> Tensor:
        """Halve, then convolve."""
        return leaky_relu(self.colours(self.down(images)), 0.2)
