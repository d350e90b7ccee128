"""The photos from elsewhere that a run tests on: pairs of folders, and columns of public test sets."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.experiment.external import images_in, usable
from benchmarks.experiment.settings import External, RunSettings
from benchmarks.workflow.external_plan import masks_are_measured, most_photos
from forge.core.errors import InputError
from forge.faces.clip_faces import digest_of
from forge.faces.faceset import FaceSet
from forge.faces.layouts import Entry, TestSet, recognise
from forge.faces.prepare import MIN_IMAGES
from forge.faces.sources import resolve
from forge.faces.sources.base import FileSource, Source, printable
from forge.faces.sources.classes import refuse_mixed
from forge.faces.sources.clips import FRAMES
from forge.faces.sources.folder import FolderSource
from forge.faces.sources.listed import ListedSource
from forge.faces.sources.masked import MaskedFolder

if TYPE_CHECKING:
    from forge.faces.sources.classes import Class

Sides = tuple[Source | None, Source | None]  # real and forged photos; None: the test has none


def external_sources(settings: RunSettings) -> dict[str, Sides]:
    """Open the photos of every external test.

    Args:
        settings: of the run, checked.

    Raises:
        InputError: a folder that is not there, holds too few photos or those of the other class; masks that cannot be
            used; a test set that changed since it was recognised.
    """
    sets: dict[str, TestSet] = {}
    sources: dict[str, Sides] = {}
    for name, test in settings.external.items():
        if test.root:
            if test.root not in sets:
                whole = recognise(Path(test.root))
                sets[test.root] = whole.of_split(whole.tested_split)
            sources[name] = _sides_of_set(settings, name, test, sets[test.root])
        else:
            real = _photos(test.real, given_as="real")
            sources[name] = (real, _photos(test.forged, given_as="forged", masks=test.masks))
    _check_masks(settings, sources)
    return sources


def fingerprints(sides: Sides, crop: str) -> tuple[str | None, str | None]:
    """Return the digests of real and forged photos, cropped like this; None where there are none."""
    real, forged = sides
    return digest_of(real, crop) if real else None, digest_of(forged, crop) if forged else None


def _sides_of_set(settings: RunSettings, name: str, test: External, tested: TestSet) -> Sides:
    def side(label: Literal["real", "forged"]) -> Source | None:
        if label not in test.sides:
            return None
        entries = usable(tested.side(label, test.subset or None))
        if (images := images_in(entries)) < MIN_IMAGES:
            raise InputError(
                f"--external {name}: {test.root} has {images} {label} images of {test.subset or 'the set'}; at "
                f"least {MIN_IMAGES} are needed"
            )
        masked = label == "forged" and test.listed_masks and masks_are_measured(settings)
        return ListedSource(
            tested.root,
            _drawn(entries, most_photos(settings)),
            unread=tested.unread,
            shared=label == "real" and bool(test.subset),
            masked=masked,
        )

    return side("real"), side("forged")


def _drawn(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Return entries of at most `count` images, drawn at random and in order, so that a run reads no more of a set."""
    if images_in(entries) <= count:
        return list(entries)
    if any(entry.is_video for entry in entries):
        count = max(1, count // FRAMES)  # whole clips
    positions = sorted(random.Random(0).sample(range(len(entries)), min(count, len(entries))))
    return [entries[position] for position in positions]


def refuse_other_class(source: Source | FaceSet, *, given_as: Class) -> None:
    """Refuse a folder of photos whose sub-folders say that it holds the other class."""
    if isinstance(source, FolderSource):
        refuse_mixed(source.root, source.files, given_as=given_as)


def _check_masks(settings: RunSettings, pairs: Mapping[str, Sides]) -> None:
    """Refuse masks from elsewhere that nothing would be measured against, or that are no masks.

    Raises:
        InputError: as said.
    """
    masked = {name: forged for name, (_, forged) in pairs.items() if isinstance(forged, MaskedFolder)}
    if not (masked and settings.conditions.masks):
        return
    name = next(iter(masked))
    if not any(request.localises for request in settings.detectors.values()):
        raise InputError(
            f"--external {name} has masks and no detector of the run has maps to compare with them; add --detector unet"
        )
    if not any(generator.masks for generator in settings.generators.values()):
        raise InputError(
            f"--external {name} has masks and no generator of the run has any, on whose validation images the "
            "threshold of a map is fixed; add --generator splice"
        )
    for forged in masked.values():
        forged.check(forged.pick(most_photos(settings), 0))  # those that the stage takes


def _photos(folder: str, *, given_as: Class, masks: str = "") -> Source:
    """A folder of one side of an external pair; names and prepared sets are sources of whole runs only."""
    source = MaskedFolder(folder, masks) if masks else resolve(f"folder:{folder}")
    if not isinstance(source, Source):
        raise InputError(f"--external needs folders of photos; {folder} is a prepared set")
    if len(source) < MIN_IMAGES:
        raise InputError(
            f"--external: {folder} holds {len(source)} photos; at least {MIN_IMAGES} are needed{_unread(source)}"
        )
    refuse_other_class(source, given_as=given_as)
    return source


def _unread(source: Source) -> str:
    """Half a sentence on files that are not read."""
    unread = source.unread if isinstance(source, FileSource) else {}
    if not unread:
        return ""
    file, why = next(iter(unread.items()))
    return f"; {len(unread)} more are not read, e.g. {printable(file)}, {why}"
