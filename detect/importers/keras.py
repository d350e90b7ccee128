"""Arrays of Keras HDF5 files, and the weights of a MesoNet in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forge.core.errors import CorruptError, InputError

Layers = dict[str, dict[str, NDArray[np.float32]]]  # layer -> role ("kernel", "gamma", ...) -> values
LayerType = Literal["conv2d", "batch_normalization", "dense"]

_WIDEST = 8  # bytes of a number
HDF5_START = b"\x89HDF\r\n\x1a\n"
LARGEST = 1 << 24  # numbers in all arrays of a Keras file; those of MesoNet have at most 16,384 each
MAX_OBJECTS = 10_000  # groups and arrays in a Keras file
AXES = {"conv2d": 4, "dense": 2}  # of a kernel
ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def read_keras(path: Path) -> Layers:
    """Arrays of a Keras HDF5 file by layer and role: `conv2d_5/conv2d_5/kernel:0` becomes ["conv2d_5"]["kernel"].

    Both layouts are read: weights at the top (`save_weights`) and under `model_weights` (`save`). Links and
    arrays that point into other files are not followed.

    Raises:
        InputError: h5py is missing, or another format.
        CorruptError: the file is damaged.
    """
    try:
        import h5py  # an extra, which may be missing
    except ImportError as error:
        raise InputError(
            "Keras weights are read with h5py, which is not installed; pip install -e '.[import]', or pip install h5py"
        ) from error
    if not is_keras(path):
        raise InputError(f"weights file {path} is not HDF5; MesoNet's weights are .h5 files of Keras")
    layers: Layers = {}
    objects, numbers = 0, 0

    def take(path_inside: str, item: object) -> None:
        nonlocal objects, numbers
        objects += 1
        if objects > MAX_OBJECTS:
            raise InputError(f"weights file {path} holds more than {MAX_OBJECTS:,} objects; it is another network")
        # "layer/.../role:0" (Keras appends the number of the variable); some files have no ":0"
        layer, _, role = (
            path_inside.rpartition(":")[0].partition("/") if ":" in path_inside else path_inside.partition("/")
        )
        if not isinstance(item, h5py.Dataset) or not role:
            return
        # an external or virtual dataset reads other files of this machine when it is opened
        if item.external or item.is_virtual:
            raise InputError(f"weights file {path} is refused: {path_inside} is a piece of another file")
        # numbers of at most 8 bytes: strings, references and compound types are no weights
        if item.dtype.kind not in "fiub" or item.dtype.itemsize > _WIDEST:
            raise InputError(
                f"weights file {path}: {path_inside} holds {item.dtype}, not numbers; it is another network"
            )
        # counted over the file: many small arrays can be as large as one
        numbers += item.size or 0
        if item.size is None or numbers > LARGEST:
            raise InputError(
                f"weights file {path}: {path_inside} is larger than anything in MesoNet; it is another network"
            )
        layers.setdefault(layer, {})[role.rpartition("/")[2]] = np.asarray(item[()], dtype=np.float32)

    try:
        with h5py.File(path, "r") as stored:
            # a soft or external link is not followed: `visititems` follows hard links alone
            link = stored.get("model_weights", getlink=True)
            (stored["model_weights"] if isinstance(link, h5py.HardLink) else stored).visititems(take)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptError(f"weights file {path} cannot be read: {reason}; copy or download it again") from error
    return layers


def meso_tensors(layers: Layers, convolutions: Iterable[str], source: str) -> dict[str, Tensor]:
    """Return the weights of a MesoNet with our names, axes and sign.

    Keras numbers layers in the order in which they were made, from any number on. Its convolutions are [H, W, in, out],
    its dense layers [in, out]; the first dense layer reads rows, columns, channels, ours channels, rows, columns. Its
    output is the probability of a real face, so the last layer changes sign.

    Args:
        layers: see `read_keras`.
        convolutions: our names of the convolutions in the order in which Keras made them.
        source: for messages.

    Raises:
        InputError: layers of another network.
    """
    convs = _numbered(layers, "conv2d", convolutions, source)
    # [H, W, in, out] to PyTorch's [out, in, H, W]
    tensors = {f"{name}.weight": layer["kernel"].transpose(3, 2, 0, 1) for name, layer in convs.items()}
    tensors |= {f"{name}.bias": layer["bias"] for name, layer in convs.items()}
    norms = _numbered(layers, "batch_normalization", [f"norms.{stage}" for stage in range(4)], source)
    tensors |= {f"{name}.{ours}": layer[role] for name, layer in norms.items() for role, ours in ROLES.items()}
    dense = _numbered(layers, "dense", ("hidden", "head"), source)
    kernel = dense["hidden"]["kernel"]
    channels = len(norms["norms.3"]["gamma"])
    # the dense layer reads side x side x channels
    side = round((len(kernel) / channels) ** 0.5)
    if side * side * channels != len(kernel):
        raise InputError(f"{source}: its first dense layer reads {len(kernel)} numbers, which is no square map")
    # rows of the kernel from (y, x, channel), as Keras flattens, to (channel, y, x), as PyTorch does
    by_channel = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(len(kernel), -1)
    tensors |= {"hidden.weight": by_channel.T, "hidden.bias": dense["hidden"]["bias"]}
    # logit of real to logit of forged
    tensors |= {"head.weight": -dense["head"]["kernel"].T, "head.bias": -dense["head"]["bias"]}
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in tensors.items()}


def _numbered(layers: Layers, layer_type: LayerType, names: Iterable[str], source: str) -> Layers:
    """Return layers of one kind in the order of their numbers, under our names."""
    # one axis for gamma, beta and the moving statistics; kernels as AXES says
    axes = dict.fromkeys(ROLES, 1) if layer_type == "batch_normalization" else {"kernel": AXES[layer_type], "bias": 1}
    numbered = {
        # a layer without a number is the first one Keras made
        int(match[1] or 0): layer
        for name, layer in layers.items()
        if (match := re.fullmatch(rf"{layer_type}(?:_(\d+))?", name))
    }
    wanted = list(names)
    if len(numbered) != len(wanted):
        raise InputError(
            f"{source} has {len(numbered)} layers {layer_type} and should have {len(wanted)}; it is another network"
        )
    # roles and axes of every layer, so that transposing cannot fail or silently fit
    if any({role: values.ndim for role, values in layer.items()} != axes for layer in numbered.values()):
        raise InputError(f"{source}: a layer {layer_type} does not hold {', '.join(axes)}, each with its usual axes")
    return {name: numbered[number] for name, number in zip(wanted, sorted(numbered), strict=True)}


def is_keras(path: Path) -> bool:
    """Return whether a file begins as HDF5 does; its name does not matter."""
    with path.open("rb") as opened:
        return opened.read(len(HDF5_START)) == HDF5_START


def network_of_layers(layers: Layers) -> str | None:
    """Return which MesoNet has as many convolutions, or None."""
    convolutions = sum(re.fullmatch(r"conv2d(?:_\d+)?", name) is not None for name in layers)
    return {4: "meso4", 16: "mesoinception4"}.get(convolutions)
