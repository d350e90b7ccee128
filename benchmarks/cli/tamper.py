"""`bench tamper`: own photos, altered, with the mask of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.experiment.configs import parse_assignments, shipped, validated
from benchmarks.experiment.names import short_name
from benchmarks.inference.photos import intake_for, list_photos, read_faces
from forge.core import provenance
from forge.core.compute import derive_seed
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.registry import is_file_reference
from forge.faces.faceset import Images
from forge.faces.imaging.grids import sheet, write_picture
from forge.generators import GENERATORS
from forge.tampering.base import Donor, TamperBatch, Tampered, Tampering
from forge.tampering.donors import Donors, DonorSet
from forge.tampering.landmarks import find_landmarks

SHOWN = 16  # photos of the sheet
_TITLES = ("photo", "forgery", "mask")


def tamper(
    name: str,
    images: list[Path],
    resolution: int,
    crop: str,
    settings: list[str] | None,
    out: Path | None,
    seed: int,
) -> None:
    """Alter photos: write each, marked as altered, its mask, and a sheet of photo, forgery and mask."""
    if crop not in ("none", "face"):
        raise UnknownNameError("crop", crop, ("none", "face"))
    method = _tampering(name, settings or [])
    label = short_name(name)
    listing = list_photos(images)
    folder = _folder(out or Path("pictures") / label)
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
        there = [each for each in GENERATORS.names() if issubclass(GENERATORS.load(each), Tampering)]
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


def _altered(method: Tampering[Any], images: Images, seeds: list[int]) -> Tampered:
    landmarks = np.full((len(images), 5, 2), np.nan)
    if method.settings.landmarks == "mtcnn":
        landmarks = find_landmarks(lambda start: images[start:], len(images), lambda done: None)
    given: list[Donor | None] = []
    if method.takes_donors:
        # nobody knows who is on the photos: only rendered people can be donors
        names = [str(number) for number in range(len(images))]
        candidates = DonorSet(lambda number: images[number], images.shape[1], landmarks, names, [""] * len(images))
        donors = Donors(method.settings.donors, candidates, rendered=False)
        given = [donors.of(name, "", points, seed) for name, points, seed in zip(names, landmarks, seeds, strict=True)]
    return method.tamper(TamperBatch(images, landmarks, seeds, given))


def _folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out
