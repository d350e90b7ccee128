"""Score photos and hand the results on: one row per photo, as text, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.inference.map_output import SEEN, MapOutput, free_stem
from benchmarks.inference.photo_maps import PhotoLocaliser, localiser_of
from benchmarks.inference.photos import Listing, intake_for, read_faces
from benchmarks.inference.predictor import Predictor, predict, predict_crops
from benchmarks.report.colour import overlay
from detect.own_resolution import refusal
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import csv_cell, replacing, write_text
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.imaging.grids import grid, write_picture
from forge.faces.imaging.views import RESIZE, VIEWS
from forge.faces.sources.base import printable

if TYPE_CHECKING:
    import pandas as pd

    from forge.core.compute import Compute
    from forge.faces.faceset import Images

# The first is for terminals; the others are the endings of files.
FORMATS = ("table", "csv", "json", "parquet")
# the order of the columns in files, also where a run of photos fills none of them
COLUMNS = ("file", "score", "probability", "verdict", "note", "problem", "looked", "altered", "map", "map_values")
_NUMBERS = ("score", "probability", "altered")


@dataclass(frozen=True)
class PhotoScores:
    """Scores of one detector on some photos.

    Attributes:
        predictor: the detector.
        rows: one mapping per photo: `file`; `score`, `probability` and `verdict`, or `problem`; where it was read in an
            unusual way `note`; where it was explained `looked`, the path of the picture; with a localiser `altered`,
            the share of the face above the threshold of pixels, and `map`, the path of the picture, see `MapOutput`.
        localiser: what made the maps; None: no maps.
        no_map: why there are none, where they were wanted; "" otherwise.
        view: how each photo was shown to the detector, a name in `VIEWS`.
    """

    predictor: Predictor
    rows: Sequence[dict[str, Any]]
    localiser: PhotoLocaliser | None = None
    no_map: str = ""
    view: str = RESIZE

    @property
    def of_view(self) -> str:
        """A sentence on crops; "" of whole photos."""
        if self.view == RESIZE:
            return ""
        return f"View {self.view}: {VIEWS[self.view]}; threshold and probabilities are those of whole images."

    @property
    def used(self) -> int:
        """Number of photos that have a score."""
        return sum("problem" not in row for row in self.rows)

    @property
    def summary(self) -> str:
        """One line: how many photos are called what."""
        forged = sum(row.get("verdict") == "forged" for row in self.rows)
        unused = len(self.rows) - self.used  # unread, without a face, or damaged
        photos = f"{len(self.rows):,} photo{'s' if len(self.rows) != 1 else ''}"
        left = f", {unused:,} not used" if unused else ""
        return f"{photos}: {forged:,} called forged, {self.used - forged:,} real{left}"

    def frame(self) -> pd.DataFrame:
        """One row per photo with `COLUMNS`; then detector, trained_on and threshold, the same in every row."""
        predictor = self.predictor
        table = pd.DataFrame(list(self.rows), columns=list(COLUMNS)).assign(
            detector=predictor.name, trained_on=predictor.trained_on, threshold=predictor.threshold.score
        )
        # text columns are text in every row, so that Parquet has one type for them
        texts = [name for name in COLUMNS if name not in _NUMBERS]
        table[texts] = table[texts].astype(object).fillna("")
        return table.astype(dict.fromkeys(_NUMBERS, "float64"))

    def csv(self) -> str:
        """Return the frame as CSV; cells that a spreadsheet would run as formulas get an apostrophe in front."""
        # Cell by cell, so that text passes through `csv_cell`.
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        table = self.frame()
        writer.writerow(table.columns)
        for row in table.itertuples(index=False):
            # an empty cell, where pandas would write "nan"
            values = ("" if isinstance(value, float) and math.isnan(value) else value for value in row)
            writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in values])
        return text.getvalue()

    def json(self, *, warnings: Sequence[str] = (), explained: str = "") -> str:
        """Everything as JSON.

        Args:
            warnings: what the report says of the run first.
            explained: how the pictures of where the detector looked were made.
        """
        predictor = self.predictor
        threshold = predictor.threshold
        # infinite where equal scores allow no threshold; JSON has no such number
        finite = threshold.score if math.isfinite(threshold.score) else None
        rates = [vars(rate) | {"low": rate.interval.low, "high": rate.interval.high} for rate in threshold.rates]
        content = {
            "detector": predictor.name,
            "trained_on": predictor.trained_on,
            "threshold": {"score": finite, "probability": threshold.probability, "rule": threshold.rule},
            "called_forged": rates,
            "warnings": list(warnings),
            "summary": self.summary,
            "images": list(self.rows),
        }
        content |= {"explained": explained} if explained else {}
        content |= {"view": self.view} if self.of_view else {}
        if self.localiser is not None:
            content["maps"] = self.localiser.as_json()
        elif self.no_map:
            content["maps"] = {"detector": None, "sentences": [self.no_map]}
        # refused rather than written as NaN, which is no JSON
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def write(self, out: Path, form: str, *, warnings: Sequence[str] = (), explained: str = "") -> None:
        """Write a file in a form of `FORMATS` other than "table"."""
        if form == "parquet":
            with replacing(out) as temporary:
                self.frame().to_parquet(temporary, index=False)
        else:
            write_text(out, self.csv() if form == "csv" else self.json(warnings=warnings, explained=explained))


def form_of(form: str | None, out: Path | None) -> str:
    """Return the form of an output: as asked, by the ending of its file, else a table for people.

    Raises:
        UnknownNameError: no such form.
        InputError: the form does not suit the place: Parquet needs a file, a table goes to the terminal.
    """
    if form is not None and form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    if out is None:
        if form == "parquet":
            raise InputError("--format parquet needs a file; name it with --out")
        return form or "table"
    # The ending decides only where no format is named.
    ending = out.suffix.removeprefix(".").lower()
    if form is None and ending not in FORMATS[1:]:
        raise InputError(f"--out {quoted(str(out))}: its name ends in none of .csv, .json, .parquet; give --format")
    if form == "table":
        raise InputError("--format table goes to the terminal; for a file use --format csv, json or parquet")
    if out.is_dir() or not out.parent.is_dir():  # before any photo is read
        raise InputError(f"--out {quoted(str(out))}: {'is a folder' if out.is_dir() else 'its folder does not exist'}")
    return form or ending


def score_photos(
    predictor: Predictor,
    photos: Listing,
    compute: Compute,
    *,
    crop: str | None = None,
    view: str = RESIZE,
    workers: int = 1,
    pictures: Path | None = None,
    source: str = "",
    maps: MapOutput | None = None,
    on_progress: OnProgress = silent,
) -> PhotoScores:
    """Score photos, a bounded number in memory.

    Args:
        predictor: the detector.
        photos: to score.
        compute: the device.
        crop: "none", "face" or "ff++"; None: as the detector's training faces were cropped.
        view: how each photo is shown to the detector, a name in `VIEWS`.
        workers: processes that read photos.
        pictures: an existing folder that gets a picture per photo of where the detector looked.
        source: text field of these pictures.
        maps: the localiser, and what to do with its maps; None: no maps.
        on_progress: called after every batch.

    Raises:
        UnknownNameError: no such view.
        InputError: the detector takes no crops.
    """
    rows: list[dict[str, Any]] = []
    # As in the run's preparation, unless the call says otherwise.
    intake = intake_for(predictor.trained.card.resolution, crop or predictor.crop, view)
    if intake.view and not predictor.trained.detector.takes_crops:
        raise InputError(refusal(predictor.name, view))
    taken: set[str] = set()
    for faces in read_faces(photos.files, intake, workers=workers):
        batch: list[dict[str, Any]] = []
        for file, problem, note in zip(faces.files, faces.problems, faces.notes, strict=True):
            row = {"file": printable(str(file))}  # control characters of a file name are spelled out: it is printed
            batch.append(row | ({"problem": problem} if problem else {"note": note} if note else {}))
        # `faces.images` holds the usable ones alone, in the same order.
        used = [row for row in batch if "problem" not in row]
        if used:
            if intake.view:
                predictions = predict_crops(predictor, faces.crops, view, compute)
            else:
                predictions = predict(predictor, faces.images, compute)
            for row, prediction in zip(used, predictions, strict=True):
                row |= vars(prediction)
            if pictures is not None:
                _write_pictures(predictor, used, faces.images, compute, pictures, source, taken)
            if maps is not None:
                maps.add(used, faces.images, compute, taken)
        rows += batch
        on_progress(ProgressEvent(len(rows), len(photos.files), "photos"))
    # What could not be a photo stands at the end, with its reason; none is silently dropped.
    rows += [{"file": printable(str(file)), "problem": f"not read: {why}"} for file, why in photos.unread.items()]
    return PhotoScores(predictor, rows, maps.localiser if maps else None, view=view)


def maps_in_memory(predictor: Predictor, run: str, store: Path, reports: Path) -> MapOutput:
    """Return what keeps the maps of photos in the rows; arguments and errors are those of `localiser_of`."""
    return MapOutput(localiser_of(predictor, run, store, reports))


def _write_pictures(
    predictor: Predictor,
    rows: list[dict[str, Any]],
    faces: Images,
    compute: Compute,
    out: Path,
    source: str,
    taken: set[str],
) -> None:
    """Write a picture per photo: the face as the detector saw it, beside it in grey and orange where it looked.

    Args:
        predictor: the detector.
        rows: of the faces, in order; each gets `looked`, the path of its picture.
        faces: uint8 [n, H, W, 3].
        compute: the device.
        out: an existing folder.
        source: what goes into the files' text field.
        taken: names that are in use; grows.
    """
    maps = predictor.trained.detector.saliency(faces, compute)
    if maps is None:
        return
    times = max(1, -(-SEEN // faces.shape[1]))  # rounded up, to at least SEEN pixels
    for row, face, marked in zip(rows, faces, overlay(faces, maps), strict=True):
        name = free_stem(row["file"], taken)
        pair = np.stack([face, marked]).repeat(times, axis=1).repeat(times, axis=2)  # [2, H * times, W * times, 3]
        path = out / f"{name}.png"
        write_picture(path, grid(pair, columns=2), source=f"{row['file']}: {source}", optimize=False)
        row["looked"] = str(path)
