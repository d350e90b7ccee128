"""The encoder of a trained generator on disk, with the codes and labels of the photos that directions come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forge.core.checkpoint import load_checkpoint, pack_module, save_checkpoint, unpack_module
from forge.core.errors import InputError
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceView
from forge.faces.tensors import to_float
from forge.generators.artifact import TrainedGenerator
from forge.generators.domains import label_text
from forge.generators.labels import MAX_VALUES
from forge.generators.latent_space import LatentSpace, latent_space
from forge.tampering.inversion import BLOCK, Encoder, EncoderSettings, train_encoder

FILE = "encoder.safetensors"
CODED = 4096  # photos at most whose codes are kept


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder and the generator that it inverts.

    Attributes:
        space: latents of the generator.
        network: the encoder, in evaluation mode.
        codes: of photos that the generator was trained on, float64 [n, size].
        labels: label column -> the value of each of these photos as text, None where it has none.
        generator: name of the generator.
        resolution: of its images.
        weights_sha256: of the generator.
        device: where both networks lie.
    """

    space: LatentSpace
    network: Encoder
    codes: NDArray[np.float64]
    labels: dict[str, list[str | None]]
    generator: str
    resolution: int
    weights_sha256: str
    device: str

    @classmethod
    def open(cls, folder: Path, trained: TrainedGenerator, *, device: str = "cpu") -> TrainedEncoder:
        """Open what `write_encoder` wrote.

        Args:
            folder: of the encoder.
            trained: the generator that it inverts.
            device: where to compute.

        Raises:
            InputError: there is no encoder, or it is of another generator.
            CorruptError: the file is damaged.
        """
        if not (folder / FILE).is_file():
            raise InputError(f"{folder} has no {FILE}; train the encoder first: bench run -g edit:{trained.card.name}")
        tensors, state = load_checkpoint(folder / FILE)
        if state["weights_sha256"] != trained.card.weights_sha256:
            raise InputError(f"{folder} inverts other weights than those in {trained.path}; train the encoder again")
        settings = EncoderSettings.model_validate(state["settings"])
        space = latent_space(trained, device=device)
        network = Encoder(settings.widths, trained.card.resolution, space.size)
        unpack_module("encoder", network, tensors)
        return cls(
            space=space,
            network=network.to(device).eval().requires_grad_(False),
            codes=tensors["codes"].double().numpy(),
            labels=state["labels"],
            generator=trained.card.name,
            resolution=trained.card.resolution,
            weights_sha256=trained.card.weights_sha256,
            device=device,
        )


def write_encoder(
    trained: TrainedGenerator,
    view: FaceView,
    settings: EncoderSettings,
    out: Path,
    *,
    seed: int,
    on_progress: OnProgress,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train the encoder of a generator, encode photos, and write both into an existing directory.

    Args:
        trained: the generator.
        view: the photos that it was trained on; none of those that are altered later.
        settings: of the encoder's training.
        out: receives `encoder.safetensors`.
        seed: everything random follows from it.
        on_progress: called with the progress.
        device: where to compute.

    Returns:
        Facts: how many photos were encoded.

    Raises:
        InputError: the generator cannot be inverted, or the photos have another resolution.
    """
    if view.faces.resolution != trained.card.resolution:
        raise InputError(
            f"{view.faces.path} has {view.faces.resolution} px, {trained.card.name} makes {trained.card.resolution}"
        )
    space = latent_space(trained, device=device)
    network = train_encoder(
        space,
        view,
        settings,
        seed,
        lambda done, steps: on_progress(ProgressEvent(done, steps, note="training the encoder")),
        device=device,
    )
    shown = view.sample(CODED, seed)
    images = torch.from_numpy(shown.read())
    with torch.no_grad():
        codes = torch.cat([network(to_float(part).to(device)).cpu() for part in torch.split(images, BLOCK)])
    state = {
        "settings": settings.model_dump(mode="json"),
        "weights_sha256": trained.card.weights_sha256,
        "labels": _labels(shown),
    }
    save_checkpoint(out / FILE, {**pack_module("encoder", network), "codes": codes}, state)
    return {"photos": len(shown)}


def _labels(view: FaceView) -> dict[str, list[str | None]]:
    """Return the label columns of photos as text; columns of many values are names or measurements."""
    columns = {name: label_text(view.rows[name]) for name in view.faces.card.attributes}
    return {
        name: [str(text) if there else None for text, there in zip(texts, texts.notna(), strict=True)]
        for name, texts in columns.items()
        if texts.nunique() <= MAX_VALUES
    }
