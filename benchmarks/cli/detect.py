"""`bench detect`: score own photos with a detector that a run has trained, or with published weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import UNNAMED, Unnamed, WithDefault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.judge import Judge
    from forge.compute import Compute

EXAMPLES = """\b
Examples:
  bench detect dcgan-xception-rendered-quick me.jpg holiday/
  bench detect dcgan-xception-rendered-quick me.jpg --explain
  bench detect import meso4 Meso4_DF.h5
  bench detect meso4-published me.jpg
"""


app = typer.Typer(cls=WithDefault, rich_markup_mode=None, epilog=EXAMPLES)


@app.command(UNNAMED, cls=Unnamed, hidden=True)
def detect(
    run: Annotated[
        str,
        typer.Argument(
            help="Name of a finished run (`bench list runs` shows them), or folder of a detector with detector.json."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    detector: Annotated[str | None, typer.Option("--detector", "-d", help="Of the run. [default: its leader]")] = None,
    trained_on: Annotated[
        str | None, typer.Option("--trained-on", help="Its training. [default: on the most generators]")
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option("--generator", "-g", help="path/to/file.py:Class whose discriminator the detector contains."),
    ] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="none or face. [default: as the run did, or none]")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a picture a photo that shows where the detector looked.")
    ] = False,
    explain_to: Annotated[
        Path | None, typer.Option("--explain-to", help="Folder of these pictures. [default: pictures/RUN/DETECTOR]")
    ] = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Score photos: a score, a probability, and the verdict at the threshold fixed on validation data.

    A run that is called like a command (import) is named by its path: bench detect reports/import PHOTO.
    """
    from forge.compute import tune_allocator

    tune_allocator()
    from benchmarks.cli.outcome import warnings_of
    from benchmarks.cli.photos import folder_for, read_photos
    from benchmarks.judge import judge_at, judge_of
    from benchmarks.pipeline.run import find_report
    from benchmarks.pipeline.settings import safe_name
    from forge.compute import Compute, choose_device
    from forge.errors import InputError, UnknownNameError
    from forge.files import read_json
    from forge.networks import GENERATORS

    if crop not in (None, "none", "face"):
        raise UnknownNameError("crop", crop, ("none", "face"))
    for reference in generator or []:
        GENERATORS.load(reference)  # a discriminator from a file is built only if its file was named
    at_path = not (reports / run / "results.json").is_file() and (Path(run) / "detector.json").is_file()
    judge = (
        judge_at(Path(run), detector, trained_on) if at_path else judge_of(run, detector, trained_on, store, reports)
    )
    out = explain_to or Path("pictures") / safe_name(judge.source) / safe_name(f"{judge.name}@{judge.trained_on}")
    if explain := explain or explain_to is not None:
        folder_for(out, store)  # known before the work whether it can be written
    rows, faces = read_photos(images, judge.trained.card.resolution, crop or judge.crop)
    used = [row for row in rows if "problem" not in row]
    said = ""
    if faces:
        import numpy as np

        stacked, compute = np.stack(faces), Compute(choose_device(device))
        _score(judge, used, stacked, compute)
        said = _explain(judge, used, stacked, compute, out) if explain else ""
    warned = [] if at_path else warnings_of(read_json(find_report(run, reports) / "results.json"))
    _print(judge, rows, said, warned, as_json=json)
    if not faces:
        raise InputError(f"none of the {len(rows)} files could be used")


def _score(judge: Judge, rows: list[dict[str, Any]], faces: Any, compute: Compute) -> None:  # noqa: ANN401 - an array
    """Add score, probability and verdict to the rows."""
    from benchmarks.judge import opinions

    for row, opinion in zip(rows, opinions(judge, faces, compute), strict=True):
        row |= vars(opinion)


def _explain(judge: Judge, rows: list[dict[str, Any]], faces: Any, compute: Compute, out: Path) -> str:  # noqa: ANN401
    """Write where the detector looked; returns a sentence on it."""
    from benchmarks.cli.photos import write_looks
    from benchmarks.judge import cannot_explain
    from detect.explain import method

    maps = judge.trained.detector.saliency(faces, compute)
    if maps is None:
        return cannot_explain(judge)
    how = f"left as {judge.name} saw it, right in orange the pixels that its score hangs on ({method()})"
    write_looks(out, rows, faces, maps, source=how)
    return f"Where it looked: {how}."


def _print(judge: Judge, rows: list[dict[str, Any]], said: str, warned: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        import json

        found = {"detector": judge.name, "trained_on": judge.trained_on, "warnings": list(warned), "images": rows}
        print(json.dumps(found | ({"explained": said} if said else {}), indent=1))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from benchmarks.judge import caution

    title = f"{judge.name} trained on {judge.trained_on} ({judge.source})"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("score", "probability forged", "verdict"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "problem" in row:
            table.add_row(escape(row["file"]), "", "", f"[yellow]not used: {escape(row['problem'])}[/]")
        else:
            file = f"{row['file']} ({row['note']})" if "note" in row else row["file"]
            table.add_row(escape(file), f"{row['score']:.2f}", f"{row['probability']:.3f}", row["verdict"])
    console = Console()
    for warning in warned:
        console.print(f"[bold red]{escape(warning)}[/]", highlight=False)
    console.print(table)
    if said:
        console.print(said, highlight=False, markup=False)
        for row in rows:
            if "looked" in row:
                console.print(row["looked"], highlight=False, markup=False, soft_wrap=True)
    console.print(f"[dim]{escape(caution(judge))}[/]", highlight=False)


@app.command("import")
def import_weights(
    name: Annotated[str, typer.Argument(help="Detector that the weights are of, e.g. meso4.")],
    file: Annotated[Path, typer.Argument(help="The file as its authors published it (.h5, .pth or .safetensors).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to make. [default: NAME-published]")] = None,
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", min=8, max=1024, help="Of the images it will judge. [default: the authors']"),
    ] = None,
) -> None:
    """Turn weights that authors published into a detector; nothing in the file is ever run.

    The detector is used as it is, not fitted: with photos (bench detect FOLDER PHOTO) or in a run
    (bench run --detector FOLDER).
    """
    from forge.compute import tune_allocator

    tune_allocator()
    from benchmarks.report.numbers import count
    from detect.published import import_published
    from forge.errors import InputError

    target = out or Path(f"{name}-published")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already; choose another place with --out")
    card = import_published(name, file, target, resolution).card
    print(f"{target}: {card.name}, {count(card.parameters)} values, judges {card.resolution} px faces")
    print(f"next: bench detect {target} PHOTO…")
    print(f"      bench run --generator dcgan --detector {target}   (used as it is, not fitted)")
