"""Speed of tampering, whole sets written, and of the pixel measures."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from benchmarks.evaluation.pixels import (
    LevelScale,
    PixelCounts,
    average_precision,
    f1,
    false_alarm_area,
    iou,
    pixel_auc,
    threshold,
)
from benchmarks.speed.figure import REPEATS, Figure, timed
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.rendering import render_person_images
from forge.tampering.poisson import harmonic_fill
from forge.tampering.tamper import tamper_set

# (method, of inpaint how, images at 64 px, at 256 px): enough that starting processes counts little
_METHODS = (
    ("splice", "", 8_000, 800),
    ("copy-move", "", 8_000, 800),
    ("retouch", "", 8_000, 800),
    ("inpaint", "harmonic", 8_000, 800),
    ("inpaint", "patchmatch", 1_200, 160),
)
_FACES, _LARGE = 200, 256
_MAPS, _BLOCK, _SIDE = 100_000, 2_000, 64


def tampering(photos: str | None) -> list[Figure]:
    """Sets of edited rendered faces, masks included, by one process a core; harmonic filling beside SciPy's spsolve."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for side in (64, 256):
            faces = _people(Path(folder) / f"people-{side}", side)
            for name, filling, *counts in _METHODS:
                count = counts[side == 256]
                made = partial(_made, name, filling, faces, Path(folder) / f"{name}-{filling}-{side}", count)
                title = f"{name}, {filling}" if filling else name
                how = f"{count:,} images and masks, {os.cpu_count()} processes, faces not searched"
                figures.append(Figure(f"{title}, {side} px", count / timed(made), "images/s", how))
    return [*figures, _beside_spsolve()]


def _people(path: Path, side: int) -> FaceSet:
    rendered = render_person_images(0, 0, _FACES, size=side, images_per_person=2)
    source = {"source": {"name": "rendered"}}  # donors are other rendered people then
    with FaceSetWriter(path, "people", "real", side, "CC0", source, {}) as writer:
        rows = [{"id": f"p{n}", "split": "test", "identity": face.identity} for n, face in enumerate(rendered)]
        writer.append(np.stack([face.image for face in rendered]), rows)
    return FaceSet.open(path)


def _made(name: str, filling: str, faces: FaceSet, out: Path, count: int) -> FaceSet:
    implementation = GENERATORS.load(name)
    values = {"landmarks": "average"} | ({"methods": (filling,)} if filling else {})
    return tamper_set(
        implementation(implementation.Settings(**values)),
        faces,
        out,
        name=name,
        counts={"test": count},
        seed=0,
        on_progress=silent,
        workers=os.cpu_count() or 1,
    )


def _beside_spsolve() -> Figure:
    """A disc of a quarter of a large image, filled by ours and by the equations handed to SciPy."""
    rows, columns = np.mgrid[:_LARGE, :_LARGE] - (_LARGE - 1) / 2
    mask = np.hypot(rows, columns) < 0.28 * _LARGE
    image = np.random.default_rng(0).integers(0, 256, (_LARGE, _LARGE, 3)).astype(np.uint8)
    ours, plain = [
        sorted(timed(partial(fill, image, mask)) for _ in range(REPEATS))[REPEATS // 2]
        for fill in (harmonic_fill, spsolve_fill)
    ]
    how = f"{1000 * ours:.0f} ms; a disc of {mask.mean():.0%} of {_LARGE} px, whose equations SuperLU solves"
    return Figure("harmonic filling against scipy.sparse.linalg.spsolve", plain / ours, "x", how)


def spsolve_fill(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill a region that touches no edge with the solution of Laplace's equation, by SciPy's general sparse solver.

    Args:
        image: [H, W, C].
        mask: bool [H, W].
    """
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    filled = image.astype(np.float64)
    right_side = np.zeros((mask.sum(), image.shape[2]))
    rows, columns = np.nonzero(mask)
    pairs = []
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        beside = number[rows + down, columns + right]
        inside = beside >= 0
        pairs.append((number[rows, columns][inside], beside[inside]))
        right_side[~inside] += filled[rows + down, columns + right][~inside]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    matrix = sparse.coo_matrix((-np.ones(len(first)), (first, second)), shape=(len(rows),) * 2) + 4 * sparse.eye(
        len(rows)
    )
    filled[mask] = spsolve(matrix.tocsc(), right_side)
    return filled


def localisation(photos: str | None) -> list[Figure]:
    """Every pixel measure of 100,000 maps of 64 px."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(_BLOCK, _SIDE, _SIDE)).astype(np.float32)
    altered = rng.random((_BLOCK, 1, 1)) > np.linspace(0.1, 3, _SIDE)[:, None] * np.ones(_SIDE)
    maps[altered] += 1
    kept: list[PixelCounts] = []

    def count() -> None:
        scale = LevelScale.of(maps.ravel())
        kept.extend(PixelCounts.of(scale.levels(maps), altered) for _ in range(_MAPS // _BLOCK))

    def measure() -> None:
        counts = PixelCounts(
            *(np.concatenate(side) for side in zip(*((part.altered, part.untouched) for part in kept), strict=True))
        )
        level = threshold(counts)
        for value in (f1, iou, false_alarm_area):
            value(counts, level)
        for ranked in (pixel_auc, average_precision):
            ranked(counts)

    counted, measured = timed(count), timed(measure)
    how = f"{counted:.1f} s from maps and masks to levels, {measured:.1f} s the measures"
    return [Figure(f"pixel measures of {_MAPS:,} maps of {_SIDE} px", counted + measured, "s", how)]
