"""`make gpu`: run all parts one after another, each in a process of its own, and write down what they leave.

    OUT=folder DEVICE=cuda BUDGET=540 python -m benchmarks.speed.gpu.run

`results.json` is written anew every few seconds, so that what was measured survives a cut. A part that fails or is
killed at its limit takes no other with it; the time it did not use goes to those that follow.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.speed.gpu.plan import Part, plan
from benchmarks.speed.gpu.record import GpuFigure, PartRecord, Recorder
from forge.core.errors import BenchError, InputError, UnknownNameError
from forge.core.files import read_json, write_json

SCHEMA_VERSION = 1
REFRESH = 2.0  # seconds between looks at what a running part has left
RESERVE = {True: 25.0, False: 5.0}  # seconds kept for the quality of the last training, on a GPU and on a CPU
ROOT = Path(__file__).resolve().parents[3]


class PartResult(BaseModel):
    """Outcome of a part.

    Attributes:
        status: "done", "failed" (by itself), "cut" (killed at its limit), "running".
        seconds: it took.
        limit: seconds it had.
        error: the last line of what went wrong.
        record: what it left.
    """

    model_config = ConfigDict(extra="forbid")
    status: Literal["done", "failed", "cut", "running"] = "running"
    seconds: float = 0.0
    limit: float
    error: str = ""
    record: PartRecord = PartRecord()


class GpuRun(BaseModel):
    """results.json of a run.

    Attributes:
        started: UTC, ISO 8601.
        seconds: of the whole run so far.
        budget: seconds it was given.
        device: as asked for.
        pack: digest of the GPU pack; empty without one.
        command: that ran it.
        parts: by name, in their order.
    """

    model_config = ConfigDict(extra="forbid")
    schema_version: int = SCHEMA_VERSION
    started: str
    seconds: float = 0.0
    budget: float
    device: str
    pack: str = ""
    command: str = "make gpu"
    parts: dict[str, PartResult] = {}

    @property
    def figures(self) -> list[GpuFigure]:
        """All measured numbers."""
        return [figure for part in self.parts.values() for figure in part.record.figures]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts about the device from the first part; empty if it failed."""
        return self.parts["facts"].record.facts if "facts" in self.parts else {}

    @classmethod
    def read(cls, path: Path) -> GpuRun:
        """Read a results.json.

        Raises:
            InputError: not one, or of another version.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValueError as error:  # pydantic's error is a ValueError
            raise InputError(f"{path} is no results.json of `make gpu`: {error}"[:300]) from error


class Runner:
    """Runs parts within a budget.

    Args:
        device: "cuda", "cuda:N" or "cpu".
        out: receives results.json, log.txt and what is kept.
        budget: seconds in all.
        pack: folder of the GPU pack.
        chosen: names of the parts to run; all by default.

    Raises:
        UnknownNameError: a part is not known.
    """

    def __init__(self, device: str, out: Path, *, budget: float, pack: Path, chosen: tuple[str, ...] = ()) -> None:
        known = {part.name: part for part in plan(gpu=device.startswith("cuda"))}
        for name in chosen:
            if name not in known:
                raise UnknownNameError("part", name, known)
        self._reserve = RESERVE[device.startswith("cuda")]
        self._parts = [part for part in known.values() if not chosen or part.name in chosen]
        self._device, self._out, self._pack = device, out, pack
        self._begin = time.monotonic()
        card = pack / "pack.json"
        # the results name the pack that they were measured with
        digest = read_json(card)["digest"] if card.is_file() else ""
        self.run = GpuRun(
            started=datetime.now(UTC).isoformat(timespec="seconds"), budget=budget, device=device, pack=digest
        )
        # Not fork: CUDA cannot be used in a fork of a process that has used it. Not spawn: each part would import torch
        # anew.
        self._context = multiprocessing.get_context("forkserver")
        # imports torch once for all parts
        self._context.set_forkserver_preload(["benchmarks.speed.gpu.parts"])
        self._beside: list[tuple[Part, ForkServerProcess, float]] = []

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    def __call__(self) -> GpuRun:
        """Run all parts; returns what is in results.json."""
        self._out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
            self._work = Path(folder)
            for number, part in enumerate(self._parts):
                # What is left is divided among the parts that still have to run: one that ends early leaves its time to
                # the others.
                waiting = sum(other.share for other in self._parts[number:] if not other.background)
                left = self.run.budget - self._reserve - self._elapsed
                # at least a second, so that a part without time is cut and not skipped silently
                limit = max(1.0, left if part.background else left * part.share / waiting)
                process = self._start(part, limit)
                if part.background:
                    self._beside.append((part, process, time.monotonic()))
                else:
                    self._finish(part, process, time.monotonic(), limit)
            # Beside parts are waited for at the end; none is cut while parts in front run.
            for part, process, begin in self._beside:
                self._finish(part, process, begin, max(1.0, self.run.budget - self._elapsed))
        return self.run

    def _start(self, part: Part, limit: float) -> ForkServerProcess:
        self.run.parts[part.name] = PartResult(limit=round(limit, 1))
        self._write()
        setting = {
            "device": self._device,
            "out": self._out,
            "work": self._work,
            "pack": self._pack,
            "workers": os.cpu_count() or 1,
            "seconds": limit,
            "figures": tuple(self.run.figures),  # figures of parts before, from which trainings take their length
        }
        record_file = self._record_of(part)
        process = self._context.Process(target=_play, args=(part.name, record_file, setting, self._out / "log.txt"))
        process.start()
        return process

    def _record_of(self, part: Part) -> Path:
        return self._work / f"{part.name.replace(' ', '-')}.json"

    def _finish(self, part: Part, process: ForkServerProcess, begin: float, limit: float) -> None:
        """Wait for a part, from now on at most `limit` seconds, and write down what became of it."""
        deadline = time.monotonic() + limit
        while process.exitcode is None and time.monotonic() < deadline:
            # woken by the end of the process, at the latest after REFRESH
            process.join(min(REFRESH, max(0.01, deadline - time.monotonic())))
            self._refresh(part)
        cut = process.exitcode is None
        if cut:
            with suppress(ProcessLookupError):
                # SIGKILL: a part that hangs in native code handles no other signal.
                os.killpg(process.pid or 0, signal.SIGKILL)  # its own group, with all that it started
            process.join()
        self._refresh(part)
        result = self.run.parts[part.name]
        result.seconds = round(time.monotonic() - begin, 1)
        result.status = "cut" if cut else "failed" if process.exitcode else "done"
        # moved from the facts to the part's own field
        result.error = str(result.record.facts.pop("error", "")) if result.status == "failed" else ""
        print(f"{part.name}: {result.status} after {result.seconds:.0f} s {result.error}", flush=True)
        self._write()

    def _refresh(self, part: Part) -> None:
        """Take what a part has left so far into results.json."""
        record_file = self._record_of(part)
        if record_file.is_file():
            # written whole by the part, so that a look never sees half of it
            self.run.parts[part.name].record = PartRecord.model_validate(read_json(record_file))
            self._write()

    def _write(self) -> None:
        self.run.seconds = round(self._elapsed, 1)
        write_json(self._out / "results.json", self.run.model_dump(mode="json"))


def _play(name: str, record_file: Path, setting: Mapping[str, Any], log: Path) -> None:
    """Run one part in this process, which leads a group of its own; what it prints goes to the log."""
    # A group of its own: killing it takes test processes and workers of the part with it.
    os.setsid()
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)  # descriptors, not `sys.stdout`: libraries in C print too
        os.dup2(file.fileno(), 2)
    print(f"== {name}, at most {setting['seconds']:.0f} s", flush=True)
    recorder = Recorder(record_file)
    try:
        # import torch; the server of forks has imported them already
        import torch

        from benchmarks.speed.gpu.parts import Setting, run_part

        device = torch.device(setting["device"])
        run_part(name, recorder, Setting(**{**setting, "device": device}))
    except BaseException as error:  # also `SystemExit` and Ctrl-C: the record says how the part ended
        traceback.print_exc()
        recorder.fact("error", f"{type(error).__name__}: {error}"[:500])
        raise SystemExit(1) from error


def _budget(text: str) -> float:
    """Return the budget in seconds.

    Raises:
        InputError: it is no positive number.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"BUDGET={text} is no positive number of seconds")
    return seconds


def main() -> int:
    """Run as the environment says: OUT, DEVICE, BUDGET, PARTS, PACK; return the exit code."""
    try:
        device = os.environ.get("DEVICE", "cuda")
        if device != "cpu" and not device.startswith("cuda"):
            raise InputError(f"DEVICE={device} is not known; use cuda, cuda:N or cpu")
        out = Path(os.environ.get("OUT") or ROOT / "build" / "gpu")
        (out / "log.txt").unlink(missing_ok=True)  # one log per run
        chosen = tuple(name.strip() for name in os.environ.get("PARTS", "").split(",") if name.strip())
        budget = _budget(os.environ.get("BUDGET", "540"))
        run = Runner(device, out, budget=budget, pack=Path(os.environ.get("PACK") or ROOT / ".gpu"), chosen=chosen)()
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps({name: part.status for name, part in run.parts.items()}, indent=1))
    # a part that was cut is expected where the budget is small
    return 1 if any(part.status == "failed" for part in run.parts.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
