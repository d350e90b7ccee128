"""From real faces to a FaceSet of self-blended forgeries, traceable to the face each was made from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forge.compute import derive_seed
from forge.errors import InputError, quoted
from forge.faces.faceset import FaceSet, Images, Indices
from forge.faces.writing import FaceSetWriter
from forge.hull import Floats, find_landmarks
from forge.progress import Report, Tick
from forge.self_blended import Blended, SelfBlended, blend

if TYPE_CHECKING:
    import pandas as pd

NAME = "self-blended"
BLOCK = 32  # images at once; nothing depends on it
COLUMNS = {"made_from": "string", "copy": "int64", "outline": "string"}  # real's id; which blend of it; found | average


class Blending:
    """Real faces blended with themselves: forgeries without a generator and without training."""

    citation: ClassVar[str] = (
        "Shiohara, Yamasaki: Detecting Deepfakes with Self-Blended Images, CVPR 2022, arXiv 2204.08376"
    )
    family: ClassVar[str] = "blending"
    resolutions: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    Settings: ClassVar[type[SelfBlended]] = SelfBlended


class Faces(Protocol):
    """Real faces to blend: a FaceView, or several joined."""

    def __len__(self) -> int: ...

    def read(self, positions: slice | Indices | None = None) -> Images:
        """Images as uint8 [n, H, H, 3]."""

    @property
    def rows(self) -> pd.DataFrame:
        """Their rows, with `id` and `identity`."""


def blend_set(
    real: FaceSet,
    out: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    report: Report,
    settings: SelfBlended | None = None,
) -> FaceSet:
    """Write self-blended forgeries of a set's faces, split by split from the real images of the same split.

    Faces are taken in random order, each once before any is taken again; a face taken again is blended otherwise. More
    images asked for begin with the same ones. Computed on the CPU in NumPy, so that the set's digest does not depend
    on a device.

    Args:
        real: the real faces.
        out: directory of the set; must not exist.
        counts: images a split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: everything random follows from it.
        report: told about progress.
        settings: of the blending.

    Returns:
        The set. Rows carry identity and labels of the real face, its id (`made_from`), which blend of it this is
        (`copy`) and whether its outline was `found` or is the `average` one.

    Raises:
        InputError: nothing asked for, a forged set, the split `forge`, a split without images, a clash of columns.
    """
    card = real.card
    if card.kind != "real":
        raise InputError(f"{real.path} holds forged faces; self-blended images are made from real ones")
    if "forge" in counts:
        raise InputError("self-blended images are never made from split 'forge', which is for generators; leave it out")
    if clash := sorted(set(COLUMNS) & set(card.attributes)):
        raise InputError(
            f"label column {quoted(clash[0])} of {real.path} has the name of a column of blends; rename it"
        )
    schema = pq.read_schema(real.path / "table.parquet")
    making = Making(
        views={split: real.view(split) for split in counts},
        counts=counts,
        seed=seed,
        settings=settings or SelfBlended(),
        resolution=card.resolution,
        source={"name": card.name, "digest": card.digest, "licence": card.licence},
        licence=f"altered photos under {card.licence}",
        citation=card.citation,
        labels={name: str(schema.field(name).type) for name in card.attributes},
    )
    return making.write(out, report)


@dataclass(frozen=True)
class Making:
    """What is to be blended.

    Attributes:
        views: the real faces of each split.
        counts: images a split.
        seed: everything random follows from it.
        settings: of the blending.
        resolution: of the faces.
        source: what the faces are, JSON values for the card.
        licence: of the result.
        citation: of the faces.
        labels: label columns of the faces that the result keeps, with their Arrow types.
    """

    views: Mapping[str, Faces]
    counts: Mapping[str, int]
    seed: int
    settings: SelfBlended
    resolution: int
    source: Mapping[str, Any]
    licence: str
    citation: str = ""
    labels: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts.values()) < 1:
            raise InputError(f"counts {dict(self.counts)} must ask for at least one image a split")
        if empty := [split for split in self.counts if not len(self.views[split])]:
            raise InputError(f"split {quoted(empty[0])} has no real faces to blend; prepare more photos")

    @property
    def provenance(self) -> dict[str, Any]:
        """What decides the result, for its card."""
        return {
            "generator": NAME,
            "seed": self.seed,
            "counts": dict(self.counts),
            "blending": self.settings.model_dump(mode="json"),
            "made_from": dict(self.source),
        }

    def write(self, out: Path, report: Report, *, targets: Path | None = None) -> FaceSet:
        """Write the blends, and with `targets` also what they were laid over: the paper's real images.

        Args:
            out: directory of the blends; appears only after that of the targets.
            report: told about progress.
            targets: directory of a set of kind "real" with the target of every blend in the same order.
        """
        parts = [self._part(split, report) for split in self.counts]
        missing = {part.split: int(np.isnan(part.landmarks[:, 0, 0]).sum()) for part in parts}
        total, done = sum(self.counts.values()), 0
        with ExitStack() as stack:
            forged = stack.enter_context(self._writer(out, "forged", {"faces_not_found": missing}))
            real = stack.enter_context(self._writer(targets, "real", {})) if targets else None
            for part in parts:
                count = self.counts[part.split]
                for start in range(0, count, BLOCK):
                    numbers = np.arange(start, min(start + BLOCK, count))
                    made = part.blended(numbers, self.seed, self.settings)
                    forged.append(made.forged, part.labelled(NAME, numbers, made))
                    if real is not None:
                        real.append(made.target, part.labelled("target", numbers, made))
                    done += len(numbers)
                    report(Tick(done, total, note="blending"))
        return FaceSet.open(out)

    def _part(self, split: str, report: Report) -> _Part:
        faces, seed = self.views[split], derive_seed(self.seed, "order", split)
        order = np.random.default_rng(seed).permutation(len(faces)).astype(np.int64)
        types = {"id": "string", "identity": "string", **(self.labels or {})}
        schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
        rows = pa.Table.from_pandas(faces.rows[list(types)].iloc[order], schema, preserve_index=False).to_pylist()
        taken = order[: self.counts[split]]
        landmarks = np.full((len(taken), 5, 2), np.nan)
        if self.settings.landmarks == "mtcnn":
            landmarks = find_landmarks(
                lambda start: faces.read(taken[start : start + BLOCK]),
                len(taken),
                lambda done: report(Tick(done, len(taken), note="looking for faces")),
            )
        return _Part(split, faces, order, rows, landmarks)

    def _writer(self, path: Path, kind: Literal["real", "forged"], more: Mapping[str, Any]) -> FaceSetWriter:
        provenance = {**self.provenance, **more}
        return FaceSetWriter(
            path,
            name=NAME if kind == "forged" else "targets",
            kind=kind,
            resolution=self.resolution,
            licence=self.licence,
            provenance=provenance if kind == "forged" else {"targets_of": provenance},
            attributes={**COLUMNS, **(self.labels or {})},
            citation=self.citation,
        )


@dataclass(frozen=True)
class _Part:
    """The faces of one split: image k is blend number k // n of face number k % n of the order they are taken in.

    Attributes:
        split: its name.
        faces: the real faces.
        order: positions of the n faces in the order they are taken.
        rows: id, identity and kept labels in that order.
        landmarks: [m, 5, 2] in that order, of the m faces that are taken at all.
    """

    split: str
    faces: Faces
    order: Indices
    rows: list[dict[str, Any]]
    landmarks: Floats

    def blended(self, numbers: Indices, seed: int, settings: SelfBlended) -> Blended:
        """Make these images of the split."""
        taken, copies = numbers % len(self.order), numbers // len(self.order)
        seeds = [
            derive_seed(seed, "blend", self.rows[i]["id"], int(copy)) for i, copy in zip(taken, copies, strict=True)
        ]
        return blend(self.faces.read(self.order[taken]), self.landmarks[taken], seeds, settings)

    def labelled(self, name: str, numbers: Indices, made: Blended) -> list[dict[str, Any]]:
        """The rows of these images, with ids that begin with `name`."""
        count = len(self.order)
        return [
            {
                **self.rows[number % count],
                "id": f"{name}-{self.split}-{number:07d}",
                "split": self.split,
                "made_from": self.rows[number % count]["id"],
                "copy": number // count,
                "outline": "average" if average else "found",
            }
            for number, average in zip(numbers.tolist(), made.average, strict=True)
        ]
