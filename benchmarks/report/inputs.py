"""Inputs of a report: results, scores, pictures and explanations of the detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.map_examples import MapExample
from benchmarks.evaluation.pixels import Levels
from benchmarks.evaluation.reproduce import Expected
from benchmarks.evaluation.results import Results
from benchmarks.report.colour import Maps, Pixels


@dataclass(frozen=True)
class Sight:
    """Explanations of one fitted detector.

    Attributes:
        detector: its name.
        trained_on: its training forgeries.
        saliency: generator -> float32 [n, H, W] in 0..1, of the first n test forgeries of the generator; empty: none.
        weights: float32 [H, W], what each DCT coefficient adds to the score; None: no such weights.
    """

    detector: str
    trained_on: str
    saliency: Mapping[str, Maps] = field(default_factory=dict)
    weights: Maps | None = None


@dataclass(frozen=True)
class Evidence:
    """Explanations of all detectors of a run.

    Attributes:
        spectra: generator -> mean log power of forged minus real test faces in dB, float32 [H, W], frequency zero in
            the middle.
        sights: one per fit.
        method: how saliency was computed.
    """

    spectra: Mapping[str, Maps] = field(default_factory=dict)
    sights: Sequence[Sight] = ()
    method: str = ""


@dataclass(frozen=True)
class MapPicture:
    """A test image beside what a detector says of it.

    Attributes:
        detector: its name.
        trained_on: its training forgeries.
        example: the image, why it was chosen, and its measures.
        region: what was altered, where the forgery says it; else empty.
        before: the real image it was made from, uint8 [H, W, 3]; None: not known, or it is untouched.
        after: the image, uint8 [H, W, 3].
        truth: bool [H, W], the pixels that were altered.
        levels: uint8 [H, W], levels of the map.
        threshold: level from which on a pixel is taken for altered.
    """

    detector: str
    trained_on: str
    example: MapExample
    region: str
    before: Pixels | None
    after: Pixels
    truth: NDArray[np.bool_]
    levels: Levels
    threshold: int


@dataclass(frozen=True)
class Pictures:
    """Images that may be shown.

    Attributes:
        forged: random forged samples of each generator, not selected, uint8 [n, H, W, 3]; the first 64 are shown.
        filmstrip: (thousands of images seen, uint8 [n, H, W, 3]) of each generator as training went on; may be empty.
        by_id: image of (source set name, sample id), uint8 [H, W, 3]; None where it may not be shown.
        sources: of each generator whose forgeries are made from real faces, rows of at most eight images: faces, what a
            translator was shown of them (of tampering there is no such row), forgeries, masks where there are any,
            uint8 [rows * n, H, W, 3].
        interpolations: rows of eight faces of each generator, from one latent to another, uint8 [rows * 8, H, W, 3].
        evidence: explanations of the detectors; the saliency maps are of the first images of `forged`.
        located: test images with the maps of localisers.
    """

    forged: dict[str, np.ndarray]
    filmstrip: dict[str, list[tuple[float, np.ndarray]]]
    by_id: Callable[[str, str], np.ndarray | None]
    evidence: Evidence = field(default_factory=Evidence)
    interpolations: dict[str, np.ndarray] = field(default_factory=dict)
    sources: dict[str, np.ndarray] = field(default_factory=dict)
    located: Sequence[MapPicture] = ()


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report is written from.

    Attributes:
        results: the run, with the tests of all seeds.
        scores: its score rows.
        pictures: images that may be shown.
        board: the leaderboard of a suite; None for a run that is no suite.
        expected: what `bench reproduce` compares with, written as expected.json; None leaves that file as it is.
        masks: rows of masks.parquet; None: no detector has maps, or nothing has masks.
        attributions: rows of attribution.parquet; None: not asked for, or of an earlier version.
        sections: additional sections of the page, by registered name or as path/to/file.py:Class.
    """

    results: Results  # with tests of all seeds, since ranks and expected values need them; `RunView` reduces them
    scores: pd.DataFrame
    pictures: Pictures
    board: Leaderboard | None = None  # None for a plain run, whose means are computed all the same
    expected: Expected | None = None

    sections: Sequence[str] = ()
    masks: pd.DataFrame | None = None
    attributions: pd.DataFrame | None = None
