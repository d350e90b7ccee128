"""Sets of forged faces: what they are made from, latents or real faces, and the one writer of both.

A synthesis says what its images are made from (`Latents` or `Sources`) and makes a batch of them by number; rows, ids,
splits, batches, progress and the card are the same for all (`write_forgeries`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceSet, Images, Indices, Masks
from forge.faces.parallel import ordered, read_ahead
from forge.faces.writer import FaceSetWriter

if TYPE_CHECKING:
    import pandas as pd  # takes a second and a half to import


class Faces(Protocol):
    """Real faces to make forgeries from: a FaceView, or several joined."""

    def __len__(self) -> int: ...

    def read(self, positions: slice | Indices | None = None) -> Images:
        """Return images as uint8 [n, H, H, 3]."""

    @property
    def rows(self) -> pd.DataFrame:
        """Their rows, with `id` and `identity`."""


def _check_counts(counts: Mapping[str, int]) -> None:
    if not counts or min(counts.values()) < 1:
        raise InputError(f"counts {dict(counts)} must ask for at least one image a split")


@dataclass(frozen=True)
class LatentPart:
    """Images of one split that follow from the split and their number alone."""

    split: str

    def row(self, number: int) -> dict[str, Any]:
        """Return the number, from which the latent follows."""
        return {"latent_index": number}


@dataclass(frozen=True)
class Latents:
    """Images that are made from random numbers.

    Attributes:
        counts: images per split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        labels: none: latents have no labels to inherit.

    Raises:
        InputError: no images are asked for.
    """

    columns: ClassVar[Mapping[str, str]] = {"latent_index": "int64"}
    labels: ClassVar[Mapping[str, str]] = {}
    counts: Mapping[str, int]

    def __post_init__(self) -> None:
        _check_counts(self.counts)

    def parts(self) -> list[LatentPart]:
        """Return the splits."""
        return [LatentPart(split) for split in self.counts]


@dataclass(frozen=True)
class SourcePart:
    """Images of one split: number k is copy k // n of face number k % n of the order in which faces are taken.

    Attributes:
        split: its name.
        faces: the real faces.
        order: positions of the n faces in the order in which they are taken.
        rows: id, identity and inherited labels, in that order.
        count: images that are asked for.
    """

    split: str
    faces: Faces
    order: Indices
    rows: list[dict[str, Any]]
    count: int

    @property
    def taken(self) -> Indices:
        """Positions of the faces that are taken at all."""
        # the only faces that have to be searched or read
        return self.order[: self.count]

    def face_of(self, numbers: Indices) -> Indices:
        """Places in the order of the faces from which these images are made."""
        return numbers % len(self.order)

    def copy_of(self, numbers: Indices) -> Indices:
        """Return the number of the copy of each face, from 0."""
        return numbers // len(self.order)

    def read(self, numbers: Indices) -> Images:
        """Return the faces from which these images are made, uint8 [n, H, H, 3]."""
        return self.faces.read(self.order[self.face_of(numbers)])

    def row(self, number: int) -> dict[str, Any]:
        """Return the row of the face, with its id as `made_from`."""
        count = len(self.order)
        return {**self.rows[number % count], "made_from": self.rows[number % count]["id"], "copy": number // count}


@dataclass(frozen=True)
class Sources:
    """Images that are made from real faces of the same split.

    Faces are taken in random order, each once before any is taken again; a larger set begins with the same images.

    Attributes:
        views: the real faces of each split.
        counts: images per split.
        seed: of the order.
        labels: label columns of the faces that the images inherit, with their Arrow types.

    Raises:
        InputError: no images are asked for, or a split without faces.
    """

    columns: ClassVar[Mapping[str, str]] = {"made_from": "string", "copy": "int64"}  # id of the face; which copy of it
    views: Mapping[str, Faces]
    counts: Mapping[str, int]
    seed: int
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_counts(self.counts)
        if empty := [split for split in self.counts if not len(self.views[split])]:
            raise InputError(f"split {quoted(empty[0])} has no real faces to alter; prepare more photos")

    def parts(self) -> list[SourcePart]:
        """Return the splits, each with its faces in order."""
        return [self._part(split, count) for split, count in self.counts.items()]

    def _part(self, split: str, count: int) -> SourcePart:
        faces, seed = self.views[split], derive_seed(self.seed, "order", split)
        # a permutation of all faces, not a draw of `count`: a larger set begins with the same faces
        order = np.random.default_rng(seed).permutation(len(faces)).astype(np.int64)
        types = {"id": "string", "identity": "string", **self.labels}
        schema = pa.schema([(name, pa.type_for_alias(type_name)) for name, type_name in types.items()])
        # the schema keeps types that pandas does not: null in an integer column
        rows = pa.Table.from_pandas(faces.rows[list(types)].iloc[order], schema, preserve_index=False).to_pylist()
        return SourcePart(split, faces, order, rows, count)


Origin = Latents | Sources
Part = LatentPart | SourcePart


@dataclass(frozen=True)
class Forged:
    """A batch of forged images.

    Attributes:
        images: uint8 [n, H, W, 3].
        columns: what the table says of each beside its origin.
        masks: uint8 [n, H, W], where each image was altered.
        targets: uint8 [n, H, W, 3], the real images that were altered, as they were before.
    """

    images: Images
    columns: Sequence[Mapping[str, Any]]
    masks: Masks | None = None
    targets: Images | None = None


@dataclass(frozen=True)
class Synthesis:
    """Images made from an origin, and their entries in the card.

    Attributes:
        name: of the set, with which ids begin.
        origin: what the images are made from.
        make: part of the origin and numbers int64 [n] to images, or to what `finish` makes them from; numbers are those
            of a batch, in order.
        batch: images that are made at a time.
        columns: further columns of the table, with their Arrow types.
        resolution: of the images in pixels.
        licence: of the images.
        provenance: what decides the result, JSON values.
        citation: of what the images are made from.
        masks: whether `make` gives masks, to be stored.
        note: for the progress, a few words.
        finish: from what `make` returns to images; picklable, as what it is given, since other processes may do it.
        workers: processes that finish; 1: this one. The images do not depend on it.
    """

    name: str
    origin: Origin
    make: Callable[[Any, Indices], Any]
    batch: int
    columns: Mapping[str, str]
    resolution: int
    licence: str
    provenance: dict[str, Any]
    citation: str = ""
    masks: bool = False
    note: str = ""
    finish: Callable[[Any], Forged] | None = None
    workers: int = 1

    @cached_property
    def total(self) -> int:
        """Images of all splits."""
        return sum(self.origin.counts.values())

    def batches(self, parts: Sequence[Part]) -> Iterator[tuple[Part, Indices, Forged]]:
        """Make all images, batch by batch."""
        # split by split, so that batches never mix parts
        numbered = [
            (part, np.arange(start, min(start + self.batch, count)))
            for part, count in ((part, self.origin.counts[part.split]) for part in parts)
            for start in range(0, count, self.batch)
        ]
        made = (self.make(part, numbers) for part, numbers in numbered)
        finished = ordered(self.finish, made, workers=self.workers) if self.finish else made
        for (part, numbers), batch in zip(numbered, finished, strict=True):
            yield part, numbers, batch


def write_forgeries(
    synthesis: Synthesis,
    out: Path,
    on_progress: OnProgress,
    *,
    parts: Sequence[Part] | None = None,
    targets: Path | None = None,
    ahead: bool = False,
) -> FaceSet:
    """Write the images of a synthesis as a FaceSet.

    Args:
        synthesis: what is made, and how.
        out: directory of the set; must not exist. It appears only after that of the targets.
        on_progress: called with the progress.
        parts: of the origin, if the caller has them already.
        targets: directory of a set of kind "real" with the target of every image, in the same order.
        ahead: make the next batch in a thread while one is written: for a GPU.
    """
    done, made = 0, synthesis.batches(synthesis.origin.parts() if parts is None else parts)
    with ExitStack() as stack:
        # contexts end in reverse: the targets are published before the forgeries, which name them
        forged = stack.enter_context(_writer(synthesis, out, "forged"))
        real = stack.enter_context(_writer(synthesis, targets, "real")) if targets else None
        for part, numbers, batch in read_ahead(made) if ahead else made:
            forged.append(batch.images, _rows(synthesis.name, part, numbers, batch), batch.masks)
            if real is not None and batch.targets is not None:
                real.append(batch.targets, _rows("target", part, numbers, batch))
            done += len(numbers)
            on_progress(ProgressEvent(done, synthesis.total, note=synthesis.note))
    return FaceSet.open(out)


def _rows(name: str, part: Part, numbers: Indices, batch: Forged) -> list[dict[str, Any]]:
    return [
        {**part.row(number), **columns, "id": f"{name}-{part.split}-{number:07d}", "split": part.split}
        for number, columns in zip(numbers.tolist(), batch.columns, strict=True)
    ]


def _writer(synthesis: Synthesis, path: Path, kind: Literal["real", "forged"]) -> FaceSetWriter:
    provenance = synthesis.provenance
    return FaceSetWriter(
        path,
        name=synthesis.name if kind == "forged" else "targets",
        kind=kind,
        resolution=synthesis.resolution,
        licence=synthesis.licence,
        provenance=provenance if kind == "forged" else {"targets_of": provenance},
        attributes={**synthesis.origin.columns, **synthesis.columns, **synthesis.origin.labels},
        citation=synthesis.citation,
        masks=synthesis.masks and kind == "forged",
    )
