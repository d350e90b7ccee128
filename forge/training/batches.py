"""Batches of real images in an order that follows from the seed; each epoch shows every image once.

A step that takes batches of several views, e.g. of two domains, takes them in turn; each view has epochs of its own, so
that a smaller one is shown more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from forge.core.compute import derive_seed, to_device
from forge.faces.faceset import FaceView, Indices
from forge.faces.feed import PixelFeed
from forge.training.task import Training

RESIDENT_BYTES = 4 << 30  # a set up to this size is held on a GPU as one uint8 tensor, larger ones stream


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
        views: whose batches are taken in turn; by default the training's view alone.
    """

    def __init__(self, training: Training, share: slice, views: Sequence[FaceView] = ()) -> None:
        codes, device = training.codes, training.compute.torch_device
        self._codes = None if codes is None else torch.from_numpy(codes).to(device)
        self._device = device
        self._orders = [
            _Order(view, training.settings.batch, ("order", number) if number else ("order",), training.seed, share)
            for number, view in enumerate(views or [training.view])
        ]
        self._feeds = [PixelFeed(order.view, device, resident=_fits(order.view, device)) for order in self._orders]

    def take(self, number: int) -> Batch:
        """Return the batch `number`, counted from the beginning of the training."""
        turn, which = divmod(number, len(self._orders))
        order = self._orders[which]
        positions = order.positions(turn)
        # the positions of the next batch let the feed load it while this one is computed
        pixels = self._feeds[which].take(positions, lambda: order.positions(turn + 1))
        labels = None if self._codes is None else self._codes[to_device(torch.from_numpy(positions), self._device)]
        return Batch(pixels, labels)


def _fits(view: FaceView, device: torch.device) -> bool:
    # a CPU reads the memory map as fast as a copy; bytes of all pixels, uint8
    return device.type != "cpu" and len(view) * view.faces.resolution**2 * 3 <= RESIDENT_BYTES


class _Order:
    """The positions of the batches of one view.

    Args:
        view: the images.
        batch: images per batch.
        stream: names the random numbers of the order.
        seed: of the training.
        share: the part of each batch that this process computes.
    """

    def __init__(self, view: FaceView, batch: int, stream: tuple[str | int, ...], seed: int, share: slice) -> None:
        self.view, self._batch, self._stream, self._seed, self._share = view, batch, stream, seed, share
        # a view of fewer images than a batch goes round within it
        self._rounds = -(-batch // len(view))
        self._orders: dict[int, Tensor] = {}  # epoch -> order of the images, of the newest epochs

    def positions(self, number: int) -> Indices:
        """Return the positions of the view's batch `number`."""
        count = self._rounds * len(self.view)
        epoch, position = divmod(number, count // self._batch)  # what is left of an epoch is not shown
        if epoch not in self._orders:
            # the epoch before stays: while its last batch is used, the first of the next one is loaded already
            self._orders = {key: order for key, order in self._orders.items() if key >= epoch - 1}
            # from (seed, epoch) and a generator on the CPU: a continued training and every process get the same order
            source = torch.Generator().manual_seed(derive_seed(self._seed, *self._stream, epoch))
            rounds = [torch.randperm(len(self.view), generator=source) for _ in range(self._rounds)]
            self._orders[epoch] = torch.cat(rounds)
        start = position * self._batch
        # all processes cut their shares from one batch
        return cast(Indices, self._orders[epoch][start : start + self._batch][self._share].numpy())
