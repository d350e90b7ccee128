"""`bench attack`: own photos, changed so that a detector takes them for the other class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.experiment.checked_class import checked_class
from benchmarks.experiment.configs import parse_assignments, validated
from benchmarks.experiment.names import safe_name, short_name
from benchmarks.inference.photos import intake_for, list_photos, read_faces
from benchmarks.inference.predictor import Predictor, folder_named, predictor_at, predictor_of
from detect.attacks.apply import Attacked, apply
from detect.attacks.base import OPTIONAL_NEEDS, Attack
from detect.attacks.registry import ATTACKS
from detect.attacks.target import Aim, Target
from forge.core import provenance
from forge.core.compute import Compute, choose_device, derive_seed, tune_allocator
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.faces.crop import check_crop
from forge.faces.faceset import Images
from forge.faces.imaging.grids import sheet, write_picture

SHOWN = 16  # images of the sheet
AMPLIFIED = 16  # factor of the changes on the sheet
_TITLES = ("before", "after", f"change x {AMPLIFIED}")


def attack(
    run: str,
    images: list[Path],
    kind: str,
    epsilon: float,
    aim: str,
    detector: str | None,
    trained_on: str | None,
    crop: str | None,
    settings: list[str] | None,
    out: Path | None,
    seed: int,
    store: Path,
    reports: Path,
    device: str,
) -> None:
    """Change images within a budget against a detector: write each, marked as altered, and a sheet of the changes."""
    tune_allocator()  # before torch allocates
    if crop is not None:
        check_crop(crop)
    method, target_aim = _attack(kind, settings or []), _aim(aim)
    if (at := folder_named(run, reports)) is not None:
        predictor = predictor_at(at, detector, trained_on)
    else:
        predictor = predictor_of(run, detector, trained_on, store, reports)
    listing = list_photos(images)
    target = Target(predictor.trained.detector, Compute(choose_device(device)), target_aim)
    label = short_name(kind)
    folder = _folder(out or Path("pictures") / safe_name(predictor.source) / safe_name(label), store)
    budget = epsilon if method.budget == "levels" else None
    by = label if budget is None else f"{label}, {budget:g}/255"
    table = Table(title=escape(f"{predictor.name} trained on {predictor.trained_on}, under {by}"), title_justify="left")
    table.add_column("image", overflow="fold")
    for heading in ("score before", "after", "verdict before", "after", "PSNR", "largest change"):
        table.add_column(heading, justify="right")
    for file, problem in listing.unread.items():
        table.add_row(escape(str(file)), "", "", f"[yellow]not used: {escape(problem)}[/]")
    used, names, shown = 0, Counter[str](), list[Images]()
    resolution = predictor.trained.card.resolution
    for faces in read_faces(listing.files, intake_for(resolution, crop or predictor.crop)):
        usable = [file for file, problem in zip(faces.files, faces.problems, strict=True) if not problem]
        for file, problem in zip(faces.files, faces.problems, strict=True):
            if problem:
                table.add_row(escape(str(file)), "", "", f"[yellow]not used: {escape(problem)}[/]")
        for number, file in enumerate(usable):
            before = faces.images[number : number + 1]
            made = apply(method, before, target, name=label, epsilon=budget, seed=derive_seed(seed, used + number))
            names[file.stem] += 1  # images of one name from several folders
            stem = file.stem if names[file.stem] == 1 else f"{file.stem}-{names[file.stem]}"
            picture = Image.fromarray(made.images[0])
            write_picture(folder / f"{stem}.png", picture, source=provenance.alteration(by))
            table.add_row(escape(str(file)), *_columns(predictor, target, before, made.images), *_cost(made))
            if used + number < SHOWN:
                shown.append(np.concatenate([before, made.images, _amplified(before, made.images)]))
        used += len(usable)
    console = open_console()
    console.print(table)
    if not used:
        raise InputError(f"none of the {len(listing)} files could be used")
    picture = sheet(
        np.concatenate(shown), columns=len(_TITLES), titles=_TITLES, caption=f"{predictor.name} under {by}: altered"
    )
    write_picture(folder / "sheet.png", picture, source=provenance.alteration(by))
    for line in (f"{used:,} changed images: {folder}/", str(folder / "sheet.png")):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _attack(kind: str, assignments: list[str]) -> Attack[Any]:
    """Return an attack with the settings that are given.

    Raises:
        UnknownNameError: there is no such attack.
        InputError: it needs images or networks of an attacker, which single images do not bring; or a setting is wrong.
    """
    implementation = checked_class("attack", kind, ATTACKS.load(kind), Attack)
    if implementation.needs not in OPTIONAL_NEEDS:
        alone = [name for name in ATTACKS.names() if ATTACKS.load(name).needs in OPTIONAL_NEEDS]
        raise InputError(
            f"attack {quoted(kind)} needs images that an attacker has, which a run gives it: "
            f"bench run --set conditions.attacked={{{short_name(kind)}: …}}; here name one of {', '.join(alone)}"
        )
    made: Attack[Any] = implementation(
        validated(implementation.Settings, parse_assignments(assignments), where="--set")
    )
    return made


def _aim(aim: str) -> Aim:
    if aim == "evade":
        return "evade"
    if aim == "frame":
        return "frame"
    raise UnknownNameError("aim", aim, ("evade", "frame"))


def _columns(predictor: Predictor, target: Target, before: Images, after: Images) -> list[str]:
    scores = [float(target.detector.score(images, target.compute)[0]) for images in (before, after)]
    verdicts = ["forged" if score >= predictor.threshold.score else "real" for score in scores]
    return [*(f"{score:.2f}" for score in scores), *verdicts]


def _cost(made: Attacked) -> list[str]:
    ratio = "unchanged" if made.largest == 0 else f"{made.psnr:.1f} dB"
    return [ratio, f"{made.largest}"]


def _amplified(before: Images, after: Images) -> Images:
    """Return the change of each value times a factor on mid-grey, uint8."""
    change = AMPLIFIED * (after.astype(np.int32) - before)
    shown: Images = np.clip(128 + change, 0, 255).astype(np.uint8)
    return shown


def _folder(out: Path, store: Path) -> Path:
    if out.resolve().is_relative_to(store.resolve()):
        raise InputError(f"{out} lies among the stored results in {store}; choose another place with --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out
