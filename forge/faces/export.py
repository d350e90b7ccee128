"""Faces for people and other programs: contact sheets and folders of PNG files."""

from __future__ import annotations

from pathlib import Path

from pandas.api.types import is_numeric_dtype
from PIL import Image

from forge.core import provenance
from forge.core.files import csv_cell, publishing
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.imaging.grids import grid

TABLE = "table.csv"
_AT_ONCE = 256


def contact_sheet(view: FaceView, *, count: int | None = 64, columns: int = 8, gap: int = 2) -> Image.Image:
    """Lay the first `count` images of a view out in rows of `columns` with thin white gaps (in pixels)."""
    return grid(view.head(count).read(), columns=columns, gap=gap)


def export(faces: FaceSet, out: Path, *, split: str | None = None, on_progress: OnProgress = silent) -> None:
    """Write a set as PNG files, `SPLIT/NUMBER.png`, and `table.csv` with a column `file` and the set's own columns.

    Each PNG carries the mark of `forge.core.provenance`; that of a forged set says that the face is synthetic,
    also where the file is passed on alone. `LICENCE.txt` holds licence and citation.

    Args:
        faces: the set.
        out: directory to be made; appears when everything is written.
        split: only this one.
        on_progress: called with each progress event.

    Raises:
        InputError: `out` exists already, or the split has no images.
    """
    view = faces.view(split)
    rows = view.rows.reset_index(drop=True)
    # position in the whole set, so that files of a split keep their names in an export of all
    names = [f"{part}/{number:07d}.png" for part, number in zip(rows["split"], view.index, strict=True)]
    mark = provenance.options("PNG", source_of(faces))
    with publishing(out) as folder:
        for part in sorted(set(rows["split"])):
            (folder / part).mkdir()
        for start in range(0, len(view), _AT_ONCE):
            # strict off: the names go on beyond this batch
            for name, image in zip(names[start:], view.read(slice(start, start + _AT_ONCE)), strict=False):
                Image.fromarray(image).save(folder / name, "PNG", **mark)
            on_progress(ProgressEvent(min(start + _AT_ONCE, len(view)), len(view)))
        rows.insert(0, "file", names)
        for name in rows.columns:
            # numbers stay numbers; text from label files may hold formulas
            if not is_numeric_dtype(rows[name]):
                rows[name] = rows[name].map(csv_cell, na_action="ignore")
        rows.rename(columns=csv_cell).to_csv(folder / TABLE, index=False, lineterminator="\n")
        card = faces.card
        text = f"{card.name}, FaceSet {card.digest}\nLicence: {card.licence}\nCitation: {card.citation or '-'}\n"
        (folder / "LICENCE.txt").write_text(text, encoding="utf-8")


def source_of(faces: FaceSet) -> str:
    """Return a sentence on the origin of a set's images, for the metadata of a file."""
    card = faces.card
    description = "Synthetic image, not a photograph of a person" if card.kind == "forged" else "Image"
    weights = card.provenance.get("weights_sha256")
    return f"{description}. From {card.name}, FaceSet {card.digest}{f', weights {weights}' if weights else ''}."
