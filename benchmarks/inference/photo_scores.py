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

from benchmarks.inference.clip_scores import clip_answers, in_place, name_frames
from benchmarks.inference.clip_verdict import ClipJudge
from benchmarks.inference.inspection import Inspector
from benchmarks.inference.judged import judged, of_view
from benchmarks.inference.map_output import SEEN, MapOutput, free_stem
from benchmarks.inference.photo_maps import PhotoLocaliser, localiser_of
from benchmarks.inference.photos import Listing, intake_for, read_faces
from benchmarks.inference.predictor import Predictor, caution
from benchmarks.inference.reencodings import REENCODINGS
from benchmarks.inference.verdict import CANNOT_SAY, VERDICTS, Judge
from benchmarks.report.colour import overlay
from detect.own_resolution import refusal
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import csv_cell, replacing, write_text
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.imaging.grids import grid, write_picture
from forge.faces.imaging.views import RESIZE
from forge.faces.sources.base import printable
from forge.faces.sources.clips import is_video

if TYPE_CHECKING:
    import pandas as pd

    from forge.core.compute import Compute
    from forge.faces.faceset import Images

FAILED = 3  # exit code of a verdict that `--fail-on` names
REENCODED = 200  # photos up to which the re-encodings are made without being asked for: they take six times as long
COUNTED = 20  # photos up to which faces are counted where the crop needs none: a second
_NOT_REENCODED = "{count:,} photos were judged without re-encodings, for time; --reencode judges each under six."

# The first is for terminals; the others are the endings of files.
FORMATS = ("table", "csv", "json", "parquet")
# the order of the columns in files, also where a run of photos fills none of them
COLUMNS = (
    *("file", "frame", "seconds", "face", "box"),
    *("score", "probability", "verdict", "reason", "called", "p_real", "p_forged"),
    *("lowest", "highest", *REENCODINGS, "unlike", "note", "problem", "looked", "altered", "map", "map_values"),
    *("clip_score", "clip_highest", "clip_verdict"),
)
_NUMBERS = ("seconds", "score", "probability", "p_real", "p_forged", "lowest", "highest", *REENCODINGS, "altered")
_NUMBERS += ("clip_score", "clip_highest")


@dataclass(frozen=True)
class PhotoScores:
    """Scores of one detector on some photos.

    Attributes:
        predictor: the detector.
        rows: one mapping per face: `file`; of a clip `frame` ("3 of 16") and `seconds`; of several faces `face`
            ("1 of 2"), where a face was searched `box`; `score`, `probability` and `verdict` (and why it cannot be
            said, `reason`), or `problem`; `called`, the side of the threshold, the p-values of both classes,
            `reencoded`, the scores after each re-encoding; `unlike`, how it differs from the training photos; where it
            was read in an unusual way `note`; where it was explained `looked`, the path of the picture; with a
            localiser `altered`, the share of the face above the threshold of pixels, and `map`, the path of the
            picture, see `MapOutput`.
        localiser: what made the maps; None: no maps.
        no_map: why there are none, where they were wanted; "" otherwise.
        judge: what turned scores into answers; None: the threshold alone did.
        without: what was left out because of the number of photos, one sentence; "" otherwise.
        view: how each photo was shown to the detector, a name in `VIEWS`.
        clips: one mapping per clip, see `clip_answers`.
        clip_judge: what made them; None without clips.
    """

    predictor: Predictor
    rows: Sequence[dict[str, Any]]
    localiser: PhotoLocaliser | None = None
    no_map: str = ""
    judge: Judge | None = None
    without: str = ""
    view: str = RESIZE
    clips: Sequence[dict[str, Any]] = ()
    clip_judge: ClipJudge | None = None

    @property
    def of_view(self) -> str:
        """A sentence on crops; "" of whole photos."""
        return of_view(self.view)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The rows with one per clip in place of those of its frames."""
        return list(in_place(self.rows, self.clips))

    @property
    def used(self) -> int:
        """Number of faces that have a score."""
        return sum("problem" not in row for row in self.rows)

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each verdict was given, once per clip; and how many faces or files were not used, as "problem"."""
        counts = dict.fromkeys((*VERDICTS, "problem"), 0)
        for row in self.answers:
            counts["problem" if "problem" in row else row["verdict"]] += 1
        return counts

    @property
    def summary(self) -> str:
        """One line: how many photos are called what."""
        counts = self.outcomes
        single = [row for row in self.answers if not is_video(row["file"])]
        clips = [row for row in self.answers if is_video(row["file"])]
        parts = [_counted("photo", single)] if single or not clips else []
        parts += [_counted("clip", clips)] if clips else []
        photos = " and ".join(parts)
        unsure = f", {counts[CANNOT_SAY]:,} cannot say" if counts[CANNOT_SAY] else ""
        left = f", {counts['problem']:,} not used" if counts["problem"] else ""
        return f"{photos}: {counts['forged']:,} called forged, {counts['real']:,} real{unsure}{left}"

    @property
    def sentences(self) -> list[str]:
        """Sentences below the answers: the threshold, when it abstains and how often it errs, what was left out."""
        lines = [*self.predictor.threshold.sentences(), *(self.judge.sentences() if self.judge else ())]
        lines.append(self.predictor.of_prior())
        lines += self.clip_judge.sentences() if self.clip_judge else []
        return [line for line in (*lines, self.without, caution(self.predictor), self.of_view) if line]

    def frame(self) -> pd.DataFrame:
        """One row per face with `COLUMNS`; then detector, trained_on and threshold, the same in every row."""
        predictor = self.predictor
        clips = {_track_of(clip): clip for clip in self.clips if "problem" not in clip}
        flat = [_flat(row, clips.get(_track_of(row)) if "frame" in row else None) for row in self.rows]
        table = pd.DataFrame(flat, columns=list(COLUMNS)).assign(
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
            "verdicts": self.judge.as_json() if self.judge else None,
            "summary": self.summary,
            "images": list(self.rows),
        }
        content |= {"clips": list(self.clips)} if self.clips else {}
        content |= {"clip_verdicts": self.clip_judge.as_json()} if self.clip_judge else {}
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


