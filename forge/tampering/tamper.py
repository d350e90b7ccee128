"""From real faces to a FaceSet of tampered ones, each with its mask and traceable to the face it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress
from forge.faces.faceset import Card, FaceSet, FaceView, Indices
from forge.faces.forgeries import Forged, SourcePart, Sources, Synthesis, write_forgeries
from forge.faces.halves import source_view
from forge.tampering.base import COLUMNS, Donor, TamperBatch, Tampering
from forge.tampering.donors import Donors, DonorSet
from forge.tampering.landmark_search import Landmarks, landmarks_of, search_part
from forge.tampering.landmarks import Floats

BLOCK = 32  # images at once; nothing depends on it
ALONE = 1_000 * 64**2  # pixels of a set up to which this process is done before others would have started


def shows_rendered_people(card: Card) -> bool:
    """Whether the faces of a set are rendered: nobody's."""
    return bool(card.provenance.get("source", {}).get("name") == "rendered")


def tamper_set(
    tampering: Tampering[Any],
    real: FaceSet,
    out: Path,
    *,
    name: str,
    counts: Mapping[str, int],
    seed: int,
    on_progress: OnProgress,
    workers: int = 1,
    landmarks: Landmarks | None = None,
) -> FaceSet:
    """Write tampered faces with their masks, split by split from the real images of the same split.

    Of a halved set (`forge.faces.halves`) they are made from the images that are sources. Faces are taken in random
    order, each once before any is taken again; a face taken again is altered otherwise. More images asked for begin
    with the same ones. Computed on the CPU, so that the set's digest does not depend on a device.

    Args:
        tampering: what is done to the faces.
        real: the real faces.
        out: directory of the set; must not exist.
        name: of the set and its generator, e.g. "splice".
        counts: images per split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: everything random follows from it.
        on_progress: called with the progress.
        workers: processes that alter the faces of a large set; the set does not depend on it.
        landmarks: those of `search_sources`; None: they are searched.

    Returns:
        The set, with the weight of what is new in 255ths as masks. Rows carry identity and labels of the real face, its
        id (`made_from`), which forgery of it this is (`copy`), whether its outline was `found` or is the `average`
        one, the `region`, the share of the image that was `altered`, and the drawn numbers as JSON (`edit`).

    Raises:
        InputError: nothing asked for, a forged set, the split `forge`, a split without images, a clash of columns,
            donors that the set does not have or that are not allowed.
    """
    card = real.card
    if card.kind != "real":
        raise InputError(f"{real.path} holds forged faces; {name} forgeries are made from real ones")
    if "forge" in counts:
        raise InputError(f"{name} forgeries are never made from split 'forge', which is for generators; leave it out")
    if clash := sorted({*Sources.columns, *COLUMNS} & set(card.attributes)):
        # a column of the forgeries would overwrite the label
        raise InputError(
            f"label column {quoted(clash[0])} of {real.path} has the name of a column of forgeries; rename it"
        )
    views = {split: source_view(real, split) for split in counts}
    if tampering.takes_donors and tampering.settings.donors == "identity":
        views = {split: with_donors(view) for split, view in views.items()}
    making = Making(
        name=name,
        tampering=tampering,
        origin=Sources(views, counts, seed, real.label_types),
        resolution=card.resolution,
        source={"name": card.name, "digest": card.digest, "licence": card.licence},
        licence=f"altered photos under {card.licence}",
        citation=card.citation,
        rendered=shows_rendered_people(card),
        landmarks=landmarks,
    )
    return making.write(out, on_progress, masks=True, workers=workers)


def with_donors(view: FaceView) -> FaceView:
    """Return the faces whose person has another image in the view.

    Raises:
        InputError: there are none.
    """
    identities = view.rows["identity"].fillna("")
    usable = (identities != "") & identities.duplicated(keep=False)
    if not usable.any():
        raise InputError(
            f"donors 'identity' needs people with two images or more, and split {quoted(view.rows['split'].iloc[0])} "
            "has none; take donors 'rendered'"
        )
    return FaceView(view.faces, view.index[usable.to_numpy()])


