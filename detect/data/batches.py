"""Training batches, half real and half forged; batch number k depends on the seed and k alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detect.data.views import View, resolution_of
from forge.core.compute import derive_seed
from forge.faces.faceset import Indices
from forge.faces.feed import PixelFeed

# 2 GB of uint8 are 170,000 images of 64 px
PRELOAD_BYTES = 2 << 30


class _Stream:
    """One class's images in an endless row of shuffled passes."""

    def __init__(self, view: View, seed: int, device: torch.device, *, preload: bool) -> None:
        self.view, self.seed = view, seed
        self.feed = PixelFeed(view, device, resident=preload)
        self._orders: dict[int, Indices] = {}

    def _order(self, number: int) -> Indices:
        if number not in self._orders:
            # a batch may reach from one pass into the next: the orders of both are kept, older ones dropped
            self._orders = {key: value for key, value in self._orders.items() if key >= number - 1}
            # each pass has a seed of its own, so that its order is known without those before it
            seed = derive_seed(self.seed, "pass", number)
            self._orders[number] = np.random.default_rng(seed).permutation(len(self.view)).astype(np.int64)
        return self._orders[number]

    def _positions(self, start: int, count: int) -> Indices:
        positions = np.arange(start, start + count)
        # image i of the endless row is image i mod n of pass i div n
        passes, within = np.divmod(positions, len(self.view))
        return np.concatenate([self._order(int(number))[within[passes == number]] for number in np.unique(passes)])

    def take(self, start: int, count: int, following: int) -> Tensor:
        """Return images number `start` to `start + count` of the endless row, uint8 [count, H, W, 3] on the device.

        Args:
            start: of the images.
            count: of them.
            following: where the next call will start.
        """
        # the next positions are given lazily: only a feed that reads ahead asks for them
        return self.feed.take(self._positions(start, count), lambda: self._positions(following, count))


class BalancedBatches:
    """Batches of as many real as forged images; the smaller class simply comes round more often.

    A batch is a function of the seed and its number, so that a resumed fit needs no stored random state. Sets up to
    2 GB are kept as uint8 on a GPU; larger ones, and all on a CPU, are read batch by batch from their memory map, so
    that memory holds no copy of a set.

    Args:
        real: images with label 0.
        forged: images with label 1.
        size: images per batch, even.
        seed: of the order.
        device: where batches are put together.
        preload_bytes: the largest amount of pixels kept on a GPU.
        share: the part of each half that this process computes; None: all of it.

    Attributes:
        positions: int64 [size], those of this process's images in the whole batch, whose first half is real.
    """

    def __init__(
        self,
        real: View,
        forged: View,
        *,
        size: int,
        seed: int,
        device: torch.device,
        preload_bytes: int = PRELOAD_BYTES,
        share: slice | None = None,
    ) -> None:
        # bytes of both classes: 3 channels of uint8
        pixels = (len(real) + len(forged)) * resolution_of(real) ** 2 * 3
        preload = device.type != "cpu" and pixels <= preload_bytes
        self.half = size // 2
        within = range(self.half) if share is None else range(self.half)[share]
        self._first, self._count = within.start, len(within)
        self.positions = torch.tensor([*within, *(self.half + position for position in within)])
        # different seeds: with one, classes of equal size would be passed in the same order
        self.real = _Stream(real, derive_seed(seed, "real"), device, preload=preload)
        self.forged = _Stream(forged, derive_seed(seed, "forged"), device, preload=preload)
        # ceil: the pass is over when every image of the larger class was seen
        self.steps_per_pass = -(-max(len(real), len(forged)) // self.half)
        # real first; the order within a batch does not matter to a mean loss
        self.labels = torch.cat([torch.zeros(self._count), torch.ones(self._count)]).to(device)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return this process's part of batch `number`: uint8 [size, H, W, 3] and labels float32 [size], 1 = forged."""
        # both streams advance by half a batch per number, whatever their length
        start = number * self.half + self._first
        halves = [stream.take(start, self._count, start + self.half) for stream in (self.real, self.forged)]
        return torch.cat(halves), self.labels
