"""`bench detect`: score own photos with a detector that a run has trained, or with published weights."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import UNNAMED, Unnamed, WithDefault
from benchmarks.cli.streams import console as open_console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from benchmarks.inference.photo_scores import PhotoScores
    from forge.progress import Report

EXAMPLES = """\b
Examples:
  bench detect dcgan-xception-rendered-quick me.jpg holiday/
  bench detect dcgan-xception-rendered-quick holiday/ --max-fpr 0.01 --out scores.csv
  bench detect dcgan-xception-rendered-quick me.jpg --explain
  bench detect import meso4 Meso4_DF.h5
  bench detect meso4-published me.jpg
"""
_LISTED = 100  # photos that the terminal's table holds


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
    detector: Annotated[
        str | None, typer.Option("--detector", "-d", help="Detector of the run. [default: its leader]")
    ] = None,
    trained_on: Annotated[
        str | None, typer.Option("--trained-on", help="Training of the detector. [default: on the most generators]")
    ] = None,
    max_fpr: Annotated[
        float | None,
        typer.Option(
            "--max-fpr",
            help="Largest share of real validation images called forged, e.g. 0.01. [default: the run's threshold]",
            show_default=False,
        ),
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option("--generator", "-g", help="path/to/file.py:Class whose discriminator the detector contains."),
    ] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="none or face. [default: as the run did, or none]")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write one picture per photo that shows where the detector looked.")
    ] = False,
    explain_to: Annotated[
        Path | None, typer.Option("--explain-to", help="Folder of these pictures. [default: pictures/RUN/DETECTOR]")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="table, csv, json or parquet. [default: table, or as --out ends]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for the results. [default: the terminal]")] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one per core.")] = 0,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Score photos: score, calibrated probability, and the verdict at a threshold fixed on validation images.

    A run that is called like a command (import) is named by its path: bench detect reports/import PHOTO.
    """
    from forge.compute import tune_allocator

    tune_allocator()

    from benchmarks.cli.outcome import warnings_of
    from benchmarks.inference.photo_scores import form_of, score_photos
    from benchmarks.inference.photos import list_photos
    from benchmarks.inference.predictor import cannot_explain, predictor_at, predictor_of
    from benchmarks.pipeline.run import find_report
    from benchmarks.pipeline.settings import safe_name
    from detect.explain import method
    from forge.compute import Compute, choose_device, cores
    from forge.errors import InputError, UnknownNameError
    from forge.files import read_json
    from forge.networks import GENERATORS

    if json and form not in (None, "json"):
        raise InputError(f"--json and --format {form} exclude each other")
    form = form_of("json" if json else form, out)
    if crop not in (None, "none", "face"):
        raise UnknownNameError("crop", crop, ("none", "face"))
    for reference in generator or []:
        GENERATORS.load(reference)  # a discriminator from a file is built only if its file was named
    at_path = not (reports / run / "results.json").is_file() and (Path(run) / "detector.json").is_file()
    if at_path:
        if max_fpr is not None:
            raise InputError(f"--max-fpr needs validation scores, which the folder {run} does not have; name a run")
        predictor = predictor_at(Path(run), detector, trained_on)
    else:
        predictor = predictor_of(run, detector, trained_on, store, reports, max_fpr=max_fpr)
    photos = list_photos(images)
    pictures, explained = None, ""
    if explain or explain_to is not None:
        own = Path("pictures") / safe_name(predictor.source) / safe_name(f"{predictor.name}@{predictor.trained_on}")
        pictures = _folder_for(explain_to or own, store)  # known before the work whether it can be written
        explained = (
            f"left as {predictor.name} saw it, right in orange the pixels that its score depends on ({method()})"
        )
    with _progress() as report:
        scored = score_photos(
            predictor,
            photos,
            Compute(choose_device(device)),
            crop=crop,
            workers=workers or cores(),
            pictures=pictures,
            source=explained,
            report=report,
        )
    if explained:
        looked = any("looked" in row for row in scored.rows)
        explained = f"Where it looked: {explained}." if looked else cannot_explain(predictor) if scored.used else ""
    warned = [] if at_path else warnings_of(read_json(find_report(run, reports) / "results.json"))
    if out is not None:
        scored.write(out, form, warnings=warned, explained=explained)
        _print_warnings(open_console(), warned)
        _print_summary(scored, f"{out}: {scored.summary}")
    elif form == "table":
        _print_table(scored, warned, explained)
    else:
        print(scored.csv() if form == "csv" else scored.json(warnings=warned, explained=explained), end="")
    if not scored.used:
        raise InputError(f"none of the {len(photos)} files could be used")


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on the error stream while photos are scored, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from forge.progress import Tick

    console = Console(stderr=True)
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos", total=None)

        def report(tick: Tick) -> None:
            bar.update(task, completed=tick.done, total=tick.total)

        yield report


