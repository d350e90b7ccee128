"""Several processes that train one network together: `torchrun` or `accelerate launch` start them and set RANK.

Each process computes its share of every batch; gradients and readings are averaged, so that all processes hold the same
weights. The first process alone writes files.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from forge.core.errors import InputError

_LEAVING_SECONDS = 10  # that a process waits at its end for the others


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training.

    Attributes:
        rank: which one this is; 0 is the first.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Meet the other processes, if the environment names any (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT)."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:  # also of torchrun with one process: nothing to exchange
            return cls()
        if not distributed.is_initialized():
            if device.type == "cuda":
                # NCCL takes the current device, which is the first GPU for all unless it is set
                torch.cuda.set_device(device)
            # the others wait while the first prepares photos and fits detectors
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=7))
            atexit.register(_leave)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Return the part of a batch that this process computes.

        Raises:
            InputError: the batch cannot be divided evenly.
        """
        if batch % self.size:
            raise InputError(f"batch {batch} cannot be divided among {self.size} processes; choose a multiple")
        each = batch // self.size
        # equal parts: the mean of the processes' means is then that of the whole batch
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one message."""
        group = list(tensors)
        if self.size == 1 or not group:
            return
        # one message instead of hundreds of small ones, each of which waits for the slowest process; float32, so that
        # tensors of several types fit into it
        flat = torch.cat([tensor.reshape(-1).float() for tensor in group])
        distributed.all_reduce(flat)
        parts = torch.split(flat / self.size, [tensor.numel() for tensor in group])
        for tensor, part in zip(group, parts, strict=True):
            tensor.copy_(part.view_as(tensor))  # in place: optimizers and graphs keep the addresses

    def average_gradients(self, network: torch.nn.Module) -> None:
        """Replace the gradients of a network by their means over all processes."""
        if self.size > 1:
            # ranks agree on which gradients there are
            self.average(p.grad for p in network.parameters() if p.grad is not None)

    def broadcast(self, value: Any) -> Any:  # noqa: ANN401 - whatever the first process has
        """Return the value of the first process in every process; all processes wait here for each other."""
        if self.size == 1:
            return value
        box = [value]  # filled in by the first process, overwritten in the others
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def _leave() -> None:
    """End the threads of the process group, before the interpreter does.

    The processes leave together: gloo aborts one whose peer closes the connection first.
    """
    if distributed.get_backend() == "gloo":  # NCCL has no such abort
        with suppress(RuntimeError):  # the others failed, or are gone already
            distributed.monitored_barrier(timeout=timedelta(seconds=_LEAVING_SECONDS))
    distributed.destroy_process_group()