@dataclass(frozen=True)
class Making:
    """Inputs of a set of tampered faces.

    Attributes:
        name: of the generator.
        tampering: what is done to the faces.
        origin: the real faces, how many images are made of them, and the seed that everything random follows from.
        resolution: of the faces.
        source: what the faces are, JSON values for the card.
        licence: of the result.
        citation: of the faces.
        rendered: whether the faces are rendered people, who may be donors of each other.
        landmarks: of the faces by id, where they were searched already.
    """

    name: str
    tampering: Tampering[Any]
    origin: Sources
    resolution: int
    source: Mapping[str, Any]
    licence: str
    citation: str = ""
    rendered: bool = False
    landmarks: Landmarks | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """Values that determine the result, for the card."""
        return {
            "generator": self.name,
            "seed": self.origin.seed,
            "counts": dict(self.origin.counts),
            "settings": self.tampering.settings.model_dump(mode="json"),
            "made_from": dict(self.source),
        }

    def write(
        self,
        out: Path,
        on_progress: OnProgress,
        *,
        targets: Path | None = None,
        masks: bool = False,
        workers: int = 1,
    ) -> FaceSet:
        """Write the forgeries, and with `targets` also their real counterparts, where the method has its own.

        Args:
            out: directory of the forgeries; appears only after that of the targets.
            on_progress: called with the progress.
            targets: directory of a set of kind "real" with the target of every forgery in the same order.
            masks: store the masks.
            workers: processes that alter the faces of a large set.
        """
        parts = self.origin.parts()
        # searched for once per face; copies of a face share its landmarks
        landmarks = {part.split: self._landmarks(part, on_progress) for part in parts}
        missing = {split: int(np.isnan(points[:, 0, 0]).sum()) for split, points in landmarks.items()}
        donors = {part.split: self._donors(part, landmarks[part.split]) for part in parts}

        def make(part: SourcePart, numbers: Indices) -> TamperBatch:
            faces, copies = part.face_of(numbers), part.copy_of(numbers)
            ids = [str(part.rows[face]["id"]) for face in faces]
            # by id and copy: the n-th forgery of a face is the same whatever split sizes or batches it is asked for in
            seeds = [
                derive_seed(self.origin.seed, "blend", name, int(copy)) for name, copy in zip(ids, copies, strict=True)
            ]
            points = landmarks[part.split][faces]
            given: list[Sequence[Donor]] = []
            if chooser := donors[part.split]:
                identities = [str(part.rows[face]["identity"] or "") for face in faces]
                given = [
                    chooser.of(name, identity, points_of_face, derive_seed(seed, "donor"))
                    for name, identity, points_of_face, seed in zip(ids, identities, points, seeds, strict=True)
                ]
            rows = [part.rows[face] for face in faces] if self.tampering.inverts else []  # which directions follow
            return TamperBatch(part.read(numbers), points, seeds, given, rows)

        def finish(batch: TamperBatch) -> Forged:
            forged = _altered(self.tampering, masks, batch)
            provenance.update(self.tampering.facts())  # the card is written after the last image
            return forged

        provenance = {**self.provenance, "faces_not_found": missing}
        synthesis = Synthesis(
            name=self.name,
            origin=self.origin,
            make=make,
            batch=BLOCK,
            columns=COLUMNS,
            resolution=self.resolution,
            licence=self.licence,
            provenance=provenance,
            citation=self.citation,
            masks=masks,
            note="altering",
            finish=partial(_altered, self.tampering, masks) if self._may_be_sent else finish,
            workers=workers if self._pixels > ALONE and self._may_be_sent else 1,
        )
        return write_forgeries(synthesis, out, on_progress, parts=parts, targets=targets)

    @property
    def _pixels(self) -> int:
        return sum(self.origin.counts.values()) * self.resolution**2

    @property
    def _may_be_sent(self) -> bool:
        """Whether other processes can alter faces too."""
        # a class from a file that the command line names is known in this process alone; one with a trained generator
        # gathers facts of all the faces
        return type(self.tampering).__module__.startswith("forge.") and not self.tampering.inverts

    def _landmarks(self, part: SourcePart, on_progress: OnProgress) -> Floats:
        """Return landmarks [m, 5, 2] of the m faces that are taken, in order; NaN where no face is known."""
        takes_donors = self.tampering.takes_donors  # any face may be one
        if self.tampering.settings.landmarks != "mtcnn":
            return np.full((len(part.order if takes_donors else part.taken), 5, 2), np.nan)
        if self.landmarks is None:
            return search_part(part, every=takes_donors, on_progress=on_progress)
        rows = part.rows if takes_donors else part.rows[: part.count]
        return landmarks_of(self.landmarks, [str(row["id"]) for row in rows])

    def _donors(self, part: SourcePart, landmarks: Floats) -> Donors | None:
        if not self.tampering.takes_donors:
            return None
        candidates = DonorSet(
            read=part.read,
            side=self.resolution,
            landmarks=landmarks,
            names=[str(row["id"]) for row in part.rows],
            identities=[str(row["identity"] or "") for row in part.rows],
        )
        return Donors(self.tampering.settings.donors, candidates, rendered=self.rendered)


def _altered(tampering: Tampering[Any], masks: bool, batch: TamperBatch) -> Forged:
    tampered = tampering.tamper(batch)
    return Forged(tampered.images, tampered.rows, tampered.masks if masks else None, tampered.targets)
