"""A trained generator on disk: averaged weights, raw weights, the networks it was trained with, and its origin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from forge.core.checkpoint import load_checkpoint, pack_module, save_checkpoint, unpack_module
from forge.core.errors import CorruptError, InputError
from forge.core.files import digest_file, read_signed_json, write_signed_json
from forge.core.registry import is_file_reference
from forge.core.seeding import seed_torch
from forge.generators import GENERATORS
from forge.generators.base import FAMILY_PATTERN, Architecture
from forge.generators.domains import Domains
from forge.generators.labels import Condition

SCHEMA_VERSION = 1  # of generator.json; `open` refuses cards of a later one


class GeneratorCard(BaseModel):
    """Card of a trained generator; stored as generator.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    name: str
    architecture: str  # registered name or file.py:Class
    family: str | None = Field(None, pattern=FAMILY_PATTERN)  # None: written before architectures declared families
    settings: dict[str, Any]
    resolution: int
    condition: dict[str, Any] | None = None  # of a conditional generator: values and shares of its label columns
    domains: dict[str, tuple[str, str]] | None = None  # of an unpaired translator: column -> (source, target)
    seed: int
    kimg: float  # thousands of images that the training showed before these weights were taken
    training: dict[str, Any]
    data: dict[str, Any]  # name, digest and licence of the set it was trained on
    precision: str
    parameters: dict[str, int]
    weights_sha256: str  # of weights.safetensors; `open` compares it before any tensor is used

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for generator.json; only translators between domains say which."""
        return self.model_dump(mode="json", exclude=None if self.domains else {"domains"})


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator ready to make faces; `open` reads one from its directory."""

    path: Path
    card: GeneratorCard
    architecture: Architecture
    condition: Condition | None = None

    @classmethod
    def open(cls, path: Path, *, implementation: type[Architecture] | None = None) -> TrainedGenerator:
        """Open a directory that `write_generator` made.

        Args:
            path: the directory.
            implementation: its architecture, needed only where that came from a file: what is stored never runs code.

        Raises:
            InputError: not a trained generator, written by a newer version, or of an architecture that must be named.
            CorruptError: the card or the weights were changed.
        """
        file = path / "generator.json"
        if not file.is_file():
            raise InputError(f"{path} is not a trained generator: it has no generator.json")
        raw = read_signed_json(file)
        # before the fields are validated: a newer card may have fields that extra="forbid" would report as damage
        if isinstance(raw.get("schema_version"), int) and raw["schema_version"] > SCHEMA_VERSION:
            raise InputError(
                f"{path} has generator schema {raw['schema_version']}, this version reads {SCHEMA_VERSION}; upgrade"
            )
        try:
            card = GeneratorCard.model_validate(raw)
        except ValidationError as error:
            raise CorruptError(f"{file} is damaged: {error.errors()[0]['msg']}") from error
        if digest_file(path / "weights.safetensors") != card.weights_sha256:
            raise CorruptError(f"{path}/weights.safetensors was changed since the training; train again")
        if implementation is None:
            # a reference to a file was written by whoever made the directory: importing it here would run their code,
            # so the caller has to name the file
            if is_file_reference(card.architecture):
                raise InputError(
                    f"{path} was trained with an architecture from a file; name it: --generator {card.architecture}"
                )
            implementation = GENERATORS.load(card.architecture)
        condition = Condition.from_json(card.condition) if card.condition else None
        # the card keeps plain values; types and ranges are those of the architecture's own Settings
        try:
            settings = implementation.Settings(**card.settings)
        except ValidationError as error:
            raise InputError(
                f"{path} was trained with another architecture than {implementation.__name__}: its settings do not fit "
                f"({error.errors()[0]['msg'].lower()})"
            ) from error
        classes = (condition.classes,) if condition else ()  # one-file architectures need not know of labels
        return cls(path, card, implementation(settings, card.resolution, *classes), condition)

    @property
    def domains(self) -> Domains | None:
        """What is translated into what, of a translator between domains of faces."""
        return Domains.from_json(self.card.domains) if self.card.domains else None

    def backward(self) -> TrainedGenerator:
        """Return the same generator in the opposite direction.

        Raises:
            InputError: it has one direction only.
        """
        domains = self.domains
        if domains is None or self.architecture.domains != "two-way":
            raise InputError(f"{self.card.name} translates in one direction only; cyclegan learns both")
        # the architecture of a card is that of the training: a reversed one loads the same weights
        card = self.card.model_copy(update={"domains": domains.swapped.to_json()})
        return replace(self, card=card, architecture=self.architecture.backward())

    @property
    def family(self) -> str:
        """The family of the generator: of its card, else of its architecture."""
        return self.card.family or self.architecture.family

    def _network(self, prefix: str, network: nn.Module, device: str) -> nn.Module:
        tensors, _ = load_checkpoint(self.path / "weights.safetensors", device)
        # a network without any tensor has nothing that could be missing
        if network.state_dict() and not any(name.startswith(f"{prefix}.") for name in tensors):
            raise InputError(f"{self.path} has no {prefix} weights: it was exported with the averaged ones alone")
        network = network.to(device)
        unpack_module(prefix, network, tensors)
        return network.eval().requires_grad_(False)  # batch norm then uses the statistics of settle_batch_norm

    def generator(self, *, averaged: bool = True, device: str = "cpu") -> nn.Module:
        """Return the generator in evaluation mode, with averaged or raw weights."""
        return self._network("averaged" if averaged else "raw", self.architecture.generator(), device)

    def network(self, name: str, like: nn.Module, *, device: str = "cpu") -> nn.Module:
        """Return a network that was trained beside the generator, in evaluation mode.

        Args:
            name: under which its weights are stored, e.g. "discriminator".
            like: a network of the same shape, which stays as it is.
            device: where it shall be.
        """
        return self._network(name, copy.deepcopy(like), device)

    def discriminator(self, *, device: str = "cpu") -> nn.Module:
        """Return the discriminator it was trained against, in evaluation mode."""
        return self._network("discriminator", self.architecture.discriminator(), device)


