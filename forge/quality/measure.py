"""All metrics of one set of images against another, and beside them the floor: what held-out reals would get.

The reference is the real images a generator was to imitate. Most metrics depend on the number of images, so every side
gives the same number; each draw depends on the seed and on what the images are, not on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.compute import derive_seed
from forge.errors import InputError
from forge.faces.faceset import Images
from forge.progress import Report, Tick, silent
from forge.quality import labels as label_metrics
from forge.quality.base import MIN_IMAGES, Features, Result, check_images
from forge.quality.face_rate import FaceRate, face_rate
from forge.quality.features import Extractor, extract, extractor
from forge.quality.frechet import KernelDistance, frechet_distance, kernel_distance
from forge.quality.inception import Inception, check_weights, inception_distances
from forge.quality.ms_ssim import Diversity, diversity
from forge.quality.neighbours import Memorisation, Neighbourhood, memorisation, neighbourhood
from forge.quality.sliced_wasserstein import SlicedWasserstein, sliced_wasserstein
from forge.quality.spectrum import Spectrum, spectrum_distance

N = 1000
FACE_N = 256
TRAINING_N = 10_000


class FeatureSpace(Result):
    """Where feature metrics were computed."""

    extractor: Extractor
    scaling: str = Field("reference mean 0 and deviation 1, dimension by dimension", description="of the features")


class Quality(Result):
    """One set of images measured against a reference; comparable with results of the same n, seed and extractor."""

    schema_version: int = 1
    resolution: int
    n: int = Field(description="images a side")
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
    obedience: dict[str, label_metrics.Obedience] = Field({}, description="of a conditional generator, by label column")
    inception: Inception | None = None


class Row(NamedTuple):
    """One line of a table that people read."""

    metric: str
    value: float | None
    floor: float | None
    better: Literal["lower", "higher", "as the floor"]
    n: int


class Comparison(Result):
    """Forged images against the reference, beside held-out reals against the same reference."""

    forged: Quality
    floor: Quality

    def rows(self) -> list[Row]:
        """The metrics in one line each, for people."""
        ours, real = self.forged, self.floor
        n, near, copies = ours.n, ours.neighbourhood, ours.memorisation
        rows = [
            Row("sliced Wasserstein x 1000", ours.sliced_wasserstein.mean, real.sliced_wasserstein.mean, "lower", n),
            Row("spectrum, log10 difference", ours.spectrum.distance, real.spectrum.distance, "lower", n),
            Row("MS-SSIM within the set", ours.ms_ssim.mean, real.ms_ssim.mean, "as the floor", n),
            Row("Fréchet, random features", ours.frechet_random_features, real.frechet_random_features, "lower", n),
            Row("kernel distance x 1000, random features", *_kernels(ours, real), "lower", n),
            Row("precision", near.precision, real.neighbourhood.precision, "higher", n),
            Row("recall", near.recall, real.neighbourhood.recall, "higher", n),
            Row("density", near.density, real.neighbourhood.density, "higher", n),
            Row("coverage", near.coverage, real.neighbourhood.coverage, "higher", n),
            Row("authentic (AuthPct)", copies.authentic.value, real.memorisation.authentic.value, "as the floor", n),
        ]
        if copies.c_t is not None:
            rows.append(Row("copying C_T, z", copies.c_t, 0.0, "as the floor", n))
        for name, share, floor in (
            ("face found, p >= .90", ours.face_rate.at_90, real.face_rate.at_90),
            ("face found, p >= .95", ours.face_rate.at_95, real.face_rate.at_95),
        ):
            rows.append(Row(name, share.value, floor.value, "higher", share.n))
        for column, found in ours.obedience.items():
            rows.append(
                Row(f"label obeyed: {column}", found.agreement.value, found.accuracy.value, "higher", found.agreement.n)
            )
        if ours.inception is not None:
            for name, field in (("FID", "fid"), ("KID", "kid")):
                floor_value = None if real.inception is None else getattr(real.inception, field)
                rows.append(Row(name, getattr(ours.inception, field), floor_value, "lower", n))
        return rows


def _kernels(ours: Quality, real: Quality) -> tuple[float, float]:
    return 1000 * ours.kernel_random_features.value, 1000 * real.kernel_random_features.value


@dataclass(frozen=True)
class Labels:
    """One column of labels, image by image, for `labels.obedience`; an empty label is an unknown one."""

    candidate: NDArray[np.str_]
    reference: NDArray[np.str_]
    held_out: NDArray[np.str_]


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
    fid_weights: Path | None = None,
    report: Report = silent,
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
        fid_weights: torch-fidelity's Inception weights; without them there is no FID.
        report: told which metric is done.
        device: where to compute.

    Raises:
        InputError: unusable images, fewer than 16 on a side, different resolutions, labels without held-out images,
            or no torch-fidelity.
    """
    sides = {"candidate": candidate, "reference": reference}
    sides |= {} if held_out is None else {"held-out": held_out}
    n = common_n(n, **sides)
    if training is not None:
        check_images({"training": training, "reference": reference})
    if fid_weights is not None:
        check_weights(fid_weights)
    if labels and held_out is None:
        raise InputError("label obedience needs held-out images; give them, or leave the labels out")
    steps = _Steps(report, 7 + len(labels or {}) + (fid_weights is not None))
    ours, theirs = (drawn(images, n, seed) for images in (candidate, reference))
    swd = sliced_wasserstein(ours, theirs, seed=seed)
    steps.done("sliced Wasserstein")
    spectrum = spectrum_distance(ours, theirs)
    steps.done("spectrum")
    own_diversity, real_diversity = (diversity(images, seed=seed, device=device) for images in (ours, theirs))
    steps.done("MS-SSIM")
    scale = _scaler(extract(theirs, device=device))
    a, b = (scale(extract(images, device=device)) for images in (ours, theirs))
    steps.done("features")
    frechet, kernel, near = frechet_distance(a, b), kernel_distance(a, b, seed=seed), neighbourhood(a, b)
    steps.done("distances of features")
    shown = drawn(reference if training is None else training, TRAINING_N, seed)
    unseen = None if held_out is None else scale(extract(drawn(held_out, n, seed), device=device))
    copies = memorisation(a, scale(extract(shown, device=device)), held_out=unseen, seed=seed)
    steps.done("memorisation")
    faces = face_rate(ours, n=face_n, seed=seed)
    steps.done("face rate")
    obeyed, inception = {}, None
    for column, given in (labels or {}).items():
        known = set(given.reference) - {""}
        named = [
            _labelled(images, texts, known)
            for images, texts in (
                (reference, given.reference),
                (cast(Images, held_out), given.held_out),
                (candidate, given.candidate),
            )
        ]
        if min(len(texts) for _, texts in named) >= MIN_IMAGES and len(known) > 1:
            obeyed[column] = label_metrics.obedience(*named[0], *named[1], *named[2], seed=seed, device=device)
        steps.done(f"labels: {column}")
    if fid_weights is not None:
        inception = inception_distances(ours, theirs, weights=fid_weights, seed=seed, device=device)
        steps.done("FID")
    return Quality(
        resolution=ours.shape[1],
        n=n,
        seed=seed,
        candidate_digest=_digest(ours),
        reference_digest=_digest(theirs),
        sliced_wasserstein=swd,
        spectrum=spectrum,
        ms_ssim=own_diversity,
        ms_ssim_reference=real_diversity,
        space=FeatureSpace(extractor=extractor()),
        frechet_random_features=frechet,
        kernel_random_features=kernel,
        neighbourhood=near,
        memorisation=copies,
        face_rate=faces,
        obedience=obeyed,
        inception=inception,
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
    fid_weights: Path | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> Comparison:
    """Measure forged images and, unless it is given, the floor, with the same n and seed.

    Args:
        candidate: forged images, uint8 [.., H, H, 3].
        reference: the real images the generator was to imitate.
        held_out: real images it was not shown.
        floor: `measure(held_out, reference)` of before; it is the same for all generators of one real set.
        training: as for `measure`; so are the other arguments.
        n: images a side; the smallest set decides.
        face_n: see `measure`.
        seed: see `measure`.
        labels: see `measure`.
        fid_weights: see `measure`.
        report: see `measure`.
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
        fid_weights=fid_weights,
        report=report,
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
            report=report,
            device=device,
        )
    for field in ("n", "seed", "reference_digest"):
        if getattr(floor, field) != getattr(forged, field):
            raise InputError(
                f"the floor was measured with {field} {getattr(floor, field)}, not {getattr(forged, field)}; "
                "measure it again beside these images"
            )
    return Comparison(forged=forged, floor=floor)


def common_n(n: int, **sets: Images) -> int:
    """The largest number of images up to n that every set has.

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
    order = np.array(sorted(range(len(images)), key=lambda i: _digest(images[i])))
    rng = np.random.default_rng(derive_seed(seed, "quality"))
    return np.array(images[order[np.sort(rng.choice(len(images), min(n, len(images)), replace=False))]])


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(images.tobytes(), digest_size=16).hexdigest()


def _labelled(images: Images, labels: NDArray[np.str_], wanted: set[str]) -> tuple[Images, NDArray[np.str_]]:
    if len(images) != len(labels):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels; give one label an image")
    known = np.isin(labels, sorted(wanted))
    return images[known], labels[known]


def _scaler(reference: Features) -> Callable[[Features], Features]:
    """Brings each dimension to mean 0 and deviation 1 of the reference; constant ones keep their scale."""
    mean, deviation = reference.mean(axis=0, dtype=np.float64), reference.std(axis=0, dtype=np.float64)
    deviation[deviation < 1e-6] = 1.0
    return lambda features: (features - mean) / deviation


class _Steps:
    """Counts metrics for the progress report."""

    def __init__(self, report: Report, total: int) -> None:
        self.report, self.total, self.count = report, total, 0

    def done(self, name: str) -> None:
        """One more is measured."""
        self.count += 1
        self.report(Tick(self.count, self.total, "metrics", note=name))
