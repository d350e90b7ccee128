"""Progress of a run in a terminal or a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live as Screen
from rich.markup import escape
from rich.tree import Tree

from benchmarks.workflow.observer import Observer
from benchmarks.workflow.stage import Activity
from forge.core.progress import ProgressEvent

LISTED = 24  # stages that are listed one by one where the output is not a terminal
_GUIDE = 8  # columns of the lines that join a stage to its action
PLAIN_SECONDS = 15.0  # between progress lines where the output is not a terminal


class Silent:
    """Observer that prints nothing."""

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """A run begins; `todo` are the keys of the stages that have no result yet."""

    def started(self, stage: Activity, worker: str = "") -> None:
        """A stage begins."""

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """A stage reports progress."""

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """The result of a stage is available."""

    def ended(self, stage: Activity) -> None:
        """A stage ends without a result."""

    def noted(self, text: str) -> None:
        """A note for the user."""


class Rate:
    """Units per second and seconds left, from the events of one stage."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None

    def update(self, event: ProgressEvent) -> tuple[float, float]:
        """Take an event; return (units per second, seconds left), zeros while unknown."""
        now = time.monotonic()
        # The count begins again with every phase of a stage (a split, a rolled-back training). The first event is the
        # origin, not zero: a training that continues from a checkpoint did its first images in an earlier call.
        if self.first is None or event.done < self.first[1]:
            self.first = (now, event.done)
        elapsed, units = now - self.first[0], event.done - self.first[1]
        rate = units / elapsed if elapsed > 0 and units > 0 else 0.0
        return rate, (event.total - event.done) / rate if rate else 0.0  # in units per second, seconds


def readings(event: ProgressEvent) -> str:
    """The event's values as text."""
    return "  ".join(f"{name} {value:.3g}" for name, value in event.values.items())


@dataclass
class _Running:
    """A stage under way: where, how far, how fast."""

    stage: Activity
    worker: str
    rate: Rate = field(default_factory=Rate)
    event: ProgressEvent | None = None
    speed: tuple[float, float] = (0.0, 0.0)  # units per second, seconds left; zeros while unknown

    def update(self, event: ProgressEvent) -> None:
        """Take an event."""
        self.speed, self.event = self.rate.update(event), event


class Plain(Silent):
    """One line per stage and one every 15 s in between, of each stage under way; for logs and pipes."""

    def __init__(self) -> None:
        self.running: dict[str, _Running] = {}
        self.printed = time.monotonic()
        self.todo = self.ran = 0
        self.folded = False

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """Print the number of stages to run; many cached stages are counted and not listed."""
        self.todo, there = len(todo), len(stages) - len(todo)
        self.folded = there > LISTED
        if self.folded:
            # flushed, since Python buffers what goes to a pipe or a file
            print(f"{there:,} of {len(stages):,} stages are in the store, {len(todo):,} to run", flush=True)

    def started(self, stage: Activity, worker: str = "") -> None:
        """Print the stage that begins."""
        self.ran += 1
        position = f" ({self.ran:,} of {self.todo:,})" if self.todo > LISTED else ""
        print(f"{stage.name} …{position}", flush=True)
        if not self.running:
            self.printed = time.monotonic()
        self.running[stage.key] = _Running(stage, worker)

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """Print the progress every 15 s."""
        self.running.setdefault(stage.key, _Running(stage, "")).update(event)
        if time.monotonic() - self.printed >= PLAIN_SECONDS:
            self.printed = time.monotonic()
            for running in self.running.values():
                self._print(running, named=len(self.running) > 1)

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """Print the end of a stage."""
        self.running.pop(stage.key, None)
        if not (cached and self.folded):
            # what `planned` counted in one line is not listed after all
            print(f"{stage.name}: {'cached' if cached else f'done in {seconds:.1f} s'}", flush=True)

    def ended(self, stage: Activity) -> None:
        """Forget the stage; a note says why it ended."""
        self.running.pop(stage.key, None)

    def noted(self, text: str) -> None:
        """Print a note."""
        print(text, flush=True)

    def _print(self, running: _Running, *, named: bool) -> None:
        event, (rate, left) = running.event, running.speed
        if event is None:
            return
        name = f"{running.stage.name}: " if named else ""
        speed = f", {rate:,.0f}/s, {_clock(left)} left" if rate else ""
        print(f"  {name}{event.done:,} of {event.total:,} {event.unit}{speed}  {readings(event)}", flush=True)


