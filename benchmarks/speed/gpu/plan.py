"""The plan of the GPU run: its parts in their order, and their shares of the time. Imports nothing heavy."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One part of the run.

    Attributes:
        name: of the part, see `parts.run_part`.
        share: of the time.
        background: goes on beside the parts that follow.
    """

    name: str
    share: float
    background: bool = False


# Shares of the time, not seconds: a budget of another size is divided alike.
GPU = {"facts": 4, "tests": 85, "trainings": 45, "detectors": 85, "synthesis": 14, "compiled": 45}
GPU_ZOO = {"stylegan-lite 64": 90, "stylegan-lite 128": 120, "dcgan 64": 35, "cgan 64": 35}
CPU = {"facts": 2, "tests": 25, "trainings": 10, "detectors": 20, "synthesis": 6, "compiled": 1}
CPU_ZOO = {"cgan 32": 15}


def plan(*, gpu: bool) -> list[Part]:
    """Return the parts on a GPU, or of a dry run on a CPU; what is trained is measured beside the next training."""
    first, kept = (GPU, GPU_ZOO) if gpu else (CPU, CPU_ZOO)
    zoo = [
        part
        for name, share in kept.items()
        for part in (Part(f"zoo {name}", share), Part(f"quality {name}", 0, background=True))
    ]
    return [*(Part(name, share) for name, share in first.items()), *zoo]
