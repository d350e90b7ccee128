"""Published suites on simulated clusters of 1 to 1,000 workers; docs/scale.md explains the assumptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.evaluation.numbers import duration
from benchmarks.places import PUBLISHED
from benchmarks.report.plot.elements import series, standalone
from benchmarks.report.plot.plot import Axis, Plot
from benchmarks.report.render import styles
from benchmarks.speed.figure import Figure
from benchmarks.speed.published import MeasuredPlan
from benchmarks.workflow.simulate import POOL, Cluster, Simulated, simulate

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
AROUND = replace(POOL, worker_bytes=1.25e9, store_bytes=1.25e9)  # and a network of 10 Gbit/s
DEATHS = 1.0  # of each worker, an hour, in the last simulation of a suite
RESUMING = ("train", "tune", "encode", "fit")  # stages that save checkpoints
LARGE = 20  # seeds of the larger suite


@dataclass(frozen=True)
class Curve:
    """A suite on clusters of all sizes.

    Attributes:
        name: of the suite.
        runs: one of each size.
        mortal: the run of as many workers as help, some of which die.
    """

    name: str
    runs: Sequence[Simulated]
    mortal: Simulated

    @property
    def enough(self) -> Simulated:
        """Return the smallest cluster whose run is at most a tenth longer than the shortest."""
        shortest = min(run.makespan for run in self.runs)
        return next(run for run in self.runs if run.makespan <= 1.1 * shortest)

    @classmethod
    def of(cls, name: str, measured: MeasuredPlan, workers: Sequence[int] = WORKERS) -> Curve:
        """Simulate a suite."""

        def run(cluster: Cluster) -> Simulated:
            return simulate(measured.stages, measured.seconds, cluster, reads=measured.reads, resuming=RESUMING, seed=0)

        curve = cls(name, [run(replace(AROUND, workers=count)) for count in workers], mortal=run(AROUND))
        mortal = replace(AROUND, workers=curve.enough.workers, deaths=DEATHS)
        return replace(curve, mortal=run(mortal))


def clusters() -> list[Figure]:
    """Simulate the published suites; none where the folder of published reports is not here."""
    figures: list[Figure] = []
    for curve in curves():
        first = curve.runs[0]
        limit = f"{duration(first.work)} of stages, the longest chain {duration(first.critical)}"
        for run in curve.runs:
            how = f"simulated; {100 * run.utilisation:.0f} % busy; {limit}"
            figures.append(Figure(f"{curve.name}, {run.workers:,} workers", run.makespan / 60, "min", how))
        mortal = curve.mortal
        what = f"{curve.name}, {mortal.workers:,} workers, of which {mortal.deaths} die"
        how = f"simulated; {DEATHS} deaths of each an hour; more workers save a tenth at most"
        figures.append(Figure(what, mortal.makespan / 60, "min", how))
    return figures


def curves() -> Iterator[Curve]:
    """Yield the published suites on clusters of all sizes, and one of them with more seeds."""
    for name, seeds in (("faces64", None), ("arms-race", None), ("faces64", LARGE)):
        if (PUBLISHED / name).is_dir():
            title = f"{name}, {seeds} seeds" if seeds else name
            yield Curve.of(title, MeasuredPlan.of(name, PUBLISHED, seeds))


def drawing(drawn: Sequence[Curve]) -> str:
    """Draw how long suites take over the number of workers, both logarithmic, as an SVG file (docs/scale.svg)."""
    most = max(run.makespan for curve in drawn for run in curve.runs)
    least = min(run.critical for curve in drawn for run in curve.runs)
    hours = [(60 * minutes, text) for minutes, text in _TICKS if least / 2 < 60 * minutes < 2 * most]
    workers = Axis(1, 1000, [(count, f"{count:,}") for count in (1, 10, 100, 1000)], "workers", transform=np.log10)
    plot = Plot(workers, Axis(least / 2, most * 1.2, hours, "time of the whole run", transform=np.log10), height=230)
    for number, curve in enumerate(drawn):
        counts, times = [run.workers for run in curve.runs], [run.makespan for run in curve.runs]
        plot.line(counts, times, series(number))
        plot.dot(curve.enough.workers, curve.enough.makespan, series(number), title=curve.name)
        plot.legend(f"{curve.name}: {curve.enough.workers:,} workers suffice", series(number))
    text = "; ".join(
        f"{curve.name}: " + ", ".join(f"{run.workers} workers {duration(run.makespan)}" for run in curve.runs)
        for curve in drawn
    )
    return standalone(plot.svg(text), "Simulated time of suites over workers", styles())


_TICKS = ((10, "10 min"), (30, "30 min"), (60, "1 h"), (180, "3 h"), (600, "10 h"), (1800, "30 h"), (6000, "100 h"))
