"""Self-blended images: any network, fitted on reals and on forgeries made from those same reals, never on a GAN's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from torch import Tensor

from detect.data.views import digest_of
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.training.settings import with_defaults
from forge.core.compute import Compute, Precision, derive_seed
from forge.core.errors import CorruptError, InputError, quoted
from forge.core.files import read_json_object, write_json
from forge.core.registry import is_file_reference
from forge.faces.faceset import FaceSet, Images
from forge.faces.forgeries import Sources
from forge.tampering.self_blended import SelfBlended, SelfBlending
from forge.tampering.tamper import Making


class SelfBlendedSettings(DetectorSettings):
    """Settings of the network and of the blends it is trained on."""

    network: str = Field("xception", description="the network: a registered detector that is one, or timm:NAME")
    options: dict[str, Any] = Field(
        {}, validate_default=True, description="settings of that network's own fit; the rest are its defaults"
    )
    copies: int = Field(4, ge=1, description="blends of each training face; validation faces are blended once")
    blending: SelfBlended = Field(SelfBlended(), description="how blends are made")

    @field_validator("network")
    @classmethod
    def _is_network(cls, value: str) -> str:
        if is_file_reference(value):
            raise ValueError("must be a registered name: a file's code is named on the command line only")
        network_class(value)
        return value

    @field_validator("options")
    @classmethod
    def _typed(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Return all settings of the network, so that a fit is asked for whole."""
        if "network" not in info.data:  # refused already
            return value
        network_type = network_class(info.data["network"])
        # limits are applied before `fit`, to the reals; those of the network inside would have no effect
        if given := sorted({"limit", "val_limit"} & {key for key, item in value.items() if item is not None}):
            raise ValueError(f"{given[0]} belongs to self-blended itself: set it there")
        try:
            return network_type.Settings.model_validate(value).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{where} does not suit {info.data['network']}: {first['msg']}") from error


def network_class(name: str) -> type[NetworkDetector[Any]]:
    """Return the detector class of a network.

    Raises:
        UnknownNameError: nothing is registered under the name.
        InputError: it is no network.
    """
    network_type = DETECTORS.load(name)
    if not (isinstance(network_type, type) and issubclass(network_type, NetworkDetector)):
        raise InputError(f"network {quoted(name)} of self-blended is no network; take one like xception")
    return network_type


