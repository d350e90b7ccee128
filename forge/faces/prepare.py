"""From a source of photos to a FaceSet: decode, crop, resize, remove duplicates, split.

Two passes. The first decodes in worker processes and puts pixels and rows into scratch files beside the output
(`forge.faces.taken`). Then duplicates and splits are decided on everything at once, so that fractions are met and the
order of files does not matter. The second pass streams the scratch files into the set.

Who is kept apart: images of one identity, and images linked by duplication (also when a copy is removed, since one
photo under two names is one person or a wrong label), form one group, and a group lies in one split.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
from numpy.typing import NDArray

from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, silent
from forge.faces.clip_faces import describe_tracks
from forge.faces.crop import CROPS, check_crop
from forge.faces.dedup import MAX_HAMMING, MIN_CORRELATION, clusters, exact_duplicates, near_duplicates
from forge.faces.faceset import CORE_COLUMNS, FaceSet
from forge.faces.imaging.decode import BACKDROP
from forge.faces.ingest import Intake
from forge.faces.sources.base import FEWEST, FileSource, Source, printable
from forge.faces.sources.classes import refuse_mixed
from forge.faces.sources.folder import FolderSource
from forge.faces.splits import DEFAULT_SPLITS, assign, check_fractions
from forge.faces.taken import Taken, first_pass
from forge.faces.writer import FaceSetWriter

MIN_IMAGES = FEWEST
_MANY = 100_000  # images from which the search for duplicates reports its progress
CLUSTER_PREFIX = "cluster-"  # of the identity of images that are copies of each other and of no known person
RESOLUTIONS = (16, 1024)

Numbers = NDArray[np.int64]


def prepare(
    source: Source,
    out: Path,
    *,
    resolution: int = 64,
    count: int | None = None,
    crop: str = "none",
    splits: Mapping[str, float] = DEFAULT_SPLITS,
    seed: int = 0,
    dedupe: bool | None = None,
    min_side: int | None = None,
    cut: bool = False,
    kind: Literal["real", "forged"] = "real",
    name: str = "",
    min_images: int = MIN_IMAGES,
    workers: int = 2,
    on_progress: OnProgress = silent,
) -> FaceSet:
    """Make a FaceSet of a source's images. The result depends on all arguments but `workers`.

    Args:
        source: where images come from, see `forge.faces.sources.resolve`.
        out: directory to be made; must not exist.
        resolution: height and width in pixels, 16..1024.
        count: look at this many images of the source, drawn by `seed` (rendered: the first ones); all by default.
        crop: "none" takes the largest square in the middle, "face" finds and aligns the face, "ff++" takes a square
            1.3 times as large as the box of the face, as FaceForensics++.
        splits: split -> fraction of the images, summing to 1; without effect where the source assigns them.
        seed: of the draw and the splits.
        dedupe: keep only the first of images with the same photo (by default, but for digits). Otherwise they stay,
            together in one split, and share the identity "cluster-..." where they have none.
        min_side: reject photos whose shorter side has fewer pixels; by default the resolution, since an enlarged
            photo is blurred and a detector would see that.
        cut: without a face search, take `resolution` pixels of each photo itself in its middle, not resized.
        kind: what the photos are.
        min_images: usable images below which nothing is made, at least 20.
        name: of the set; by default the source's, of a folder the folder's.
        workers: processes; small sources are decoded in this one.
        on_progress: called with each progress event.

    Raises:
        InputError: wrong arguments, or fewer than 20 usable images, or fewer people than splits, or a folder whose
            sub-folders say that it holds the other class.
    """
    _check(source, out, resolution=resolution, count=count, crop=crop, splits=splits, workers=workers, kind=kind)
    if min_side is not None and min_side < 1:
        raise InputError(f"min_side is {min_side}; it must be at least 1 pixel")
    dedupe = source.dedupe if dedupe is None else dedupe
    intake = Intake(resolution, resolution if min_side is None else min_side, CROPS[crop], cut)
    out.parent.mkdir(parents=True, exist_ok=True)
    # beside the output, so on a disk that will hold the set anyway
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".partial") as scratch:
        taken = first_pass(
            source, Path(scratch), intake, source.pick(count, seed), workers=workers, on_progress=on_progress
        )
        if isinstance(source, FileSource):
            taken.rejected += [(printable(file), "not read", why) for file, why in source.unread.items()]
        # after everything was seen: neither duplicates nor fractions can be decided on a part
        fewest = max(min_images, MIN_IMAGES)
        plan = _decide(source, taken, splits, seed=seed, dedupe=dedupe, min_images=fewest, on_progress=on_progress)
        provenance = {
            "source": {"name": source.name, "fingerprint": source.identity(), **source.settings()},
            "preparation": {
                **_describe(intake),
                **({"tracks": describe_tracks()} if intake.crop and source.has_videos else {}),
                "count": count,
                "splits": dict(splits),
                "seed": seed,
                "dedupe": dedupe,
                "duplicates_across_identities": plan.across_identities,
            },
        }
        writer = FaceSetWriter(
            out,
            name=name or _display_name(source),
            kind=kind,
            resolution=resolution,
            licence=source.licence,
            provenance=provenance,
            attributes=dict.fromkeys(source.attributes, "string"),
            citation=source.citation,
            masks=source.masked,
        )
        with writer:
            _second_pass(taken, plan, writer)
    return FaceSet.open(out)


def _check(
    source: Source,
    out: Path,
    *,
    resolution: int,
    count: int | None,
    crop: str,
    splits: Mapping[str, float],
    workers: int,
    kind: Literal["real", "forged"],
) -> None:
    low, high = RESOLUTIONS
    if not low <= resolution <= high:
        raise InputError(f"resolution is {resolution}; it must be {low}..{high} pixels")
    if count is not None and count < MIN_IMAGES:
        raise InputError(f"count is {count}; at least {MIN_IMAGES} images are needed")
    check_crop(crop)
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1")
    check_fractions(splits)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; choose another place or remove it first")
    clash = sorted(set(source.attributes) & set(CORE_COLUMNS))
    if clash:
        raise InputError(
            f"source {quoted(source.name)}: label column {quoted(clash[0])} is a column every set has; rename it"
        )
    if isinstance(source, FolderSource):
        refuse_mixed(source.root, source.files, given_as=kind)
    if not len(source):
        raise InputError(f"source {quoted(source.name)} has no images{_where(source)}; {_instead(source)}")


def _display_name(source: Source) -> str:
    """Return the display name of the set: the source's name, or for a folder of photos the folder's."""
    return str(source.settings()["folder"]) if source.name == "folder" else source.name


def _where(source: Source) -> str:
    return f" in {root}" if (root := getattr(source, "root", None)) else ""


def _instead(source: Source) -> str:
    """Return the advice for a source without images."""
    unread = source.unread if isinstance(source, FileSource) else {}
    if not unread:
        return "give a folder that holds some"
    file, why = next(iter(unread.items()))
    return f"it holds {len(unread)} files that are not read, e.g. {printable(file)}, {why}"


_MIDDLE = {False: "largest square in the middle", True: "the middle, in pixels of the photo"}


def _describe(intake: Intake) -> dict[str, Any]:
    return {
        "resolution": intake.resolution,
        "min_side": intake.min_side,
        "crop": intake.crop.describe() if intake.crop else _MIDDLE[intake.cut],
        "filter": ("lanczos", "none")[intake.cut] if intake.crop is None else "bicubic, then lanczos",
        "transparency_over": list(BACKDROP),
        "near_duplicate": {"hamming": MAX_HAMMING, "correlation": MIN_CORRELATION},
        "pillow": PIL.__version__,
    }


# --- decisions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """Decisions, an entry an image that was taken.

    Attributes:
        split: "" when the image is not used.
        original: number of the first image with the same photo, its own when it is that.
        exact: whether an earlier image has the same bytes.
        shared: whether the image has copies.
        person: number of the identity, -1 unknown.
        across_identities: images whose first copy has another identity.
        dedupe: only originals are used.
    """

    split: NDArray[np.str_]
    original: Numbers
    exact: NDArray[np.bool_]
    shared: NDArray[np.bool_]
    person: Numbers
    across_identities: int
    dedupe: bool


def _decide(
    source: Source,
    taken: Taken,
    splits: Mapping[str, float],
    *,
    seed: int,
    dedupe: bool,
    min_images: int,
    on_progress: OnProgress,
) -> _Plan:
    total = len(taken)
    # before the search for duplicates: an error on too few images needs none
    _check_enough(source, taken, total, 0, min_images)
    same, first = exact_duplicates(taken.digests)
    told = on_progress if total >= _MANY else silent  # fewer take no time worth a word
    pairs = np.concatenate([same, near_duplicates(np.concatenate(taken.hashes), taken.thumbnails, told)])
    original = clusters(total, pairs)
    used = original == np.arange(total) if dedupe else np.ones(total, bool)  # the first of each cluster
    _check_enough(source, taken, int(used.sum()), int(total - used.sum()), min_images)

    # images that are not used still link: a removed copy joins two people, see the module
    person = np.array(taken.person, np.int64)
    group_of, root = _groups(original, person, used)
    names = list(taken.people)
    # a lasting name for each group: the person's, else the digest of its first file, so that more images leave it alone
    keys = [names[person[i]] if person[i] >= 0 else taken.digests[i].tobytes().hex() for i in root]
    split = np.full(total, "", dtype="U8")  # "U8": long enough for every split; "" where not used
    if source.assigned is None:
        split[used] = assign(group_of, keys, splits, seed=seed)
    else:  # what is linked lies in the split of the first
        split[used] = np.array([source.assigned[taken.positions[i]] for i in root])[group_of]

    both = (person >= 0) & (person[original] >= 0)
    return _Plan(
        split=split,
        original=original,
        exact=first < np.arange(total),
        shared=np.bincount(original, minlength=total)[original] > 1,
        person=person,
        across_identities=int((both & (person != person[original])).sum()),
        dedupe=dedupe,
    )


def _groups(original: Numbers, person: Numbers, used: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Join images by duplication and by identity: group number of each used image, first used image of each group."""
    known = np.flatnonzero(person >= 0)
    _, first, inverse = np.unique(person[known], return_index=True, return_inverse=True)
    # edges (first image of the person, image) and (original, image): connected components are the groups
    same_person = np.stack([known[first][inverse], known], axis=1)
    same_photo = np.stack([original, np.arange(len(original))], axis=1)
    root = clusters(len(original), np.concatenate([same_photo, same_person]))
    members = np.flatnonzero(used)
    # numbered 0..n-1 over the used images
    _, first, group_of = np.unique(root[members], return_index=True, return_inverse=True)
    return group_of, members[first]


