"""Skip-layer excitation: coarse feature maps of a generator weigh the channels of the finest ones.

Liu et al.: Towards Faster and Stabilized GAN Training for High-Fidelity Few-Shot Image Synthesis. ICLR 2021, arXiv
2101.04775, section 3.1. Gradients have a short way from the finest to the coarse layers, at the cost of two small dense
layers.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, silu

from forge.core.errors import InputError
from forge.generators.blocks.layers import EqualLinear

POOLED = 4  # side of the coarse maps after pooling, as in the paper


class SkipExcitation(nn.Module):
    """y = x_fine * 2 sigmoid(W2 silu(W1 pool(x_coarse))), one factor for each image and channel.

    The paper has a factor of one sigmoid. Here W2 starts at 0 and the factor at 2 * 1/2 = 1: the network is at first as
    it would be without the link.

    Args:
        coarse: channels of the coarse maps.
        fine: channels of the finest maps.
        equalised: whether weights are N(0, 1) and scaled at run time, as in the network around.
    """

    def __init__(self, coarse: int, fine: int, *, equalised: bool) -> None:
        super().__init__()
        # on 4x4 places, a 4x4 convolution without padding is a dense layer
        dense = EqualLinear if equalised else nn.Linear
        self.first, self.second = dense(coarse * POOLED**2, fine), dense(fine, fine)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Weigh the channels of fine maps [N, fine, H, W], given coarse ones [N, coarse, h, h] with h >= 4."""
        pooled = adaptive_avg_pool2d(coarse, POOLED).flatten(1)
        factor: Tensor = 2 * self.second(silu(self.first(pooled))).sigmoid()  # [N, fine], in 0..2
        return fine * factor[:, :, None, None].to(fine.dtype)


def check_source(side: int | None, finest: int) -> None:
    """Refuse a link whose coarse maps do not exist or are the finest ones themselves; None is no link.

    Raises:
        InputError: names the sides that can be.
    """
    sides = [2**i for i in range(2, finest.bit_length() - 1)]  # 4, 8, ..., finest / 2
    if side is not None and side not in sides:
        can = f"choose one of {', '.join(map(str, sides))}" if sides else "leave it out"
        raise InputError(f"excitation cannot come from feature maps of side {side}, the finest have {finest}; {can}")
