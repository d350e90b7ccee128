"""Forgeries: samples of every generator, their development in training, and their quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.evaluation.run_facts import GeneratorFacts
from benchmarks.report.images import grid_uri, smaller
from benchmarks.report.plot.elements import series
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import Plot, nice_axis
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section
from forge.core.provenance import origin
from forge.faces.imaging.grids import write_grid

_SAMPLES, _MANY = 64, 6  # forgeries shown per generator; half as many where there are more generators than these
_STRIP = 6  # snapshots of a training
_GRID_SIDE = 128  # pixels of a face in samples-*.png
_SPECTRA = 4  # generators in the figure of spectra
# others are distances, or ratios that may exceed 1
_SHARES = (  # metrics that are read as percentages
    "face found", "label obeyed", "label kept", "label moved", "trained on forgeries", "authentic", "changed share",
)  # fmt: skip


@dataclass(frozen=True)
class Forgeries:
    """Forgeries of one generator: data URIs for the page, and the faces for a file beside it."""

    generator: GeneratorFacts
    samples: str | None
    faces: np.ndarray | None
    shown: int
    file: str
    strip: list[tuple[float, str]]
    sources: str | None
    rows: str
    interpolations: str | None


@dataclass(frozen=True)
class QualityLine:
    """A quality metric: its value for held-out real images, and for each generator (None: not measured)."""

    metric: str
    better: str
    n: int
    reference: str
    values: list[str | None]
    best: int | None  # column of the best value, where there is a choice


@dataclass(frozen=True)
class QualityTable:
    """Quality metrics by generators."""

    generators: list[str]
    lines: list[QualityLine]
    extractor: str
    missing: dict[str, str]  # generator -> why it was not measured


@dataclass(frozen=True)
class TranslationTable:
    """Metrics of forgeries beside the real images that they were made from, by generators.

    Attributes:
        generators: their names.
        lines: metric, what is better, and of each generator its value and what it stands beside (None: no value).
    """

    generators: list[str]
    lines: list[tuple[str, str, list[tuple[str, str] | None]]]


@dataclass(frozen=True)
class ForgeriesContent(Content):
    """Forgeries per generator, their quality, and their spectra."""

    forgeries: list[Forgeries]
    quality: QualityTable
    translations: TranslationTable | None
    spectra: list[Figure]

    @property
    def figures(self) -> list[Figure]:
        """The spectra."""
        return self.spectra

    @property
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """The samples of each generator, marked as synthetic."""
        return {
            forgeries.file: _writer(forgeries.faces, forgeries.generator)
            for forgeries in self.forgeries
            if forgeries.faces is not None
        }


class ForgeriesSection(Section):
    """Samples and quality of every generator."""

    id, title, nav, position = "forgeries", "Forgeries", "", 800
    template, text_template = "forgeries.html.j2", "forgeries.md.j2"

    def build(self, run: RunView) -> ForgeriesContent:
        """Lay out the forgeries of every generator."""
        generators = run.results.generators
        return ForgeriesContent(
            forgeries=[_forgeries(generator, run) for generator in generators],
            quality=quality_table(generators),
            translations=translation_table(generators),
            spectra=spectrum_figures(generators[:_SPECTRA], run.file_names),
        )


def _forgeries(generator: GeneratorFacts, run: RunView) -> Forgeries:
    pictures, name = run.pictures, generator.name
    # empty where the real photos that it alters may not be shown
    count = _SAMPLES if len(run.results.generators) <= _MANY else _SAMPLES // 2
    faces = pictures.forged[name][:count] if len(pictures.forged.get(name, ())) else None
    strip = pictures.filmstrip.get(name, [])
    if len(strip) > _STRIP:  # the first, the last and an even choice between
        strip = [strip[i] for i in np.linspace(0, len(strip) - 1, _STRIP).round().astype(int)]
    sources = pictures.sources.get(name)
    # a tampering has no condition, and between domains it is the photo
    plain = not generator.trained or generator.domains is not None
    rows = ["photo", "forgery"] if plain else ["photo", "condition", "forgery"]
    rows += ["mask"] if generator.masks else []
    return Forgeries(
        generator=generator,
        samples=None if faces is None else grid_uri(faces),
        faces=faces,
        shown=0 if faces is None else len(faces),
        # A name is taken also where there are no faces, so that numbers do not depend on what may be shown.
        file=run.file_names("samples", name) + ".png",
        strip=[(kimg, grid_uri(images[:8])) for kimg, images in strip if len(images)],
        sources=None if sources is None else grid_uri(sources, columns=len(sources) // len(rows)),
        rows=", ".join(rows),
        interpolations=grid_uri(pictures.interpolations[name]) if name in pictures.interpolations else None,
    )


def _writer(faces: np.ndarray, generator: GeneratorFacts) -> Callable[[Path], None]:
    # into the file's text field: synthetic, by which generator and weights
    source = origin(generator.name, generator.weights_sha256)
    return lambda path: write_grid(path, smaller(faces, _GRID_SIDE), source=source)


def quality_table(generators: list[GeneratorFacts]) -> QualityTable:
    """Lay out the quality metrics of every generator."""
    measured = [generator for generator in generators if generator.quality]  # sets too small have a reason instead
    # rows with a reference of their own are those of translations, which have a table of their own
    metrics = list(dict.fromkeys(row.metric for g in measured for row in g.quality if not row.reference))
    lines = []
    for metric in metrics:
        # A plug-in's metric may be measured for some generators only.
        rows = [next((row for row in g.quality if row.metric == metric), None) for g in measured]
        known = next(row for row in rows if row is not None)
        numbers = [None if row is None else row.value for row in rows]
        lines.append(
            QualityLine(
                metric=metric,
                better=known.better.replace("floor", "reference"),  # results.json calls the reference floor
                n=known.n,
                reference=_text(metric, known.floor) or "",
                values=[_text(metric, number) for number in numbers],
                best=_best(known.better, numbers),
            )
        )
    return QualityTable(
        generators=[generator.name for generator in measured],
        lines=lines,
        extractor=next((generator.extractor for generator in measured), ""),
        missing={g.name: g.quality_missing for g in generators if g.quality_missing},
    )


def translation_table(generators: list[GeneratorFacts]) -> TranslationTable | None:
    """Lay out the metrics of forgeries beside their sources; None: no generator made its forgeries from real images."""
    beside = {g.name: {row.metric: row for row in g.quality if row.reference} for g in generators}
    measured = {name: rows for name, rows in beside.items() if rows}
    if not measured:
        return None
    # the longest list first: its order has the metrics that others lack in their places
    ordered = sorted(measured.values(), key=len, reverse=True)
    metrics = dict.fromkeys(metric for rows in ordered for metric in rows)
    lines = []
    for metric in metrics:
        rows = [of_generator.get(metric) for of_generator in measured.values()]
        better = next(row.better for row in rows if row is not None)
        fields = [
            None if row is None else (_text(metric, row.value) or "", f"{row.reference} {_text(metric, row.floor)}")
            for row in rows
        ]
        lines.append((metric, "" if better == "neither" else better, fields))
    return TranslationTable(list(measured), lines)


def _text(metric: str, value: float | None) -> str | None:
    if value is None:
        return None
    if metric.startswith(_SHARES):  # by the beginning of the name, which may go on with settings
        return f"{100 * value:.1f} %"
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}"


def _best(better: str, values: list[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    if len(known) < 2 or better not in ("lower", "higher"):
        return None  # a metric without direction, or nothing to compare with
    best = min(known) if better == "lower" else max(known)
    return values.index(best) if known.count(best) == 1 else None  # a tie has no best


def spectrum_figures(generators: list[GeneratorFacts], names: FileNames) -> list[Figure]:
    """Draw azimuthal power spectra of the forgeries of every generator and of real images; none: not measured."""
    measured = [generator for generator in generators if generator.spectrum]
    if not measured:
        return []
    # Reals are measured with each generator on the same images: the first one's profile stands for all.
    real = measured[0].spectrum
    profiles = {"real images": real["reference"]} | {g.name: g.spectrum["candidate"] for g in measured}
    values = [value for profile in profiles.values() for value in profile]
    x = nice_axis(0.0, max(real["frequencies"]), "spatial frequency, cycles per pixel")
    plot = Plot(x, nice_axis(min(values), max(values), "log10 power", pad=0.03), height=220)
    for i, (name, profile) in enumerate(profiles.items()):
        plot.line(real["frequencies"], profile, series(i))
        plot.legend(name, series(i))
    distances = "; ".join(
        f"{g.name} {row.value:.3g}" for g in measured for row in g.quality if row.metric.startswith("spectrum")
    )
    title = "Power spectra of real and forged images"
    alt = f"{title}: mean log10 power at each frequency. Mean distance from real images: {distances}."
    return [Figure(names("spectra"), title, plot.svg(alt), alt)]
