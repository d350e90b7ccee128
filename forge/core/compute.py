"""Device, precision, memory allocator and seeds of a computation."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from forge.core.errors import InputError, quoted
from forge.core.execution import Execution

if TYPE_CHECKING:
    import torch  # four seconds; functions that need it import it, since most commands do not

Precision = Literal["fp32", "bf16"]
PrecisionAsked = Literal["auto", "fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")
_THREADS = "OMP_NUM_THREADS"
_written: str | None = None  # by `set_threads`
_before: str | None = None  # what it replaced


def tune_allocator() -> None:
    """Keep freed activations in the process (glibc only; elsewhere nothing happens).

    By default glibc returns large freed blocks to the system, and every training step faults the same pages in again:
    a StyleGAN step then takes 1.6 times as long on a CPU. Must run before the first large allocation.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # numbers of <malloc.h>
    libc.mallopt(m_mmap_max, 0)  # no block from mmap, which free would give back at once
    libc.mallopt(m_trim_threshold, 2**31 - 1)  # nothing is trimmed from the heap's end below 2 GiB
    libc.mallopt(m_top_pad, 512 << 20)  # the heap grows by 512 MiB at a time


def share_cores() -> None:
    """Let threads of torch that wait for others sleep at once, where worker processes need the cores beside them.

    OpenMP lets them spin for about a millisecond at the end of every loop of a network: `bench detect` of 1,000 photos
    then takes 67 s of processor time instead of 25 s. Must run before torch is imported; what the user set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def derive_seed(seed: int, *labels: str | int) -> int:
    """Return an independent 63-bit seed for one purpose, so that no two parts of a run share random numbers."""
    # separated, so that labels ("a", "bc") and ("ab", "c") give different texts
    text = "/".join(map(str, (seed, *labels)))
    # 63 bits fit torch's and NumPy's signed seeds
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to a device without waiting for what the device is doing."""
    # only a copy from pinned memory runs beside the computation; from pageable memory the call waits
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass(frozen=True)
class Compute:
    """A device and the precision asked for on it; on a GPU, fp32 then means fp32 and not TF32.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        precision: "fp32", "bf16", or "auto": what the shipped table says of each network (`forge.core.execution`).
        threads: processor threads that compute; on a CPU results of a training depend on them.
    """

    device: str = "cpu"
    precision: PrecisionAsked = "auto"
    threads: int = field(default_factory=lambda: default_threads())

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

    def decide(self, execution: Execution) -> Precision:
        """Return the precision of a network's training: what was asked for, else by rule; never by a measurement.

        Args:
            execution: how the network is computed, by the shipped table.
        """
        # what was asked for holds, also where the hardware only emulates it
        if self.precision != "auto":
            return self.precision
        preferred = execution.precision if self.device.startswith("cuda") else execution.cpu
        return preferred if self.has_bf16() else "fp32"

    def numerics(self, execution: Execution) -> dict[str, str | int]:
        """Return what a training's result depends on beside its settings: precision, and on a CPU the threads."""
        # on a GPU the threads change nothing
        return {"precision": self.decide(execution), "threads": 0 if self.device.startswith("cuda") else self.threads}

    def has_bf16(self) -> bool:
        """Return whether the device has bf16 arithmetic: a GPU from capability 8.0 on, a CPU by its instructions."""
        if not self.device.startswith("cuda"):
            return cpu_has_bf16()
        return bool(_cuda().get_device_capability(self.torch_device) >= (8, 0))  # Ampere

    def describe(self) -> str:
        """Name the hardware that numbers depend on: instruction set and threads, or GPU name."""
        import torch

        if self.torch_device.type == "cuda":
            return str(torch.cuda.get_device_name(self.torch_device))
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"


def default_threads() -> int:
    """Processor threads to compute with: OMP_NUM_THREADS where it is set, else one per core this process may use."""
    return _number(os.environ.get(_THREADS)) or cores()


def asked_threads() -> int | None:
    """Return OMP_NUM_THREADS where it was set to a positive number by anybody but `set_threads`."""
    value = os.environ.get(_THREADS)
    return _number(_before if value == _written else value)


def _number(value: str | None) -> int | None:
    first = (value or "").partition(",")[0]  # may list one number for each level of nesting
    return int(first) if first.isdigit() and int(first) > 0 else None


# a container or taskset may allow fewer than the machine has
def cores() -> int:
    """Return processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Compute with this many processor threads from now on."""
    global _before, _written
    if (value := os.environ.get(_THREADS)) != _written:
        _before = value
    # for child processes, and for torch where it is imported later
    os.environ[_THREADS] = _written = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


@cache
def cpu_has_bf16() -> bool:
    """Return whether the processor has bf16 instructions: avx512_bf16 or amx_bf16 (Linux; elsewhere no)."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):  # not Linux
        return False
    return flags is not None and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[1].split())


def choose_device(name: str = "auto") -> str:
    """Resolve "auto", "cpu", "cuda" or "cuda:N" to a device that is there.

    Raises:
        InputError: the device is not known or not present.
    """
    if name == "cpu":
        return name
    if name != "auto" and not name.startswith("cuda"):
        raise InputError(f"device {quoted(name)} is not known; use auto, cpu, cuda or cuda:N")
    # without a device file no driver can find a GPU
    if name == "auto" and platform.system() == "Linux" and not list(Path("/dev").glob("nvidia[0-9]*")):
        return "cpu"  # spares the seconds that importing torch takes
    cuda = _cuda()
    if not cuda.is_available():
        if name == "auto":
            return "cpu"
        raise InputError(f"device {quoted(name)} was asked for but torch sees no CUDA GPU here; use --device cpu")
    if name == "auto":
        return "cuda"
    index = name.partition(":")[2]
    if index and (not index.isdigit() or int(index) >= cuda.device_count()):
        raise InputError(f"device {quoted(name)} is not there; torch sees {cuda.device_count()} CUDA GPUs")
    return name


def devices_of(device: str) -> list[str]:
    """Return the GPUs that a chosen device stands for: all of "cuda", one of "cuda:N"."""
    return [device] if ":" in device else [f"cuda:{number}" for number in range(_cuda().device_count())]


def _cuda() -> ModuleType:
    import torch

    return torch.cuda
