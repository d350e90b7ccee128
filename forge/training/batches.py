"""Batches of real images in an order that follows from the seed; each epoch shows every image once."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from forge.core.compute import derive_seed, to_device
from forge.faces.faceset import Indices
from forge.faces.feed import PixelFeed
from forge.training.task import Training

RESIDENT_BYTES = 4 << 30  # a set up to this size is held on the device as one uint8 tensor, larger ones stream


class Batch(NamedTuple):
    """Real images of a batch that one process uses.

    Attributes:
        pixels: uint8 [N, H, W, 3].
        labels: int64 [N, C] of a conditional training.
    """

    pixels: Tensor
    labels: Tensor | None


class Batches:
    """The batches of a training by number, on its device.

    Args:
        training: gives images, labels, batch size and seed.
        share: the part of each batch that this process computes.
    """

    def __init__(self, training: Training, share: slice) -> None:
        view, self._device = training.view, training.compute.torch_device
        self._count, self._batch, self._seed, self._share = len(view), training.settings.batch, training.seed, share
        self._orders: dict[int, Tensor] = {}  # epoch -> order of the images, of the newest epochs
        size = len(view) * view.faces.resolution**2 * 3  # bytes of all pixels, uint8
        self._feed = PixelFeed(view, self._device, resident=size <= RESIDENT_BYTES)
        codes = training.codes
        self._codes = None if codes is None else torch.from_numpy(codes).to(self._device)

    def take(self, number: int) -> Batch:
        """Return the batch `number`, counted from the beginning of the training."""
        positions = self._positions(number)
        # the positions of the next batch let the feed load it while this one is computed
        pixels = self._feed.take(positions, lambda: self._positions(number + 1))
        labels = None if self._codes is None else self._codes[to_device(torch.from_numpy(positions), self._device)]
        return Batch(pixels, labels)

    def _positions(self, number: int) -> Indices:
        epoch, position = divmod(number, self._count // self._batch)  # what is left of an epoch is not shown
        if epoch not in self._orders:
            # the epoch before stays: while its last batch is used, the first of the next one is loaded already
            self._orders = {key: order for key, order in self._orders.items() if key >= epoch - 1}
            # from (seed, epoch) and a generator on the CPU: a continued training and every process get the same order
            source = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            self._orders[epoch] = torch.randperm(self._count, generator=source)
        start = position * self._batch
        # all processes cut their shares from one batch
        return cast(Indices, self._orders[epoch][start : start + self._batch][self._share].numpy())
