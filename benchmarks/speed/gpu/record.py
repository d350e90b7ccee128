"""Record of a part of the GPU run: figures and facts in one JSON file, written anew after each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forge.core.files import write_json

Mode = Literal[
    "plain fp32", "eager fp32", "eager bf16", "graph fp32", "graph bf16", "compile bf16", "compile graph bf16"
]


Task = Literal["train", "fit", "score", "synthesize"]


class GpuFigure(BaseModel):
    """One measured number.

    Attributes:
        task: what runs: "train", "fit", "score" or "synthesize".
        network: generator or detector.
        resolution: height and width of the images in pixels.
        mode: how it runs; "plain fp32" is the loop of tutorials and public repositories, in PyTorch's default settings.
        value: images per second, the median of several rounds.
        batch: images per step.
        busy: share of the time in which the device computes, from the profiler; None where it was not measured.
        memory_mb: highest memory that torch reserved on the device, in MiB.
        note: what else to know.
    """

    model_config = ConfigDict(extra="forbid")  # a results.json of another version is refused, not half read
    task: Task
    network: str
    resolution: int
    mode: Mode
    value: float = Field(gt=0)
    batch: int
    busy: float | None = None
    memory_mb: float | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, network and resolution; modes are compared within them."""
        return self.task, self.network, self.resolution


class PartRecord(BaseModel):
    """The JSON file of one part.

    Attributes:
        figures: measured numbers.
        facts: anything else, by name.
        missing: what could not be measured, and why.
    """

    model_config = ConfigDict(extra="forbid")
    figures: list[GpuFigure] = []
    facts: dict[str, Any] = {}
    missing: dict[str, str] = {}


class Recorder:
    """Collects a part's record; what is there survives when the part is killed at its limit.

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, PartRecord()
        self._write()  # an empty record: the part began

    def figure(self, figure: GpuFigure) -> None:
        """Add a measured number."""
        self.record.figures.append(figure)
        # Printed as well: the log of a cut run then has the figures.
        share = "" if figure.busy is None else f", busy {figure.busy:.0%}"
        print(f"{' '.join(map(str, figure.key))} px {figure.mode}: {figure.value:,.0f} images/s{share}", flush=True)
        self._write()

    def fact(self, name: str, value: object) -> None:
        """Add a fact."""
        self.record.facts[name] = value
        self._write()

    def lacks(self, name: str, why: str) -> None:
        """Note what could not be measured."""
        self.record.missing[name] = why
        print(f"{name}: {why}", flush=True)
        self._write()

    def _write(self) -> None:
        write_json(self.path, self.record.model_dump(mode="json"))  # whole or not there, however the process ends
