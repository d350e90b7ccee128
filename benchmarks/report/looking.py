"""Where they look: what betrays each generator's spectrum, and which pixels and frequencies each detector weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from benchmarks.protocol import TrainSet
from benchmarks.report.colour import Maps, Pixels, diverging, overlay
from benchmarks.report.figures import Names
from benchmarks.report.images import grid_uri, map_uri, smaller
from benchmarks.report.maps import balance, in_words, round_up, strongest, usual
from forge.pictures import sheet

FACES = 6  # forgeries a detector is shown looking at
ROWS = 12  # detectors a generator
GENERATORS = 4
WEIGHTS = 6  # maps of weights
_LARGEST = 256  # pixels of a map's side on the page


@dataclass(frozen=True)
class Sight:
    """What one fitted detector tells of where it looks.

    Attributes:
        detector: its name.
        trained_on: its training forgeries.
        saliency: generator -> float32 [n, H, W] in 0..1, of the generator's first n test forgeries; empty: cannot say.
        weights: float32 [H, W], what each DCT coefficient adds to the score; None: no such weights.
    """

    detector: str
    trained_on: str
    saliency: Mapping[str, Maps] = field(default_factory=dict)
    weights: Maps | None = None


@dataclass(frozen=True)
class Evidence:
    """What a run found out about where its detectors look.

    Attributes:
        spectra: generator -> float32 [H, W], log spectrum of forged minus real in dB, zero in the middle.
        sights: one a fit.
        method: how saliency was computed.
    """

    spectra: Mapping[str, Maps] = field(default_factory=dict)
    sights: Sequence[Sight] = ()
    method: str = ""


@dataclass(frozen=True)
class HeatMap:
    """A map on the page: its picture as a data URI, the value of its last colours, and what it says in words."""

    title: str
    picture: str
    alt: str
    finding: str
    limit: str
    file: str = ""


@dataclass(frozen=True)
class Gazes:
    """Where the detectors trained on one generator look in its forgeries: the faces, and a picture a detector."""

    generator: str
    count: int
    faces: str
    rows: list[tuple[str, str]]
    left_out: str
    file: str


@dataclass(frozen=True)
class Looking:
    """The section; `files` are the pictures beside the page by name."""

    method: str
    spectra: list[HeatMap]
    gazes: list[Gazes]
    weights: list[HeatMap]
    silent: list[str]  # detectors that cannot say which pixels they judge by
    left_out: dict[str, str]
    files: dict[str, Image.Image]

    def __bool__(self) -> bool:
        return bool(self.spectra or self.gazes or self.weights)


def looking(evidence: Evidence, forged: Mapping[str, Pixels], names: Names, *, broadest: bool = False) -> Looking:
    """Lay out what is shown.

    Args:
        evidence: of the run.
        forged: the first test forgeries of each generator, uint8 [n, H, W, 3], in the order of the saliency maps.
        names: for the files.
        broadest: of the fits of a detector show the one alone that was trained on the most generators.
    """
    shown = _broadest(evidence) if broadest else evidence
    files: dict[str, Image.Image] = {}
    spectra = [_spectrum(name, evidence, names, files) for name in list(evidence.spectra)[:GENERATORS]]
    seen = [name for name in forged if len(forged[name]) and _watchers(shown, name)]
    weighing = [sight for sight in evidence.sights if sight.weights is not None]
    speaking = {sight.detector for sight in evidence.sights if sight.saliency}
    return Looking(
        method=evidence.method,
        spectra=spectra,
        gazes=[_gazes(name, forged[name], _watchers(shown, name), names, files) for name in seen[:GENERATORS]],
        weights=[_weights(sight) for sight in weighing[:WEIGHTS]],
        silent=[name for name in dict.fromkeys(s.detector for s in evidence.sights) if name not in speaking],
        left_out={
            "spectra": _first(GENERATORS, len(evidence.spectra), "generators"),
            "gazes": _first(GENERATORS, len(seen), "generators"),
            "weights": _first(WEIGHTS, len(weighing), "maps"),
        },
        files=files,
    )


def _broadest(evidence: Evidence) -> Evidence:
    plain = [sight for sight in evidence.sights if not TrainSet.parse(sight.trained_on).variant]
    found: dict[str, Sight] = {}
    for sight in sorted(plain, key=lambda one: -len(TrainSet.parse(one.trained_on).generators)):  # a stable sort
        found.setdefault(sight.detector, sight)
    return replace(evidence, sights=list(found.values()))


def _first(shown: int, n: int, what: str) -> str:
    return f"The first {shown} of {n} {what}." if n > shown else ""


def _watchers(evidence: Evidence, generator: str) -> list[Sight]:
    """The fits that were trained on a generator and can say where they look in its forgeries."""
    return [
        s for s in evidence.sights if generator in s.saliency and generator in TrainSet.parse(s.trained_on).generators
    ]


def _spectrum(generator: str, evidence: Evidence, names: Names, files: dict[str, Image.Image]) -> HeatMap:
    difference = evidence.spectra[generator]
    limit = round_up(usual(difference))
    colours = diverging(strongest(difference, _LARGEST), limit)
    title = f"Spectrum of {generator} forgeries minus that of real images"
    finding = in_words(difference)
    name = names("spectrum", generator) + ".png"
    files[name] = Image.fromarray(colours).resize((256, 256), Image.Resampling.NEAREST)
    alt = f"{title}, in decibels, frequency zero in the middle. {finding}"
    return HeatMap(title, map_uri(colours), alt, finding, f"{limit:g} dB", name)


def _gazes(
    generator: str, faces: Pixels, sights: Sequence[Sight], names: Names, files: dict[str, Image.Image]
) -> Gazes:
    shown = sights[:ROWS]
    count = min(FACES, len(faces), *(len(sight.saliency[generator]) for sight in shown))
    faces = faces[:count]
    rows = {_title(sight, generator): overlay(faces, sight.saliency[generator][:count]) for sight in shown}
    name = names("looking", generator) + ".png"
    every = np.concatenate([smaller(part, 128) for part in (faces, *rows.values())])
    files[name] = sheet(every, columns=count, labels=["as forged", *rows])
    return Gazes(
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
    title = f"{sight.detector}, trained on {sight.trained_on}"
    finding = balance(values)
    alt = f"Weights of the DCT coefficients in {title}, coarse at the upper left. {finding}"
    return HeatMap(title, map_uri(diverging(strongest(values, _LARGEST), limit)), alt, finding, f"{limit:g}")
