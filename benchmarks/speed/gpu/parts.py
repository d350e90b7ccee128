"""Parts of the GPU run; each imports what it needs, so that what is missing stops no other part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.speed.gpu.detectors import measure_compiled_detectors, measure_detectors
from benchmarks.speed.gpu.record import GpuFigure, Recorder
from benchmarks.speed.gpu.scale import scale_of
from benchmarks.speed.gpu.synthesis import measure_synthesis
from benchmarks.speed.gpu.timing import rate
from benchmarks.speed.gpu.trainings import measure_compiled_trainings, measure_trainings
from benchmarks.speed.gpu.zoo import (
    PUBLISHING,
    best_rate,
    finished_or_newest,
    keep,
    kimg_for,
    measure_quality,
    prepare_faces,
    train_for,
)
from forge.core.compute import Compute, choose_device

ROOT = Path(__file__).resolve().parents[3]
TRIED_ON_A_CPU = "agree and dcgan"  # tests of a dry run
UNMEASURED = 500.0  # images per second of a training whose speed could not be measured


@dataclass(frozen=True)
class Setting:
    """Device, folders and limits of a part.

    Attributes:
        device: of the run.
        out: receives what is kept; at most eight files in all.
        work: for everything else.
        pack: folder of the GPU pack.
        workers: processes that a part may start.
        seconds: the part's limit.
        figures: measured by the parts before.
    """

    device: torch.device
    out: Path
    work: Path
    pack: Path
    workers: int
    seconds: float
    figures: tuple[GpuFigure, ...] = ()


def facts(recorder: Recorder, setting: Setting) -> None:
    """Device, driver, libraries, and two ceilings: bf16 matrix products and copies within the device's memory."""
    device = setting.device
    recorder.fact("device", Compute(str(device)).describe())
    recorder.fact("torch", torch.__version__)
    recorder.fact("python", platform.python_version())
    recorder.fact("processor cores", os.cpu_count())
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        recorder.fact("capability", f"{properties.major}.{properties.minor}")
        recorder.fact("memory GiB", round(properties.total_memory / 2**30, 1))
        recorder.fact("cuda", torch.version.cuda)
        recorder.fact("cudnn", torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        recorder.fact("driver", subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip())
    # 8192: large enough to fill a GPU; small on a CPU, for a dry run.
    size = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    products = rate(lambda: left @ right, device, images=1, seconds=0.3)
    # a product takes 2 n^3 operations
    recorder.fact("bf16 matrix product TFLOP/s", round(products * 2 * size**3 / 1e12, 2))
    source = torch.randn(size, size, 8, device=device)
    target = torch.empty_like(source)
    copies = rate(lambda: target.copy_(source), device, images=1, seconds=0.3)
    # each byte is read and written
    recorder.fact("copy GB/s, read and written", round(copies * 2 * source.nbytes / 1e9, 1))


def tests(recorder: Recorder, setting: Setting) -> None:
    """`pytest -m cuda`."""
    chosen = [] if setting.device.type == "cuda" else ["-k", TRIED_ON_A_CPU]
    # a process of tests needs some seconds to start and a context on the device
    processes = min(setting.workers, 12) if setting.device.type == "cuda" else 0
    # A dry run starts no worker processes.
    parallel = ["-n", str(processes), "--dist", "load"] if processes else []
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-m", "cuda", "tests/cuda", "-p", "no:cacheprovider"]
    # one thread each: the processes share the cores
    environment = os.environ | {"BENCH_DEVICE": str(setting.device), "OMP_NUM_THREADS": "1"}
    outcomes: dict[str, list[str]] = {}
    # read as it comes: what passed is known when the tests are cut
    with subprocess.Popen(
        [*command, *chosen, *parallel], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if outcome := outcome_in(line):
                # Written at every line, since the part may be killed at the next.
                outcomes.setdefault(outcome[0], []).append(outcome[1])
                recorder.fact("tests", {outcome: len(names) for outcome, names in sorted(outcomes.items())})
                recorder.fact("not passed", {outcome: outcomes[outcome] for outcome in outcomes if outcome != "passed"})
    if process.returncode:
        raise RuntimeError(
            f"pytest ended with {process.returncode}: {recorder.record.facts.get('tests', 'no test ran')}"
        )


_OUTCOMES = "(?P<outcome>PASSED|FAILED|ERROR|SKIPPED)"
# Two forms: of pytest alone the test stands first, of pytest-xdist the worker.
_OUTCOME = re.compile(rf"(?P<test>\S+::\S.*?) {_OUTCOMES}\b")
_OUTCOME_OF_WORKER = re.compile(rf"\[gw\d+\] \[ *\d+%\] {_OUTCOMES} (?P<test>\S+::\S.*?)\s*$")


def outcome_in(line: str) -> tuple[str, str] | None:
    """Parse a line of `pytest -v`: "passed", "failed", "error" or "skipped", and the test; None for other lines."""
    match = _OUTCOME.match(line) or _OUTCOME_OF_WORKER.match(line)
    return (match["outcome"].lower(), match["test"]) if match else None


def trainings(recorder: Recorder, setting: Setting) -> None:
    """Speed of trainings."""
    measure_trainings(recorder, setting.device)


def detectors(recorder: Recorder, setting: Setting) -> None:
    """Speed of fits and of scoring."""
    measure_detectors(recorder, setting.device)


def synthesis(recorder: Recorder, setting: Setting) -> None:
    """Speed of synthesis."""
    measure_synthesis(recorder, setting.device)


def compiled(recorder: Recorder, setting: Setting) -> None:
    """torch.compile, where it is tried."""
    measure_compiled_trainings(recorder, setting.device)
    measure_compiled_detectors(recorder, setting.device)


def zoo(name: str, resolution: int) -> Callable[[Recorder, Setting], None]:
    """Return the part that trains a generator for as long as its time allows, and keeps it."""

    def run(recorder: Recorder, setting: Setting) -> None:
        faces = prepare_faces(setting.pack, setting.work, resolution, setting.device, setting.workers)
        recorder.fact("faces", {"name": faces.card.name, "digest": faces.card.digest, "splits": faces.card.splits})
        kimg = scale_of(setting.device).kimg
        if kimg is None:
            # the fastest way that this run measured, less a margin; see `kimg_for`
            kimg = kimg_for(best_rate(setting.figures, name, resolution) or UNMEASURED, setting.seconds)
        # by a monotonic clock, which no adjustment of the time moves
        until = time.monotonic() + setting.seconds - PUBLISHING
        out = train_for(recorder, setting.device, name, faces, kimg=kimg, work=setting.work, until=until)
        command = (
            f"bench run -g {name} -d dct --preset standard --resolution {resolution} --data DIR "
            f"--set generator.training.kimg={kimg:g} --set 'generator.training.augment=[colour, translation]' "
            "--set generator.training.augment_target=0.6"
        )
        recorder.fact(
            "file",
            keep(
                out,
                setting.work,
                setting.out,
                command=command,
                citation=faces.card.citation,
                device=str(setting.device),
            ).name,
        )

    return run


def quality(name: str, resolution: int) -> Callable[[Recorder, Setting], None]:
    """Return the part that measures a kept generator's forgeries beside the reference."""

    def run(recorder: Recorder, setting: Setting) -> None:
        faces = prepare_faces(setting.pack, setting.work, resolution, setting.device, setting.workers)
        training = finished_or_newest(setting.work / f"{name}-{resolution}")
        measure_quality(recorder, training, faces, setting.device, setting.work)

    return run


PARTS: dict[str, Callable[[Recorder, Setting], None]] = {
    "facts": facts,
    "tests": tests,
    "trainings": trainings,
    "detectors": detectors,
    "synthesis": synthesis,
    "compiled": compiled,
}


def run_part(name: str, recorder: Recorder, setting: Setting) -> None:
    """Run a part by its name in the plan.

    Raises:
        InputError: the device is not there.
    """
    choose_device(str(setting.device))  # a device that is not there fails here, not in the first kernel
    if name in PARTS:
        PARTS[name](recorder, setting)
    else:
        part, generator, resolution = name.split()  # "zoo dcgan 64"
        {"zoo": zoo, "quality": quality}[part](generator, int(resolution))(recorder, setting)
