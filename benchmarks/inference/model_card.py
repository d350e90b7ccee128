"""The card of an exported detector in Markdown: what it is, what it was trained on, how well it was measured to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluation.numbers import count, estimate
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.inference.predictor import Predictor, caution
from benchmarks.protocol import CLEAN
from detect.export.agreement import Agreement

_CROPS = {
    "none": "the largest square in the middle of a photo, resized with Pillow's Lanczos filter",
    "face": (
        "a face found and aligned as `bench data prepare --crop face` does it, which the script does not: give it "
        "photos that are cropped so"
    ),
}


def model_card(
    predictor: Predictor, results: Results | None, agreements: Sequence[tuple[Path, Agreement]], command: str
) -> str:
    """Write the card.

    Args:
        predictor: the detector.
        results: of its run; None: it comes from a folder.
        agreements: exported files, each with its agreement with the bench.
        command: that made them.
    """
    card = predictor.trained.card
    files = ", ".join(f"`{file.name}`" for file, _ in agreements)
    parts = [
        f"# {predictor.name}, trained on {predictor.trained_on}",
        f"{files}: detector of forged faces, exported by `{command}`.",
        _input(predictor),
        "## Training\n\n" + "\n".join(f"- {line}" for line in _training(predictor, results)),
        "## Measured\n\n" + _measured(predictor, results),
        "## Agreement with the bench\n\n"
        + "\n".join(f"- `{file.name}`: {same.sentence()}" for file, same in agreements),
        "## Limits\n\n" + " ".join([caution(predictor), *(results.notes if results else [])]),
        f"## Citation\n\n{card.citation or '–'}" + (f"\n\nDeparts from it: {card.variant}." if card.variant else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _input(predictor: Predictor) -> str:
    card, threshold = predictor.trained.card, predictor.threshold
    side = card.resolution
    rows = [
        f"- in: `images`, uint8 [N, {side}, {side}, 3], RGB, any N; normalising is part of the model",
        f"- a face is {_CROPS[predictor.crop]}",
        "- out: `probability` of being forged and `score`, float32 [N], both higher for forged",
        f"- calibration: probability = sigmoid({card.calibration['a']:.6g} × score {card.calibration['b']:+.6g}), "
        "fitted on validation images, real and forged weighing the same",
        *(f"- {sentence}" for sentence in threshold.sentences()),
    ]
    return "## Input and output\n\n" + "\n".join(rows)


def _training(predictor: Predictor, results: Results | None) -> list[str]:
    card = predictor.trained.card
    lines = [f"forgeries of: {predictor.trained_on}", f"detector: {card.family}, {count(card.parameters)} values"]
    lines += [f"{view['role']}: {view['images']:,} images of {_sets_of(view['sets'])}" for view in card.data]
    if results is None:
        return [*lines, "licence: not known; the folder names none"]
    data = results.data
    lines += [f"real faces: {data.name}, {data.resolution} px, licence: {data.licence}"]
    lines += [f"cite: {data.citation}"] if data.citation else []
    return [*lines, f"seed {card.seed}, run {results.name}: `{results.command}`"]


def _sets_of(sets: Sequence[dict[str, str]]) -> str:
    return ", ".join(f"{part['name']} (digest {part['digest'][:12]})" for part in sets)


def _measured(predictor: Predictor, results: Results | None) -> str:
    cells = [] if results is None else [cell for cell in results.cells if _is_of(cell, predictor)]
    if not cells:
        return "No run has measured it."
    heading = "| forgeries of | condition | real | forged | AUC [95 % interval] |\n|---|---|---:|---:|---|\n"
    return heading + "\n".join(_row(cell) for cell in cells) + f"\n\nIntervals: {cells[0].auc_method}."


def _is_of(cell: TestResult, predictor: Predictor) -> bool:
    same = (cell.detector, cell.trained_on, cell.seed) == (predictor.name, predictor.trained_on, predictor.trained.seed)
    return same and cell.perturbation == CLEAN


def _row(cell: TestResult) -> str:
    known = all(math.isfinite(value) for value in (cell.auc, cell.auc_low, cell.auc_high))
    auc = str(estimate(cell.auc, cell.auc_low, cell.auc_high)) if known else "–"
    cells = (cell.tested_on, cell.condition.value, f"{cell.n_real:,}", f"{cell.n_forged:,}", auc)
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"
