"""Publish trained generators as members of the zoo: half-precision weights and what describes them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.zoo.cards import generator_readme, mega
from benchmarks.zoo.members import CARD, GENERATOR, WEIGHTS, Member, ZooCard, check_name
from forge.core import provenance
from forge.core.compute import derive_seed
from forge.core.errors import InputError, short
from forge.core.files import digest_file, publishing, read_json, write_json, write_signed_json, write_text
from forge.core.progress import OnProgress, silent
from forge.core.registry import is_file_reference
from forge.faces.faceset import FaceSet, Images
from forge.faces.halves import source_view
from forge.faces.imaging.grids import write_grid, write_picture
from forge.generators.artifact import TrainedGenerator, export_averaged
from forge.generators.sample import BLOCK, block_codes, forge_block, synthesize
from forge.generators.translate import translate, translate_set, translator_of
from forge.generators.translation.pictures import translation_rows
from forge.generators.visualize import training_folder
from forge.quality.measure import Quality
from forge.quality.sets import Ask, measure_set

LARGEST_MB = 8.0  # megabytes (10^6 bytes) of all files of a member
SAMPLES = 64  # faces of samples.png
TRANSLATED = 12  # generated faces in samples.png of a translator whose photos may not be shown
COMPARED = 256  # faces that are made in both precisions
_SEED = derive_seed(0, "zoo")  # of the samples: no run draws test forgeries with it
_DISTANCE = "sliced Wasserstein"  # begins the title of the metric that lists show


@dataclass(frozen=True)
class Origin:
    """What a member comes from.

    Attributes:
        command: that trains it again.
        citation: of the real faces.
        numerics: precision and threads of the training, where they are known.
        shown: whether pictures that are made from the real faces may be published.
    """

    command: str
    citation: str = ""
    numerics: str = ""
    shown: bool = False


@dataclass(frozen=True)
class Measured:
    """How the quality of a member is measured.

    Attributes:
        real: the set that it was trained on; of a translator halved or not.
        ask: what is measured, on how many images, and where.
        floor: quality of held-out real faces, if it is known already.
    """

    real: FaceSet
    ask: Ask
    floor: Quality | None = None


@dataclass(frozen=True)
class Rounding:
    """Change of images by half precision of the weights.

    Attributes:
        largest: grey levels of 255.
        mean: absolute change, grey levels.
        changed: share of the values that change at all.
        images: compared.
    """

    largest: int
    mean: float
    changed: float
    images: int

    @classmethod
    def of(cls, whole: Images, halved: Images) -> Rounding:
        """Compare images uint8 [n, H, W, 3] that differ in the precision of the weights alone."""
        change = np.abs(whole.astype(np.int16) - halved)
        return cls(int(change.max()), float(change.mean()), float((change > 0).mean()), len(whole))


def default_name(generator: str, resolution: int) -> str:
    """Return the name of a member by default: stylegan-lite-64, pix2pix-edges-64."""
    words = re.sub(r"[^a-z0-9_.]+", "-", generator.partition("@")[0].removeprefix("zoo:").lower()).strip("-")
    return words if words.endswith(f"-{resolution}") else f"{words}-{resolution}"


def publish_generator(
    trained: TrainedGenerator,
    out: Path,
    *,
    name: str,
    origin: Origin,
    measured: Measured | None = None,
    other: TrainedGenerator | None = None,
    largest_mb: float = LARGEST_MB,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> Member:
    """Write a generator as a member of the zoo: `out` appears when all of it is there.

    Args:
        trained: the generator, with raw and averaged weights or with the latter alone.
        out: folder to make.
        name: of the member, e.g. "stylegan-lite-64".
        origin: what it comes from.
        measured: how its quality is measured, on the halved weights; None: it is not.
        other: draws faces from latents, which a translator translates in its samples where its photos may not be
            shown; None: such a translator has no samples.
        largest_mb: megabytes (10^6 bytes) that its files may have.
        device: where samples are made.
        on_progress: called with progress of the measurement.

    Raises:
        InputError: a name that cannot be, an architecture from a file, a member that is too large, or a folder that
            exists already.
    """
    check_name(name)
    if is_file_reference(trained.card.architecture):
        raise InputError(
            f"{trained.card.name} has an architecture from a file, which a member of the zoo cannot name: what is "
            "stored never runs code; install the file as a package with an entry point of forge.generators"
        )
    with publishing(out) as folder:
        export_averaged(trained, folder, name=f"zoo:{name}")
        refuse_large(folder, name, largest_mb)
        exported = TrainedGenerator.open(folder)
        rounding = _rounding(trained, exported, measured, device)
        _write_samples(exported, folder, measured if origin.shown else None, None if origin.shown else other, device)
        _copy_training(trained, folder)
        rows = [] if measured is None else _quality_rows(exported, measured, on_progress)
        if rows:
            write_json(folder / "quality.json", rows)
        card = _card(exported, name, origin, rounding, rows)
        facts = _facts(exported, folder, rows, rounding, origin)
        write_text(folder / "README.md", generator_readme(card, exported.card, facts))
        sign(folder, card)
        refuse_large(folder, name, largest_mb)
    return Member.at(out)


def write_card(member: Member, folder: Path) -> Path:
    """Write what describes a member, without weights and pictures, into a folder of cards.

    Returns:
        The folder of this card.

    Raises:
        InputError: there is one of its name.
    """
    with publishing(target := folder / member.card.name) as fresh:
        shutil.copyfile(member.folder / CARD, fresh / CARD)
        if member.card.role == "generator":
            shutil.copyfile(member.folder / GENERATOR, fresh / GENERATOR)
        text = (member.folder / "README.md").read_text(encoding="utf-8")
        write_text(fresh / "README.md", re.sub(r"!\[[^]]*\]\(samples\.png\)\n\n", "", text))
    return target


def sign(folder: Path, card: ZooCard) -> None:
    """Write zoo.json with the digests of all files that lie in a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != CARD)
    digests = {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
    write_signed_json(folder / CARD, card.model_copy(update={"files": digests}).model_dump(mode="json"))


def refuse_large(folder: Path, name: str, largest_mb: float) -> None:
    """Refuse a member that is larger than a zoo can have.

    Args:
        folder: of the member.
        name: of the member.
        largest_mb: megabytes (10^6 bytes).

    Raises:
        InputError: it is; says what to do.
    """
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > largest_mb * 1e6:
        raise InputError(
            f"zoo:{name} has {mega(size)}, and a member of the zoo at most {largest_mb:g} MB; train a narrower network "
            "(`bench show NAME` lists the settings of its widths), or raise --largest for one that is handed on as an "
            "archive alone"
        )


def _card(
    exported: TrainedGenerator, name: str, origin: Origin, rounding: Rounding, rows: Sequence[Mapping[str, Any]]
) -> ZooCard:
    card = exported.card
    distance = next((row for row in rows if row["metric"].startswith(_DISTANCE)), None)
    both = None if distance is None else (distance["value"], distance["reference"])
    return ZooCard(
        name=name,
        role="generator",
        architecture=card.architecture,
        family=exported.family,
        resolution=card.resolution,
        trained_on=str(card.data["name"]),
        kimg=card.kimg,
        sliced_wasserstein=both if both and None not in both else None,
        precision="fp16",
        rounding=rounding.largest,
        command=origin.command,
        licence=str(card.data["licence"]),
        citation=origin.citation,
        files={},
    )


def _facts(
    exported: TrainedGenerator, folder: Path, rows: Sequence[Mapping[str, Any]], rounding: Rounding, origin: Origin
) -> dict[str, Any]:
    """Return what the README says beside the two cards."""
    file = folder / "health.json"
    ticks = [tick for tick in read_json(file) if tick["kimg"] <= exported.card.kimg] if file.is_file() else []
    return {
        "rows": rows,
        "rounding": vars(rounding),
        "health": ticks[-1] if ticks else None,
        "weights": (folder / WEIGHTS).stat().st_size,
        "samples": _samples(exported, folder, shown=origin.shown),
        "takes_faces": exported.architecture.takes_faces,
        "numerics": origin.numerics,
    }


def _samples(exported: TrainedGenerator, folder: Path, *, shown: bool) -> str:
    """Say what samples.png shows; empty: there is none."""
    if not (folder / "samples.png").is_file():
        return ""
    if not exported.architecture.takes_faces:
        return f"{SAMPLES} forgeries, of consecutive latents"
    if shown:
        return f"{SAMPLES} forgeries of test photos"
    if translator_of(exported).domains != "none":
        return "Faces of another generator, and their forgeries"
    return "Faces of another generator, what was made of them as input, and their forgeries"


def _rounding(
    trained: TrainedGenerator, exported: TrainedGenerator, measured: Measured | None, device: str
) -> Rounding:
    """Make the same images with the weights in both precisions."""
    if trained.architecture.takes_faces:
        if measured is None:  # nothing to translate
            return Rounding(0, 0.0, 0.0, 0)
        faces, seeds = _faces_to_translate(exported, measured.real)
        both = [translate(each.generator(), translator_of(each), faces, seeds)[0] for each in (trained, exported)]
        return Rounding.of(*both)
    return Rounding.of(*(drawn(each, COMPARED, device) for each in (trained, exported)))


def drawn(trained: TrainedGenerator, count: int, device: str) -> Images:
    """Draw forgeries of the latents of the samples of all members, uint8 [count, H, W, 3]."""
    network, blocks = trained.generator(device=device), []
    for block in range(-(-count // BLOCK)):
        codes = block_codes(trained, "training", seed=_SEED, split="test", block=block)
        blocks.append(forge_block(network, trained, seed=_SEED, split="test", block=block, codes=codes).cpu().numpy())
    images: Images = np.concatenate(blocks)[:count]
    return images


def _faces_to_translate(trained: TrainedGenerator, real: FaceSet) -> tuple[Images, list[int]]:
    """Return test faces, uint8 [n, H, W, 3], and the seeds of their conditions."""
    view = source_view(real, "test" if "test" in real.card.splits else next(iter(real.card.splits)))
    if trained.domains:
        view = trained.domains.sources_of({"test": view})["test"]
    faces = view.head(SAMPLES).read()
    return faces, list(range(len(faces)))


def _write_samples(
    exported: TrainedGenerator, folder: Path, shown: Measured | None, other: TrainedGenerator | None, device: str
) -> None:
    """Write samples.png: forgeries of consecutive latents, or translations of faces that may be shown."""
    source = provenance.origin(exported.card.name, exported.card.weights_sha256)
    file = folder / "samples.png"
    if not exported.architecture.takes_faces:
        write_grid(file, drawn(exported, SAMPLES, device), source=source)
    elif shown is not None:
        faces, seeds = _faces_to_translate(exported, shown.real)
        write_grid(file, translate(exported.generator(), translator_of(exported), faces, seeds)[0], source=source)
    elif other is not None:
        faces = drawn(other, TRANSLATED, device)
        rows = translation_rows(exported.generator(), translator_of(exported), faces, range(TRANSLATED))
        write_picture(file, rows, source=source)


def _copy_training(trained: TrainedGenerator, folder: Path) -> None:
    """Copy log and health of the training."""
    # of a snapshot they lie in the folder of its training, of one that was stopped in its working folder
    for file in ("log.jsonl", "health.json"):
        for place in (training_folder(trained), trained.path):
            if (place / file).is_file():
                shutil.copyfile(place / file, folder / file)


def _quality_rows(exported: TrainedGenerator, measured: Measured, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Measure the forgeries of the published weights beside held-out real faces."""
    ask = measured.ask
    with tempfile.TemporaryDirectory(prefix="bench-zoo-") as scratch:
        make = {"counts": {"test": ask.n}, "seed": 1, "on_progress": silent, "device": ask.device}
        if exported.architecture.takes_faces:
            translator = translator_of(exported)
            forged = translate_set(exported, measured.real, Path(scratch) / "forged", **make)  # type: ignore[arg-type]
        else:
            translator = None
            forged = synthesize(exported, Path(scratch) / "forged", **make)  # type: ignore[arg-type]
        comparison = measure_set(forged, measured.real, ask, floor=measured.floor, translator=translator)
    return quality_rows(comparison.rows())


def quality_rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return metrics as JSON values; what is no number is null."""
    return [
        {"metric": short(row.metric), "value": _plain(row.value), "reference": _plain(row.floor), "n": row.n}
        | {"better": row.better}
        for row in rows
    ]


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 5)  # NaN is no JSON
