"""From real faces to a FaceSet of self-blended forgeries, traceable to the face each was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from forge.blending.mask import Floats, find_landmarks
from forge.blending.self_blended import Blended, SelfBlended, blend
from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceSet, Indices
from forge.faces.forgeries import Forged, SourcePart, Sources, Synthesis, write_forgeries
from forge.faces.halves import source_view

NAME = "self-blended"
BLOCK = 32  # images at once; nothing depends on it
COLUMNS = {**Sources.columns, "outline": "string"}  # found | average


class Blending:
    """Real faces blended with themselves: forgeries without a generator and without training."""

    family: ClassVar[str] = "blending"
    citation: ClassVar[str] = (
        "Shiohara, Yamasaki: Detecting Deepfakes with Self-Blended Images, CVPR 2022, arXiv 2204.08376"
    )
    resolutions: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    Settings: ClassVar[type[SelfBlended]] = SelfBlended


def blend_set(
    real: FaceSet,
    out: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    on_progress: OnProgress,
    settings: SelfBlended | None = None,
    masks: bool = False,
) -> FaceSet:
    """Write self-blended forgeries of a set's faces, split by split from the real images of the same split.

    Of a halved set (`forge.faces.halves`) they are made from the images that are sources. Faces are taken in random
    order, each once before any is taken again; a face taken again is blended otherwise. More images asked for begin
    with the same ones. Computed on the CPU in NumPy, so that the set's digest does not depend on a device.

    Args:
        real: the real faces.
        out: directory of the set; must not exist.
        counts: images per split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: everything random follows from it.
        on_progress: called with the progress.
        settings: of the blending.
        masks: also store the weight of the copy that was laid over each image, in 255ths. Outside it nothing changes
            where the settings say `altered: source`; else the other copy may be the altered one.

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
        # a column of the blends would overwrite the label
        raise InputError(
            f"label column {quoted(clash[0])} of {real.path} has the name of a column of blends; rename it"
        )
    making = Making(
        origin=Sources({split: source_view(real, split) for split in counts}, counts, seed, real.label_types),
        settings=settings or SelfBlended(),
        resolution=card.resolution,
        source={"name": card.name, "digest": card.digest, "licence": card.licence},
        licence=f"altered photos under {card.licence}",
        citation=card.citation,
    )
    return making.write(out, on_progress, masks=masks)


@dataclass(frozen=True)
class Making:
    """Inputs of a blending.

    Attributes:
        origin: the real faces, how many images are made of them, and the seed that everything random follows from.
        settings: of the blending.
        resolution: of the faces.
        source: what the faces are, JSON values for the card.
        licence: of the result.
        citation: of the faces.
    """

    origin: Sources
    settings: SelfBlended
    resolution: int
    source: Mapping[str, Any]
    licence: str
    citation: str = ""

    @property
    def provenance(self) -> dict[str, Any]:
        """Values that determine the result, for the card."""
        return {
            "generator": NAME,
            "seed": self.origin.seed,
            "counts": dict(self.origin.counts),
            "blending": self.settings.model_dump(mode="json"),
            "made_from": dict(self.source),
        }

    def write(self, out: Path, on_progress: OnProgress, *, targets: Path | None = None, masks: bool = False) -> FaceSet:
        """Write the blends, and with `targets` also what they were laid over: the paper's real images.

        Args:
            out: directory of the blends; appears only after that of the targets.
            on_progress: called with the progress.
            targets: directory of a set of kind "real" with the target of every blend in the same order.
            masks: store the weight of the source in each blend as its mask.
        """
        parts = self.origin.parts()
        # searched for once per face that is taken; copies of a face share its landmarks
        landmarks = {part.split: self._landmarks(part, on_progress) for part in parts}
        missing = {split: int(np.isnan(points[:, 0, 0]).sum()) for split, points in landmarks.items()}

        def make(part: SourcePart, numbers: Indices) -> Forged:
            blended = self._blended(part, landmarks[part.split], numbers)
            outlines = [{"outline": "average" if average else "found"} for average in blended.average]
            drawn = np.rint(255 * blended.mask).astype(np.uint8) if masks else None  # weights 0..1 to 255ths
            return Forged(blended.forged, outlines, drawn, blended.target)

        synthesis = Synthesis(
            name=NAME,
            origin=self.origin,
            make=make,
            batch=BLOCK,
            columns={"outline": "string"},
            resolution=self.resolution,
            licence=self.licence,
            provenance={**self.provenance, "faces_not_found": missing},
            citation=self.citation,
            masks=masks,
            note="blending",
        )
        return write_forgeries(synthesis, out, on_progress, parts=parts, targets=targets)

    def _landmarks(self, part: SourcePart, on_progress: OnProgress) -> Floats:
        """Return landmarks [m, 5, 2] of the m faces that are taken, in order; NaN where no face is known."""
        taken = part.taken
        if self.settings.landmarks != "mtcnn":
            return np.full((len(taken), 5, 2), np.nan)
        return find_landmarks(
            lambda start: part.faces.read(taken[start : start + BLOCK]),
            len(taken),
            lambda done: on_progress(ProgressEvent(done, len(taken), note="looking for faces")),
        )

    def _blended(self, part: SourcePart, landmarks: Floats, numbers: Indices) -> Blended:
        """Blend the faces of these numbers; a seed follows from the face and the copy, not from its place."""
        faces, copies = part.face_of(numbers), part.copy_of(numbers)
        # by id and copy: the n-th blend of a face is the same whatever split sizes or batches it is asked for in
        seeds = [
            derive_seed(self.origin.seed, "blend", part.rows[face]["id"], int(copy))
            for face, copy in zip(faces, copies, strict=True)
        ]
        return blend(part.read(numbers), landmarks[faces], seeds, self.settings)
