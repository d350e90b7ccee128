"""Forged faces of a trained generator as a FaceSet, whose card is enough to make each image again exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from forge.core.compute import derive_seed, to_device
from forge.core.errors import InputError
from forge.core.progress import OnProgress
from forge.core.seeding import seed_torch
from forge.faces.faceset import FaceSet, Images, Indices
from forge.faces.forgeries import Forged, LatentPart, Latents, Synthesis, write_forgeries
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.generators.labels import Codes, Mix

CHUNK = 16  # blocks that are fetched from the device and written at a time
# Images are made in blocks of this size, each with a seed of its own, so that any image can be made again alone. A
# network's result depends on the batch's size in its last bits: the block is part of what a set's card records.
BLOCK = 64


@torch.no_grad()
def forge_block(
    network: nn.Module,
    trained: TrainedGenerator,
    *,
    seed: int,
    split: str,
    block: int,
    codes: Codes | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """Make one block of forged faces; does not wait for a GPU.

    Args:
        network: the generator's network in evaluation mode.
        trained: the generator.
        seed: of the synthesis.
        split: latents of different splits never coincide.
        block: which block of the split; image i of a split is number i % 64 of block i // 64.
        codes: labels int64 [64, C] for a conditional generator.
        truncation: of the styles of a style-based generator.

    Returns:
        uint8 [64, H, W, 3] on the network's device.
    """
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_torch(derive_seed(seed, "latents", split, block))
        latents = to_device(trained.architecture.latents(BLOCK, torch.device("cpu")), device)  # alike on every device
        given = () if codes is None else (to_device(torch.from_numpy(codes), device),)
        more = {} if truncation == 1.0 else {"truncation": truncation}
        return to_uint8(network(latents, *given, **more))


def latents_of(trained: TrainedGenerator, numbers: Indices, *, seed: int, split: str) -> Tensor:
    """Return the latents of forgeries of a set by their numbers in a split (`latent_index`), [n, L] on the CPU.

    Args:
        trained: the generator.
        numbers: of the images, int64 [n].
        seed: of the synthesis.
        split: of the images.
    """
    blocks: dict[int, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        for block in map(int, np.unique(numbers // BLOCK)):
            seed_torch(derive_seed(seed, "latents", split, block))
            blocks[block] = trained.architecture.latents(BLOCK, torch.device("cpu"))
    return torch.stack([blocks[int(number) // BLOCK][int(number) % BLOCK] for number in numbers])


def block_codes(trained: TrainedGenerator, mix: Mix, *, seed: int, split: str, block: int) -> Codes | None:
    """Return the labels of one block, int64 [64, C]; None where the generator is not conditional."""
    if trained.condition is None:
        return None
    source = np.random.default_rng(derive_seed(seed, "labels", split, block))
    return trained.condition.draw(BLOCK, mix, source)


def synthesize(
    trained: TrainedGenerator,
    out: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    on_progress: OnProgress,
    averaged: bool = True,
    truncation: float = 1.0,
    mix: Mix = "training",
    device: str = "cpu",
) -> FaceSet:
    """Write forged faces, always in fp32.

    Args:
        trained: the generator.
        out: directory of the set; must not exist.
        counts: images per split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: all latents follow from it.
        on_progress: called with the progress.
        averaged: use the averaged weights (else the raw ones).
        truncation: of the styles: 1 none, 0 the mean face; style-based generators only.
        mix: labels of a conditional generator's images (`Condition.draw`); each row of the set records its own.
        device: where to compute.

    Returns:
        The set; its card names generator, seed, weights, truncation and label mix.

    Raises:
        InputError: no images asked for, truncation or a label mix for a generator that has none, unknown labels.
    """
    origin = Latents(counts)
    if truncation != 1.0 and not trained.architecture.truncates:
        raise InputError(f"{trained.card.name} cannot be truncated; set truncation to 1, or use stylegan-lite")
    if mix != "training" and trained.condition is None:
        raise InputError(f"{trained.card.name} takes no labels; leave the mix at 'training', or use cgan")
    network = trained.generator(averaged=averaged, device=device)

    def make(part: LatentPart, numbers: Indices) -> Forged:
        return _forged(network, trained, part.split, numbers, seed=seed, mix=mix, truncation=truncation)

    synthesis = Synthesis(
        name=trained.card.name,
        origin=origin,
        make=make,
        batch=CHUNK * BLOCK,
        columns=dict.fromkeys(trained.condition.values if trained.condition else (), "string"),
        resolution=trained.card.resolution,
        licence=f"synthetic; derived from images under {trained.card.data['licence']}",
        provenance={
            "generator": trained.card.name,
            "architecture": trained.card.architecture,
            "weights_sha256": trained.card.weights_sha256,
            "weights": "averaged" if averaged else "raw",
            "seed": seed,
            "truncation": truncation,
            "mix": mix if trained.condition else None,
            "block": BLOCK,
            "trained_on": trained.card.data,
            "kimg": trained.card.kimg,
        },
    )
    return write_forgeries(synthesis, out, on_progress, ahead=device.startswith("cuda"))


def _forged(
    network: nn.Module,
    trained: TrainedGenerator,
    split: str,
    numbers: Indices,
    *,
    seed: int,
    mix: Mix,
    truncation: float,
) -> Forged:
    """Make the images with these numbers, of whole blocks from the first on; a GPU computes them without a pause."""
    parts: list[Tensor] = []
    labels: list[dict[str, str]] = []
    for block in range(int(numbers[0]) // BLOCK, int(numbers[-1]) // BLOCK + 1):
        codes = block_codes(trained, mix, seed=seed, split=split, block=block)
        parts.append(
            forge_block(network, trained, seed=seed, split=split, block=block, codes=codes, truncation=truncation)
        )
        labels += [{}] * BLOCK if trained.condition is None or codes is None else trained.condition.decode(codes)
    count = len(numbers)
    return Forged(torch.cat(parts).cpu().numpy()[:count], labels[:count])


def regenerate(trained: TrainedGenerator, faces: FaceSet, position: int) -> Images:
    """Make one image of a forged set again from its card, uint8 [H, W, 3].

    Raises:
        InputError: the set was made by other weights.
    """
    made_by = faces.card.provenance
    if made_by.get("weights_sha256") != trained.card.weights_sha256:
        raise InputError(f"{faces.path} was made by other weights than those in {trained.path}")
    row = faces.table.iloc[position]
    block, within = divmod(int(row["latent_index"]), BLOCK)
    network = trained.generator(averaged=made_by["weights"] == "averaged")
    which = {"seed": made_by["seed"], "split": row["split"], "block": block}
    codes = block_codes(trained, made_by["mix"], **which) if made_by["mix"] else None
    images = forge_block(network, trained, **which, codes=codes, truncation=made_by["truncation"])
    return cast(Images, images[within].numpy())
