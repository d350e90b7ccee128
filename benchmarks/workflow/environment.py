"""Environment of a result: versions, hardware, commit, memory."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from forge.core.compute import Compute

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "pandas", "pyarrow")


def describe_environment(compute: Compute) -> dict[str, str]:
    """Versions, device and commit as text."""
    return versions() | {
        "device": compute.describe(),
        "precision": compute.precision,
        "threads": str(compute.threads),
        "bf16": "yes" if compute.has_bf16() else "no",
    }


def versions() -> dict[str, str]:
    """Return the versions of installed packages, without looking for a device."""
    # Recorded, not part of any key: the same stage of another machine counts as the same result.
    installed = {"python": platform.python_version(), "bench": _version("deepfake-bench")}
    installed |= {name: _version(name) for name in PACKAGES} | {"system": platform.system()}
    if _commit():  # no commit at all in an installed wheel
        installed["commit"] = _commit()
    return installed


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


@cache
def _commit() -> str:
    """The commit of this checkout, with a `+` where it has changes; empty outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # in a worktree `.git` is a file
        return ""
    # A checkout without git, or one of another owner, costs the entry and no error.
    with suppress(OSError, subprocess.SubprocessError):
        run = ["git", "-C", str(root)]
        # bounded: no run waits for a slow file system
        head = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        dirty = subprocess.run([*run, "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
        return head.stdout.strip()[:12] + ("+" if dirty.stdout.strip() else "")
    return ""


def reset_peak_memory() -> None:
    """Start counting the highest resident memory anew (Linux; elsewhere the count is since the process began)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): 5 resets VmHWM to the current size


def peak_memory_mb() -> float | None:
    """Highest resident memory of this process since `reset_peak_memory`, in MiB; None where it cannot be read."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024, 1)  # the kernel gives kB
    return None


def available_memory_mb() -> float | None:
    """Memory that new processes can take without swapping, in MiB: of the machine, or less by the limit of a container.

    None where it cannot be read.
    """
    free = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable")]  # given in kB
    with suppress(OSError, ValueError):  # "max": no limit
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")) / 2**20)
    return min(free, default=None)
