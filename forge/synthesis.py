"""From a trained generator to a FaceSet of forged faces that its card regenerates exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from forge.compute import derive_seed, to_device
from forge.condition import Codes, Mix
from forge.errors import InputError
from forge.faces.faceset import FaceSet, Images
from forge.faces.pool import read_ahead
from forge.faces.writing import FaceSetWriter
from forge.generator import TrainedGenerator
from forge.progress import Report, Tick
from forge.training.augment import to_uint8

CHUNK = 16  # blocks that are fetched from the device and written at a time
BLOCK = 64  # images are made in blocks of this size, each with a seed of its own: any one can be made again alone


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
        torch.manual_seed(derive_seed(seed, "latents", split, block))
        latents = to_device(trained.architecture.latents(BLOCK, torch.device("cpu")), device)  # alike on every device
        given = () if codes is None else (to_device(torch.from_numpy(codes), device),)
        more = {} if truncation == 1.0 else {"truncation": truncation}
        return to_uint8(network(latents, *given, **more))


def block_codes(trained: TrainedGenerator, mix: Mix, *, seed: int, split: str, block: int) -> Codes | None:
    """The labels of one block, int64 [64, C]; None where the generator is not conditional."""
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
    report: Report,
    averaged: bool = True,
    truncation: float = 1.0,
    mix: Mix = "training",
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
        truncation: of the styles: 1 none, 0 the mean face; style-based generators only.
        mix: labels of a conditional generator's images (`Condition.draw`); each row of the set records its own.
        device: where to compute.

    Returns:
        The set; its card names generator, seed, weights, truncation and label mix.

    Raises:
        InputError: no images asked for, truncation or a label mix for a generator that has none, unknown labels.
    """
    if not counts or min(counts.values()) < 1:
        raise InputError(f"counts {dict(counts)} must ask for at least one image a split")
    if truncation != 1.0 and not trained.architecture.truncates:
        raise InputError(f"{trained.card.name} cannot be truncated; set truncation to 1, or use stylegan-lite")
    if mix != "training" and trained.condition is None:
        raise InputError(f"{trained.card.name} takes no labels; leave the mix at 'training', or use cgan")
    network = trained.generator(averaged=averaged, device=device)
    provenance: dict[str, Any] = {
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
    }
    total, done = sum(counts.values()), 0
    with FaceSetWriter(
        out,
        name=trained.card.name,
        kind="forged",
        resolution=trained.card.resolution,
        licence=f"synthetic; derived from images under {trained.card.data['licence']}",
        provenance=provenance,
        attributes={"latent_index": "int64"}
        | dict.fromkeys(trained.condition.values if trained.condition else (), "string"),
    ) as writer:
        # a GPU computes the next chunk while this one is written
        made = _made(network, trained, counts, seed=seed, mix=mix, truncation=truncation)
        for split, first, faces, labels in read_ahead(made) if device.startswith("cuda") else made:
            writer.append(faces, [_row(trained, split, first + i) | labels[i] for i in range(len(faces))])
            done += len(faces)
            report(Tick(done, total))
    return FaceSet.open(out)


def _made(
    network: nn.Module, trained: TrainedGenerator, counts: Mapping[str, int], *, seed: int, mix: Mix, truncation: float
) -> Iterator[tuple[str, int, Images, list[dict[str, str]]]]:
    """Yield chunks of forged faces: split, number of the first image within it, images, labels of each."""
    for split, count in counts.items():
        blocks = range(-(-count // BLOCK))
        for chunk in (blocks[start : start + CHUNK] for start in range(0, len(blocks), CHUNK)):
            parts: list[Tensor] = []
            labels: list[dict[str, str]] = []
            for block in chunk:
                codes = block_codes(trained, mix, seed=seed, split=split, block=block)
                parts.append(
                    forge_block(
                        network, trained, seed=seed, split=split, block=block, codes=codes, truncation=truncation
                    )
                )
                labels += (
                    [{}] * BLOCK if trained.condition is None or codes is None else trained.condition.decode(codes)
                )
            first = chunk.start * BLOCK
            yield split, first, torch.cat(parts).cpu().numpy()[: count - first], labels


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
    place_of = {"seed": made_by["seed"], "split": row["split"], "block": block}
    codes = block_codes(trained, made_by["mix"], **place_of) if made_by["mix"] else None
    images = forge_block(network, trained, **place_of, codes=codes, truncation=made_by["truncation"])
    return cast(Images, images[place].numpy())


def _row(trained: TrainedGenerator, split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"{trained.card.name}-{split}-{index:07d}",
        "split": split,
        "latent_index": index,
    }
