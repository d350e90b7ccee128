"""CUDA graphs of training steps: one launch in place of the hundreds that a small network's step needs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # eager steps of a kind before its capture: optimizers and libraries allocate what they keep in these


class StepGraphs:
    """Run a training step eagerly, or from its CUDA graph once it has run a few times.

    A step may come in several kinds, for example with and without a gradient penalty; each gets a graph of its own, and
    tensors of its own that the graph reads its inputs from.
    Random numbers follow from `torch.manual_seed` before the call, in a graph as without one.

    Args:
        step: called as step(kind, *inputs). It works on device tensors in place, draws from the device's generator
            only, and never reads a value back.
        device: of the tensors.
        enabled: False runs every step eagerly; so does any device but a CUDA GPU.
    """

    def __init__(self, step: Callable[..., None], device: torch.device, *, enabled: bool) -> None:
        self._step, self._device = step, device
        self.enabled = enabled and device.type == "cuda"
        self.clear()

    def clear(self) -> None:
        """Forget all graphs: tensors that a step works on were replaced, or a number in it changed."""
        self._graphs: dict[Hashable, Any] = {}
        self._runs: Counter[Hashable] = Counter()
        self._inputs: dict[Hashable, list[Tensor | None]] = {}  # of each kind: what its graph reads its inputs from
        self._pool: Any = None
        self._stream: Any = None

    def __call__(self, variant: Hashable, *inputs: Tensor | None) -> None:
        """Run one step of this kind; inputs of a kind always have the same shapes."""
        if not self.enabled:
            self._step(variant, *inputs)
        # counted for each kind: a rare one, such as a step with a penalty, has warm-up steps of its own
        elif self._runs[variant] < WARM_UP:
            self._runs[variant] += 1
            self._aside(variant, inputs)
        else:
            self._fill(variant, inputs)
            # a capture records without computing, so the step itself is the first replay; where it failed, it runs
            # eagerly
            if variant not in self._graphs and not self._captured(variant):
                self._step(variant, *inputs)
            else:
                self._graphs[variant].replay()

    def _aside(self, variant: Hashable, inputs: tuple[Tensor | None, ...]) -> None:
        """Run eagerly on the stream that will be captured, so that autograd ties its nodes to that stream."""
        with torch.cuda.device(self._device):
            self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            # waits in both directions: the step sees what was queued before it, and what follows sees the step
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._step(variant, *inputs)
            torch.cuda.current_stream().wait_stream(self._stream)

    def _fill(self, variant: Hashable, inputs: tuple[Tensor | None, ...]) -> None:
        """Copy inputs into the tensors of their kind.

        Raises:
            ValueError: another number of inputs than before, or one is None where there was a tensor or the reverse:
                the graph would read an old tensor in its place.
        """
        if variant not in self._inputs:
            # copies: the caller's tensors will be freed or reused
            self._inputs[variant] = [None if given is None else given.clone() for given in inputs]
        else:
            for held, given in zip(self._inputs[variant], inputs, strict=True):
                if (held is None) != (given is None):
                    raise ValueError(f"inputs of the step {variant} are {'given' if held is None else 'missing'} now")
                if held is not None and given is not None:
                    held.copy_(given, non_blocking=True)  # the address stays, which is all that a graph knows

    def _captured(self, variant: Hashable) -> bool:
        """Capture a kind of step; one that cannot be captured switches graphs off for good, and says so."""
        try:
            self._capture(variant)
        except torch.OutOfMemoryError:  # no matter of graphs; explained to people elsewhere
            raise
        except RuntimeError as error:
            cause = str(error).partition("\n")[0]
            warnings.warn(f"steps run eagerly, since they cannot be captured as a CUDA graph: {cause}", stacklevel=2)
            self.clear()
            self.enabled = False
        return self.enabled

    def _capture(self, variant: Hashable) -> None:
        graph = torch.cuda.CUDAGraph()
        # one memory pool for all graphs, since only one of them runs at a time
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            self._step(variant, *self._inputs[variant])
        self._pool = self._pool or graph.pool()
        self._graphs[variant] = graph