class SelfBlendedDetector(Detector[SelfBlendedSettings]):
    """A network that learns what a pasted face looks like, from real faces blended with themselves."""

    family = "self-blended"
    citation = "Shiohara and Yamasaki, Detecting Deepfakes with Self-Blended Images, CVPR 2022"
    variant = (
        "a fixed number of blends of each face, not fresh ones every epoch; outlines from 5 landmarks, not 81; fitted "
        "like the network named, the paper: EfficientNet-B4 with AdvProp weights at 380 px, SAM with SGD (.9) at 1e-3, "
        "100 epochs, linear decay in the last quarter, colour jitter and JPEG on both classes"
    )

    def __init__(self, settings: SelfBlendedSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        network_type = network_class(settings.network)
        options: Any = network_type.Settings.model_validate(settings.options)
        self.inner = network_type(options, resolution)

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Blend the reals of `data`, fit the network on targets and blends; the forged views are never read.

        The paper's real images are the targets of the blends: half of them changed in colour and detail, so that
        neither gives a forgery away. Where only sources change, targets are the reals themselves.
        """
        settings = self.settings
        blends, targets = self._blended(data, context)
        # reals of the fit: the targets of the blends, where these differ from the photos themselves
        real = {split: targets.view(split) if targets else data.views[f"{split}_real"] for split in ("train", "val")}
        inside = FitData(real["train"], blends.view("train"), real["val"], blends.view("val"))
        summary = self.inner.fit(inside, context)
        facts = {
            "network": settings.network,
            "blends": len(blends),
            "faces_not_found": sum(blends.card.provenance["faces_not_found"].values()),
        }
        return FitSummary(summary.history, facts | summary.facts)

    def _blended(self, data: FitData, context: FitContext) -> tuple[FaceSet, FaceSet | None]:
        """Blends in `context.work`, and their targets where they differ from the reals; made once."""
        settings = self.settings
        making = Making(
            name="self-blended",
            origin=Sources(
                views={"train": data.train_real, "val": data.val_real},
                # val once per face: as many blends as reals
                counts={"train": settings.copies * len(data.train_real), "val": len(data.val_real)},
                seed=derive_seed(context.seed, "self-blended"),
            ),
            tampering=SelfBlending(settings.blending),
            resolution=data.resolution,
            # a digest of the photos: blends of other faces in the folder are refused, not reused
            source={"train": digest_of(data.train_real), "val": digest_of(data.val_real)},
            licence="for the fit alone: altered photos, under the licence of the faces they were made from",
        )
        out = context.work / "self-blended"
        targets = out / "targets" if settings.blending.altered == "either" else None
        # without a card the blends are incomplete or not there
        if not (out / "blends" / "card.json").is_file():
            shutil.rmtree(out, ignore_errors=True)  # targets without blends: the making was cut short
            making.write(out / "blends", context.on_progress, targets=targets, masks=self.inner.learns_masks)
        blends = FaceSet.open(out / "blends")
        _refuse_others(blends.card.provenance, making.provenance, out)
        return blends, FaceSet.open(targets) if targets else None

    def score(self, images: Images, compute: Compute) -> Scores:
        """Logits of the network, float64 [n]."""
        return self.inner.score(images, compute)

    @classmethod
    def localises(cls, settings: DetectorSettings) -> bool:
        """Return whether the network has a logit for each pixel or patch."""
        assert isinstance(settings, SelfBlendedSettings)
        return network_class(settings.network).localises(settings)

    def maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Return the network's maps, float32 [n, H, W], or None."""
        return self.inner.maps(images, compute)

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the network's precision."""
        return self.inner.scoring_precision(compute)

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor] | None:
        """Return the network's logit as a function of pixels."""
        return self.inner.score_function(compute)

    def saliency(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute saliency maps of the network's logit, float32 [n, H, W]."""
        return self.inner.saliency(images, compute)

    def gradient_maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute the magnitude of the gradient of the network's logit, float32 [n, H, W]."""
        return self.inner.gradient_maps(images, compute)

    def frequency_weights(self) -> NDArray[np.float32] | None:
        """Return the network's weights of frequencies, float32 [H, W], or None."""
        return self.inner.frequency_weights()

    def save(self, directory: Path) -> None:
        """Write the network's files and self-blended.json."""
        self.inner.save(directory)
        write_json(directory / "self-blended.json", {"network": self.settings.network})

    @classmethod
    def load(cls, directory: Path, settings: SelfBlendedSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = cls(settings, resolution)
        stored = read_json_object(directory / "self-blended.json")["network"]
        if stored != detector.settings.network:
            raise CorruptError(
                f"{directory} holds the network {quoted(stored)}, its settings say "
                f"{quoted(detector.settings.network)}; "
                "fit the detector again"
            )
        detector.inner = type(detector.inner).load(directory, detector.inner.settings, resolution)
        return detector

    @property
    def parameters(self) -> int:
        """Number of weights of the network."""
        return self.inner.parameters


class FaceXRay(SelfBlendedDetector):
    """A network that learns the rim of what was blended, and so whether anything was."""

    family = "face-x-ray"
    citation = "Li et al., Face X-ray for More General Face Forgery Detection, CVPR 2020"
    variant = (
        "faces blended with themselves, not with other people's; a small U-Net, not HRNet; the image's score is the "
        "mean of the strongest logits of its rim, not of a second network"
    )
    Settings = with_defaults(SelfBlendedSettings, network="unet", options={"target": "boundary"})


def _refuse_others(made: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    if changed := [key for key, value in wanted.items() if made.get(key) != value]:
        raise InputError(
            f"the blends in {folder} were made with another {' and '.join(changed)}; restore it, or delete them to "
            "start over"
        )
