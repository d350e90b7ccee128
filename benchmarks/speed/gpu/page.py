"""The part of the speed page that tells of GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.speed.gpu.collect import IMPLEMENTED, PLAIN, Measured, Table, collect
from benchmarks.speed.gpu.record import Mode
from benchmarks.speed.gpu.run import GpuRun

SHOWN: tuple[Mode, ...] = (PLAIN, *IMPLEMENTED, "compile bf16", "compile graph bf16")

# images per second that are expected of an H100-class card
GOALS = {
    ("train", "dcgan", 64): 40_000,
    ("train", "stylegan-lite", 64): 6_000,
    ("train", "stylegan-lite", 128): 1_500,
    ("score", "xception", 64): 30_000,
    ("fit", "xception", 64): 6_000,
}
BUSY_GOAL = 0.9


def render_page(runs: Sequence[GpuRun]) -> str:
    """Return the part of the speed page that tells of GPUs, in Markdown."""
    table = collect(runs)
    lines = [
        "Each figure: images per second, the median of several rounds; `make gpu` on the device and day of its row. "
        "Plain fp32 is the loop of",
        "tutorials and public repositories on the same card in the same run, in PyTorch's own settings (TF32 in "
        "convolutions). Busy: share of the time",
        "in which the device computes, and memory: reserved by torch, both of the fastest way that is implemented. "
        "Synthesis writes whole sets with",
        "their files and digests; its plain figure is the network alone.",
        "",
        "| goal, images/s | asked | measured |",
        "|---|---:|---|",
        *(_goal_row(key, goal, table.get(key, {})) for key, goal in GOALS.items()),
        f"| device busy in these trainings | {BUSY_GOAL:.0%} | {_busy(table)} |",
        "",
        f"| task | network | px | batch | {' | '.join(SHOWN)} | fastest / plain | busy | memory | device, day |",
        f"|---|---|---:|---:|{'---:|' * len(SHOWN)}---:|---:|---:|---|",
        *(_row(key, modes) for key, modes in table.items()),
        "",
    ]
    for run in runs:
        lines += _about(run)
    return "\n".join(lines).rstrip() + "\n"


def _goal_row(key: tuple[str, str, int], goal: int, modes: Mapping[Mode, Measured]) -> str:
    task, network, resolution = key
    best = _best(modes)
    measured = (
        "not yet measured"
        if best is None
        else f"{best.figure.value:,.0f}, {best.figure.mode}, {best.device}, {best.date}"
    )
    return f"| {task} {network} {resolution} px | {goal:,} | {measured} |"


def _busy(table: Table) -> str:
    shares = [
        f"{network} {best.figure.busy:.0%} ({best.device}, {best.date})"
        for (task, network, _), modes in table.items()
        if task == "train" and (best := _best(modes)) is not None and best.figure.busy is not None
    ]
    return ", ".join(shares) or "not yet measured"


def _best(modes: Mapping[Mode, Measured]) -> Measured | None:
    # Of modes that can be chosen; compiled networks and the plain loop are for comparison.
    implemented = [measured for mode, measured in modes.items() if mode in IMPLEMENTED]
    return max(implemented, key=lambda measured: measured.figure.value, default=None)


def _row(key: tuple[str, str, int], modes: Mapping[Mode, Measured]) -> str:
    task, network, resolution = key
    best, plain = _best(modes), modes.get(PLAIN)
    speeds = [f"{modes[mode].figure.value:,.0f}" if mode in modes else "–" for mode in SHOWN]
    # the plain figure of a synthesis is of the network alone, without the files of a set
    ratio = "–"
    if best is not None and plain is not None and task != "synthesize":
        ratio = f"{best.figure.value / plain.figure.value:.1f}"
    shown = best or plain
    if shown is None:  # nothing but compiled networks
        shown = next(iter(modes.values()))
    busy = "–" if shown.figure.busy is None else f"{shown.figure.busy:.0%}"
    memory = "–" if shown.figure.memory_mb is None else f"{shown.figure.memory_mb:,.0f} MiB"
    where = f"{shown.device}, {shown.date}"
    cells = [task, network, resolution, shown.figure.batch, *speeds, ratio, busy, memory, where]
    return f"| {' | '.join(map(str, cells))} |"


def _about(run: GpuRun) -> list[str]:
    facts = run.facts
    about = [
        f"**{facts.get('device', run.device)}, {run.started[:10]}**: `{run.command}` with {run.budget:.0f} s; torch "
        f"{facts.get('torch', '?')}, driver {facts.get('driver', '?')}, {facts.get('processor cores', '?')} processor "
        f"cores; bf16 matrix product {facts.get('bf16 matrix product TFLOP/s', '?')} TFLOP/s, copies "
        f"{facts.get('copy GB/s, read and written', '?')} GB/s.",
    ]
    for name, part in run.parts.items():
        if name == "tests":
            counted = part.record.facts.get("tests")
            counts = ", ".join(f"{count} {outcome}" for outcome, count in counted.items()) if counted else "no count"
            about.append(f"Tests: {counts}; {part.status} after {part.seconds:.0f} s.")
        elif name.startswith("zoo ") and (training := part.record.facts.get("training")):
            kept = name.removeprefix("zoo ")
            about.append(f"Trained: {kept} px, {training['kimg']:g} thousand images in {training['precision']}.")
    # a part that was cut has figures too, which its status qualifies
    unfinished = [f"{name} ({part.status})" for name, part in run.parts.items() if part.status != "done"]
    if unfinished:
        about.append(f"Not finished: {', '.join(unfinished)}.")
    return [" ".join(about), ""]
