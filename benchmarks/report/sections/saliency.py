"""Saliency: spectra of forgeries, the pixels that scores depend on, and the frequencies that linear models weigh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.protocol import TrainSet
from benchmarks.report.colour import Pixels, diverging, overlay
from benchmarks.report.frequency_maps import balance, in_words, round_up, strongest, usual
from benchmarks.report.images import grid_uri, map_uri, smaller
from benchmarks.report.inputs import Evidence, Sight
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section
from forge.core.files import replacing
from forge.core.provenance import SYNTHETIC, options
from forge.faces.imaging.grids import sheet

FACES = 6  # forgeries per saliency picture
ROWS = 12  # detectors per generator
GENERATORS = 4
WEIGHTS = 6  # maps of weights
# as many as the saliency maps were computed of
_SAMPLES = 64  # forgeries that saliency maps may be of
_LARGEST = 256  # pixels of a map's side on the page


@dataclass(frozen=True)
class HeatMap:
    """A map over frequencies: its picture as a data URI, the value of its last colours, and a sentence on it."""

    title: str
    picture: str
    alt: str
    finding: str
    limit: str
    file: str = ""


@dataclass(frozen=True)
class SaliencyRows:
    """Saliency of the detectors trained on one generator: its forgeries, and a picture per detector."""

    generator: str
    count: int
    faces: str
    rows: list[tuple[str, str]]
    left_out: str
    file: str


@dataclass(frozen=True)
class SaliencyContent(Content):
    """The maps; `files` are the pictures beside the page by name."""

    method: str
    spectra: list[HeatMap]
    saliency: list[SaliencyRows]
    weights: list[HeatMap]
    without: list[str]  # detectors without saliency maps
    left_out: dict[str, str]
    files: dict[str, Image.Image]
    source: str  # what the pictures are marked with

    @property
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """The maps as files, marked as synthetic."""
        return {name: _writer(image, self.source) for name, image in self.files.items()}


class SaliencySection(Section):
    """Frequency and saliency maps."""

    id, title, nav, position = "saliency", "Saliency and frequency maps", "Saliency", 900
    template, text_template = "saliency.html.j2", "saliency.md.j2"

    def build(self, run: RunView) -> SaliencyContent | None:
        """Lay out the maps of the run; None where nothing was explained."""
        # the first ones: the maps are in their order
        forged = {name: faces[:_SAMPLES] for name, faces in run.pictures.forged.items()}
        return saliency_content(
            run.pictures.evidence, forged, run.file_names, name=run.whole.name, broadest=run.board is not None
        )


def saliency_content(
    evidence: Evidence, forged: Mapping[str, Pixels], names: FileNames, *, name: str = "", broadest: bool = False
) -> SaliencyContent | None:
    """Lay out spectra, saliency and weights; None where nothing was explained.

    Args:
        evidence: of the run.
        forged: the first test forgeries of each generator, uint8 [n, H, W, 3], in the order of the saliency maps.
        names: gives the pictures their file names.
        name: of the run, which marks the pictures.
        broadest: show of each detector only the fit that was trained on the largest number of generators.
    """
    # A suite has a fit per detector and training: one per detector is shown, the one that knows most generators.
    shown = _broadest(evidence) if broadest else evidence
    files: dict[str, Image.Image] = {}
    spectra = [_spectrum(name, evidence, names, files) for name in list(evidence.spectra)[:GENERATORS]]
    # A generator whose faces may not be shown has no pictures, and then no maps either.
    explained = [name for name in forged if len(forged[name]) and _explaining(shown, name)]
    weighing = [sight for sight in evidence.sights if sight.weights is not None]
    if not (spectra or explained or weighing):
        return None
    # Over all fits, not only those shown: a detector counts as without maps only where no fit has one.
    with_saliency = {sight.detector for sight in evidence.sights if sight.saliency}
    return SaliencyContent(
        method=evidence.method,
        spectra=spectra,
        saliency=[
            _saliency(name, forged[name], _explaining(shown, name), names, files) for name in explained[:GENERATORS]
        ],
        weights=[_weights(sight) for sight in weighing[:WEIGHTS]],
        without=[name for name in dict.fromkeys(s.detector for s in evidence.sights) if name not in with_saliency],
        left_out={
            "spectra": _first(GENERATORS, len(evidence.spectra), "generators"),
            "saliency": _first(GENERATORS, len(explained), "generators"),
            "weights": _first(WEIGHTS, len(weighing), "maps"),
        },
        files=files,
        source=f"{SYNTHETIC} {name}",
    )


def _broadest(evidence: Evidence) -> Evidence:
    plain = [sight for sight in evidence.sights if not TrainSet.parse(sight.trained_on).variant]
    chosen: dict[str, Sight] = {}
    # of equally many generators the first fit of the run
    for sight in sorted(plain, key=lambda s: -len(TrainSet.parse(s.trained_on).generators)):  # a stable sort
        chosen.setdefault(sight.detector, sight)
    return replace(evidence, sights=list(chosen.values()))


def _first(shown: int, n: int, noun: str) -> str:
    return f"The first {shown} of {n} {noun}." if n > shown else ""


def _explaining(evidence: Evidence, generator: str) -> list[Sight]:
    """Return the fits that were trained on a generator and have saliency maps of its forgeries."""
    return [
        s for s in evidence.sights if generator in s.saliency and generator in TrainSet.parse(s.trained_on).generators
    ]


def _spectrum(generator: str, evidence: Evidence, names: FileNames, files: dict[str, Image.Image]) -> HeatMap:
    difference = evidence.spectra[generator]
    # The scale comes from the map itself and is rounded, so that its ends are numbers to read.
    limit = round_up(usual(difference))
    colours = diverging(strongest(difference, _LARGEST), limit)
    title = f"Spectrum of {generator} forgeries minus that of real images"
    finding = in_words(difference)
    name = names("spectrum", generator) + ".png"
    # the file is enlarged without smoothing: one frequency stays one square
    files[name] = Image.fromarray(colours).resize((256, 256), Image.Resampling.NEAREST)
    alt = f"{title}, in decibels, frequency zero in the middle. {finding}"
    return HeatMap(title, map_uri(colours), alt, finding, f"{limit:g} dB", name)


def _saliency(
    generator: str, faces: Pixels, sights: Sequence[Sight], names: FileNames, files: dict[str, Image.Image]
) -> SaliencyRows:
    shown = sights[:ROWS]
    # Maps may be fewer than faces; all rows have one length.
    count = min(FACES, len(faces), *(len(sight.saliency[generator]) for sight in shown))
    faces = faces[:count]
    rows = {_title(sight, generator): overlay(faces, sight.saliency[generator][:count]) for sight in shown}
    name = names("saliency", generator) + ".png"
    # of the picture file; on the page they are smaller
    every = np.concatenate([smaller(part, 128) for part in (faces, *rows.values())])
    files[name] = sheet(every, columns=count, labels=["forgeries", *rows])
    return SaliencyRows(
        generator=generator,
        count=count,
        faces=grid_uri(faces, columns=count),
        rows=[(title, grid_uri(pictures, columns=count)) for title, pictures in rows.items()],
        left_out=_first(ROWS, len(sights), "detectors"),
        file=name,
    )


def _title(sight: Sight, generator: str) -> str:
    if sight.trained_on == generator:
        return sight.detector
    return f"{sight.detector}, trained on {TrainSet.parse(sight.trained_on).shortened(sight.saliency)}"


def _weights(sight: Sight) -> HeatMap:
    values = np.asarray(sight.weights, dtype=np.float32)
    limit = round_up(usual(values))
    title = f"{sight.detector}, trained on {TrainSet.parse(sight.trained_on).readable}"
    finding = balance(values)
    alt = f"Weights of the DCT coefficients in {title}, coarse at the upper left. {finding}"
    return HeatMap(title, map_uri(diverging(strongest(values, _LARGEST), limit)), alt, finding, f"{limit:g}")


def _writer(image: Image.Image, source: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with replacing(path) as temporary:
            # `options`: the text field that marks the picture as synthetic
            image.save(temporary, format="PNG", optimize=True, **options("PNG", source))

    return write
