"""TensorBoard events beside the log, for people who watch many trainings (extra `track`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from forge.core.errors import InputError


class Tracker:
    """Writes scalars and sample grids as TensorBoard events.

    Args:
        folder: of this training's events.

    Raises:
        InputError: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # an extra, which may be missing
        except ImportError as error:
            raise InputError("--track needs the package tensorboard: pip install tensorboard") from error
        self._writer: Any = SummaryWriter(str(folder))

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Record numbers after so many real images."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def text(self, images: int, name: str, words: str) -> None:
        """Record words."""
        self._writer.add_text(name, words, images)

    def picture(self, images: int, file: Path) -> None:
        """Record a sample grid."""
        self._writer.add_image("samples", np.asarray(Image.open(file)), images, dataformats="HWC")  # [H, W, 3]

    def close(self) -> None:
        """Write out what is pending."""
        self._writer.close()
