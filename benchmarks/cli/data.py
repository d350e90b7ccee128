"""`bench data …`: prepare, show, verify and export sets of faces."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.experiment.configs import parse_assignments, validated
from benchmarks.experiment.names import safe_name
from benchmarks.experiment.settings import DataSettings
from benchmarks.terminal import observer_for
from benchmarks.workflow.stage import Call
from forge.core.compute import cores
from forge.core.errors import CorruptError, InputError, UnknownNameError
from forge.core.extras import require
from forge.core.registry import Registry
from forge.faces.export import contact_sheet, source_of
from forge.faces.export import export as export_faces
from forge.faces.faceset import FaceSet
from forge.faces.imaging.grids import write_picture
from forge.faces.prepare import prepare as prepare_faces
from forge.faces.sources import resolve
from forge.faces.webdataset import SHARD_BYTES, export_webdataset

# formats of Hugging Face datasets, whose library is an extra
DATASETS = Registry(
    "format",
    "forge.datasets",
    {
        "huggingface": "forge.faces.hugging_face:export_dataset",
        "parquet": "forge.faces.hugging_face:export_parquet",
    },
)
_LOADED = {"huggingface": 'datasets.load_from_disk("{}")', "parquet": 'datasets.load_dataset("{}")'}


def prepare(
    source: str,
    count: int | None,
    resolution: int,
    out: Path | None,
    crop: str,
    seed: int,
    workers: int,
    assignments: list[str] | None,
    keep_duplicates: bool,
) -> None:
    """Turn photos (or the renderer) into a FaceSet."""
    options = parse_assignments(assignments or [])
    given = {"source": source, "options": options, "count": count, "resolution": resolution, "crop": crop, "seed": seed}
    # None leaves `dedupe` to its default, which depends on the source.
    settings = validated(DataSettings, given | {"dedupe": False if keep_duplicates else None}, where="data")
    opened = resolve(source, **options)
    if isinstance(opened, FaceSet):  # copying one would look like preparing it again
        raise InputError(f"{source} is a FaceSet already; `bench data show {source}` shows it")
    # a name without the path: two sources of one name need --out
    target = out or Path(safe_name(f"{settings.source_name}-{resolution}"))
    stage = Call("prepare", settings.source_name)
    # A call of a verb is shown as a stage that runs alone.
    with observer_for(quiet=False) as observer:
        observer.started(stage)
        faces = prepare_faces(
            opened,
            target,
            resolution=settings.resolution,
            count=settings.count,
            crop=settings.crop,
            dedupe=settings.dedupe,
            splits=settings.splits,
            seed=settings.seed,
            # 0 on the command line means all cores.
            workers=workers or cores(),
            on_progress=lambda event: observer.progressed(stage, event),
        )
    _print_card(faces)


def show(faces: Path, out: Path | None, count: int, split: str | None) -> None:
    """Print a set's card and write a contact sheet."""
    opened = FaceSet.open(faces)
    _print_card(opened)
    sheet = out or Path(f"{faces.resolve().name}-faces.png")
    # at least two rows on a sheet of 20
    faces_shown = contact_sheet(opened.view(split), count=count, columns=10 if count >= 20 else 5)
    write_picture(sheet, faces_shown, source=source_of(opened))
    print(f"contact sheet: {sheet}")


def verify(faces: Path) -> None:
    """Recompute every digest of a set; exit code 1 when something was changed."""
    opened = FaceSet.open(faces)
    wrong = opened.verify()
    if wrong:
        # An error, so that a script sees exit code 1.
        raise CorruptError(f"{faces} is damaged: {'; '.join(wrong)}")
    print(f"{faces}: {len(opened)} images are what was written (digest {opened.card.digest[:12]})")


def export(
    faces: Path,
    directory: Path,
    split: str | None,
    form: str,
    beside: list[Path] | None,
    images: str | None,
    shard: int | None,
) -> None:
    """Write a set as PNG files and a table, as WebDataset shards, or as a Hugging Face dataset."""
    if form not in (known := ["png", "webdataset", *DATASETS.entries]):
        raise UnknownNameError("format", form, known)
    if form != "webdataset" and (images or shard):
        raise InputError(f"{'--images' if images else '--shard'} needs --format webdataset, not {form}")
    sets = [FaceSet.open(path) for path in (faces, *(beside or []))]
    if form == "png":
        if beside:
            raise InputError("--format png writes a FaceSet alone; call it once for each, or use --format huggingface")
        export_faces(sets[0], directory, split=split)
        print(f"{len(sets[0].view(split))} PNG files and table.csv in {directory}")
        return
    if form == "webdataset":
        size = (shard << 20) if shard else SHARD_BYTES
        written = export_webdataset(sets, directory, split=split, images=images or "png", shard_bytes=size)
        shards = len(list(directory.glob("*.tar")))
        print(
            f"{written} images in {shards} shards of {directory}; bench data prepare webdataset:{directory} reads them"
        )
        return
    require(f"--format {form}", "datasets", "datasets")
    written = DATASETS.load(form)(sets, directory, split=split)
    print(f"{written} images in {directory}: {_LOADED[form].format(directory)}")


def _print_card(faces: object) -> None:
    assert isinstance(faces, FaceSet)
    card = faces.card
    table = Table(show_header=False, title=f"{card.name}: {card.count} {card.kind} faces, {card.resolution} px")
    table.add_column(style="dim")
    table.add_column()
    table.add_row("folder", str(faces.path))
    table.add_row("splits", "  ".join(f"{name} {count}" for name, count in card.splits.items()))
    table.add_row("labels", ", ".join(card.attributes) or "none")
    table.add_row("licence", card.licence)
    if card.citation:
        table.add_row("cite", card.citation)
    if card.rejected:  # rejected photos are counted on the card and listed beside it
        reasons = "  ".join(f"{reason} {count}" for reason, count in card.rejected.items())
        table.add_row("not used", f"{reasons} (rejected.csv lists them)")
    table.add_row("digest", card.digest)
    open_console().print(table)
