"""Measuring FaceSets: which images of a real set are the reference, which are held out, and which labels count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError
from forge.core.progress import OnProgress, silent
from forge.faces.faceset import FaceSet, FaceView, Images, Indices
from forge.faces.sources.counterfactual import faces_with, has_truth
from forge.generators.domains import Domains
from forge.generators.translate import inputs_of, untrained, varied
from forge.generators.translation.base import Translator
from forge.quality.measure import FACE_N, TRAINING_N, Comparison, N, Quality, compare, measure
from forge.quality.metric import Labels
from forge.quality.translations import People, Translations, Truths


@dataclass(frozen=True)
class Ask:
    """Request for a measurement: of how many images, by which metrics beside the built-in ones, and where.

    Attributes:
        n: images per side.
        face_n: images in which faces are searched.
        seed: of all draws.
        fid_weights: torch-fidelity's Inception weights, for FID and KID.
        more: metrics of plug-ins, by name or as path/to/file.py:Class.
        usefulness: train label classifiers on forgeries that have labels of their own.
        device: where to compute.
        on_progress: called after each metric.
    """

    n: int = N
    face_n: int = FACE_N
    seed: int = 0
    fid_weights: Path | None = None
    more: tuple[str, ...] = ()
    usefulness: bool = True
    device: str = "cpu"
    on_progress: OnProgress = silent


def measure_floor(real: FaceSet, ask: Ask) -> Quality:
    """Measure held-out reals against the split `forge`: the reference of every generator trained on this set.

    Raises:
        InputError: the set has no split `forge` or no other split, or too few images.
    """
    reference, held_out = (_some(view, ask) for view in sides(real))
    return measure(
        held_out.read(), reference.read(), n=ask.n, face_n=ask.face_n, seed=ask.seed, fid_weights=ask.fid_weights,
        more=ask.more, device=ask.device, on_progress=ask.on_progress,
    )  # fmt: skip


def measure_set(
    forged: FaceSet, real: FaceSet, ask: Ask, *, floor: Quality | None = None, translator: Translator | None = None
) -> Comparison:
    """Measure a set of forgeries against the real set it imitates; labels that both have are checked.

    Args:
        forged: made by a generator.
        real: what the generator was trained on.
        ask: what is measured.
        floor: `measure_floor(real, ask)` of before.
        translator: the architecture that made the forgeries from real faces, if it was one.

    Raises:
        InputError: as `measure_floor`; a floor of another n, seed or reference.
    """
    reference, held_out = (_some(view, ask) for view in sides(real))
    candidate = _some(forged.view(), ask)
    # labels of one side only cannot be compared
    columns = [name for name in forged.card.attributes if name in real.card.attributes]
    inherited = "made_from" in forged.card.attributes  # translations and tampering: labels of the photo
    labels = {
        name: Labels(_texts(candidate, name), _texts(reference, name), _texts(held_out, name), inherited)
        for name in columns
    }
    return compare(
        candidate.read(), reference.read(), held_out.read(), floor=floor, n=ask.n, face_n=ask.face_n, seed=ask.seed,
        labels=labels, translations=translations_of(forged, real, ask, translator),
        people=People(_texts(reference, "identity"), _texts(held_out, "identity")), fid_weights=ask.fid_weights,
        more=ask.more, usefulness=ask.usefulness, device=ask.device, on_progress=ask.on_progress,
    )  # fmt: skip


def translations_of(
    forged: FaceSet, real: FaceSet, ask: Ask, translator: Translator | None = None
) -> Translations | None:
    """Lay forgeries beside the real faces that they were made from; None where they were made from none of this set.

    Args:
        forged: made by a translator, or altered.
        real: with the faces that they were made from, halved or not.
        ask: how many are wanted.
        translator: the architecture that made them; None: not known, as of tampering.
    """
    named = [forged.card.provenance.get(role) for role in ("made_from", "trained_on")]
    digests = [source.get("digest") for source in named if isinstance(source, dict)]
    # halving leaves ids as they are: the set that the translator was trained on holds the sources too
    if "made_from" not in forged.card.attributes or real.card.digest not in digests:
        return None
    candidate, at = _some(forged.view(), ask), {key: number for number, key in enumerate(real.table["id"])}
    origins = FaceView(real, np.array([at[key] for key in candidate.rows["made_from"]], np.int64))
    sources, seeds = inputs_of(forged, candidate.index, real, translator)
    # a column that differs from the source's in one image was asked for
    inherited = {
        name for name in set(forged.card.attributes) & set(real.card.attributes)
        if (_texts(candidate, name) == _texts(origins, name)).all()
    }  # fmt: skip
    return Translations(
        forged=candidate.read(),
        sources=sources,
        restores=translator is not None and translator.restores,
        untrained=None if translator is None else untrained(translator, sources, seeds),
        without_learning="" if translator is None else translator.without_learning,
        masks=candidate.read_masks() if forged.has_masks else None,
        truth=None if translator is None else _truth_of(forged, candidate, real, translator),
        inherited=frozenset(inherited),
    )


def _truth_of(forged: FaceSet, candidate: FaceView, real: FaceSet, translator: Translator) -> Truths | None:
    """Return what translations between domains of rendered people should be."""
    asked_for = forged.card.provenance.get("domains")
    if not asked_for:
        return None
    domains = Domains.from_json(asked_for)
    if not has_truth(real, domains.column, domains.target):
        return None
    ids, copies = (candidate.rows[name].tolist() for name in ("made_from", "copy"))

    def truth(chosen: Indices) -> tuple[Images, NDArray[np.bool_]]:
        some = [ids[number] for number in chosen]
        faces, shown = faces_with(real, some, domains.column, domains.target)
        # a face that was taken again was mirrored and moved
        moved = varied(translator, faces, some, [int(copies[n]) for n in chosen], forged.card.provenance["seed"])
        return moved, shown

    return truth


def sides(real: FaceSet) -> tuple[FaceView, FaceView]:
    """Return the reference (split `forge`) and the held-out images (all other splits) of a real set.

    Raises:
        InputError: one of them is empty.
    """
    others = [real.view(split).index for split in real.card.splits if split != "forge"]
    if not others or "forge" not in real.card.splits:
        raise InputError(
            f"{real.path} needs a split 'forge' and held-out images (train, val, test); prepare it with such splits"
        )
    # sorted: the table is then read in its own order
    return real.view("forge"), FaceView(real, np.sort(np.concatenate(others)))


def _some(view: FaceView, ask: Ask) -> FaceView:
    """As many as can be used: a million images need not be read for a draw of a thousand."""
    # `measure` draws again, at most n a side and TRAINING_N for memorisation; labels use all that is read here
    return view.sample(max(ask.n, TRAINING_N), ask.seed)


def _texts(view: FaceView, column: str) -> NDArray[np.str_]:
    # missing labels become "", which obedience leaves out
    return np.asarray(view.rows[column].fillna("").astype(str).to_numpy(str))
