"""Share of images in which a face detector finds a face.

The detector is that of `forge.faces.crop` (MTCNN, Zhang et al. 2016; its weights ship with facenet-pytorch). It says
that there is something like a face, not that the face is a good one: blurred and averaged faces pass as well.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from forge.core.compute import derive_seed
from forge.faces.crop import FaceCrop, FaceFinder
from forge.faces.faceset import Images
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result, Share

SIDE = 128  # smaller images are enlarged to this, larger ones shrunk: MTCNN's smallest windows miss faces of 64 px
RESIZE = f"to {SIDE} px, bilinear (Pillow)"
_IMAGES_AT_ONCE = 32


class FaceRate(Result):
    """Shares of images with a face, at two degrees of certainty."""

    at_90: Share
    at_95: Share
    resize: str


def face_rate(images: Images, *, n: int = 256, seed: int = 0) -> FaceRate:
    """Return the share of images in which MTCNN finds a face with probability >= 0.9, and >= 0.95.

    Args:
        images: uint8 [n, H, H, 3].
        n: at most this many are looked at, drawn at random; about 30 a second on one core.
        seed: of the draw.

    Raises:
        InputError: unusable images.
    """
    check_images({"images": images}, min_images=1)
    rng = np.random.default_rng(derive_seed(seed, "face-rate"))
    drawn = images[np.sort(rng.choice(len(images), min(n, len(images)), replace=False))]
    finder = FaceFinder(FaceCrop(detector_side=SIDE, min_face=30))
    chances: list[float] = []
    for start in range(0, len(drawn), _IMAGES_AT_ONCE):
        some = [Image.fromarray(image) for image in drawn[start : start + _IMAGES_AT_ONCE]]
        # probability of the surest face of each image, 0 where there is none
        chances += finder.chances([image.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in some])
    sure = np.array(chances)
    return FaceRate(
        at_90=Share.of(int((sure >= 0.9).sum()), len(sure)),
        at_95=Share.of(int((sure >= 0.95).sum()), len(sure)),
        resize=RESIZE,
    )


class FaceRateMetric(QualityMetric):
    """Share of images in which a face is found."""

    id = "face_rate"
    title = "face rate"

    def measure(self, sides: Sides) -> FaceRate:
        """See `face_rate`."""
        return face_rate(sides.candidate, n=sides.face_n, seed=sides.seed)

    def rows(self, ours: FaceRate, floor: FaceRate, n: int) -> list[Row]:
        """Return the share at each certainty."""
        return [
            Row(name, rate.value, held_out.value, "higher", rate.n)
            for name, rate, held_out in (
                ("face found, p >= .90", ours.at_90, floor.at_90),
                ("face found, p >= .95", ours.at_95, floor.at_95),
            )
        ]
