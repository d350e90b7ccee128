"""Pixels of a view on the device that trains: kept there whole, or streamed through pinned memory one batch ahead."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forge.core.compute import to_device
from forge.faces.faceset import Images, Indices


class Readable(Protocol):
    """Images that can be read by position."""

    def read(self, positions: Indices | None = None) -> Images:
        """Return images uint8 [n, H, W, 3] at these positions; all by default."""


class PixelFeed:
    """uint8 images of a view on a device, by position.

    Args:
        view: the images.
        device: where they are wanted.
        resident: keep all of them on the device; else they are read from the set as they are asked for, on a GPU by a
            thread that reads the next batch while the device computes.
    """

    def __init__(self, view: Readable, device: torch.device, *, resident: bool) -> None:
        self._view, self._device = view, device
        self._pixels = torch.from_numpy(view.read()).to(device) if resident else None
        # one thread: batches are read in the order in which they are asked for
        self._reader = ThreadPoolExecutor(1) if not resident and device.type == "cuda" else None
        self._ahead: tuple[Indices, Future[Tensor]] | None = None

    @property
    def resident(self) -> bool:
        """Whether all images are kept on the device."""
        return self._pixels is not None

    def take(self, positions: Indices, upcoming: Callable[[], Indices] | None = None) -> Tensor:
        """Return images at these positions.

        Args:
            positions: int64 [n].
            upcoming: gives the positions of the next call, if they are known.

        Returns:
            uint8 [n, H, W, 3] on the device.
        """
        if self._pixels is not None:
            return self._pixels[to_device(torch.from_numpy(positions), self._device)]
        if self._reader is None:
            return torch.from_numpy(self._view.read(positions)).to(self._device)
        # after a roll-back the batch that was read ahead is not the one asked for, and is dropped
        known = self._ahead is not None and np.array_equal(self._ahead[0], positions)
        pinned = self._ahead[1].result() if self._ahead is not None and known else self._read(positions)
        self._ahead = None
        if upcoming is not None:
            following = upcoming()
            self._ahead = following, self._reader.submit(self._read, following)
        return pinned.to(self._device, non_blocking=True)  # torch keeps the pinned memory until the copy is done

    def _read(self, positions: Indices) -> Tensor:
        return torch.from_numpy(self._view.read(positions)).pin_memory()
