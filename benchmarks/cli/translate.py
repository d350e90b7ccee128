"""`bench translate`: forgeries of own photos by a trained translator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from benchmarks.cli.pictures import ShownGenerator, folder_of_pictures, generator_at, generator_of_run
from benchmarks.inference.photos import intake_for, list_photos, read_faces
from benchmarks.report.run_report import RunReport
from benchmarks.zoo.members import is_zoo, member_of
from forge.core import provenance
from forge.core.errors import InputError
from forge.faces.crop import check_crop
from forge.faces.imaging.grids import write_picture
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.translate import translate as translate_faces
from forge.generators.translate import translator_of
from forge.generators.translation.pictures import SHOWN, translation_sheet


def translate(
    name: str,
    images: list[Path],
    generator: str | None,
    crop: str,
    out: Path | None,
    seed: int,
    backward: bool,
    store: Path,
    reports: Path,
) -> None:
    """Translate photos: write the forgery of each, marked as forged, and a sheet of photo, condition and forgery."""
    check_crop(crop)
    shown = _translator(name, generator, store=store, reports=reports)
    trained = TrainedGenerator.open(shown.folder, implementation=shown.implementation)
    trained = trained.backward() if backward else trained
    translator, network = translator_of(trained), trained.generator()
    listing = list_photos(images)
    folder = folder_of_pictures(out or shown.out, trained, store)
    source = provenance.origin(trained.card.name, trained.card.weights_sha256)
    used, names = 0, Counter[str]()
    for file, problem in listing.unread.items():
        print(f"{file}: not used: {problem}")
    for faces in read_faces(listing.files, intake_for(trained.card.resolution, crop)):
        for file, problem in zip(faces.files, faces.problems, strict=True):
            if problem:
                print(f"{file}: not used: {problem}")
        usable = [file for file, problem in zip(faces.files, faces.problems, strict=True) if not problem]
        if not usable:
            continue
        seeds = [seed + used + number for number in range(len(usable))]
        forged, _ = translate_faces(network, translator, faces.images, seeds)
        for file, pixels in zip(usable, forged, strict=True):
            names[file.stem] += 1  # photos of one name from several folders
            label = file.stem if names[file.stem] == 1 else f"{file.stem}-{names[file.stem]}"
            target = folder / f"{label}.png"
            write_picture(target, Image.fromarray(pixels), source=source)
            print(target)
        if not used:
            picture = translation_sheet(
                network,
                translator,
                faces.images[:SHOWN],
                seeds[:SHOWN],
                caption=f"{trained.card.name}: forged",
                domains=trained.domains,
            )
            write_picture(folder / "sheet.png", picture, source=source)
            print(folder / "sheet.png")
        used += len(usable)
    if not used:
        raise InputError(f"none of the {len(listing)} files could be used")


def _translator(name: str, generator: str | None, *, store: Path, reports: Path) -> ShownGenerator:
    """Find a translator by the directory of a trained one, as a member of the zoo, or by a run and its name there.

    Raises:
        InputError: the run has no translator, or several and none is named.
    """
    if is_zoo(name):
        return generator_at(member_of(name, "generator").check().folder, generator)
    if not (reports / name / "results.json").is_file() and (Path(name) / "generator.json").is_file():
        return generator_at(Path(name), generator)
    if generator is None:
        report = RunReport.open(name, reports)
        known = [
            entry.name for entry in report.results.generators
            if entry.name in GENERATORS.names() and getattr(GENERATORS.load(entry.name), "takes_faces", False)
        ]  # fmt: skip
        if len(set(known)) != 1:
            there = f"has {', '.join(sorted(set(known)))}; name one with" if known else "has none; name its file with"
            raise InputError(f"run {report.name} {there} --generator")
        generator = known[0]
    return generator_of_run(name, generator, store=store, reports=reports)
