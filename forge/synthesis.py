"""From a trained generator to a FaceSet of forged faces that its card regenerates exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from forge.compute import derive_seed
from forge.errors import InputError
from forge.faces.faceset import FaceSet, Images
from forge.faces.writing import FaceSetWriter
from forge.generator import TrainedGenerator
from forge.progress import Report, Tick
from forge.training.augment import to_uint8

BLOCK = 64  # images are made in blocks of this size, each with a seed of its own: any one can be made again alone


@torch.no_grad()
def forge_block(network: nn.Module, trained: TrainedGenerator, *, seed: int, split: str, block: int) -> Images:
    """Make one block of forged faces.

    Args:
        network: the generator's network in evaluation mode.
        trained: the generator.
        seed: of the synthesis.
        split: latents of different splits never coincide.
        block: which block of the split; image i of a split is number i % 64 of block i // 64.

    Returns:
        uint8 [64, H, W, 3].
    """
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "latents", split, block))
        return np.asarray(to_uint8(network(trained.architecture.latents(BLOCK, device))).cpu().numpy())


def synthesize(
    trained: TrainedGenerator,
    out: Path,
    *,
    counts: Mapping[str, int],
    seed: int,
    report: Report,
    averaged: bool = True,
    device: str = "cpu",
) -> FaceSet:
    """Write forged faces, always in fp32.

    Args:
        trained: the generator.
        out: directory of the set; must not exist.
        counts: images a split, e.g. {"train": 2000, "val": 500, "test": 1000}.
        seed: all latents follow from it.
        report: told about progress.
        averaged: use the averaged weights (else the raw ones).
        device: where to compute.

    Returns:
        The set; its card names generator, seed and weights.
    """
    if not counts or min(counts.values()) < 1:
        raise InputError(f"counts {dict(counts)} must ask for at least one image a split")
    network = trained.generator(averaged=averaged, device=device)
    provenance: dict[str, Any] = {
        "generator": trained.card.name,
        "architecture": trained.card.architecture,
        "weights_sha256": trained.card.weights_sha256,
        "weights": "averaged" if averaged else "raw",
        "seed": seed,
        "block": BLOCK,
        "trained_on": trained.card.data,
        "kimg": trained.card.kimg,
    }
    total, done = sum(counts.values()), 0
    with FaceSetWriter(
        out,
        name=trained.card.name,
        kind="forged",
        resolution=trained.card.resolution,
        licence=f"synthetic; derived from images under {trained.card.data['licence']}",
        provenance=provenance,
        attributes={"latent_index": "int64"},
    ) as writer:
        for split, count in counts.items():
            for block in range(-(-count // BLOCK)):
                faces = forge_block(network, trained, seed=seed, split=split, block=block)
                faces = faces[: count - block * BLOCK]
                writer.append(faces, [_row(trained, split, block * BLOCK + i) for i in range(len(faces))])
                done += len(faces)
                report(Tick(done, total))
    return FaceSet.open(out)


def regenerate(trained: TrainedGenerator, faces: FaceSet, position: int) -> Images:
    """Make one image of a forged set again from its card, uint8 [H, W, 3].

    Raises:
        InputError: the set was made by other weights.
    """
    made_by = faces.card.provenance
    if made_by.get("weights_sha256") != trained.card.weights_sha256:
        raise InputError(f"{faces.path} was made by other weights than those in {trained.path}")
    row = faces.table.iloc[position]
    block, place = divmod(int(row["latent_index"]), BLOCK)
    network = trained.generator(averaged=made_by["weights"] == "averaged")
    images = forge_block(network, trained, seed=made_by["seed"], split=row["split"], block=block)
    return np.asarray(images[place])


def _row(trained: TrainedGenerator, split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"{trained.card.name}-{split}-{index:07d}",
        "split": split,
        "latent_index": index,
    }
