"""How good the forgeries are, as a table over generators beside the floor of held-out reals, and their spectra."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measures.results import GeneratorFacts
from benchmarks.report.figures import Figure, Names
from benchmarks.report.svg import Plot, nice_axis, series

_SHARES = ("face found", "label obeyed", "authentic")  # metrics that are read as percentages


@dataclass(frozen=True)
class Line:
    """One metric: the floor, and a value for each generator (None: not measured for it)."""

    metric: str
    better: str
    n: int
    floor: str
    values: list[str | None]
    best: int | None  # column of the best value, where there is a choice


@dataclass(frozen=True)
class QualityTable:
    """Metrics by generators."""

    generators: list[str]
    lines: list[Line]
    extractor: str
    missing: dict[str, str]  # generator -> why it was not measured


def quality_table(generators: list[GeneratorFacts]) -> QualityTable:
    """Lay out what was measured of every generator."""
    measured = [one for one in generators if one.quality]
    metrics = list(dict.fromkeys(row.metric for one in measured for row in one.quality))
    lines = []
    for metric in metrics:
        rows = [next((row for row in one.quality if row.metric == metric), None) for one in measured]
        known = next(row for row in rows if row is not None)
        numbers = [None if row is None else row.value for row in rows]
        lines.append(
            Line(
                metric=metric,
                better=known.better,
                n=known.n,
                floor=_text(metric, known.floor) or "",
                values=[_text(metric, number) for number in numbers],
                best=_best(known.better, numbers),
            )
        )
    return QualityTable(
        generators=[one.name for one in measured],
        lines=lines,
        extractor=next((one.extractor for one in measured), ""),
        missing={one.name: one.quality_missing for one in generators if one.quality_missing},
    )


def _text(metric: str, value: float | None) -> str | None:
    if value is None:
        return None
    if metric.startswith(_SHARES):
        return f"{100 * value:.1f} %"
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}"


def _best(better: str, values: list[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    if len(known) < 2 or better not in ("lower", "higher"):
        return None
    best = min(known) if better == "lower" else max(known)
    return values.index(best) if known.count(best) == 1 else None


def spectrum_figures(generators: list[GeneratorFacts], names: Names) -> list[Figure]:
    """Azimuthal power spectra of every generator's forgeries and of the real faces; none where none was measured."""
    measured = [one for one in generators if one.spectrum]
    if not measured:
        return []
    real = measured[0].spectrum
    profiles = {"real images": real["reference"]} | {one.name: one.spectrum["candidate"] for one in measured}
    values = [value for profile in profiles.values() for value in profile]
    x = nice_axis(0.0, max(real["frequencies"]), "spatial frequency, cycles a pixel")
    plot = Plot(x, nice_axis(min(values), max(values), "log10 power", pad=0.03), height=220)
    for i, (name, profile) in enumerate(profiles.items()):
        plot.line(real["frequencies"], profile, series(i))
        plot.legend(name, series(i))
    distances = "; ".join(
        f"{one.name} {row.value:.3g}" for one in measured for row in one.quality if row.metric.startswith("spectrum")
    )
    title = "Power spectra of real and forged images"
    alt = f"{title}: mean log10 power at each frequency. Mean distance from real images: {distances}."
    return [Figure(names("spectra"), title, plot.svg(alt), alt)]