def write_generator(
    directory: Path, *, raw: nn.Module, averaged: nn.Module, card: dict[str, Any], **others: nn.Module
) -> GeneratorCard:
    """Write a trained generator into an existing directory.

    Args:
        directory: receives generator.json and weights.safetensors.
        raw: the generator as it was trained.
        averaged: the generator with averaged weights.
        card: the card's fields but the digest.
        others: further networks of the training by name; "discriminator" is what `TrainedGenerator` opens.
    """
    weights = directory / "weights.safetensors"
    # all networks share one file; the prefix before the first dot tells their tensors apart
    tensors: dict[str, Tensor] = {}
    for name, network in {"averaged": averaged, "raw": raw, **others}.items():
        tensors |= pack_module(name, network)
    save_checkpoint(weights, {name: tensor.cpu() for name, tensor in tensors.items()}, {})
    # weights first, card last: a directory that was left between the two has no card and does not open
    whole = GeneratorCard(weights_sha256=digest_file(weights), **card)
    write_signed_json(directory / "generator.json", whole.to_json())
    return whole


def export_averaged(trained: TrainedGenerator, directory: Path, *, name: str | None = None) -> GeneratorCard:
    """Write the averaged weights alone, floats in half precision: a quarter to a sixth of the size, for publication.

    The directory opens as any trained generator does; it has no raw weights and no discriminator.

    Args:
        trained: the generator.
        directory: an existing one.
        name: in the card; None: that of the generator.

    Returns:
        The card that was written; its digest is that of the smaller file.
    """
    tensors, _ = load_checkpoint(trained.path / "weights.safetensors")
    # half precision for floats only: counters such as num_batches_tracked are int64 and must stay so
    averaged = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith("averaged.")
    }
    weights = directory / "weights.safetensors"
    save_checkpoint(weights, averaged, {})
    card = trained.card.model_copy(
        update={"weights_sha256": digest_file(weights), "name": trained.card.name if name is None else name}
    )
    write_signed_json(directory / "generator.json", card.to_json())
    return card


def snapshot_name(kimg: float) -> str:
    """Return the name of a snapshot after `kimg` thousand images: "24k"."""
    return f"{kimg:g}k"


def generator_folder(training: Path, snapshot: float | None) -> Path:
    """Return the folder of a training's finished generator, or of the snapshot after so many thousand images."""
    return training if snapshot is None else training / "snapshots" / snapshot_name(snapshot)


@torch.no_grad()
def settle_batch_norm(generator: nn.Module, inputs: Callable[[int], tuple[Tensor, ...]], device: torch.device) -> None:
    """Measure the batch-norm statistics of averaged weights: averages of statistics would not be those of the weights.

    Uses fixed inputs and leaves torch's random state as it was. Networks without batch norm are left alone.

    Args:
        generator: its statistics are replaced.
        inputs: draws what the generator is called with to make so many images, from torch's random state.
        device: of the generator.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    # put back at the end: the momentum is the architecture's, None only the way to measure
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None makes torch average all batches alike; with a momentum the last few of the 16 would count most
        norm.momentum = None  # a cumulative mean
    generator.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # fixed seed: equal weights give equal statistics, whenever a snapshot of them is taken
        seed_torch(0)
        for _ in range(16):
            generator(*inputs(64))  # 16 x 64 = 1,024 images
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