class Live(Silent):
    """A tree: types of stages with their counts, the stages under way with their progress, and the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.counts: dict[str, _StageCount] = {}
        self.running: dict[str, _Running] = {}
        self.widest = 1  # stages that were under way at once
        self.began = time.monotonic()

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """Count the stages to run of each type."""
        for stage in stages:
            # one branch per action: a suite has hundreds of stages, a terminal some tens of lines
            count = self.counts.setdefault(stage.action, _StageCount())
            count.total += 1
            count.todo += stage.key in todo

    def started(self, stage: Activity, worker: str = "") -> None:
        """Show the stage as under way."""
        self.running[stage.key] = _Running(stage, worker)
        self.widest = max(self.widest, len(self.running))

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """Show the progress."""
        self.running.setdefault(stage.key, _Running(stage, "")).update(event)

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """Count it."""
        # `ensure` in workflow/execution.py announces no plan: its stages are counted as they end.
        count = self.counts.setdefault(stage.action, _StageCount(total=1, todo=1))
        count.done += 1
        if not cached:
            count.ran += 1
            count.seconds += seconds
        self.running.pop(stage.key, None)

    def ended(self, stage: Activity) -> None:
        """Show it no longer."""
        self.running.pop(stage.key, None)

    def noted(self, text: str) -> None:
        """Print it above the tree."""
        self.console.print(text, highlight=False, markup=False)

    @property
    def left(self) -> float | None:
        """Seconds left, from the mean of each type so far; None while a type of stage still to run has no time.

        With several stages at once, as if as many as there ever were stay busy to the end.
        """
        total = 0.0
        for count in self.counts.values():
            missing = count.todo - count.ran
            if missing > 0 and not count.ran:
                return None  # an unknown time would make the sum an underestimate
            total += missing * count.seconds / count.ran if missing > 0 else 0.0
        return total / self.widest

    def __rich__(self) -> Tree:
        """Return the tree as it is now."""
        gone, left = _clock(time.monotonic() - self.began), self.left
        head = f"{gone} so far" + ("" if left is None else f", about {_clock(left)} left")
        if self.widest > 1:
            head += f", {len(self.running)} stages under way"
        tree = Tree(head, guide_style="dim")
        # as many stages as a terminal has lines for, the longest under way first
        room = max(4, self.console.height - len(self.counts) - 4)
        shown = dict(list(self.running.items())[:room])
        for name, count in self.counts.items():
            mark = "[green]✓[/]" if count.done >= count.total else "[dim]·[/]" if not count.done else "[cyan]…[/]"
            cached = count.done - count.ran
            details = f" [dim]{cached} cached[/]" if cached else ""
            details += f" [dim]{_clock(count.seconds)}[/]" if count.ran else ""
            branch = tree.add(f"{mark} {name} {count.done}/{count.total}{details}")
            of_action = [running for running in shown.values() if running.stage.action == name]
            width = max((len(running.stage.name) for running in of_action), default=0)
            for running in of_action:
                leaf = branch.add(self._leaf(running, width))
                # notes (sample grids) where there is a line for each
                if running.event is not None and running.event.note and 2 * len(self.running) <= room:
                    leaf.add(f"[dim]{escape(running.event.note)}[/]")
        if hidden := len(self.running) - len(shown):
            tree.add(f"[dim]and {hidden} more under way[/]")
        return tree

    def _leaf(self, running: _Running, width: int) -> str:
        """Name, progress, speed, time left, readings and worker of a stage, as much as fits."""
        name = f"[bold]{escape(running.stage.name)}[/]{' ' * (width - len(running.stage.name))}"
        event, (rate, left) = running.event, running.speed
        room = self.console.width - _GUIDE - width
        if event is None or not event.total:
            bar, speed, room = "  [dim]…[/]", "", room - 3
        else:
            share = event.done / event.total
            full = round(16 * share)  # the bar has 16 cells
            bar = f"  [cyan]{'━' * full}[/][dim]{'━' * (16 - full)}[/] {100 * share:3.0f} %"
            speed = f"  {rate:,.0f} {event.unit}/s  {_clock(left)} left" if rate else ""
            room -= 24 + len(speed)
        worker = f"  {running.worker}" if running.worker else ""
        worker = worker if len(worker) <= room else ""
        values = f"  {readings(event)}" if event is not None and event.values else ""
        while len(values) > room - len(worker):  # whole readings only
            values = values[:-1].rpartition("  ")[0]
        return f"{name}{bar}{speed}[dim]{values}{escape(worker)}[/]"


@dataclass
class _StageCount:
    """Counts of the stages of one type: in total, to run, done, run in this call, and the seconds of the latter."""

    total: int = 0
    todo: int = 0
    done: int = 0
    ran: int = 0
    seconds: float = 0.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def observer_for(*, quiet: bool) -> Iterator[Observer]:
    """Yield the observer for the output: silent, live on a terminal, plain elsewhere."""
    if quiet:
        yield Silent()
    elif not sys.stdout.isatty():
        yield Plain()
    else:
        console = Console()
        live = Live(console)
        # `transient` removes the tree at the end, so that the scrollback holds the line below and no half-drawn frame.
        with Screen(live, console=console, transient=True, refresh_per_second=4):
            yield live
        ran = [
            f"{count.ran} {name} {_clock(count.seconds)}" for name, count in live.counts.items() if count.seconds >= 1
        ]
        if ran:
            console.print(f"[green]✓[/] [dim]{', '.join(ran)}[/]", highlight=False)
