"""The leaderboard of localisers as text: the parts of a table, its notes, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.evaluation.formats import rank, share, standing
from benchmarks.evaluation.localisation import MEAN_MASK
from benchmarks.evaluation.map_leaderboard import EXTERNAL, LOCALISATION, MapBoard, MapLine
from forge.core.files import csv_cell

_HEADINGS = {LOCALISATION: "F1", EXTERNAL: "external F1"}
_MEASURES = {"pixel AUC": "auc", "false-alarm area": "false_alarm_area", "image AUC": "image_auc"}


@dataclass(frozen=True)
class MapSheet:
    """A leaderboard of localisers ready to print.

    Attributes:
        board: the leaderboard.
        title: of the suite.
        protocol: version of the measuring protocol.
        verdicts: sentences of failed audits, shown above the table.
    """

    board: MapBoard
    title: str
    protocol: int
    verdicts: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns of F1, the one that ranks first."""
        return sorted(self.board.board.columns, key=lambda name: name != LOCALISATION)

    @property
    def headings(self) -> list[str]:
        """Headings of the columns of `rows`."""
        return ["rank", "detector", *(_HEADINGS[name] for name in self.columns), *_MEASURES]

    @property
    def rows(self) -> list[list[str]]:
        """The table as text, best first, controls last."""
        return [self._row(line) for line in self.board.lines]

    def _row(self, line: MapLine) -> list[str]:
        means = [standing(line.columns[name]) if name in line.columns else "–" for name in self.columns]
        measures = [share(getattr(line, field)) for field in _MEASURES.values()]
        return [rank_of(line), line.detector, *means, *measures]

    @property
    def notes(self) -> list[str]:
        """Notes below the table: definitions, ranks, and the comparison with the mean training mask."""
        board = self.board.board
        seeds = f"{len(board.seeds)} seeds" if len(board.seeds) > 1 else "one seed"
        cover = "people and seeds" if len(board.seeds) > 1 else "people: one seed gives no variance between seeds"
        notes = [
            "F1 of the pixels of each image at the threshold fixed on validation images, mean over images and "
            f"over generators with masks ({', '.join(self.board.generators)}), {seeds}, with its 95 % interval over "
            f"{cover}. Trained on all generators, or elsewhere. Protocol {self.protocol}.",
            "Rank: a detector that no paired test separates from the leader (Holm over all pairs) shares its rank; in "
            "brackets the range of ranks that the tests do not exclude. Controls have no rank.",
            *mean_mask_notes(self.board),
            *(["External F1: photos and masks from elsewhere, in no other mean."] if EXTERNAL in self.columns else []),
            "Pixel AUC: mean over images. False-alarm area: mean share of untouched images that is taken for altered. "
            "Image AUC: of the maxima of the maps, forged against real images.",
        ]
        if board.detectable is not None:
            notes.append(f"Minimum detectable difference of two mean F1 at 80 % power: {board.detectable:.2g}.")
        return notes


def rank_of(line: MapLine) -> str:
    """Format a rank with its range; "control" of a control, a dash where tests are missing."""
    return "control" if line.control else rank(line)


def mean_mask_notes(board: MapBoard) -> list[str]:
    """Name the detectors that the mean training mask beats, and those that it is not separated from."""
    control = next((line for line in board.lines if line.detector == MEAN_MASK), None)
    value = None if control is None else control.columns[LOCALISATION].value
    if value is None:
        return []
    notes = []
    if below := board.below_mean_mask:
        are = "is" if len(below) == 1 else "are"
        notes.append(
            f"{_listed(below)} {are} not above the {MEAN_MASK} (F1 {value:.2f}), which looks at no image: what "
            f"{'it says' if len(below) == 1 else 'they say'} of an image is worth less than where edits mostly are."
        )
    if unclear := board.not_above_mean_mask:
        notes.append(f"No paired test separates {_listed(unclear)} from the {MEAN_MASK} (Holm over all detectors).")
    return notes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def to_csv(sheet: MapSheet) -> str:
    """Format the table as CSV, one row per detector or control, six decimals."""
    parts = ("value", "low", "high", "sd", "missing")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{name} f1 {part}".replace(" value", "") for name in sheet.columns for part in parts]
    writer.writerow(["rank", "rank_low", "rank_high", "detector", "control", *names, *_MEASURES.values()])
    for line in sheet.board.lines:
        values: list[object] = [line.rank, line.rank_low, line.rank_high, csv_cell(line.detector), int(line.control)]
        for name in sheet.columns:
            mean = line.columns.get(name)
            values += [None if mean is None else getattr(mean, part) for part in parts]
        values += [getattr(line, field) for field in _MEASURES.values()]
        writer.writerow("" if v is None else f"{v:.6f}" if isinstance(v, float) else v for v in values)
    return text.getvalue()


def to_json(sheet: MapSheet) -> str:
    """Format the whole leaderboard as JSON."""
    head = {"title": sheet.title, "protocol": sheet.protocol, "verdicts": list(sheet.verdicts)}
    return json.dumps(head | sheet.board.model_dump(mode="json"), indent=1) + "\n"
