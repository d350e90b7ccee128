"""A photo beside what a detector sees of it, in the process that decodes it: its re-encodings, and its other faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.inference.reencodings import reencoded
from forge.faces.crop import Face, FaceCrop, finder_for
from forge.faces.imaging.decode import Unusable
from forge.faces.ingest import Intake, cut_face

if TYPE_CHECKING:
    from forge.faces.imaging.decode import Decoded

Images = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FaceView:
    """One more face of a photo, as a detector sees it.

    Attributes:
        box: left, top, right and bottom edge in pixels of the photo.
        problem: why it cannot be judged; "" where it can.
        image: uint8 [R, R, 3]; None with a problem.
        reencoded: uint8 [6, R, R, 3]; None with a problem, or where none were asked for.
        crops: uint8 [k, R, R, 3]; None with a problem, or without a view.
    """

    box: Box
    problem: str = ""
    image: Images | None = None
    reencoded: Images | None = None
    crops: Images | None = None


@dataclass(frozen=True)
class Inspection:
    """What was seen in one photo.

    Attributes:
        faces: number of faces; None: not searched for.
        box: of the main face; None where no face was searched for cropping.
        reencoded: of the main face, or of the square in the middle, uint8 [6, R, R, 3]; None: not asked for.
        others: further faces, each to be judged.
    """

    faces: int | None
    box: Box | None
    reencoded: Images | None
    others: Sequence[FaceView] = ()


@dataclass(frozen=True)
class Inspector:
    """Inspects decoded photos; sent to worker processes.

    Attributes:
        intake: how a photo becomes what the detector sees.
        reencode: whether to make the re-encodings.
        count: whether to count the faces where the crop needs none; takes some 50 ms a photo.
    """

    intake: Intake
    reencode: bool = True
    count: bool = False

    def __call__(self, decoded: Decoded, faces: Sequence[Face]) -> Inspection:
        """Inspect a photo.

        Args:
            decoded: the photo.
            faces: those that its crop was chosen from, the main one first.
        """
        image, resolution, crop = decoded.image, self.intake.resolution, self.intake.crop
        if crop is None:
            number = len(finder_for(FaceCrop()).find_all([image])[0]) if self.count else None
            return Inspection(number, None, reencoded(image, resolution) if self.reencode else None)
        variants = reencoded(image, resolution, faces[0], crop) if self.reencode else None
        return Inspection(len(faces), faces[0].box, variants, [self._other(decoded, face, crop) for face in faces[1:]])

    def _other(self, decoded: Decoded, face: Face, crop: FaceCrop) -> FaceView:
        try:
            cut = cut_face(decoded.image, face, self.intake, crop)
        except Unusable as verdict:
            return FaceView(face.box, f"{verdict.reason}: {verdict.detail}" if verdict.detail else verdict.reason)
        variants = reencoded(decoded.image, self.intake.resolution, face, crop) if self.reencode else None
        return FaceView(face.box, "", cut.image, variants, cut.crops)
