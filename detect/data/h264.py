"""Perturbation `h264-c23`: an image as the one frame of an H.264 clip, with the extra `video`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from detect.data.perturb import Perturbation, Strength
from forge.core.errors import InputError

_CODEC = "detect.data.h264_codec"  # imports PyAV, which only a round trip needs


class H264(Perturbation):
    """A round trip through H.264 at a constant rate factor; FaceForensics++ calls its factors c23 and c40.

    The image is an I frame. In a clip most frames are predicted from others and get a coarser quantiser at the same
    factor, so that frames of videos lose more.
    """

    id, title = "h264-c", "H.264 CRF"
    summary = "one frame of H.264 (x264, medium) at constant rate factor {}, chroma at half size"
    strength = Strength("its constant rate factor", 0, 51, whole=True)

    @property
    def missing(self) -> str:
        """Why it cannot be applied here; "" where PyAV is installed."""
        if find_spec("av") is not None:
            return ""
        return f"perturbation {self.name} needs PyAV: pip install 'deepfake-bench[video]'"

    def change(self, images: Tensor) -> Tensor:
        """Encode and decode each image.

        Raises:
            InputError: PyAV is not installed.
        """
        if self.missing:
            raise InputError(self.missing)
        round_trip = import_module(_CODEC).round_trip
        return torch.from_numpy(np.stack([round_trip(image, int(self.value or 0)) for image in images.numpy()]))
