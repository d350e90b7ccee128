"""`bench data …`: prepare, show, verify and export sets of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.streams import console as open_console

app = typer.Typer(help="Prepare, show, verify and export sets of faces.", no_args_is_help=True, rich_markup_mode=None)

Set = Annotated[Path, typer.Argument(help="Directory of a FaceSet.")]


EXAMPLES = """\b
Examples:
  bench data prepare rendered --count 2000 --out faces
  bench data prepare path/to/photos --resolution 128 --crop face
"""


@app.command(epilog=EXAMPLES)
def prepare(
    source: Annotated[str, typer.Argument(help="NAME, PATH or NAME:PATH; `bench list sources` shows the names.")],
    count: Annotated[int | None, typer.Option("--count", min=1, help="Use this many, drawn at random.")] = None,
    resolution: Annotated[int, typer.Option("--resolution", min=8, max=1024, help="Height and width, pixels.")] = 64,
    out: Annotated[Path | None, typer.Option("--out", help="Directory to make. [default: SOURCE-RESOLUTION]")] = None,
    crop: Annotated[str, typer.Option("--crop", help="none (centre square) or face (find and align).")] = "none",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice and the splits.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one a core.")] = 0,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="One option of the source, e.g. identities=folders.")
    ] = None,
    keep_duplicates: Annotated[bool, typer.Option("--keep-duplicates", help="Do not drop near duplicates.")] = False,
) -> None:
    """Turn photos (or the renderer) into a FaceSet."""
    from benchmarks.cli.terminal import observer_for
    from benchmarks.pipeline.configs import parse_assignments, validated
    from benchmarks.pipeline.plan import Stage
    from benchmarks.pipeline.settings import DataSettings, safe_name
    from forge.compute import cores
    from forge.errors import InputError
    from forge.faces.faceset import FaceSet
    from forge.faces.prepare import prepare as prepare_faces
    from forge.faces.sources import resolve

    options = parse_assignments(assignments or [])
    asked = {"source": source, "options": options, "count": count, "resolution": resolution, "crop": crop, "seed": seed}
    settings = validated(DataSettings, asked | {"dedupe": False if keep_duplicates else None}, where="data")
    found = resolve(source, **options)
    if isinstance(found, FaceSet):
        raise InputError(f"{source} is a FaceSet already; `bench data show {source}` shows it")
    target = out or Path(safe_name(f"{settings.source_name}-{resolution}"))
    stage = Stage("prepare", settings.source_name, {}, seed)
    with observer_for(quiet=False) as observer:
        observer.started(stage)
        faces = prepare_faces(
            found,
            target,
            resolution=settings.resolution,
            count=settings.count,
            crop=settings.crop,
            dedupe=settings.dedupe,
            splits=settings.splits,
            seed=settings.seed,
            workers=workers or cores(),
            report=lambda tick: observer.progressed(stage, tick),
        )
    _print_card(faces)


@app.command()
def show(
    faces: Set,
    out: Annotated[Path | None, typer.Option("--out", help="Where the contact sheet goes (PNG).")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=4096, help="Faces on the sheet.")] = 64,
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
) -> None:
    """Print a set's card and write a contact sheet."""
    from forge.faces.export import contact_sheet, source_of
    from forge.faces.faceset import FaceSet
    from forge.pictures import write_picture

    opened = FaceSet.open(faces)
    _print_card(opened)
    sheet = out or Path(f"{faces.resolve().name}-faces.png")
    faces_shown = contact_sheet(opened.view(split), count=count, columns=10 if count >= 20 else 5)
    write_picture(sheet, faces_shown, source=source_of(opened))
    print(f"contact sheet: {sheet}")


@app.command()
def verify(faces: Set) -> None:
    """Recompute every digest of a set; exit code 1 when something was changed."""
    from forge.errors import CorruptError
    from forge.faces.faceset import FaceSet

    opened = FaceSet.open(faces)
    wrong = opened.verify()
    if wrong:
        raise CorruptError(f"{faces} is damaged: {'; '.join(wrong)}")
    print(f"{faces}: {len(opened)} images are what was written (digest {opened.card.digest[:12]})")


@app.command()
def export(
    faces: Set,
    directory: Annotated[Path, typer.Argument(help="Directory to make.")],
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
) -> None:
    """Write a set as PNG files and a table; forged images carry a mark of where they come from."""
    from forge.faces.export import export as export_faces
    from forge.faces.faceset import FaceSet

    opened = FaceSet.open(faces)
    export_faces(opened, directory, split=split)
    print(f"{len(opened.view(split))} PNG files and table.csv in {directory}")


def _print_card(faces: object) -> None:
    from rich.table import Table

    from forge.faces.faceset import FaceSet

    assert isinstance(faces, FaceSet)
    card = faces.card
    table = Table(show_header=False, title=f"{card.name}: {card.count} {card.kind} faces, {card.resolution} px")
    table.add_column(style="dim")
    table.add_column()
    table.add_row("place", str(faces.path))
    table.add_row("splits", "  ".join(f"{name} {count}" for name, count in card.splits.items()))
    table.add_row("labels", ", ".join(card.attributes) or "none")
    table.add_row("licence", card.licence)
    if card.citation:
        table.add_row("cite", card.citation)
    if card.rejected:
        reasons = "  ".join(f"{reason} {count}" for reason, count in card.rejected.items())
        table.add_row("not used", f"{reasons} (rejected.csv lists them)")
    table.add_row("digest", card.digest)
    open_console().print(table)
