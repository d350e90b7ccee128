"""The Detector interface: fit, score, save, load; one small class that every family implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from detect.data.views import (
    View,
    digest_of,
    generator_of,
    join,
    random_labels,
    resolution_of,
    select,
    sets_of,
    splits_of,
)
from detect.scorers import Scored
from forge.core.compute import Compute, Precision, derive_seed
from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress
from forge.faces.faceset import Images

if TYPE_CHECKING:
    from torch import Tensor

    from detect.discriminator_source import DiscriminatorSource
    from forge.core.distributed import ProcessGroup

Scores = NDArray[np.float64]
Needs = Literal["", "discriminator", "snapshots", "members", "nothing"]

ROLES = ("train_real", "train_forged", "val_real", "val_forged")


@dataclass(frozen=True)
class FitData:
    """Images that a detector is fitted on; never an image of `test`.

    Attributes:
        surrogate: whether an attacker fits it. It sees images of split `forge` alone, in all four views, and never one
            that the attacked detector was fitted on; any other detector sees none of `forge`.
    """

    train_real: View
    train_forged: View
    val_real: View
    val_forged: View
    surrogate: bool = field(default=False, kw_only=True)

    @property
    def resolution(self) -> int:
        """Height and width of every image in pixels."""
        return resolution_of(self.train_real)

    @property
    def views(self) -> dict[str, View]:
        """The four views by name."""
        return {role: getattr(self, role) for role in ROLES}

    @property
    def generators(self) -> str:
        """The generators seen in training, joined by "+"."""
        # the set's name where a card names no generator; real sets have none
        names = {generator_of(faces.card) for faces in sets_of(self.train_forged)} - {""}
        return "+".join(sorted(names))

    def check(self) -> None:
        """Refuse data that would give a meaningless detector.

        Raises:
            InputError: an empty view, different resolutions, an image of another split, or exchanged classes.
        """
        for role, view in self.views.items():
            if not len(view):
                raise InputError(f"{role} has no images; a detector needs real and forged faces in train and in val")
            # sets and not images: every image of a set has the set's resolution
            sizes = {faces.resolution for faces in sets_of(view)}
            if sizes != {self.resolution}:
                raise InputError(
                    f"{role} has {'/'.join(map(str, sorted(sizes)))} px images, train_real {self.resolution} px; "
                    "prepare or synthesize them at one resolution"
                )
            # "train" or "val": a test image in a fit would make its test meaningless
            allowed = "forge" if self.surrogate else role.partition("_")[0]
            if strange := sorted(splits_of(view) - {allowed}):
                whose = " by an attacker's surrogate" if self.surrogate else " here"
                raise InputError(
                    f"{role} holds images of split {quoted(strange[0])}; only {quoted(allowed)} may be used{whose}"
                )
        # both exchanged: mixed sets on one side are possible, as with shuffled labels
        classes = [{faces.card.kind for faces in sets_of(view)} for view in (self.train_real, self.train_forged)]
        if classes == [{"forged"}, {"real"}]:
            raise InputError("train_real holds only forged faces and train_forged only real ones; exchange them")

    def limited(self, train: int | None, val: int | None, seed: int) -> FitData:
        """Return a random part of the images, the same for the same seed; a smaller part lies within a larger one.

        Args:
            train: most images per class in train (None: all).
            val: most images per class in val (None: all).
            seed: of the choice.
        """

        def part(role: str, count: int | None) -> View:
            view = self.views[role]
            if count is None or count >= len(view):
                return view
            # a permutation per role: a smaller limit takes a prefix of the same order, hence a part of a larger one
            order = np.random.default_rng(derive_seed(seed, "limit", role)).permutation(len(view))
            # in the order of the set, so that reading goes forward in the memory map
            return select(view, np.sort(order[:count]))

        return replace(
            self,
            train_real=part("train_real", train),
            train_forged=part("train_forged", train),
            val_real=part("val_real", val),
            val_forged=part("val_forged", val),
        )

    def with_shuffled_labels(self, seed: int) -> FitData:
        """Replace the labels by random ones, the same for all images of an identity: the control without information.

        A detector that predicts `random_labels` of test images has seen them, or people in them, in training.
        """
        shuffled: dict[str, View] = {}
        for split in ("train", "val"):
            # reals and forgeries together, then dealt by random bits: both classes hold both kinds
            both = join(self.views[f"{split}_real"], self.views[f"{split}_forged"])
            forged = random_labels(both.rows, seed)
            shuffled |= {f"{split}_real": select(both, np.flatnonzero(~forged))}
            shuffled |= {f"{split}_forged": select(both, np.flatnonzero(forged))}
        return FitData(**shuffled, surrogate=self.surrogate)

    def describe(self) -> list[dict[str, Any]]:
        """Exactly which images these are, one JSON mapping a view: role, sets, number of images, digest."""
        return [
            {
                "role": role,
                "sets": [{"name": faces.card.name, "digest": faces.card.digest} for faces in sets_of(view)],
                "images": len(view),
                "digest": digest_of(view),
            }
            for role, view in self.views.items()
        ]


@dataclass(frozen=True)
class FitContext:
    """Seed, device and folders of a fit.

    Attributes:
        seed: all randomness of the fit follows from it.
        compute: device and precision.
        work: directory for checkpoints; a fit that finds its own checkpoint there continues it.
        on_progress: called with each progress event.
        discriminator: the training of a generator, for detectors that start from its discriminator.
        fitted: fitted detectors by name, for ensembles.
        processes: the processes that fit together, all of which call `fit`, of a detector that `fits_jointly`; None:
            this one alone.
    """

    seed: int
    compute: Compute
    work: Path
    on_progress: OnProgress
    discriminator: DiscriminatorSource | None = None
    fitted: Mapping[str, FittedDetector] = field(default_factory=dict)
    processes: ProcessGroup | None = None


@dataclass(frozen=True)
class FitSummary:
    """Outcome of a fit: the training curve (one mapping per validation) and facts for the report."""

    history: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class DetectorSettings(BaseModel):
    """Settings every detector has; families add their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int | None = Field(
        None, ge=2, description="most training images per class, a random choice by the seed; null: all"
    )
    val_limit: int | None = Field(
        None, ge=2, description="most validation images per class, a random choice by the seed; null: all"
    )


