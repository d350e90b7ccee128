"""Forgeries of a trained translator as a FaceSet, each traceable to the real face it was made from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.core.progress import OnProgress
from forge.faces.faceset import FaceSet, Images, Indices, Masks
from forge.faces.forgeries import Forged, SourcePart, Sources, Synthesis, write_forgeries
from forge.faces.halves import source_view
from forge.faces.tensors import flipped, shifted
from forge.generators.artifact import TrainedGenerator
from forge.generators.translation.base import Translator

_REACH = 0.06  # share of the side by which copies are moved, as far as in training
BLOCK = 64  # faces that pass the network at once; the last bits of a network's result depend on it


def translator_of(trained: TrainedGenerator) -> Translator:
    """Return the architecture of a trained translator.

    Raises:
        InputError: the generator makes images from latents.
    """
    if not isinstance(trained.architecture, Translator):
        raise InputError(
            f"{trained.card.name} makes images from latents, not from faces; name a translator such as pix2pix:edges"
        )
    return trained.architecture


@torch.no_grad()
def translate(
    network: nn.Module, translator: Translator, images: Images, seeds: Sequence[int]
) -> tuple[Images, Masks | None]:
    """Translate faces.

    Args:
        network: the translator's generator in evaluation mode.
        translator: its architecture.
        images: uint8 [N, H, W, 3] of its resolution.
        seeds: of the condition of each, [N].

    Returns:
        uint8 [N, H, W, 3]; and masks uint8 [N, H, W], 255 where pixels are forged, where the translator has them.

    Raises:
        InputError: images of another size.
    """
    size = translator.resolution
    if images.shape[1:] != (size, size, 3):
        raise InputError(f"faces of {images.shape[2]} x {images.shape[1]} px; the translator was trained at {size} px")
    device = next(network.parameters()).device
    forged, masks = [], []
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        conditions = translator.conditions(images[part], seeds[part]).to(device)
        forged.append(translator.finish(network(conditions).float().cpu(), conditions.cpu()).numpy())
        hole = translator.hole(conditions)
        if hole is not None:
            masks.append((hole[:, 0] > 0).to(torch.uint8).mul(255).cpu().numpy())
    return np.concatenate(forged), np.concatenate(masks) if masks else None


def translate_set(
    trained: TrainedGenerator,
    real: FaceSet,
    out: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    on_progress: OnProgress,
    averaged: bool = True,
    device: str = "cpu",
) -> FaceSet:
    """Write translations of a set's faces, split by split from the real images of the same split, in fp32.

    Of a halved set (`forge.faces.halves`) they are made from the images that are sources, and by a translator between
    domains from those of its source domain. Faces are taken in random order, each once before any is taken again. A
    face taken again is given another condition; where its condition is the face itself, it is mirrored and moved.

    Args:
        trained: the translator.
        real: the real faces.
        out: directory of the set; must not exist.
        counts: images per split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: everything random follows from it.
        on_progress: called with the progress.
        averaged: use the averaged weights (else the raw ones).
        device: where to compute.

    Returns:
        The set. Rows carry identity and labels of the real face, its id (`made_from`) and which translation of it this
        is (`copy`); the label that tells the domains apart is that of the target domain.

    Raises:
        InputError: nothing asked for, a forged set, a split without images, another resolution, no translator.
        UnknownNameError: the set lacks the label column of the domains.
    """
    translator, card = translator_of(trained), real.card
    if card.kind != "real":
        raise InputError(f"{real.path} holds forged faces; translations are made from real ones")
    if card.resolution != translator.resolution:
        raise InputError(f"{real.path} has {card.resolution} px, the translator was trained at {translator.resolution}")
    network = trained.generator(averaged=averaged, device=device)
    domains, views = trained.domains, {split: source_view(real, split) for split in counts}
    if domains:
        views = domains.sources_of(views)
    origin, moved = Sources(views, counts, seed, real.label_types), domains.moved(real) if domains else {}

    def make(part: SourcePart, numbers: Indices) -> Forged:
        ids = [part.rows[face]["id"] for face in part.face_of(numbers)]
        copies: list[int] = part.copy_of(numbers).tolist()
        seeds = [_seed_of(seed, source_id, copy) for source_id, copy in zip(ids, copies, strict=True)]
        images = varied(translator, part.read(numbers), ids, copies, seed)
        images, masks = translate(network, translator, images, seeds)
        return Forged(images, [moved] * len(numbers), masks)

    synthesis = Synthesis(
        name=trained.card.name,
        origin=origin,
        make=make,
        batch=BLOCK,
        columns={},
        resolution=card.resolution,
        licence=f"altered photos under {card.licence}",
        provenance={
            "generator": trained.card.name,
            "architecture": trained.card.architecture,
            "settings": translator.settings.model_dump(mode="json"),
            "weights_sha256": trained.card.weights_sha256,
            "weights": "averaged" if averaged else "raw",
            "seed": seed,
            "block": BLOCK,
            "trained_on": trained.card.data,
            "kimg": trained.card.kimg,
            "made_from": {"name": card.name, "digest": card.digest, "licence": card.licence},
            **({"domains": domains.to_json()} if domains else {}),
        },
        citation=card.citation,
        masks=translator.masks,
        note="translating",
    )
    return write_forgeries(synthesis, out, on_progress)


def _seed_of(seed: int, source_id: str, copy: int) -> int:
    """Return the seed of a condition: it follows from the face and the copy, not from the place in the set."""
    return derive_seed(seed, "condition", source_id, copy)


def varied(translator: Translator, images: Images, ids: Sequence[str], copies: Sequence[int], seed: int) -> Images:
    """Return faces to translate: where the condition is the face itself, copies of it are mirrored and moved.

    By whole pixels, so that no resampling is added to the traces of the network. The first copy is the face as it is;
    no two copies are alike before all ways of moving a face were used.

    Args:
        translator: whose input is wanted.
        images: the faces, uint8 [N, H, W, 3].
        ids: of the faces.
        copies: the number of each copy.
        seed: of the synthesis.
    """
    if translator.domains == "none" or not any(copies):
        return images
    reach = max(1, round(_REACH * translator.resolution))
    span = range(-reach, reach + 1)
    ways = np.array([way for way in itertools.product(span, span, (0, 1)) if any(way)])  # down, right, mirrored
    moves = np.zeros((len(images), 3), np.int64)
    for number, (source_id, copy) in enumerate(zip(ids, copies, strict=True)):
        if copy:
            order = np.random.default_rng(derive_seed(seed, "moved", source_id)).permutation(len(ways))
            moves[number] = ways[order[(copy - 1) % len(ways)]]
    down, right, mirrored = torch.from_numpy(moves).T
    pixels = flipped(torch.from_numpy(images).permute(0, 3, 1, 2), mirrored > 0)
    moved: Images = shifted(pixels, down, right).permute(0, 2, 3, 1).contiguous().numpy()
    return moved


@torch.no_grad()
def untrained(translator: Translator, images: Images, seeds: Sequence[int]) -> Images | None:
    """Return what the conditions of faces give without learning, uint8 [N, H, W, 3]; None: nothing.

    Args:
        translator: an architecture; none of its networks is used.
        images: the faces, uint8 [N, H, W, 3] of its resolution.
        seeds: of the condition of each, [N].
    """
    made = []
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        conditions = translator.conditions(images[part], seeds[part])
        plain = translator.untrained(conditions)
        if plain is None:
            return None
        made.append(translator.finish(plain.float(), conditions).numpy())
    return np.concatenate(made) if made else None


def inputs_of(
    faces: FaceSet, positions: Indices, real: FaceSet, translator: Translator | None = None
) -> tuple[Images, list[int]]:
    """Return what some images of a set were made from: faces as they were taken, and the seeds of their conditions.

    Args:
        faces: translated, or altered.
        positions: of the images.
        real: the faces that they were made from.
        translator: the architecture that made them; None: they were altered.
    """
    rows, seed, numbers = faces.table.iloc[positions], faces.card.provenance["seed"], dict[str, int]()
    numbers |= {key: row for row, key in enumerate(real.table["id"])}
    ids, copies = rows["made_from"].tolist(), [int(copy) for copy in rows["copy"]]
    images = real.read([numbers[key] for key in ids])
    if translator is not None:
        images = varied(translator, images, ids, copies, seed)
    return images, [_seed_of(seed, source_id, copy) for source_id, copy in zip(ids, copies, strict=True)]


def retranslate(trained: TrainedGenerator, faces: FaceSet, real: FaceSet, position: int) -> Images:
    """Make one image of a translated set again from its card and the faces it was made from, uint8 [H, W, 3].

    Args:
        trained: the translator.
        faces: the translated set.
        real: the faces it was made from.
        position: of the image.

    Raises:
        InputError: the set was made by other weights, or from other faces.
    """
    made_by = faces.card.provenance
    if made_by.get("weights_sha256") != trained.card.weights_sha256:
        raise InputError(f"{faces.path} was made by other weights than those in {trained.path}")
    if made_by["made_from"]["digest"] != real.card.digest:
        raise InputError(f"{faces.path} was made from other faces than those in {real.path}")
    domains = trained.domains
    if domains and domains.to_json() != made_by["domains"]:
        trained = trained.backward()
    # the block in which the image was made, since the last bits depend on what is computed at once
    split = faces.table["split"].iloc[position]
    members = np.flatnonzero((faces.table["split"] == split).to_numpy())
    within = int(np.flatnonzero(members == position)[0])
    numbers = members[within // BLOCK * BLOCK :][:BLOCK]
    translator = translator_of(trained)
    images, seeds = inputs_of(faces, numbers, real, translator)
    network = trained.generator(averaged=made_by["weights"] == "averaged")
    remade: Images = translate(network, translator, images, seeds)[0][within % BLOCK]
    return remade
