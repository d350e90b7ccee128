"""The state of an unfinished fit on disk: complete, written atomically, safe to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detect.weights import read_tensors, write_tensors
from forge.errors import CorruptError, InputError
from forge.files import read_json, replacing, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """Everything a fit continues from.

    Attributes:
        counters: JSON values: how far it is, its curve, its precision.
        state: weights and optimizer tensors now.
        best: the best weights so far; empty before the first validation.
    """

    counters: dict[str, Any]
    state: dict[str, Tensor]
    best: dict[str, Tensor]


class CheckpointStore:
    """Reads and writes the one newest checkpoint of a fit in a directory.

    `checkpoint.json` names the tensor files that belong to it and is replaced last, so a kill at any moment leaves
    either the old checkpoint or the new one.

    Args:
        directory: the fit's own; other files in it are left alone.
        made_with: what must be the same to continue: settings, data, seed (JSON values).
    """

    def __init__(self, directory: Path, made_with: Mapping[str, Any]) -> None:
        self.directory, self.made_with = directory, dict(made_with)
        self.index = directory / "checkpoint.json"

    def write(self, counters: Mapping[str, Any], state: dict[str, Tensor], best: dict[str, Tensor]) -> None:
        """Store a checkpoint; the file of the best weights is kept where it is of the same step.

        Args:
            counters: must hold `step` and `best_step`.
            state: weights and optimizer tensors.
            best: the best weights so far.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        names = {"state": f"state-{counters['step']:08d}.safetensors"}
        if best:
            names["best"] = f"best-{counters['best_step']:08d}.safetensors"
        for role, tensors in (("state", state), ("best", best)):
            if role in names and not (role == "best" and (self.directory / names[role]).is_file()):
                with replacing(self.directory / names[role]) as temporary:
                    write_tensors(temporary, tensors)
        write_json(
            self.index,
            {"schema_version": SCHEMA_VERSION, "made_with": self.made_with, "files": names, "counters": dict(counters)},
        )
        for pattern in ("state-*.safetensors", "best-*.safetensors", ".*.partial"):
            for file in self.directory.glob(pattern):
                if file.name not in names.values():
                    file.unlink(missing_ok=True)

    def read(self) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none.

        Raises:
            InputError: it was made with other settings, data or seed; names what differs.
            CorruptError: it is damaged.
        """
        if not self.index.is_file():
            return None
        again = f"remove {self.directory} to fit from the start"
        try:
            stored = read_json(self.index)
            made_with, names, counters = stored["made_with"], stored["files"], stored["counters"]
        except (InputError, KeyError, TypeError) as error:
            raise CorruptError(f"{self.index} is damaged ({error}); {again}") from error
        if stored.get("schema_version") != SCHEMA_VERSION:
            raise InputError(f"{self.index} was written by another version of this program; {again}")
        if changed := _difference(made_with, self.made_with):
            raise InputError(f"the checkpoint in {self.directory} was made with {changed}; {again}")
        try:
            state = read_tensors(self.directory / names["state"])
            best = read_tensors(self.directory / names["best"]) if "best" in names else {}
        except (InputError, CorruptError) as error:
            raise CorruptError(f"the checkpoint in {self.directory} is damaged ({error}); {again}") from error
        return Checkpoint(counters, state, best)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    # one level down, so that a changed setting is named rather than all settings printed
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return f"{key}.{_difference(old, new)}"
        return f"other {key}" if isinstance(old, list) else f"{key} {old!r}, now {new!r}"
    return ""


def pack(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors of a network and its optimizer by name, as `unpack` reads them."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
    return tensors


def unpack(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put what `pack` gave back in place; training then goes on bit for bit as if it had not stopped."""
    start = len("network.")
    network.load_state_dict({name[start:]: value for name, value in tensors.items() if name.startswith("network.")})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            parameter = parameters[int(number)]
            optimizer.state[parameter][key] = _laid_out_as(value, parameter)


def _laid_out_as(value: Tensor, parameter: nn.Parameter) -> Tensor:
    # a moment has its parameter's memory order, in which alone arithmetic repeats bit for bit; a step count has none
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False).copy_(value)
