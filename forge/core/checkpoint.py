"""Checkpoints, whole and safe to load: tensors as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from forge.core.errors import CorruptError, InputError, quoted
from forge.core.files import parse_json, replacing

SCHEMA_VERSION = 1


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and JSON state as one file, by one rename: it is the old one or the new one, never half."""
    # one key only: safetensors writes several in an order that changes from run to run
    header = {"checkpoint": json.dumps({"schema_version": SCHEMA_VERSION, "state": state})}
    # safetensors takes contiguous tensors alone; load_state_dict copies into the module's own layout again,
    # channels_last for instance
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(stored, temporary, metadata=header)


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        InputError: written by a newer version.
        CorruptError: truncated or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        # a diverged training has readings that are no numbers
        inside = parse_json(header["checkpoint"], path, finite=False)
        version, state = inside["schema_version"], inside["state"]
    # InputError: of parse_json, where the header is no JSON
    except (SafetensorError, KeyError, TypeError, OSError, InputError) as error:
        raise CorruptError(f"checkpoint {path} cannot be read ({error}); delete it to start over") from error
    if version > SCHEMA_VERSION:
        raise InputError(f"checkpoint {path} has schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
    return tensors, state


def halve_file(path: Path) -> None:
    """Store the floats of a safetensors file in half precision, in its place; other tensors and its header stay."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(halved, temporary, metadata=header)


def pack_module(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers under `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def unpack_module(prefix: str, module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `pack_module` packed.

    Raises:
        InputError: the tensors belong to another architecture or size; names the first that does not fit.
    """
    mine = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    wanted = module.state_dict()
    # both sides: a missing tensor and one too many are equally signs of another network
    for name in sorted(wanted.keys() | mine.keys()):
        have = tuple(mine[name].shape) if name in mine else "nothing"
        want = tuple(wanted[name].shape) if name in wanted else "nothing"
        if have != want:
            raise InputError(
                f"the weights are of another network: {prefix}.{name} has shape {have}, this network wants {want}"
            )
    module.load_state_dict(mine)


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the per-parameter tensors of an optimizer (moments, step counts) under `prefix.`."""
    return {
        # the index counts parameters over all groups, as optimizer.state_dict does
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `pack_optimizer` packed into an optimizer made with the same settings."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(f"{prefix}."):
            index, _, name = key.removeprefix(f"{prefix}.").partition(".")  # names of a state hold no dot
            like = parameters[int(index)]
            # fused optimizers walk the memory of weight and moment side by side, so both need one layout
            fits = tensor.shape == like.shape
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(tensor) if fits else tensor
    # rates and betas come from the settings of now; only moments and counts are restored
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def refuse_other_settings(saved: dict[str, Any], requested: dict[str, Any], work: Path) -> None:
    """Compare what a checkpoint was made with to what is asked for now.

    Raises:
        InputError: they differ; names every difference.
    """
    before, now = _flat(saved), _flat(requested)
    changed = [
        # lists may be as long as the set; that they differ is all that helps
        f"{key} differs"
        if isinstance(before.get(key), list)
        else f"{key} was {quoted(before.get(key))}, is {quoted(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise InputError(
            f"the checkpoint in {work} was made with other settings: {'; '.join(changed)}; "
            "restore them, or delete the checkpoint to start over"
        )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat
