"""The card of an exported detector in Markdown: what it is, what it was trained on, how well it was measured to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.evaluation.numbers import count, estimate
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.inference.predictor import Predictor, caution
from benchmarks.protocol import CLEAN
from benchmarks.zoo.members import PREFIX, ZooCard
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


def detector_readme(predictor: Predictor, results: Results, member: ZooCard, change: Mapping[str, float | int]) -> str:
    """Write the card of a published detector.

    Args:
        predictor: the detector.
        results: of its run.
        member: card of the member.
        change: by half precision: `probability`, `verdicts`, and `images` that were compared, 0 of whole weights.
    """
    name, card = f"{PREFIX}{member.name}", predictor.trained.card
    columns = "\n".join(
        f"| {column} | {value:.3f} | {_COLUMN.get(column, '')} |" for column, value in member.auc.items()
    )
    changes = [f"{key} {card.settings[key]:g}" for key in _AUGMENTATIONS if card.settings.get(key)]
    training = _training(predictor, results, member.command)
    training += [f"augmentation in training, probability an image: {', '.join(changes) or 'none'}"]
    same = "Weights are stored as they were fitted."
    if change["images"]:
        same = (
            f"On {change['images']:,} test images, scored in single precision, the weights in half precision change a "
            f"probability by at most {change['probability']:.2g}; {change['verdicts']} are called otherwise."
        )
    parts = [
        f"# {name}",
        f"Detector of forged faces: `bench detect {name} PHOTO`, or in a run `bench run -g dcgan -d {name}`, where it "
        "is used as it is.",
        f"A face is {_CROPS.get(predictor.crop, 'the square of 1.3 times its box')}. "
        + " ".join(predictor.threshold.sentences()),
        "## Training\n\n" + "\n".join(f"- {line}" for line in training),
        f"## Columns of its run\n\n| column | mean AUC | tests |\n|---|---:|---|\n{columns}"
        if columns
        else "## Columns of its run\n\nNone.",
        "## Measured\n\n" + _measured(predictor, results),
        f"## Half precision\n\n{same}",
        "## Limits\n\n" + f"{caution(predictor)} {_CANNOT}",
        "## Made again by\n\n    " + "\n    ".join(member.command.split(" && ")),
        f"## Citation\n\n{card.citation or '–'}",
    ]
    return "\n\n".join(parts) + "\n"


_CANNOT = (
    "Its answer is evidence on forgeries like those of its training, never proof about a person: it does not know "
    "other generators, edits of parts of a photo, or photos that were handled otherwise than its real ones."
)
_AUGMENTATIONS = ("wild", "rescale", "blur", "noise", "jpeg")  # settings that are probabilities
_COLUMN = {
    "unseen": "the same method trained on all families but the tested one: what to expect of a new generator",
    "wild": "the same, on images after chains of changes",
    "seen": "generators of its training",
    "robust": "generators of its training, after single changes",
    "matrix": "the same method trained on one generator, tested on each other",
    "paired": "the same photos before and after, of generators of its training",
}


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


def _training(predictor: Predictor, results: Results | None, command: str = "") -> list[str]:
    card = predictor.trained.card
    lines = [f"forgeries of: {predictor.trained_on}", f"detector: {card.family}, {count(card.parameters)} values"]
    lines += [f"{view['role']}: {view['images']:,} images of {_sets_of(view['sets'])}" for view in card.data]
    if results is None:
        return [*lines, "licence: not known; the folder names none"]
    data = results.data
    lines += [f"real faces: {data.name}, {data.resolution} px, licence: {data.licence}"]
    lines += [f"cite: {data.citation}"] if data.citation else []
    return [*lines, f"seed {card.seed}, run {results.name}: `{command or results.command}`"]


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
