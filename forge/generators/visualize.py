"""Pictures of a trained generator: samples, latent walk, truncation, training progress, nearest training faces."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from forge.core import provenance
from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.core.seeding import seed_torch
from forge.faces.faceset import FaceSet, Images
from forge.faces.imaging.grids import Animation, cut_grid, enlarged, grid, sheet, write_animation, write_picture
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.generators.labels import Codes
from forge.generators.memorization import Distances, Search, closest, nearest

COLUMNS = 8
ROWS = 16  # label combinations that are shown
LEVELS = (0.0, 0.25, 0.5, 0.7, 1.0)  # of truncation
MOMENTS, FILMED = 8, 6  # of the training, and latents that are followed through it
POINTS, FRAMES, MILLISECONDS = 5, 80, 50  # of the walk: latents it passes, frames, time a frame
SEARCHED, SHOWN_NEAREST = 1000, 8  # forgeries that are compared with the training faces, and those that are shown
_AT_ONCE, _COMPARED = 64, 4096  # faces made at once, training faces compared at once
_FINE = 512  # steps between two points, of which a walk takes some


class Painter:
    """Makes the faces of a trained generator for pictures, with averaged weights in fp32 on the CPU.

    Style-based generators get the same noise for every face, so that nothing but latent and label makes a difference.

    Args:
        trained: the generator.
        seed: all latents follow from it and from the picture they are for.
    """

    def __init__(self, trained: TrainedGenerator, seed: int = 0) -> None:
        self.trained, self.seed = trained, seed
        self.network = trained.generator()

    def latents(self, count: int, picture: str) -> Tensor:
        """Return random latents [count, L]."""
        # from seed and name alone: one picture's latents do not depend on which others were painted before
        with torch.random.fork_rng(devices=[]):
            seed_torch(derive_seed(self.seed, "picture", picture))
            return self.trained.architecture.latents(count, torch.device("cpu"))

    @torch.no_grad()
    def faces(self, latents: Tensor, codes: Codes | None = None, *, truncation: float = 1.0) -> Images:
        """Make faces.

        Args:
            latents: [N, L].
            codes: labels int64 [N, C], where the generator is conditional.
            truncation: of the styles; 1 where the generator is not style-based.

        Returns:
            uint8 [N, H, W, 3].
        """
        more = {"truncation": truncation, "fixed_noise": True} if self.trained.architecture.truncates else {}
        parts = []
        with torch.random.fork_rng(devices=[]):
            seed_torch(derive_seed(self.seed, "noise"))  # of networks that make their own
            for start in range(0, len(latents), _AT_ONCE):
                here = slice(start, start + _AT_ONCE)
                given = () if codes is None else (torch.from_numpy(codes[here]),)  # [n, C]
                parts.append(to_uint8(self.network(latents[here], *given, **more)).numpy())
        return np.concatenate(parts)

    def combinations(self, limit: int = ROWS) -> Codes | None:
        """The most frequent combinations of labels, most frequent first: int64 [at most `limit`, C]; None: no labels.

        Columns count as independent, as they are when labels are drawn.
        """
        if self.trained.condition is None:
            return None
        # exact, not only greedy: of a combination among the best `limit`, the beginning is among the best beginnings,
        # as any `limit` better beginnings with the same end would beat it. Cost stays limit x values per column
        best: list[tuple[float, tuple[int, ...]]] = [(1.0, ())]
        for shares in self.trained.condition.chances("training"):  # the best of all continue the best so far
            longer = [(p * float(share), (*codes, code)) for p, codes in best for code, share in enumerate(shares)]
            best = sorted(longer, key=lambda entry: (-entry[0], entry[1]))[:limit]  # ties by code, for equal pictures
        return np.array([codes for _, codes in best], np.int64)

    def labels(self, count: int) -> Codes | None:
        """Labels int64 [count, C] that take the most frequent combinations in turn; None where there are none."""
        combinations = self.combinations()
        # np.resize repeats the rows from the first on
        return None if combinations is None else np.resize(combinations, (count, combinations.shape[1]))


def samples(painter: Painter) -> Image.Image:
    """Make 64 random faces, not selected, or one row of the same latents per label combination."""
    combinations, condition = painter.combinations(), painter.trained.condition
    if combinations is None or condition is None:
        return sheet(painter.faces(painter.latents(COLUMNS * COLUMNS, "samples")), columns=COLUMNS)
    # lexsort takes the last key as the first to sort by, so the columns are reversed: rows are grouped by column 0
    rows = combinations[np.lexsort(combinations.T[::-1])]
    latents = painter.latents(COLUMNS, "samples").repeat(len(rows), 1)  # [rows * 8, L], row by row
    faces = painter.faces(latents, rows.repeat(COLUMNS, axis=0))
    # Python integers: the product over many columns may exceed int64
    every = int(np.prod(condition.classes, dtype=object))
    caption = f"{', '.join(condition.values)}; same latents in every row"
    if every > len(rows):
        caption += f"\nthe {len(rows)} most frequent of {every} label combinations"
    labels = [", ".join(values.values()) for values in condition.decode(rows)]
    return sheet(faces, columns=COLUMNS, caption=caption, labels=labels)


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Walk from latents to latents [N, L] along the sphere, where Gaussian ones lie (Shoemake 1985; White 2016).

    Args:
        start: where share is 0.
        end: where share is 1.
        share: of the way, 0..1.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1)  # [N]
    # the formula divides by sin(angle), which is 0 for parallel and opposite latents
    angle = torch.acos(cosine.clamp(-0.9999, 0.9999))[:, None]
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def closed_walk(points: Sequence[Tensor], steps: int) -> Tensor:
    """Return a walk past latents, in equal steps, that ends one step before it began.

    Args:
        points: latents [N, L] to pass; each of the N walks for itself, starting at its first point.
        steps: of the whole walk.

    Returns:
        Latents [steps, N, L].
    """
    ways = zip(points, [*points[1:], points[0]], strict=True)
    fine = torch.stack([slerp(a, b, i / _FINE) for a, b in ways for i in range(_FINE)])  # [points * 512, N, L]
    # each of the N walks has its own lengths, [points * 512, N]
    gone = (fine.roll(-1, 0) - fine).norm(dim=2).cumsum(0)  # after each fine step: points differ in distance
    wanted = torch.arange(steps)[:, None] / steps * gone[-1]  # [steps, N]
    # searchsorted works along the last axis, hence the transpositions; it finds the fine point at or just before the
    # wanted length. The clamp guards against rounding in the sum
    indices = torch.searchsorted(gone.T.contiguous(), wanted.T.contiguous(), right=True).T.clamp(max=len(fine) - 1)
    return fine.gather(0, indices[:, :, None].expand(-1, -1, fine.shape[2]))


def walk(painter: Painter) -> Images:
    """Return frames uint8 [80, H, W, 3] of a closed walk, six faces side by side (fewer where they are large)."""
    count = max(2, min(6, 384 // painter.trained.card.resolution))  # at most 384 px wide, at least two faces
    way = closed_walk(painter.latents(count * POINTS, "walk").chunk(POINTS), FRAMES)  # [80, count, L]
    codes = painter.labels(count)
    # step by step, so that the faces of a frame follow each other
    faces = painter.faces(way.flatten(0, 1), None if codes is None else np.tile(codes, (len(way), 1)))
    frames = np.split(enlarged(faces), len(way))
    return np.stack([np.asarray(grid(frame, columns=count)) for frame in frames])


def interpolations(painter: Painter, *, rows: int = 3, steps: int = COLUMNS) -> Images:
    """Ways from one random latent to another in equal angles, the label of each kept: uint8 [rows * steps, H, W, 3]."""
    start, end = painter.latents(2 * rows, "strolls").chunk(2)
    way = torch.stack([slerp(start, end, i / (steps - 1)) for i in range(steps)], dim=1)  # [rows, steps, L]
    codes = painter.labels(rows)
    return painter.faces(way.flatten(0, 1), None if codes is None else codes.repeat(steps, axis=0))


def truncation(painter: Painter) -> Image.Image:
    """Return rows of the same latents, from the mean face (0) to no truncation (1)."""
    latents, codes = painter.latents(COLUMNS, "truncation"), painter.labels(COLUMNS)
    faces = np.concatenate([painter.faces(latents, codes, truncation=level) for level in LEVELS])
    labels = [f"{level:g}" for level in LEVELS]
    return sheet(faces, columns=COLUMNS, caption="truncation", labels=labels)


def training_folder(trained: TrainedGenerator) -> Path:
    """Return the directory of its whole training: its own, or for a snapshot the one that holds it."""
    path = trained.path.resolve()
    return path.parents[1] if path.parent.name == "snapshots" else path  # <training>/snapshots/<moment>


def moments(trained: TrainedGenerator) -> list[tuple[float, Images]]:
    """Up to eight moments of the training, oldest first: thousands of images shown, and the faces of its sample grid.

    Of a snapshot: up to its own moment. Empty where the grids were not kept.
    """
    grids = sorted((training_folder(trained) / "samples").glob("*k.png"))
    files = [(moment, file) for file in grids if (moment := float(file.stem.rstrip("k"))) <= trained.card.kimg]
    # evenly spread, first and last included; the set drops repetitions where there are fewer grids than moments
    chosen = sorted(set(np.linspace(0, len(files) - 1, MOMENTS).round().astype(int).tolist())) if files else []
    return [(files[i][0], cut_grid(Image.open(files[i][1]))) for i in chosen]


def filmstrip(training: Sequence[tuple[float, Images]]) -> Image.Image:
    """Return the same latents (rows) through the training (columns); `training` as `moments` gives it, not empty."""
    faces = np.stack([grid_faces[:FILMED] for _, grid_faces in training], axis=1)  # [FILMED, moments, H, W, 3]
    titles = [f"{kimg:g}k" for kimg, _ in training]
    return sheet(faces.reshape(-1, *faces.shape[2:]), columns=len(training), caption="images shown", titles=titles)


@dataclass(frozen=True)
class NearestTraining:
    """The forgeries that are most like a training face.

    Attributes:
        picture: eight of them, each above its nearest training face: it shows real photos.
        distances: of all forgeries that were compared to their nearest training face, ascending.
        real_baseline: the same of real faces that were not trained on, ascending; empty where the set has none apart.
        licence: of the photos.
    """

    picture: Image.Image
    distances: Distances
    real_baseline: Distances
    licence: str


def nearest_training(painter: Painter, training: FaceSet, *, search: Search = nearest) -> NearestTraining:
    """Compare 1000 random forgeries with the training faces: split "forge" of the set, or all where it has none.

    Args:
        painter: makes the forgeries.
        training: real faces.
        search: finds the nearest of one batch.

    Raises:
        InputError: the set has another resolution, or its faces are forged.
    """
    card, made = training.card, painter.trained.card
    if card.kind != "real" or card.resolution != made.resolution:
        raise InputError(
            f"{training.path} has {card.kind} faces of {card.resolution} px; comparing with the training of "
            f"{made.name} needs real ones of {made.resolution} px"
        )
    condition, codes = painter.trained.condition, None
    if condition is not None:
        codes = condition.draw(SEARCHED, "training", np.random.default_rng(derive_seed(painter.seed, "nearest labels")))
    forged = painter.faces(painter.latents(SEARCHED, "nearest"), codes)
    view = training.view("forge" if card.splits.get("forge") else None)
    neighbours, distances = closest(forged, view.batches(_COMPARED), search=search)
    # stable: equal distances keep the order of the draw, so the picture's bytes repeat
    order = distances.argsort(kind="stable")
    chosen = order[:SHOWN_NEAREST]
    terms = textwrap.fill(f"lower row: real faces of {card.name}, licence: {card.licence}", 72)
    picture = sheet(
        np.concatenate([forged[chosen], neighbours[chosen]]),
        columns=SHOWN_NEAREST,
        caption=f"{terms}\npublish this picture only if that licence allows it",
        titles=[f"{distance:.1f}" for distance in distances[chosen]],
        labels=["forged", "training"],
    )
    real_baseline = np.empty(0, np.float32)
    # only with a split "forge" is it known which real faces the generator did not see
    if card.splits.get("forge") and card.splits.get("test"):
        unseen = training.view("test").sample(SEARCHED, painter.seed).read()
        real_baseline = np.sort(closest(unseen, view.batches(_COMPARED), search=search)[1])
    return NearestTraining(picture, distances[order], real_baseline, card.licence)


def write_pictures(
    painter: Painter, out: Path, *, animation: Animation = "gif", training_neighbours: NearestTraining | None = None
) -> list[Path]:
    """Write what can be shown of a generator; the same generator and seed give the same bytes.

    Args:
        painter: makes the faces.
        out: directory; made where missing, older pictures in it are replaced.
        animation: format of the walk.
        training_neighbours: of `nearest_training`, to write too: the only picture that shows photos.

    Returns:
        The files: samples.png, walk.gif (APNG: walk.png), truncation.png where the generator can be truncated,
        filmstrip.png where sample grids of its training were kept, nearest.png where `training_neighbours` was given.
    """
    card = painter.trained.card
    source = provenance.origin(card.name, card.weights_sha256)
    photos = (
        f"Upper row: {source} The lower row shows real faces under the licence: {training_neighbours.licence}"
        if training_neighbours
        else ""
    )
    pictures = {
        "samples": (samples(painter), source),
        "truncation": (truncation(painter) if painter.trained.architecture.truncates else None, source),
        "filmstrip": (filmstrip(training) if (training := moments(painter.trained)) else None, source),
        "nearest": (training_neighbours.picture if training_neighbours else None, photos),
    }
    walking = out / ("walk.gif" if animation == "gif" else "walk.png")
    write_animation(walking, walk(painter), milliseconds=MILLISECONDS, source=source, animation=animation)
    written = [walking]
    for name, (picture, text) in pictures.items():
        if picture is not None:
            written.append(out / f"{name}.png")
            write_picture(written[-1], picture, source=text)
    return written
