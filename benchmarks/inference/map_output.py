"""Write the maps of photos: a picture of each over its face, and its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiment.names import safe_name
from benchmarks.inference.photo_maps import Maps, PhotoLocaliser
from benchmarks.report.heat import map_picture
from forge.core.files import replacing
from forge.faces.imaging.grids import write_picture

if TYPE_CHECKING:
    from forge.core.compute import Compute
    from forge.faces.faceset import Images

SEEN = 256  # least height of a picture's halves in pixels; small faces are enlarged by whole factors


@dataclass(frozen=True)
class MapOutput:
    """A localiser, and what becomes of its maps.

    Attributes:
        localiser: it makes them.
        folder: an existing folder that gets STEM-map.png per photo; None: no files, the rows hold the arrays.
        values: also write STEM-map.npy, float32 [H, W] at the resolution of the face.
    """

    localiser: PhotoLocaliser
    folder: Path | None = None
    values: bool = False

    def add(self, rows: list[dict[str, Any]], faces: Images, compute: Compute, taken: set[str]) -> None:
        """Make the maps of faces; each row gets `altered` where there is a threshold, `map`, and `map_values`.

        Args:
            rows: of the faces, in order.
            faces: uint8 [n, H, W, 3].
            compute: the device.
            taken: names of files that are in use; grows.
        """
        for row, face, values in zip(rows, faces, self.localiser.maps(faces, compute), strict=True):
            share = self.localiser.share(values)
            if share is not None:
                row["altered"] = share
            if self.folder is None:
                row["map_values"] = values
                continue
            stem = free_stem(row["file"], taken, "-map")
            row["map"] = str(self.folder / f"{stem}.png")
            self._draw(Path(row["map"]), row["file"], face, values)
            if self.values:
                row["map_values"] = str(self.folder / f"{stem}.npy")
                with replacing(Path(row["map_values"])) as temporary, temporary.open("wb") as file:
                    np.save(file, values)

    def _draw(self, path: Path, photo: str, face: Images, values: Maps) -> None:
        localiser = self.localiser
        region = None if localiser.threshold is None else localiser.threshold.region(values)
        share = "" if region is None else f"{share_text(float(region.mean()))} of the face is above the threshold. "
        caption = share + " ".join(localiser.sentences())
        picture = map_picture(
            face,
            values,
            localiser.limits(values),
            region=region,
            threshold=None if localiser.threshold is None else localiser.threshold.value,
            caption=caption,
            side=SEEN,
        )
        write_picture(path, picture, source=f"{photo}: {caption}", optimize=False)


def share_text(share: float) -> str:
    """Return a share of pixels in per cent; 0 and 100 only where they are exact.

    >>> share_text(0.0312), share_text(0.0), share_text(0.0002), share_text(0.9999), share_text(1.0)
    ('3.1 %', '0 %', 'less than 0.1 %', 'more than 99.9 %', '100 %')
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    if share < 0.0005:
        return "less than 0.1 %"
    return "more than 99.9 %" if share > 0.9994 else f"{100 * share:.1f} %"


def free_stem(file: str, taken: set[str], suffix: str = "") -> str:
    """Return the stem of a picture's file, numbered where photos of several folders have one name.

    Args:
        file: path of the photo.
        taken: stems that are in use; grows.
        suffix: behind the photo's own stem.
    """
    stem = safe_name(Path(file).stem)
    number = 1
    while (name := f"{stem}-{number}{suffix}" if number > 1 else f"{stem}{suffix}") in taken:
        number += 1
    taken.add(name)
    return name