def _check_enough(source: Source, taken: Taken, usable: int, duplicates: int, min_images: int) -> None:
    if usable >= min_images:
        return
    reasons = Counter(reason for _, reason, _ in taken.rejected)
    if duplicates:
        reasons["duplicate"] = duplicates
    why = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    example = f" (e.g. {taken.rejected[0][0]}: {': '.join(taken.rejected[0][1:])})" if taken.rejected else ""
    raise InputError(
        f"source {quoted(source.name)}{_where(source)}: {usable} of {taken.seen} images are usable, at least "
        f"{min_images} are needed; rejected: {why or 'none'}{example}; add images or correct these"
    )


# --- second pass ---------------------------------------------------------------------------------------------------


def _second_pass(taken: Taken, plan: _Plan, writer: FaceSetWriter) -> None:
    for file, reason, detail in taken.rejected:
        writer.reject(file, reason, detail)
    originals: dict[int, str] = {}  # number -> file of those that have copies
    start = 0
    for images, masks, rows in taken.batches():
        numbers = range(start, start + len(rows))  # numbers count over all batches, as in `_Plan`
        start += len(rows)
        for number, row in zip(numbers, rows, strict=True):
            row["split"] = str(plan.split[number])
            if plan.shared[number]:
                _handle_copy(number, row, plan, writer, originals)
        kept = [i for i, row in enumerate(rows) if row["split"]]
        writer.append(images[kept], [rows[i] for i in kept], None if masks is None else masks[kept])


def _handle_copy(
    number: int, row: dict[str, Any], plan: _Plan, writer: FaceSetWriter, originals: dict[int, str]
) -> None:
    """List a copy that is not used; name the cluster of one that is."""
    original = int(plan.original[number])
    file = originals.setdefault(original, row["source_file"])
    if not row["split"]:
        other = plan.person[number] != plan.person[original]
        reason = "exact duplicate" if plan.exact[number] else "near duplicate"
        writer.reject(row["source_file"], reason, f"of {file}" + (", which has another identity" if other else ""))
    elif row["identity"] is None and not plan.dedupe:
        row["identity"] = f"{CLUSTER_PREFIX}{original:07d}"