def outcomes_of(names: Sequence[str]) -> list[str]:
    """Return the outcomes that `--fail-on` names: keys of `PhotoScores.outcomes`.

    Raises:
        UnknownNameError: no such outcome.
    """
    spelled = {name.replace(" ", "-"): name for name in (*VERDICTS, "problem")}
    for name in names:
        if name not in spelled:
            raise UnknownNameError("--fail-on", name, list(spelled))
    return [spelled[name] for name in names]


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


def _counted(thing: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return "2 photos with 3 faces": several faces of a photo or clip have a row each."""
    files = len({row["file"] for row in rows})
    faces = f" with {len(rows):,} faces" if any("face" in row for row in rows) else ""
    return f"{files:,} {thing}{'s' if files != 1 else ''}{faces}"


def _track_of(row: dict[str, Any]) -> tuple[str, str]:
    """Return the clip of a row, and which of its faces it is of."""
    return row["file"], row.get("face", "")


def _flat(row: dict[str, Any], clip: dict[str, Any] | None) -> dict[str, Any]:
    """Return a row for a table: a column per re-encoding, lowest and highest score, box as text, its clip's answer."""
    if "reencoded" not in row and "box" not in row and clip is None:
        return row
    flat = dict(row)
    if clip is not None:
        flat |= {"clip_score": clip["score"], "clip_highest": clip["highest"], "clip_verdict": clip["verdict"]}
    if "box" in row:
        flat["box"] = " ".join(map(str, row["box"]))
    if changed := flat.pop("reencoded", None):
        scores = (row["score"], *changed.values())
        flat |= changed | {"lowest": min(scores), "highest": max(scores)}
    return flat


def score_photos(
    judge: Judge,
    photos: Listing,
    compute: Compute,
    *,
    crop: str | None = None,
    view: str = RESIZE,
    workers: int = 1,
    reencode: bool | None = None,
    pictures: Path | None = None,
    source: str = "",
    maps: MapOutput | None = None,
    on_progress: OnProgress = silent,
) -> PhotoScores:
    """Score photos, a bounded number in memory.

    Args:
        judge: of the detector.
        photos: to score.
        compute: the device.
        crop: "none", "face" or "ff++"; None: as the detector's training faces were cropped.
        view: how each photo is shown to the detector, a name in `VIEWS`.
        workers: processes that read photos.
        reencode: whether to judge each photo under six re-encodings too; None: up to `REENCODED` photos, and
            never with a view.
        pictures: an existing folder that gets a picture per photo of where the detector looked.
        source: text field of these pictures.
        maps: the localiser, and what to do with its maps; None: no maps.
        on_progress: called after every batch.

    Raises:
        UnknownNameError: no such view.
        InputError: the detector takes no crops, or re-encodings are asked for with a view.
    """
    predictor = judge.predictor
    rows: list[dict[str, Any]] = []
    # As in the run's preparation, unless the call says otherwise.
    intake = intake_for(predictor.trained.card.resolution, crop or predictor.crop, view)
    if intake.view and not predictor.trained.detector.takes_crops:
        raise InputError(refusal(predictor.name, view))
    if intake.view and reencode:
        raise InputError(f"--reencode judges whole images and not crops of the view {view}; leave one of the two out")
    reencodes = not intake.view and (len(photos.files) <= REENCODED if reencode is None else reencode)
    inspector = Inspector(intake, reencodes, count=len(photos.files) <= COUNTED)
    taken: set[str] = set()
    done = 0
    for faces in read_faces(photos.files, intake, workers=workers, inspector=inspector):
        batch, images = judged(judge, faces, compute, view)
        used = [row for row in batch if "problem" not in row]
        if used and pictures is not None:
            _write_pictures(predictor, used, images, compute, pictures, source, taken)
        if used and maps is not None:
            maps.add(used, images, compute, taken)
        name_frames(batch, photos.moments)
        rows += batch
        done += len(faces.files) if faces.track == "" or faces.track.startswith("1 of") else 0  # once per frame
        on_progress(ProgressEvent(done, len(photos.files), "photos"))
    # What could not be a photo stands at the end, with its reason; none is silently dropped.
    rows += [{"file": printable(str(file)), "problem": f"not read: {why}"} for file, why in photos.unread.items()]
    without = "" if intake.view or reencodes or reencode is False else _NOT_REENCODED.format(count=len(photos.files))
    localiser, of_clips = maps.localiser if maps else None, ClipJudge.of(judge) if photos.moments else None
    clips = clip_answers(of_clips, rows) if of_clips else []
    return PhotoScores(
        predictor, rows, localiser, judge=judge, without=without, view=view, clips=clips, clip_judge=of_clips
    )


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