def _folder_for(out: Path, store: Path) -> Path:
    """Make the folder that pictures go to.

    Raises:
        InputError: it lies in the store, or is no folder.
    """
    from forge.errors import InputError

    if out.resolve().is_relative_to(store.resolve()):
        raise InputError(f"{out} lies among the stored results in {store}; choose another place with --explain-to")
    if out.exists() and not out.is_dir():
        raise InputError(f"--explain-to {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _print_table(scored: PhotoScores, warned: Sequence[str], explained: str) -> None:
    """The photos one by one, then their number, then what the verdicts rest on."""
    from rich.markup import escape
    from rich.table import Table

    predictor, console = scored.predictor, open_console()
    title = f"{predictor.name} trained on {predictor.trained_on} ({predictor.source})"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("score", "probability forged", "verdict"):
        table.add_column(heading, justify="right")
    for row in scored.rows[:_LISTED]:
        if "problem" in row:
            table.add_row(escape(row["file"]), "", "", f"[yellow]not used: {escape(row['problem'])}[/]")
        else:
            file = f"{row['file']} ({row['note']})" if "note" in row else row["file"]
            table.add_row(escape(file), f"{row['score']:.2f}", f"{row['probability']:.3f}", row["verdict"])
    _print_warnings(console, warned)
    console.print(table)
    more = len(scored.rows) - _LISTED
    if more > 0:
        console.print(f"… and {more:,} more; all of them: --out scores.csv", highlight=False)
    if explained:
        console.print(explained, highlight=False, markup=False)
        for row in scored.rows[:_LISTED]:
            if "looked" in row:
                console.print(row["looked"], highlight=False, markup=False, soft_wrap=True)
    _print_summary(scored, f"{scored.summary}.")


def _print_warnings(console: Console, warned: Sequence[str]) -> None:
    """What forbids to rely on the verdicts stands first."""
    from rich.markup import escape

    for warning in warned:
        console.print(f"[bold red]{escape(warning)}[/]", highlight=False)


def _print_summary(scored: PhotoScores, summary: str) -> None:
    """How many photos are called what, and from which score on."""
    from rich.markup import escape

    from benchmarks.inference.predictor import caution

    console = open_console()
    console.print(f"[bold]{escape(summary)}[/]", highlight=False)
    for sentence in (*scored.predictor.threshold.sentences(), caution(scored.predictor)):
        console.print(f"[dim]{escape(sentence)}[/]", highlight=False)


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
    from benchmarks.measures.numbers import count
    from detect.published import import_published
    from forge.errors import InputError

    target = out or Path(f"{name}-published")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already; choose another place with --out")
    card = import_published(name, file, target, resolution).card
    print(f"{target}: {card.name}, {count(card.parameters)} values, judges {card.resolution} px faces")
    print(f"next: bench detect {target} PHOTO…")
    print(f"      bench run --generator dcgan --detector {target}   (used as it is, not fitted)")
