"""`bench data …`: prepare, show, verify and export sets of faces; list public test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

# An app of its own: `bench data` is a group of commands.
app = typer.Typer(
    add_completion=False,
    help="Prepare, show, verify and export sets of faces; list public test sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


Set = Annotated[Path, typer.Argument(help="Directory of a FaceSet.")]


EXAMPLES = """\b
Examples:
  bench data prepare rendered --count 2000 --out faces
  bench data prepare path/to/photos --resolution 128 --crop face
"""


@app.command(epilog=EXAMPLES)
@implemented_in("benchmarks.cli.data")
def prepare(
    source: Annotated[str, typer.Argument(help="NAME, PATH or NAME:PATH; `bench list sources` shows the names.")],
    count: Annotated[int | None, typer.Option("--count", min=1, help="Use this many, drawn at random.")] = None,
    resolution: Annotated[int, typer.Option("--resolution", min=8, max=1024, help="Height and width, pixels.")] = 64,
    out: Annotated[Path | None, typer.Option("--out", help="Directory to make. [default: SOURCE-RESOLUTION]")] = None,
    crop: Annotated[
        str, typer.Option("--crop", help="Crop: none (centre square), face (find, align) or ff++ (1.3 x its box).")
    ] = "none",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the choice and the splits.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one per core.")] = 0,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="One option of the source, e.g. identities=folders.")
    ] = None,
    keep_duplicates: Annotated[bool, typer.Option("--keep-duplicates", help="Keep near duplicates.")] = False,
) -> None:
    """Turn photos (or the renderer) into a FaceSet."""


@app.command()
@implemented_in("benchmarks.cli.data")
def show(
    faces: Set,
    out: Annotated[Path | None, typer.Option("--out", help="File of the contact sheet (PNG).")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=4096, help="Faces on the sheet.")] = 64,
    split: Annotated[str | None, typer.Option("--split", help="Split to use. [default: all]")] = None,
) -> None:
    """Print a set's card and write a contact sheet."""


@app.command()
@implemented_in("benchmarks.cli.data")
def verify(faces: Set) -> None:
    """Recompute every digest of a set; exit code 1 when something was changed."""


@app.command()
@implemented_in("benchmarks.cli.data")
def export(
    faces: Set,
    directory: Annotated[Path, typer.Argument(help="Directory to make.")],
    split: Annotated[str | None, typer.Option("--split", help="Split to use. [default: all]")] = None,
    form: Annotated[
        str,
        typer.Option("--format", help="Format: png, webdataset, or of Hugging Face datasets: huggingface or parquet."),
    ] = "png",
    beside: Annotated[
        list[Path] | None,
        typer.Option("--and", help="Further FaceSet of the dataset, e.g. the forgeries; not with png."),
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", help="Image files of webdataset: png or webp, lossless. [default: png]")
    ] = None,
    shard: Annotated[
        int | None, typer.Option("--shard", min=1, help="Largest shard of webdataset, MiB. [default: 256]")
    ] = None,
) -> None:
    """Write a set as PNG files and a table, as WebDataset shards, or as a Hugging Face dataset.

    Files of forged images carry a mark of where they come from. A dataset has the columns image, label (real or
    forged), identity, generator, split and the set's labels; those of Hugging Face need the extra: pip install
    'deepfake-bench[datasets]'.
    """


@app.command()
@implemented_in("benchmarks.cli.sets")
def sets(
    root: Annotated[Path, typer.Argument(help="Folder of a public test set, or of several.")],
    as_json: options.Json = False,
) -> None:
    """List the public test sets below a folder: layout, columns, counts, splits, people, masks, files that lack."""
