"""Weights that authors published, as fitted detectors: read without running anything that is in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.artifact import DetectorCard, TrainedDetector, load_trained
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.pickles import check_checkpoint
from detect.weights import load_weights, read_tensors
from forge.core.errors import CorruptError, InputError, UnknownNameError
from forge.core.files import digest_file

Layers = dict[str, dict[str, NDArray[np.float32]]]  # layer -> role ("kernel", "gamma", ...) -> values
LayerType = Literal["conv2d", "batch_normalization", "dense"]

_WIDEST = 8  # bytes of a number
HDF5_START = b"\x89HDF\r\n\x1a\n"
LARGEST = 1 << 24  # numbers in all arrays of a Keras file; those of MesoNet have at most 16,384 each
WRAPPERS = ("model", "state_dict", "model_state_dict")  # keys that checkpoints keep their tensors under
DEEPEST = 8  # wrappers within wrappers
MAX_OBJECTS = 10_000  # groups and arrays in a Keras file
AXES = {"conv2d": 4, "dense": 2}  # of a kernel
ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclass(frozen=True)
class Published:
    """Reader of a detector's published weights.

    Attributes:
        read: from the file to tensors with our names.
        settings: from these tensors to settings that differ from the defaults.
        input_size: the authors' in pixels; images of another size are resized to it.
        files: from the file that is named to all files that are read.
    """

    read: Callable[[Path], dict[str, Tensor]]
    settings: Callable[[Mapping[str, Tensor]], dict[str, Any]] = lambda tensors: {}
    input_size: int = 256
    files: Callable[[Path], tuple[Path, ...]] = lambda file: (file,)


def import_published(name: str, file: Path, directory: Path, resolution: int | None = None) -> TrainedDetector:
    """Turn a published weights file into a fitted detector and store it.

    Scores are the authors' logits with ours for sign: higher is forged. The calibration is the authors' own, that is
    none: probability = sigmoid(score).

    Args:
        name: one of `PUBLISHED`.
        file: MesoNet: Keras `.h5`; NPR and FerretNet: `.pth`; ClassNSeg: `encoder_46.pt`, with `decoder_46.pt` beside
            it. In place of `.pth` and `.pt` also `.safetensors` with the same names.
        directory: where the detector is written.
        resolution: of the images it will score in pixels (default: the authors' input size).

    Returns:
        The stored detector, loaded again.

    Raises:
        UnknownNameError: nothing published can be imported under the name.
        InputError: no such file, another format, weights of another network, or a pickle that wants to run code.
        CorruptError: the file is damaged.
    """
    if name not in PUBLISHED:
        raise UnknownNameError("published detector", name, PUBLISHED)
    if not file.is_file():
        raise InputError(f"weights file {file} does not exist")
    published = PUBLISHED[name]
    files = published.files(file)
    tensors: dict[str, Tensor] = {}
    for part in files:
        tensors |= published.read(part)
    implementation: type[NetworkDetector[Any]] = DETECTORS.load(name)
    settings = implementation.Settings.model_validate(
        {"input_size": published.input_size, **published.settings(tensors)}
    )
    detector = implementation(settings, resolution or published.input_size)
    # the network's random weights are replaced at once: the caller's generator must not be moved by them
    with torch.random.fork_rng(devices=[]):
        detector.network = detector.build(blank=True).eval()
    load_weights(detector.network, tensors, source=f"weights file {' with '.join(map(str, files))}")
    facts: dict[str, Any] = {"precision": "fp32", "file": file.name, "file_sha256": digest_file(file)}
    facts |= {"beside": {part.name: digest_file(part) for part in files[1:]}} if files[1:] else {}
    card = DetectorCard(
        name=name,
        family=detector.family,
        citation=detector.citation,
        variant=f"the authors' weights as published; images of another size are resized to {published.input_size} px",
        settings=settings.model_dump(mode="json"),
        resolution=detector.resolution,
        seed=0,
        trained_on="published",
        data=[],
        calibration={"a": 1.0, "b": 0.0},
        parameters=detector.parameters,
        facts=facts,
        history=[],
    )
    TrainedDetector(detector, card).save(directory)
    return load_trained(directory)


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
    with path.open("rb") as opened:
        if opened.read(len(HDF5_START)) != HDF5_START:
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


def _read_meso4(path: Path) -> dict[str, Tensor]:
    return meso_tensors(read_keras(path), [f"convolutions.{stage}" for stage in range(4)], f"weights file {path}")


def _read_mesoinception4(path: Path) -> dict[str, Tensor]:
    branches = ("entries.0", "entries.1", "exits.0", "entries.2", "exits.1", "entries.3", "exits.2")
    names = [f"convolutions.{block}.{branch}" for block in (0, 1) for branch in branches]
    return meso_tensors(read_keras(path), [*names, "convolutions.2", "convolutions.3"], f"weights file {path}")


def _read_npr(path: Path) -> dict[str, Tensor]:
    # the authors' training adds a layer `fc` that nothing reads
    return {name: value for name, value in read_checkpoint(path).items() if not name.startswith("fc.")}


def _ferretnet_settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    stem = tensors.get("cbr2.0.weight")
    return {} if stem is None else {"width": len(stem)}


def _classnseg_files(encoder: Path) -> tuple[Path, ...]:
    decoder = encoder.with_name(encoder.name.replace("encoder", "decoder"))
    if decoder == encoder:
        raise InputError(
            f"{encoder} is not named as an encoder; ClassNSeg is published as encoder_46.pt and decoder_46.pt in one "
            "folder: name the first"
        )
    if not decoder.is_file():
        raise InputError(f"weights file {decoder} does not exist; put the decoder of {encoder.name} beside it")
    return encoder, decoder


PUBLISHED = {
    "meso4": Published(_read_meso4),
    "mesoinception4": Published(_read_mesoinception4),
    "npr": Published(_read_npr),
    "ferretnet": Published(read_checkpoint, _ferretnet_settings),
    "classnseg": Published(read_checkpoint, files=_classnseg_files),
}
