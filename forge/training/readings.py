"""Numbers that training steps measure; they stay on the device until they are read, since a read waits for a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from forge.core.distributed import ProcessGroup


class Readings(Mapping[str, Tensor]):
    """The newest value of each reading by name, a float32 scalar on the device.

    Args:
        device: of the values.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._values: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        """Return the newest value."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of their first record."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of readings."""
        return len(self._values)

    def record(self, name: str, value: Tensor) -> None:
        """Keep a scalar, always in the same memory: CUDA graphs of all kinds of step write to it."""
        if name in self._values:
            # a graph that was captured with this tensor goes on writing to its address
            self._values[name].copy_(value.detach())
        else:
            # a copy: the value may lie in memory that the next replay of a graph overwrites
            self._values[name] = value.detach().float().reshape(()).clone()

    def average(self, processes: ProcessGroup) -> None:
        """Replace the values by their means over all processes."""
        processes.average(self._values.values())

    def fetch(self) -> dict[str, float]:
        """Return the values as numbers; waits for the device, once for all of them."""
        names = sorted(self._values)
        if not names:
            return {}
        # stacked first, so that one transfer brings all of them
        values: list[float] = torch.stack([self._values[name] for name in names]).tolist()
        return dict(zip(names, values, strict=True))

    def restore(self, values: Mapping[str, float]) -> None:
        """Take over what `fetch` gave."""
        # float32, as `record` makes them
        self._values = {name: torch.tensor(value, device=self._device) for name, value in values.items()}