S = TypeVar("S", bound=DetectorSettings)


class Detector(ABC, Generic[S]):
    """Interface of a detector: a higher score means more likely forged.

    A detector is one file with one subclass, registered in `detect.detectors.registry`. The type argument is the class
    of its settings: `class LogDct(FeatureDetector[LogDctSettings])` gives `LogDct.Settings` and the type of
    `settings`. A subclass that only changes defaults sets `Settings = with_defaults(...)` itself.
    `detect.artifact` does what all detectors share: it checks and limits the data, fits the calibration, stores
    digests.
    """

    family: ClassVar[str]
    citation: ClassVar[str]
    variant: ClassVar[str] = ""  # where it departs from the paper
    # What a fit reads beside images: a training's discriminator, those of its snapshots too, or other fitted detectors.
    # "nothing": a fixed scorer; it is given real faces alone and counts as trained elsewhere.
    needs: ClassVar[Needs] = ""
    # Whether a crop in an image's own pixels may be scored in place of the whole image, see `detect.own_resolution`: of
    # a detector that looks for the same traces everywhere.
    takes_crops: ClassVar[bool] = False
    # Whether the processes of a `torchrun` can share a fit; else the first one fits alone.
    fits_jointly: ClassVar[bool] = False
    Settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - keywords of the class statement
        """Take `Settings` from the type argument of the base class, unless the class sets it itself."""
        super().__init_subclass__(**options)
        # an explicit `Settings` counts before a type argument
        if "Settings" in cls.__dict__:
            return
        for base in cls.__dict__.get("__orig_bases__", ()):
            for argument in get_args(base):
                # an unbound type variable stands for its bound
                settings = argument.__bound__ if isinstance(argument, TypeVar) else argument
                if isinstance(settings, type) and issubclass(settings, DetectorSettings):
                    cls.Settings = settings

    def __init__(self, settings: S, resolution: int) -> None:
        """Take the settings and the resolution of the images.

        Args:
            settings: an instance of `Settings`.
            resolution: height and width of the images in pixels.

        Raises:
            TypeError: settings of another class.
        """
        if not isinstance(settings, self.Settings):
            raise TypeError(f"{type(self).__name__} needs {self.Settings.__name__}, not {type(settings).__name__}")
        self.settings, self.resolution = settings, resolution

    @abstractmethod
    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Learn from the `train` views, choose by the `val` views; called once, on checked and limited data."""

    @abstractmethod
    def score(self, images: Images, compute: Compute) -> Scores:
        """Return one finite score an image, float64 [n]; images are uint8 [n, H, W, 3] of the fitted resolution."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what was learned into an existing directory: safetensors and JSON, nothing that runs when loaded."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, settings: S, resolution: int) -> Self:
        """Read what `save` wrote; needs no network and reads no other file."""

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor] | None:
        """Return the score as a differentiable function of pixels, for attacks; None: it has no gradient.

        Args:
            compute: the device.

        Returns:
            A function of float32 pixels [N, H, W, 3] in 0..255 on the device, that need not be whole numbers: one score
            an image [N], that of `score` where they are.
        """
        return None

    def embeddings(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Return what the score is made from, float32 [n, D]: features, or what a network's last layer is given.

        Args:
            images: uint8 [n, H, W, 3] of the fitted resolution.
            compute: the device.

        Returns:
            None where the score is made of nothing like that.
        """
        return None

    def saliency(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute saliency maps: float32 [n, H, W] in 0..1, or None for a detector without gradients.

        Args:
            images: uint8 [n, H, W, 3] of the fitted resolution.
            compute: the device.
        """
        return None

    @classmethod
    def has_gradients(cls) -> bool:
        """Return whether `gradient_maps` computes anything."""
        return cls.gradient_maps is not Detector.gradient_maps

    def gradient_maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Compute the magnitude of the score's gradient at each pixel, not scaled by image.

        A run with masks measures it as a map of detectors that have no `maps`.

        Args:
            images: uint8 [n, H, W, 3] of the fitted resolution.
            compute: the device.

        Returns:
            float32 [n, H, W], finite, or None where the score has no gradient.
        """
        return None

    @classmethod
    def localises(cls, settings: DetectorSettings) -> bool:
        """Return whether a detector with these settings has maps of its own."""
        return cls.maps is not Detector.maps

    def maps(self, images: Images, compute: Compute) -> NDArray[np.float32] | None:
        """Say where images were altered: float32 [n, H, W], finite, higher for altered; None: this detector does not.

        Args:
            images: uint8 [n, H, W, 3] of the fitted resolution.
            compute: the device.
        """
        return None

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the arithmetic that `score` uses: how far scores may differ between batches of different sizes."""
        # detectors on features compute in fp32 unless asked otherwise; networks override this
        return "fp32" if compute.precision == "auto" else compute.precision

    def frequency_weights(self) -> NDArray[np.float32] | None:
        """Return the change of the score per standard deviation of each DCT coefficient, float32 [H, W], or None."""
        return None

    @property
    def parameters(self) -> int:
        """Number of learned values."""
        return 0


class FittedDetector(Scored, Protocol):
    """A fitted detector with its calibration, as ensembles and score tables read it."""

    @property
    def detector(self) -> Detector[Any]:
        """The detector that scores images."""

    def save(self, directory: Path) -> None:
        """Write the detector as a directory."""
