"""Where numbers are computed: device, precision, memory allocator, seeds."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forge.errors import InputError
from forge.files import read_json_object, write_json

if TYPE_CHECKING:
    import torch

    from forge.execution import Execution

Precision = Literal["fp32", "bf16"]
PrecisionAsked = Literal["auto", "fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")

# a network must train this much faster in bf16 before it is worth the coarser arithmetic; the margin also keeps
# the choice the same on a noisy machine
WORTHWHILE = 1.2


def tune_allocator() -> None:
    """Keep freed activations in the process (glibc only; elsewhere nothing happens).

    By default glibc returns large freed blocks to the system, and every training step faults the same pages in again:
    a StyleGAN step then takes 1.6 times as long on a CPU. Must run before the first large allocation.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 512 << 20)


def derive_seed(seed: int, *labels: str | int) -> int:
    """Return an independent 63-bit seed for one purpose, so that no two parts of a run share random numbers."""
    text = "/".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to a device without waiting for what the device is doing."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass(frozen=True)
class Compute:
    """A device and the precision asked for on it; on a GPU, fp32 then means fp32 and not TF32.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        precision: "fp32", "bf16", or "auto": on a CPU whichever trains a network faster here (measured), on a GPU what
            the shipped table says (`forge.execution`).
        memory: a JSON file that remembers what was measured, so that a later run decides the same.
    """

    device: str = "cpu"
    precision: PrecisionAsked = "auto"
    memory: Path | None = None

    def __post_init__(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            # TF32 keeps 10 bits of the mantissa: results would differ from those of a CPU by 1e-3
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        import torch

        return torch.device(self.device)

    def autocast(self, precision: Precision) -> AbstractContextManager[object]:
        """Mixed precision for the enclosed operations; "fp32" leaves them as they are."""
        import torch

        return torch.autocast(self.torch_device.type, torch.bfloat16, enabled=precision == "bf16")

    @contextmanager
    def tensor_cores(self, precision: Precision) -> Iterator[None]:
        """Let fp32 operations of a GPU run as TF32 where the precision is "bf16": still eight times finer than bf16."""
        import torch

        products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        before = products.allow_tf32, convolutions.allow_tf32
        if precision == "bf16" and self.torch_device.type == "cuda":
            products.allow_tf32 = convolutions.allow_tf32 = True
        try:
            yield
        finally:
            products.allow_tf32, convolutions.allow_tf32 = before

    def decide(
        self, network: str, step: Callable[[Precision], object], *, execution: Execution, repeats: int = 3
    ) -> Precision:
        """Choose the precision in which a network's training step is faster.

        Args:
            network: what is measured, the key of the memory: name, size, resolution, batch.
            step: one representative training step in the given precision; must leave no lasting effect.
            execution: how the network runs on a GPU.
            repeats: timed steps a precision; the fastest counts, after one that does not.

        Returns:
            The precision asked for, or for "auto": on a GPU that of the table (fp32 where the GPU has no bf16), on a
            CPU the measured choice.
        """
        if self.precision != "auto":
            return self.precision
        if self.torch_device.type == "cuda":
            return execution.precision if self._has_bf16() else "fp32"
        known = read_json_object(self.memory) if self.memory and self.memory.is_file() else {}
        key = f"{network} @ {self.describe()}"
        if key not in known:
            seconds = {precision: self._time(step, precision, repeats) for precision in ("fp32", "bf16")}
            gain = seconds["fp32"] / seconds["bf16"]
            known[key] = {
                "seconds_fp32": round(seconds["fp32"], 6),
                "seconds_bf16": round(seconds["bf16"], 6),
                "choice": "bf16" if gain >= WORTHWHILE else "fp32",
            }
            if self.memory:
                write_json(self.memory, known)
        choice: Precision = known[key]["choice"]
        return choice

    def _has_bf16(self) -> bool:
        """Whether the GPU computes in bf16 itself: from compute capability 8.0 on."""
        import torch

        return torch.cuda.get_device_capability(self.torch_device) >= (8, 0)

    def _time(self, step: Callable[[Precision], object], precision: Precision, repeats: int) -> float:
        best = float("inf")
        for attempt in range(repeats + 1):
            start = time.perf_counter()
            step(precision)
            if attempt:
                best = min(best, time.perf_counter() - start)
        return best

    def describe(self) -> str:
        """Name the hardware that numbers depend on: instruction set and threads, or GPU name."""
        import torch

        if self.torch_device.type == "cuda":
            return str(torch.cuda.get_device_name(self.torch_device))
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"


def choose_device(name: str = "auto") -> str:
    """Resolve "auto", "cpu", "cuda" or "cuda:N" to a device that is there.

    Raises:
        InputError: the device is not known or not present.
    """
    if name == "cpu":
        return name
    if name != "auto" and not name.startswith("cuda"):
        raise InputError(f"device {name!r} is not known; use auto, cpu, cuda or cuda:N")
    if name == "auto" and platform.system() == "Linux" and not list(Path("/dev").glob("nvidia[0-9]*")):
        return "cpu"  # spares the seconds that importing torch takes
    import torch

    if not torch.cuda.is_available():
        if name == "auto":
            return "cpu"
        raise InputError(f"device {name!r} was asked for but torch sees no CUDA GPU here; use --device cpu")
    if name == "auto":
        return "cuda"
    index = name.partition(":")[2]
    if index and (not index.isdigit() or int(index) >= torch.cuda.device_count()):
        raise InputError(f"device {name!r} is not there; torch sees {torch.cuda.device_count()} CUDA GPUs")
    return name
