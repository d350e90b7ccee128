"""Weights that authors published, as fitted detectors: read without running anything that is in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detect.artifact import DetectorCard, TrainedDetector, load_trained
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.importers import IMPORTERS
from detect.importers.checkpoint import read_checkpoint
from detect.importers.importer import Importer
from detect.importers.keras import is_keras, network_of_layers, read_keras
from detect.weights import load_weights
from forge.core.errors import BenchError, InputError, UnknownNameError
from forge.core.files import digest_file

BACKBONE = "backbone."  # what the names of tensors begin with that a second file brings


def import_published(
    name: str, file: Path, directory: Path, resolution: int | None = None, backbone: Path | None = None
) -> TrainedDetector:
    """Turn a published weights file into a fitted detector and store it.

    Scores are the authors' logits with ours for sign: higher is forged. The calibration is the authors' own, that is
    none: probability = sigmoid(score).

    Args:
        name: one of `IMPORTERS`.
        file: as the authors published it: MesoNet Keras `.h5` (or without a suffix), all others `.pth` or `.pt`;
            ClassNSeg's is `encoder_46.pt`, with `decoder_46.pt` beside it. In place of `.pth` and `.pt` also
            `.safetensors` with the same names.
        directory: where the detector is written, with everything that it needs.
        resolution: of the images it will score in pixels (default: the authors' input size).
        backbone: `.safetensors` file of the pretrained network that the authors' file continues, for those that do.

    Returns:
        The stored detector, loaded again.

    Raises:
        UnknownNameError: nothing published can be imported under the name.
        InputError: no such file, another format, weights of another network, a backbone too many or too few, or a
            pickle that wants to run code.
        CorruptError: the file is damaged.
    """
    if name not in IMPORTERS.names():
        raise UnknownNameError("published detector", name, IMPORTERS.names(), see="bench detect published")
    if not file.is_file():
        raise InputError(f"weights file {file} does not exist")
    importer: Importer = IMPORTERS.load(name)
    _check_backbone(name, importer, backbone)
    files = importer.files(file)
    try:
        tensors: dict[str, Tensor] = {}
        for part in files:
            tensors |= importer.read(part)
        detector = _detector(name, importer, tensors, resolution or importer.resolution, backbone)
        load_weights(
            detector._fitted(),
            tensors | _loaded_already(detector._fitted(), backbone),
            source=f"weights file {' with '.join(map(str, files))}",
        )
    except InputError as error:
        other = network_in(file)
        if other in (None, name):
            raise
        hint = f"it looks like the weights of {other}: bench detect import {other} {file}"
        raise InputError(f"{error}; {hint}") from error
    settings = detector.settings.model_dump(mode="json")
    facts: dict[str, Any] = {"precision": "fp32", "published": name}
    facts |= {"file": file.name, "file_sha256": digest_file(file)}
    facts |= {"beside": {part.name: digest_file(part) for part in files[1:]}} if files[1:] else {}
    if backbone is not None:
        facts |= {"backbone": backbone.name, "backbone_sha256": digest_file(backbone)}
        settings["weights"] = backbone.name  # its tensors are stored with the detector; the path is this machine's
    card = DetectorCard(
        name=importer.detector or name,
        label=name if importer.detector else "",
        family=detector.family,
        citation=detector.citation,
        variant=f"the authors' weights as published; images: {importer.preprocessing}",
        settings=settings,
        resolution=detector.resolution,
        seed=0,
        trained_on="published",
        seen=list(importer.seen(file)),
        data=[],
        calibration={"a": 1.0, "b": 0.0},
        parameters=detector.parameters,
        facts=facts,
        history=[],
    )
    TrainedDetector(detector, card).save(directory)
    return load_trained(directory)


def network_in(file: Path) -> str | None:
    """Return the name of the importer that a weights file is of, or None where no importer knows it."""
    try:
        if is_keras(file):
            return network_of_layers(read_keras(file))
        tensors = read_checkpoint(file)
    except BenchError:
        return None
    importers = ((name, IMPORTERS.load(name)) for name in IMPORTERS.entries)
    return next((name for name, importer in importers if importer.recognises(tensors)), None)


def _check_backbone(name: str, importer: Importer, backbone: Path | None) -> None:
    """Refuse a second file that is missing, or that nothing needs."""
    if importer.backbone and backbone is None:
        raise InputError(
            f"{name} is published without the network that it continues; give {importer.backbone} as safetensors: "
            "--backbone FILE.safetensors"
        )
    if backbone is not None and not importer.backbone:
        raise InputError(f"{name} has no backbone of its own; leave out --backbone")
    if backbone is not None and not backbone.is_file():
        raise InputError(f"weights file {backbone} does not exist")
    if backbone is not None and backbone.suffix != ".safetensors":
        raise InputError(
            f"--backbone {backbone}: must be a .safetensors file; convert it once where you trust it, "
            'safetensors.torch.save_file(torch.load(FILE, weights_only=True), "weights.safetensors")'
        )


def _detector(
    name: str, importer: Importer, tensors: Mapping[str, Tensor], resolution: int, backbone: Path | None
) -> NetworkDetector[Any]:
    """Make the detector with random weights, but for those of its backbone."""
    implementation: type[NetworkDetector[Any]] = DETECTORS.load(importer.detector or name)
    given: dict[str, Any] = {} if backbone is None else {"weights": str(backbone)}
    given |= {} if importer.window is None else {"window": importer.window}
    settings = implementation.Settings.model_validate(
        {"input_size": importer.input_size, **importer.settings(tensors), **given}
    )
    detector = implementation(settings, resolution)
    # the network's random weights are replaced at once: the caller's generator must not be moved by them
    with torch.random.fork_rng(devices=[]):
        detector.network = detector.build(blank=backbone is None).eval()
    return detector


def _loaded_already(network: nn.Module, backbone: Path | None) -> dict[str, Tensor]:
    state = network.state_dict() if backbone is not None else {}
    return {name: value for name, value in state.items() if name.startswith(BACKBONE)}
