"""`bench detect`: score own photos with a detector that a run has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.cli import options

EXAMPLES = """\b
Example:
  bench detect dcgan-xception-rendered-quick me.jpg holiday/
"""


def detect(
    run: Annotated[str, typer.Argument(help="Name of a finished run; `bench list runs` shows them.")],
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    detector: Annotated[str | None, typer.Option("--detector", "-d", help="Of the run. [default: its first]")] = None,
    trained_on: Annotated[str | None, typer.Option("--trained-on", help="Generator. [default: the first]")] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="none or face. [default: as the run did]")] = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Score photos: a score, a probability, and the verdict at the threshold fixed on validation data."""
    from forge.compute import tune_allocator

    tune_allocator()
    from benchmarks.pipeline.run import find_report, stored_result
    from benchmarks.pipeline.settings import short_name
    from benchmarks.pipeline.store import Store
    from detect.trained import load_trained
    from forge.compute import Compute, choose_device
    from forge.errors import InputError, UnknownNameError
    from forge.files import read_json

    if crop not in (None, "none", "face"):
        raise UnknownNameError("crop", crop, ("none", "face"))
    report = find_report(run, reports)
    results = read_json(report / "results.json")
    cell = _choose(results, short_name(detector) if detector else None, trained_on)
    place = stored_result(report, f"fit {cell['detector']}@{cell['trained_on']}", Store(store))
    trained = load_trained(place / "detector", implementation=_plugin(detector))
    rows, faces = read_photos(images, trained.card.resolution, crop or crop_of(results["data"]["provenance"]))
    if faces:
        import numpy as np

        scores = trained.detector.score(np.stack(faces), Compute(choose_device(device)))
        probabilities = trained.calibration.probability(scores)
        used = [row for row in rows if "problem" not in row]
        for row, score, probability in zip(used, scores, probabilities, strict=True):
            row |= {
                "score": float(score),
                "probability": float(probability),
                "verdict": "forged" if score >= cell["threshold"] else "real",
            }
    if json:
        import json as encoder

        print(encoder.dumps({"detector": cell["detector"], "trained_on": cell["trained_on"], "images": rows}, indent=1))
    else:
        _print_rows(rows, cell, results)
    if not faces:
        raise InputError(f"none of the {len(rows)} files could be used")


def _plugin(detector: str | None) -> Any:  # noqa: ANN401 - a detector class from a file, or None
    from detect.detectors import DETECTORS
    from forge.registry import is_file_reference

    return DETECTORS.load(detector) if detector and is_file_reference(detector) else None


def _choose(results: dict[str, Any], detector: str | None, trained_on: str | None) -> dict[str, Any]:
    from forge.errors import UnknownNameError

    cells = [cell for cell in results["cells"] if cell["condition"] == "same"]
    for key, wanted in (("detector", detector), ("trained_on", trained_on)):
        if wanted is not None:
            names = {cell[key] for cell in cells}
            if wanted not in names:
                raise UnknownNameError(f"{key.replace('_', '-')} of run {results['name']}", wanted, names)
            cells = [cell for cell in cells if cell[key] == wanted]
    chosen: dict[str, Any] = cells[0]
    return chosen


def crop_of(provenance: dict[str, Any]) -> str:
    """How the real faces of a run were cropped: "face" where the card records the settings of a face search."""
    preparation = provenance.get("preparation")
    return "face" if isinstance(preparation, dict) and isinstance(preparation.get("crop"), dict) else "none"


def read_photos(paths: list[Path], resolution: int, crop: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Read photos as `prepare` reads them.

    Args:
        paths: files, or folders whose image files are taken.
        resolution: pixels of the detector.
        crop: "none" or "face".

    Returns:
        One row a file, with `problem` where it cannot be used; and the usable faces, uint8 [H, W, 3], in order.

    Raises:
        InputError: a path that does not exist.
    """
    from forge.errors import InputError
    from forge.faces.crop import FaceCrop
    from forge.faces.imaging import SUFFIXES
    from forge.faces.intake import Intake, take
    from forge.faces.sources.base import Item, printable

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"image {str(path)!r} does not exist")
    if not files:
        raise InputError(f"there are no images in {', '.join(map(str, paths))}")
    intake = Intake(resolution, min_side=1, crop=FaceCrop() if crop == "face" else None)
    rows: list[dict[str, Any]] = []
    faces: list[Any] = []
    for file in files:
        batch = take([Item(printable(str(file)), str(file))], intake)
        row: dict[str, Any] = {"file": printable(str(file))}
        if batch.rejected:
            _, reason, detail = batch.rejected[0]
            row["problem"] = f"{reason}: {detail}" if detail else reason
        else:
            faces.append(batch.images[0])
        rows.append(row)
    return rows, faces


def _print_rows(rows: list[dict[str, Any]], cell: dict[str, Any], results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{cell['detector']} trained on {cell['trained_on']} ({results['name']})", title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("score", "probability forged", "verdict"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "problem" in row:
            table.add_row(row["file"], "", "", f"[yellow]not used: {row['problem']}[/]")
        else:
            table.add_row(row["file"], f"{row['score']:.2f}", f"{row['probability']:.3f}", row["verdict"])
    console = Console()
    console.print(table)
    console.print(
        f"[dim]The detector has seen forgeries of {cell['trained_on']} alone; "
        "other forgeries, and photos unlike its real faces, it may judge wrongly.[/]"
    )
