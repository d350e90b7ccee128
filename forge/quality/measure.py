"""All metrics of one set of images against another, and beside them the floor: what held-out reals would get.

The reference is the real images a generator was to imitate. Most metrics depend on the number of images, so every side
gives the same number; each draw depends on the seed and on what the images are, not on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.faceset import Images, Indices
from forge.quality import built_in, load_more
from forge.quality.changed import Changed
from forge.quality.checks import MIN_IMAGES, check_images
from forge.quality.face_rate import FaceRate
from forge.quality.features import Extractor, extractor
from forge.quality.fidelity import Fidelity
from forge.quality.frechet import KernelDistance
from forge.quality.identity import IdentityKept
from forge.quality.inception import Inception, check_weights
from forge.quality.metric import AllImages, Labels, Row, Scalar, ScalarMetric, Sides
from forge.quality.ms_ssim import Diversity
from forge.quality.neighbours import Memorisation, Neighbourhood
from forge.quality.obedience import Obedience
from forge.quality.result import Result
from forge.quality.sliced_wasserstein import SlicedWasserstein
from forge.quality.spectrum import Spectrum
from forge.quality.translations import People, Translations
from forge.quality.truth import Truth
from forge.quality.usefulness import Usefulness

N = 1000  # images a side; most metrics depend on it
FACE_N = 256  # fewer, as the detector finds about 30 faces a second on a core
TRAINING_N = 10_000  # bounds the matrix of distances and the time of memorisation


class FeatureSpace(Result):
    """Feature space in which feature metrics were computed."""

    extractor: Extractor
    scaling: str = Field("reference mean 0 and deviation 1, dimension by dimension", description="of the features")


class Quality(Result):
    """One set of images measured against a reference; comparable with results of the same n, seed and extractor."""

    schema_version: int = 1
    resolution: int
    n: int = Field(description="images per side")
    seed: int
    candidate_digest: str = Field(description="of the images drawn from the candidate, whatever their order")
    reference_digest: str
    sliced_wasserstein: SlicedWasserstein
    spectrum: Spectrum
    ms_ssim: Diversity = Field(description="of the candidate")
    ms_ssim_reference: Diversity
    space: FeatureSpace = Field(description="of the four results that follow")
    frechet_random_features: float = Field(description="not FID: random features, not Inception's")
    kernel_random_features: KernelDistance = Field(description="not KID, for the same reason")
    neighbourhood: Neighbourhood
    memorisation: Memorisation
    face_rate: FaceRate
    obedience: dict[str, Obedience] = Field({}, description="of a conditional generator, by label column")
    fidelity: Fidelity | None = Field(None, description="of translations to their targets")
    changed: Changed | None = Field(None, description="of forgeries made from real faces")
    truth: Truth | None = Field(None, description="of translations of rendered people, whose truth is known")
    identity: IdentityKept | None = Field(None, description="of forgeries made from real faces")
    usefulness: dict[str, Usefulness] = Field({}, description="of labelled forgeries as training images, by column")
    inception: Inception | None = None
    more: dict[str, Scalar] = Field({}, description="metrics of one number, by id; those of plug-ins too")


class Comparison(Result):
    """Forged images against the reference, beside held-out reals against the same reference."""

    forged: Quality
    floor: Quality

    def rows(self) -> list[Row]:
        """Return the metrics, for people: those with a field of `Quality`, then those of one number."""
        ours, real = self.forged, self.floor
        rows = [
            row
            for metric in built_in()
            if not isinstance(metric, ScalarMetric)
            for row in metric.rows(getattr(ours, metric.id), getattr(real, metric.id), ours.n)
        ]
        for name, metric in ours.more.items():
            floor = real.more[name].value if name in real.more else None
            rows.append(Row(metric.title, metric.value, floor, metric.better, ours.n))
        return rows


def measure(
    candidate: Images,
    reference: Images,
    *,
    training: Images | None = None,
    held_out: Images | None = None,
    n: int = N,
    face_n: int = FACE_N,
    seed: int = 0,
    labels: Mapping[str, Labels] | None = None,
    translations: Translations | None = None,
    people: People | None = None,
    fid_weights: Path | None = None,
    more: Sequence[str] = (),
    usefulness: bool = True,
    on_progress: OnProgress = silent,
    device: str = "cpu",
) -> Quality:
    """Measure one set of images against a reference; the floor is `measure(held_out, reference)`.

    Args:
        candidate: forged images (or held-out reals, for the floor), uint8 [.., H, H, 3].
        reference: the real images the generator was to imitate.
        training: what the generator was shown, for memorisation; the whole reference by default. At most 10,000 of
            them are used, drawn at random.
        held_out: real images it was not shown; needed for C_T and label obedience.
        n: images drawn from each side; fewer where a side has fewer.
        face_n: images in which faces are searched, at most n.
        seed: of all draws.
        labels: by column, the classes asked of a conditional generator; all images that have one are used, not only the
            drawn ones. A column with fewer than 16 labelled images on a side is left out.
        translations: the candidate, or a part of it, beside the real faces that it was made from.
        people: who is on the real images, for the metrics of translations.
        fid_weights: torch-fidelity's Inception weights; without them there is no FID.
        more: metrics of plug-ins, by name or as path/to/file.py:Class.
        usefulness: train label classifiers on forgeries that have labels; about a minute a column.
        on_progress: called after each metric.
        device: where to compute.

    Raises:
        InputError: unusable images, fewer than 16 on a side, different resolutions, labels without held-out images,
            or no torch-fidelity.
    """
    given = {"candidate": candidate, "reference": reference}
    # before any work: every side gives the same number, since most metrics depend on it
    n = common_n(n, **given, **({} if held_out is None else {"held-out": held_out}))
    if training is not None:
        check_images({"training": training, "reference": reference})
    # before the other metrics, which take minutes, not after them
    if fid_weights is not None:
        check_weights(fid_weights)
    if labels and held_out is None:
        raise InputError("label obedience needs held-out images; give them, or leave the labels out")
    ours, theirs = (drawn(images, n, seed) for images in (candidate, reference))
    sides = Sides(
        candidate=ours,
        reference=theirs,
        # all that was shown counts, not n: a copy of an image that was not drawn is a copy too
        training=drawn(reference if training is None else training, TRAINING_N, seed),
        held_out=None if held_out is None else drawn(held_out, n, seed),
        # label obedience learns from all images, not from the drawn ones
        whole=AllImages(candidate, reference, held_out),
        labels=labels or {},
        translations=None if translations is None else translations.of(_drawn_of(translations.forged, n, seed)),
        people=people,
        face_n=face_n,
        seed=seed,
        device=device,
        fid_weights=fid_weights,
        usefulness=usefulness,
    )
    metrics = [*built_in(), *load_more(more)]
    fields: dict[str, Any] = {}
    scalars: dict[str, Scalar] = {}
    for count, metric in enumerate(metrics, 1):
        # a metric of one number needs no field of its own in `Quality`
        (scalars if isinstance(metric, ScalarMetric) else fields)[metric.id] = metric.measure(sides)
        on_progress(ProgressEvent(count, len(metrics), "metrics", note=metric.title))
    return Quality(
        resolution=ours.shape[1],
        n=n,
        seed=seed,
        candidate_digest=_digest(ours),
        reference_digest=_digest(theirs),
        space=FeatureSpace(extractor=extractor()),
        more=scalars,
        **fields,
    )


def compare(
    candidate: Images,
    reference: Images,
    held_out: Images,
    *,
    floor: Quality | None = None,
    training: Images | None = None,
    n: int = N,
    face_n: int = FACE_N,
    seed: int = 0,
    labels: Mapping[str, Labels] | None = None,
    translations: Translations | None = None,
    people: People | None = None,
    fid_weights: Path | None = None,
    more: Sequence[str] = (),
    usefulness: bool = True,
    on_progress: OnProgress = silent,
    device: str = "cpu",
) -> Comparison:
    """Measure forged images and, unless it is given, the floor, with the same n and seed.

    Args:
        candidate: forged images, uint8 [.., H, H, 3].
        reference: the real images the generator was to imitate.
        held_out: real images it was not shown.
        floor: `measure(held_out, reference)` of before; it is the same for all generators of one real set.
        training: as for `measure`; so are the other arguments.
        n: images per side; the smallest set decides.
        face_n: see `measure`.
        seed: see `measure`.
        labels: see `measure`.
        translations: see `measure`.
        people: see `measure`.
        fid_weights: see `measure`.
        more: see `measure`.
        usefulness: see `measure`.
        on_progress: see `measure`.
        device: see `measure`.

    Raises:
        InputError: as `measure`, or the floor is of another n, seed or reference.
    """
    n = common_n(n, candidate=candidate, reference=reference, held_out=held_out)
    forged = measure(
        candidate,
        reference,
        training=training,
        held_out=held_out,
        n=n,
        face_n=face_n,
        seed=seed,
        labels=labels,
        translations=translations,
        people=people,
        fid_weights=fid_weights,
        more=more,
        usefulness=usefulness,
        on_progress=on_progress,
        device=device,
    )
    if floor is None:
        floor = measure(
            held_out,
            reference,
            training=training,
            n=n,
            face_n=face_n,
            seed=seed,
            fid_weights=fid_weights,
            more=more,
            on_progress=on_progress,
            device=device,
        )
    # another n, seed or reference gives other values for equal images: the comparison would show that difference
    for field in ("n", "seed", "reference_digest"):
        if getattr(floor, field) != getattr(forged, field):
            raise InputError(
                f"the floor was measured with {field} {getattr(floor, field)}, not {getattr(forged, field)}; "
                "measure it again beside these images"
            )
    return Comparison(forged=forged, floor=floor)


def common_n(n: int, **sets: Images) -> int:
    """Return the largest number of images up to n that every set has.

    Raises:
        InputError: unusable images, or n below 16.
    """
    check_images(sets)
    if n < MIN_IMAGES:
        raise InputError(f"n is {n}; measuring needs at least {MIN_IMAGES} images a side")
    return min(n, *map(len, sets.values()))


def drawn(images: Images, n: int, seed: int) -> Images:
    """Draw n images at random (all when fewer); the same ones whatever the order they come in.

    Args:
        images: uint8 [m, H, H, 3].
        n: how many.
        seed: of the draw.
    """
    return np.array(images[_drawn_of(images, n, seed)])


def _drawn_of(images: Images, n: int, seed: int) -> Indices:
    """Return the positions of the images that `drawn` draws, in the order of their contents."""
    # sorted by content before the draw: a shuffled or rewritten set gives the same n images
    order = np.array(sorted(range(len(images)), key=lambda i: _digest(images[i])))
    rng = np.random.default_rng(derive_seed(seed, "quality"))
    # positions are sorted again: the images stay in that order
    return order[np.sort(rng.choice(len(images), min(n, len(images)), replace=False))]


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(images.tobytes(), digest_size=16).hexdigest()  # 128 bits
