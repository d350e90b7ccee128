"""`bench tamper`: own photos, altered, with the mask of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.experiment.configs import parse_assignments, shipped, validated
from benchmarks.experiment.names import inverted_generator, safe_name, short_name
from benchmarks.inference.photos import intake_for, list_photos, read_faces
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.runner import stage_of, stored_result
from benchmarks.workflow.store import Store, read_manifest
from forge.core import provenance
from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.core.registry import is_file_reference
from forge.faces.crop import check_crop
from forge.faces.faceset import Images
from forge.faces.imaging.grids import sheet, write_picture
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.tampering.base import Donor, TamperBatch, Tampered, Tampering
from forge.tampering.donors import Donors, DonorSet
from forge.tampering.edit import LatentEdit
from forge.tampering.landmarks import find_landmarks

SHOWN = 16  # photos of the sheet
RESOLUTION = 256  # pixels a side, where nothing asks for others
_TITLES = ("photo", "forgery", "mask")


def tamper(
    name: str,
    images: list[Path],
    resolution: int | None,
    crop: str,
    settings: list[str] | None,
    out: Path | None,
    seed: int,
    run: str | None,
    store: Path,
    reports: Path,
) -> None:
    """Alter photos: write each, marked as altered, its mask, and a sheet of photo, forgery and mask."""
    check_crop(crop)
    name, _ = inverted_generator(name)
    method = _tampering(name, settings or [])
    if isinstance(method, LatentEdit) or run is not None:
        trained = _fitted(method, name, run, store, reports)
        if resolution not in (None, trained.card.resolution):
            raise InputError(
                f"--resolution {resolution} is not what {trained.card.name} of {run} makes: {trained.card.resolution}; "
                "leave it out"
            )
        resolution = trained.card.resolution
    resolution = resolution or RESOLUTION
    label = short_name(name)
    listing = list_photos(images)
    folder = _folder(out or Path("pictures") / safe_name(label))
    source = provenance.alteration(label)
    used, names, shown = 0, Counter[str](), list[Images]()
    for file, problem in listing.unread.items():
        print(f"{file}: not used: {problem}")
    for faces in read_faces(listing.files, intake_for(resolution, crop)):
        for file, problem in zip(faces.files, faces.problems, strict=True):
            if problem:
                print(f"{file}: not used: {problem}")
        usable = [file for file, problem in zip(faces.files, faces.problems, strict=True) if not problem]
        if not usable:
            continue
        tampered = _altered(method, faces.images, [derive_seed(seed, used + n) for n in range(len(usable))])
        if used < SHOWN:
            masks = np.repeat(tampered.masks[..., None], 3, axis=3)
            shown.append(np.stack([faces.images, tampered.images, masks], axis=1))  # [n, 3, H, W, 3]
        for number, file in enumerate(usable):
            names[file.stem] += 1  # photos of one name from several folders
            stem = file.stem if names[file.stem] == 1 else f"{file.stem}-{names[file.stem]}"
            row = tampered.rows[number]
            write_picture(folder / f"{stem}.png", Image.fromarray(tampered.images[number]), source=source)
            write_picture(folder / f"{stem}-mask.png", Image.fromarray(tampered.masks[number]), source=source)
            region = f"{row['region']}, " if row["region"] else ""
            print(f"{folder / f'{stem}.png'}: {region}{row['altered']:.1%} of the image")
        used += len(usable)
    if not used:
        raise InputError(f"none of the {len(listing)} files could be used")
    cells = np.concatenate(shown)[:SHOWN].reshape(-1, resolution, resolution, 3)
    picture = sheet(cells, columns=len(_TITLES), titles=_TITLES, caption=f"{label}: altered")
    write_picture(folder / "sheet.png", picture, source=source)
    print(folder / "sheet.png")


def _tampering(name: str, assignments: list[str]) -> Tampering[Any]:
    """Return the edit with its shipped settings and those that are given.

    Raises:
        InputError: the name is of a generator that is trained; or a setting is wrong.
    """
    implementation = GENERATORS.load(name)
    if not issubclass(implementation, Tampering):
        kinds = {each: GENERATORS.load(each) for each in GENERATORS.names()}
        there = [each for each, kind in kinds.items() if issubclass(kind, Tampering) and not kind.inverts]
        raise InputError(
            f"{quoted(name)} is trained before it forges; name an edit: {', '.join(there)}, or translate photos with "
            "`bench translate`"
        )
    values = {} if is_file_reference(name) else shipped("generators", name, "quick").get("network", {})
    given = validated(implementation.Settings, {**values, **parse_assignments(assignments)}, where="--set")
    if implementation.takes_donors and given.donors in ("identity", "others"):
        raise InputError(
            f"donors={given.donors} needs to know who is on the photos, and a real person's face onto another one is "
            "never done here; take donors=auto"
        )
    made: Tampering[Any] = implementation(given)
    return made


def _fitted(method: Tampering[Any], name: str, run: str | None, store: Path, reports: Path) -> TrainedGenerator:
    """Let an edit invert the generator that a run inverted, and return it.

    Raises:
        InputError: no run is named, the edit inverts nothing, or the run has no such edit.
    """
    if not isinstance(method, LatentEdit):
        raise InputError(f"{quoted(name)} inverts no generator; leave --run out")
    if run is None:
        raise InputError(f"{quoted(name)} inverts a trained generator; name a run that has it with --run RUN")
    results, kept = RunReport.open(run, reports).results, Store(store)
    edits = sorted({stage.label for stage in results.stages if stage.action == "tamper"})
    if name not in edits:
        there = f"its edits are {', '.join(edits)}" if edits else "it has no edits"
        raise InputError(f"run {results.name} has no {quoted(name)}, {there}; run it again with --generator {name} too")
    made = stored_result(results, stage_of(results, name, "tamper"), kept)
    trained = TrainedGenerator.open(_input(made, "inverted", "train", kept))
    method.fitted(_input(made, "encoder", "encode", kept), trained)
    return trained


def _input(folder: Path, role: str, action: str, store: Store) -> Path:
    """Return the folder of an input of a stored result.

    Raises:
        InputError: the store no longer holds it.
    """
    there = store.find(action, read_manifest(folder).inputs[role])
    if there is None:
        raise InputError(f"the {role} of {folder.name} is not in {store.root}/ any more; run the same command again")
    return there


def _altered(method: Tampering[Any], images: Images, seeds: list[int]) -> Tampered:
    landmarks = np.full((len(images), 5, 2), np.nan)
    if method.settings.landmarks == "mtcnn":
        landmarks = find_landmarks(lambda start: images[start:], len(images), lambda done: None)
    given: list[Sequence[Donor]] = []
    if method.takes_donors:
        # nobody knows who is on the photos: only rendered people can be donors
        names = [str(number) for number in range(len(images))]
        candidates = DonorSet(lambda numbers: images[numbers], images.shape[1], landmarks, names, [""] * len(images))
        donors = Donors(method.settings.donors, candidates, rendered=False)
        given = [donors.of(name, "", points, seed) for name, points, seed in zip(names, landmarks, seeds, strict=True)]
    return method.tamper(TamperBatch(images, landmarks, seeds, given))


def _folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out
