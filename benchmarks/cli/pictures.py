"""Card and pictures of a trained generator, as `bench show` prints and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.experiment.checked_class import checked_class
from benchmarks.experiment.names import base_name, safe_name, short_name, split_snapshot
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.runner import stage_of, stored_result
from benchmarks.workflow.stage import FACES
from benchmarks.workflow.store import Store
from forge.core import provenance as marks
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import read_json
from forge.core.registry import is_file_reference
from forge.faces.faceset import FaceSet
from forge.faces.halves import source_view
from forge.faces.imaging.grids import Animation, write_picture
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, generator_folder, snapshot_name
from forge.generators.base import Architecture
from forge.generators.memorization import Distances
from forge.generators.translation.base import Translator
from forge.generators.translation.pictures import sheet_of
from forge.generators.visualize import NearestTraining, Painter, nearest_training, training_folder, write_pictures
from forge.training.monitor.health import state_title

FORMATS = ("gif", "apng")


@dataclass(frozen=True)
class ShownGenerator:
    """A trained generator whose card and pictures are shown.

    Attributes:
        folder: of the trained generator.
        out: default folder of its pictures.
        implementation: its class, where that comes from a file.
        faces: the real faces of its run, where it is known by a run that is still stored.
    """

    folder: Path
    out: Path
    implementation: type[Architecture] | None
    faces: Path | None = None


def generator_of_run(run: str, reference: str, *, store: Path, reports: Path) -> ShownGenerator:
    """Find a generator of a finished run.

    Args:
        run: name or path of its report.
        reference: NAME, NAME@24k for a snapshot, or path/to/file.py:Class, with or without @24k.
        store: where results lie.
        reports: where reports lie.

    Raises:
        UnknownNameError: the run has no such generator.
        InputError: no such run, no such snapshot, or the store no longer holds the training.
    """
    report = RunReport.open(run, reports)
    architecture, snapshot = split_snapshot(reference)
    name = short_name(architecture)
    results = report.results
    known = {base_name(entry.name) for entry in results.generators}
    if name not in known:
        raise UnknownNameError(f"generator of run {report.name}", name, known)
    if any(stage.action == "tamper" and stage.label == name for stage in results.stages):
        inverts = f" --run {report.name}" if ":" in name else ""
        raise InputError(
            f"{name} is not trained and has no pictures of its own; `bench tamper {reference} PHOTO…{inverts}` writes "
            "photo, forgery and mask side by side"
        )
    training = stored_result(results, stage_of(results, name, "train", "load"), Store(store))
    folder = generator_folder(training, snapshot)
    if snapshot is not None and not folder.is_dir():
        # numerically: "100k" after "24k"
        kept = sorted((file.parent.name for file in training.glob("snapshots/*/generator.json")), key=_moment)
        there = f"it kept: {', '.join(kept)}" if kept else "it kept none"
        raise InputError(
            f"{name} of {report.name} has no snapshot {quoted(snapshot_name(snapshot))}; {there} "
            f"(`bench run --generator {name}@{snapshot_name(snapshot)}` makes it)"
        )
    label = name if snapshot is None else f"{name}@{snapshot_name(snapshot)}"
    # beside the working directory, never in the store
    # halved where forgeries are made from faces: then the report needs no other set of them
    prepared = next((stage for stage in results.stages if stage.action in ("halve", "prepare")), None)
    faces = Store(store).find(prepared.action, prepared.key) if prepared else None
    pictures = Path("pictures") / report.name / safe_name(label)
    return ShownGenerator(folder, pictures, _implementation(architecture), faces / FACES if faces else None)


def generator_at(folder: Path, reference: str | None) -> ShownGenerator:
    """A generator by its directory; `reference` may name the file of its class.

    Raises:
        InputError: the reference names no file.
    """
    if reference is not None and not is_file_reference(reference):
        raise InputError(f"{folder} is one generator already; --generator may only name the file of its class here")
    card = read_json(folder / "generator.json")
    # a damaged card is named by `TrainedGenerator.open`
    name = card.get("name") if isinstance(card, dict) else None  # a damaged card is refused when it is opened
    return ShownGenerator(folder, Path("pictures") / safe_name(str(name or folder.name)), _implementation(reference))


def _moment(snapshot: str) -> float:
    return float(snapshot.rstrip("k"))


def _implementation(reference: str | None) -> type[Architecture] | None:
    if reference is None or not is_file_reference(reference):
        return None
    # The class is checked before it is used: a file can name any attribute.
    architecture: type[Architecture] = checked_class("generator", reference, GENERATORS.load(reference), Architecture)
    return architecture


def show_generator(
    generator: ShownGenerator,
    out: Path,
    *,
    store: Path,
    seed: int,
    animation: str,
    against: Path | None,
    backward: bool = False,
) -> None:
    """Print a generator's card and write its pictures.

    Args:
        generator: with its folder and class.
        out: where the pictures go; neither in the store nor in the training's own directory.
        store: where results lie.
        seed: of all latents.
        animation: gif or apng.
        against: a FaceSet of the faces it was trained on, to look for copies of them.
        backward: show the opposite direction of a translator that learned both.

    Raises:
        InputError: a place where pictures must not or cannot go; a set it cannot be compared with.
    """
    if animation not in FORMATS:
        raise UnknownNameError("format", animation, FORMATS)
    # Opened before the folder is made: a wrong generator leaves no empty folder behind.
    trained = TrainedGenerator.open(generator.folder, implementation=generator.implementation)
    trained = trained.backward() if backward else trained
    faces = FaceSet.open(against) if against else None
    if isinstance(trained.architecture, Translator):
        faces = faces or (FaceSet.open(generator.faces) if generator.faces else None)
        if faces is None:
            raise InputError(f"{trained.card.name} translates faces; name a FaceSet of some with --against")
        folder_of_pictures(out, trained, store)
        _print_card(trained)
        view = source_view(faces, "test") if "test" in faces.card.splits else faces.view()
        source = marks.origin(trained.card.name, trained.card.weights_sha256)
        write_picture(out / "translations.png", sheet_of(trained, view, seed), source=source)
        print(out / "translations.png")
        print(f"it shows real faces of {faces.card.name}: publish it only if {quoted(faces.card.licence)} allows it")
        return
    folder_of_pictures(out, trained, store)
    _print_card(trained)
    painter = Painter(trained, seed)
    # distances and pairs of forgery and nearest training photo
    copies = nearest_training(painter, faces) if faces else None
    for file in write_pictures(painter, out, animation=cast("Animation", animation), training_neighbours=copies):
        print(file)
    if copies and faces:
        _print_nearest(copies, faces, trained)


def folder_of_pictures(out: Path, trained: TrainedGenerator, store: Path) -> Path:
    """Make the folder that pictures go to: known before the work whether it can be written.

    Raises:
        InputError: it lies in the store or in the training's own directory, or is no folder.
    """
    # Pictures in the store would be foreign files in a checked result.
    for stored in (Store(store).root, training_folder(trained)):
        if out.resolve().is_relative_to(stored.resolve()):
            raise InputError(f"--out {out} lies among the stored results in {stored}; choose another place")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _print_card(trained: TrainedGenerator) -> None:
    card, domains = trained.card, trained.domains
    labels = trained.condition.values if trained.condition else {}
    rows = {
        "architecture": f"{card.architecture}, {card.resolution} px",
        "parameters": "  ".join(f"{name} {count / 1e6:.2f} M" for name, count in card.parameters.items()),
        "training": f"{card.kimg:g} thousand images shown, seed {card.seed}, {card.precision}",
        "health": _health(trained),
        "data": f"{card.data['name']}, {card.data.get('images', '?')} images",
        "licence": str(card.data["licence"]),
        "labels": "\n".join(f"{name}: {', '.join(values)}" for name, values in labels.items()) or "none",
        **({"domains": f"{domains.column}: {domains.source} to {domains.target}"} if domains else {}),
        "folder": str(trained.path),
    }
    table = Table(show_header=False, title=f"trained generator {escape(card.name)}", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows.items():
        table.add_row(key, escape(value))
    open_console().print(table)


def _health(trained: TrainedGenerator) -> str:
    """What the health monitor said last, up to the generator's own moment."""
    # Of the training, not of the snapshot: one file lists all ticks.
    file = training_folder(trained) / "health.json"
    ticks: list[dict[str, Any]] = read_json(file) if file.is_file() else []
    seen = [tick for tick in ticks if tick["kimg"] <= trained.card.kimg]
    return f"{state_title(seen[-1]['state'])} at {seen[-1]['kimg']:g}k: {seen[-1]['reason']}" if seen else "not watched"


def _print_nearest(nearest: NearestTraining, faces: FaceSet, trained: TrainedGenerator) -> None:
    def line(who: str, distances: Distances) -> str:
        low, middle = distances[0], distances[len(distances) // 2]  # sorted, the smallest first
        return f"{len(distances)} {who}: nearest {low:.1f}, median {middle:.1f} grey levels from a training face"

    print(line("forgeries", nearest.distances))
    if len(nearest.real_baseline):
        print(line("real faces of split test", nearest.real_baseline))
    # Another set is compared all the same, and said to be another: copies of training photos cannot show there.
    if faces.card.digest != trained.card.data["digest"]:
        print(f"{faces.path} is not the set that {trained.card.name} was trained on ({trained.card.data['name']})")
    shown = f"nearest.png shows real faces of {faces.card.name}"
    print(f"{shown}: do not publish it unless {quoted(nearest.licence)} allows it")
