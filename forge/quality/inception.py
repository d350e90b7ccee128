"""FID and KID on Inception features, through torch-fidelity and a weights file that is already here.

Heusel et al.: GANs Trained by a Two Time-Scale Update Rule. NeurIPS 2017; Binkowski et al.: Demystifying MMD GANs. ICLR
2018. Nothing is downloaded: the extra `[fid]` brings torch-fidelity, and the weights (its release v0.2.0,
weights-inception-2015-12-05-6726825d.pth) are named by whoever asks.
"""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from forge.core.errors import InputError
from forge.core.files import digest_file
from forge.faces.faceset import Images
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

SUBSETS = 100  # torch-fidelity's defaults for KID, as published values have them
SUBSET_SIZE = 1000


class Inception(Result):
    """FID and KID as torch-fidelity defines them; FID shrinks with n, so compare at equal n only."""

    fid: float
    kid: float
    kid_deviation: float = Field(description="over the subsets, which overlap: not a standard error")
    kid_subset_size: int
    n: int
    weights_sha256: str
    resize: str = "to 299 px, bilinear as in TensorFlow 1 (torch-fidelity)"


class _Pixels(Dataset[Tensor]):
    """Images [n, H, W, 3] as torch-fidelity wants them: uint8 [3, H, W] each."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Tensor:
        return torch.from_numpy(np.array(self.images[position])).permute(2, 0, 1)


def inception_distances(
    candidate: Images, reference: Images, *, weights: Path, seed: int = 0, device: str = "cpu"
) -> Inception:
    """FID and KID of two sets of images.

    Args:
        candidate: uint8 [n, H, H, 3].
        reference: uint8 [n, H, H, 3].
        weights: torch-fidelity's Inception weights, a file.
        seed: of KID's subsets.
        device: where to compute.

    Raises:
        InputError: torch-fidelity is not installed, the file is missing or unusable, or the images are.
    """
    check_images({"candidate": candidate, "reference": reference}, equal_n=True)
    check_weights(weights)
    from torch_fidelity import calculate_metrics  # an extra, which may be missing

    subset = min(SUBSET_SIZE, len(candidate))  # a subset cannot be larger than the sets
    on_gpu = device != "cpu"
    try:
        # torch-fidelity takes the current GPU and no number of one
        with torch.cuda.device(torch.device(device)) if on_gpu else nullcontext():
            values = calculate_metrics(
                input1=_Pixels(candidate),
                input2=_Pixels(reference),
                fid=True,
                kid=True,
                kid_subsets=SUBSETS,
                kid_subset_size=subset,
                rng_seed=seed % 2**32,  # 32 bits
                feature_extractor_weights_path=str(weights),
                cuda=on_gpu,
                save_cpu_ram=True,  # no worker processes: the images are in memory already
                verbose=False,
            )
    except (RuntimeError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{weights} does not fit torch-fidelity's Inception network ({first}); --debug shows more"
        ) from error
    return Inception(
        # torch-fidelity gives KID as it is, not times 1000
        fid=values["frechet_inception_distance"],
        kid=values["kernel_inception_distance_mean"],
        kid_deviation=values["kernel_inception_distance_std"],
        kid_subset_size=subset,
        n=len(candidate),
        weights_sha256=digest_file(weights),
    )


def check_weights(weights: Path) -> None:
    """Refuse what cannot work before anything is computed.

    torch-fidelity unpickles the file without restriction, so it is read once with torch's safe loader before.

    Raises:
        InputError: torch-fidelity is not installed, or the file is missing or not plain weights.
    """
    try:
        import torch_fidelity  # noqa: F401 - an extra, which may be missing
    except ImportError as error:
        raise InputError("FID needs torch-fidelity; install it with: pip install -e '.[fid]'") from error
    if not weights.is_file():
        raise InputError(f"{weights} is not a file; --fid takes torch-fidelity's Inception weights (.pth)")
    # weights_only refuses pickled code; torch-fidelity itself loads the file afterwards without that guard
    try:
        torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{weights} holds no plain PyTorch weights; download the file again") from error


class InceptionMetric(QualityMetric):
    """FID and KID, where weights are given."""

    id = "inception"
    title = "FID"

    def measure(self, sides: Sides) -> Inception | None:
        """See `inception_distances`."""
        if sides.fid_weights is None:
            return None
        return inception_distances(
            sides.candidate, sides.reference, weights=sides.fid_weights, seed=sides.seed, device=sides.device
        )

    def rows(self, ours: Inception | None, floor: Inception | None, n: int) -> list[Row]:
        """One line each."""
        if ours is None:
            return []
        return [
            Row(name, getattr(ours, field), None if floor is None else getattr(floor, field), "lower", n)
            for name, field in (("FID", "fid"), ("KID", "kid"))
        ]
