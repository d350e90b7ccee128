"""What a person sees while a run goes on and when it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from benchmarks.pipeline.engines.local import Observer
    from benchmarks.pipeline.plan import Stage
    from forge.progress import Tick

PLAIN_SECONDS = 15.0  # between progress lines where the output is not a terminal


class Silent:
    """Says nothing."""

    def started(self, stage: Stage) -> None:
        """A stage begins."""

    def progressed(self, stage: Stage, tick: Tick) -> None:
        """A stage tells how far it is."""

    def finished(self, stage: Stage, *, cached: bool, seconds: float) -> None:
        """A stage's result is there."""

    def noted(self, text: str) -> None:
        """Something a person should know."""


class Rate:
    """Units a second and seconds left, from the ticks of one stage."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None

    def update(self, tick: Tick) -> tuple[float, float]:
        """Take a tick; returns (units a second, seconds left), zeros while unknown."""
        now = time.monotonic()
        if self.first is None or tick.done < self.first[1]:
            self.first = (now, tick.done)
        elapsed, units = now - self.first[0], tick.done - self.first[1]
        rate = units / elapsed if elapsed > 0 and units > 0 else 0.0
        return rate, (tick.total - tick.done) / rate if rate else 0.0


def readings(tick: Tick) -> str:
    """The tick's values in a few words."""
    return "  ".join(f"{name} {value:.3g}" for name, value in tick.values.items())


class Plain(Silent):
    """A line a stage and one now and then in between; for logs and pipes."""

    def __init__(self) -> None:
        self.rate, self.said = Rate(), time.monotonic()

    def started(self, stage: Stage) -> None:
        """Say what begins."""
        print(f"{stage.name} …", flush=True)
        self.rate, self.said = Rate(), time.monotonic()

    def progressed(self, stage: Stage, tick: Tick) -> None:
        """Say how far it is, now and then."""
        rate, left = self.rate.update(tick)
        if time.monotonic() - self.said >= PLAIN_SECONDS:
            self.said = time.monotonic()
            print(
                f"  {tick.done:,} of {tick.total:,} {tick.unit}, {rate:,.0f}/s, {left:.0f} s left  {readings(tick)}",
                flush=True,
            )

    def finished(self, stage: Stage, *, cached: bool, seconds: float) -> None:
        """Say that it is there."""
        print(f"{stage.name}: {'cached' if cached else f'done in {seconds:.1f} s'}", flush=True)

    def noted(self, text: str) -> None:
        """Say it."""
        print(text, flush=True)


class Live(Silent):
    """A bar for the stage at hand, a line for each one finished."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.rate = progress, Rate()
        self.task: TaskID | None = None
        self.note = ""

    def started(self, stage: Stage) -> None:
        """Begin a bar."""
        self.rate, self.note = Rate(), ""
        self.task = self.progress.add_task(stage.name, total=None, detail="")

    def progressed(self, stage: Stage, tick: Tick) -> None:
        """Move the bar."""
        rate, left = self.rate.update(tick)
        minutes, seconds = divmod(int(left), 60)
        detail = f"{rate:,.0f} {tick.unit}/s  {minutes}:{seconds:02d} left" if rate else ""
        room = self.progress.console.width - len(stage.name) - len(detail) - 30  # spinner, bar, per cent, gaps
        shown = readings(tick)
        while shown and len(shown) > room:  # whole readings only
            shown = shown.rpartition("  ")[0]
        if detail and shown:
            detail += f"  [dim]{shown}[/]"
        if tick.note and tick.note != self.note:
            self.note = tick.note
            self.progress.console.print(f"  [dim]{tick.note}[/]", highlight=False)
        if self.task is not None:
            self.progress.update(self.task, completed=tick.done, total=tick.total, detail=detail)

    def finished(self, stage: Stage, *, cached: bool, seconds: float) -> None:
        """Turn the bar into a line."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        state = "[dim]cached[/]" if cached else f"{seconds:.1f} s"
        self.progress.console.print(f"[green]✓[/] {stage.name}  {state}", highlight=False)

    def noted(self, text: str) -> None:
        """Print it above the bar."""
        self.progress.console.print(text, highlight=False, markup=False)


@contextmanager
def observer_for(*, quiet: bool) -> Iterator[Observer]:
    """The observer that suits the output: silent, live on a terminal, plain elsewhere."""
    if quiet:
        yield Silent()
    elif not sys.stdout.isatty():
        yield Plain()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[detail]}"),
        )
        with Progress(*columns, console=Console(), transient=True) as progress:
            yield Live(progress)
