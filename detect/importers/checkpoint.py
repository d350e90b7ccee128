"""Tensors of a published PyTorch checkpoint, read without running anything that is in the file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from detect.pickles import check_checkpoint
from detect.weights import read_tensors
from forge.core.errors import CorruptError, InputError

WRAPPERS = ("model", "state_dict", "model_state_dict")  # keys that checkpoints keep their tensors under
DEEPEST = 8  # wrappers within wrappers


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return tensors of a `.pth` or `.safetensors` file, out of whatever wraps them; nothing in the file is run.

    Raises:
        InputError: it holds more than tensors and plain values, or no tensors, or is too large, see `pickles`.
        CorruptError: it cannot be read.
    """
    # safetensors holds nothing but tensors; a pickle is checked for its size before it is opened
    if path.suffix == ".safetensors":
        return _unwrapped(read_tensors(path), path)
    check_checkpoint(path)
    try:
        # trainings after MAE's store their options too, an object that holds plain values and has no code of its own
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file may raise anything; it is named and re-raised
        reason = " ".join(str(error).split())
        if "weights_only" in reason or "Weights only" in reason:
            raise InputError(
                f"weights file {path} is refused: it asks for more than tensors, which could run code (nothing in it "
                "was run); ask its author for a plain state_dict or safetensors"
            ) from error
        raise CorruptError(
            f"weights file {path} cannot be read: {reason[:160] or type(error).__name__}; is it a .pth of PyTorch?"
        ) from error
    return _unwrapped(loaded, path)


def _unwrapped(loaded: object, path: Path) -> dict[str, Tensor]:
    for _ in range(DEEPEST):
        # peel off {"model": {"state_dict": ...}}; bounded, since a dictionary may contain itself
        inner = next((key for key in WRAPPERS if key in loaded), None) if isinstance(loaded, Mapping) else None
        if not isinstance(loaded, Mapping) or inner is None:
            break
        loaded = loaded[inner]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()) or not loaded:
        raise InputError(f"weights file {path} holds no tensors by name; published weights are a state_dict")
    # torch.nn.DataParallel puts "module." before every name
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}
