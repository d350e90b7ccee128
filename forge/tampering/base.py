"""The Tampering interface: forgeries that are edits of real faces, without training, each with its exact mask."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from forge.core.errors import InputError
from forge.faces.faceset import Images, Masks
from forge.faces.imaging.jpeg import coded
from forge.tampering.landmarks import Floats, PlacedFace, fit_template

TRIES = 40  # draws of an edit that changes nothing, before the photo is refused
# after so many draws that did not suit, limits are this many times as wide
_TOLERANCE = {16: 1.4, 26: 2.0, 34: math.inf}
BINARY = 128  # a stored weight from which on a pixel counts as altered: half of 255
COLUMNS = {"outline": "string", "region": "string", "altered": "float64", "edit": "string"}


def _rising(value: tuple[Any, Any]) -> tuple[Any, Any]:
    """Refuse a range that falls, or begins at 0; a validator of settings."""
    if not 0 < value[0] <= value[1]:
        raise ValueError("must be a range from low to high, above 0")
    return value


def _shares(value: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range of shares that falls, begins at 0, or ends above 0.9; a validator of settings."""
    if not 0 < value[0] <= value[1] <= 0.9:
        raise ValueError("must be a range from low to high, above 0 and at most 0.9")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_rising)]
Counts = Annotated[tuple[int, int], AfterValidator(_rising)]
Area = Annotated[tuple[float, float], AfterValidator(_shares)]


class TamperingSettings(BaseModel):
    """Settings that every tampering has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    landmarks: Literal["mtcnn", "average"] = Field(
        "mtcnn", description="search every face, or take the average one's outline everywhere (no search, less exact)"
    )


class EditSettings(TamperingSettings):
    """Settings that every local edit has."""

    background: Literal["original", "re-encoded"] = Field(
        "original", description="pixels outside the mask: those of the photo, or the whole forgery is saved as JPEG"
    )
    jpeg_quality: tuple[int, int] = Field((75, 95), description="range of the quality of re-encoded forgeries")
    spare_features: bool = Field(
        True, description="free shapes leave eyes, nose and mouth alone, where an edit would be seen at once"
    )

    @field_validator("jpeg_quality")
    @classmethod
    def _rises(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1] <= 100:
            raise ValueError("must be a range from low to high within 1..100")
        return value


@dataclass(frozen=True)
class Donor:
    """The image that a region is taken from.

    Attributes:
        image: uint8 [H, H, 3].
        face: where its face is.
        name: its id, or what it is.
        same_set: whether it is an image of the set that is altered.
    """

    image: NDArray[np.uint8]
    face: PlacedFace
    name: str
    same_set: bool = True


@dataclass(frozen=True)
class Photo:
    """A real face to be edited.

    Attributes:
        image: uint8 [H, H, 3]; not to be changed.
        face: where its face is; the average one's place where none was found.
        donors: images that a region may be taken from, where the edit takes one; those in the most similar pose first.
        tolerance: factor of what an edit may differ by from what is around it; it grows with draws that did not suit,
            to infinity where a face fills the frame.
    """

    image: NDArray[np.uint8]
    face: PlacedFace
    donors: Sequence[Donor] = ()
    tolerance: float = 1.0

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return len(self.image)

    @cached_property
    def onto_donors(self) -> Floats:
        """The affine maps [D, 3, 2] from (x, y, 1) in pixels of the photo to pixels of each donor's image."""
        return np.stack([self.face.onto(donor.face) for donor in self.donors])

    @property
    def strict(self) -> bool:
        """Whether an edit should still look well."""
        return math.isfinite(self.tolerance)


@dataclass(frozen=True)
class Edited:
    """An edited photo.

    Attributes:
        pixels: [H, H, 3] in 0..255, blended; read only where alpha is above 0.
        alpha: [H, H] in 0..1, the weight of what is new; what is 0 in 255ths stays the photo's to the byte.
        region: name of the region, or regions joined by "+".
        parameters: numbers and words that were drawn, JSON values.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any]
    region: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TamperBatch:
    """Faces to be altered.

    Attributes:
        images: uint8 [N, H, H, 3].
        landmarks: [N, 5, 2] in pixels, NaN where no face is known.
        seeds: one per image.
        donors: those of each image, where the tampering takes them.
        labels: rows of the images with their labels, where they are known.
    """

    images: Images
    landmarks: Floats
    seeds: Sequence[int]
    donors: Sequence[Sequence[Donor]] = ()
    labels: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Tampered:
    """Altered faces.

    Attributes:
        images: uint8 [N, H, H, 3].
        masks: uint8 [N, H, H], the weight of what is new in 255ths.
        rows: the values of `COLUMNS` for each.
        targets: uint8 [N, H, H, 3], the real counterparts of the forgeries where these are not the photos themselves.
    """

    images: Images
    masks: Masks
    rows: list[dict[str, Any]]
    targets: Images | None = None


S = TypeVar("S", bound=TamperingSettings)
T = TypeVar("T")


class Tampering(ABC, Generic[S]):
    """Forgeries that are made from real faces by a program, without training.

    The type argument is the class of its settings, as of detectors: `class Swap(LocalEdit[SwapSettings])`.

    Attributes:
        family: of the forgeries, in tables.
        citation: where the method comes from.
        takes_donors: whether a region of another image is laid in.
        inverts: whether it inverts a trained generator, which a run trains before (`forge.tampering.edit`).
    """

    family: ClassVar[str] = "tampering"
    citation: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    takes_donors: ClassVar[bool] = False
    inverts: ClassVar[bool] = False
    Settings: ClassVar[type[TamperingSettings]] = TamperingSettings

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - keywords of the class statement
        """Take `Settings` from the type argument of the base class."""
        super().__init_subclass__(**options)
        for base in cls.__dict__.get("__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, TamperingSettings):
                    cls.Settings = argument

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @abstractmethod
    def tamper(self, batch: TamperBatch) -> Tampered:
        """Alter faces; each result depends on its image, landmarks, donor, labels, seed and the settings alone."""

    def facts(self) -> dict[str, Any]:
        """Return what the card of a set says of the faces that were altered so far, JSON values."""
        return {}


E = TypeVar("E", bound=EditSettings)


class LocalEdit(Tampering[E]):
    """A tampering of a part of each photo, which is edited alone; a subclass is one method, `edit`."""

    @abstractmethod
    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Edit a photo.

        Args:
            photo: the face.
            source: of random numbers; all that is drawn comes from it.

        Returns:
            The edit, or None where what was drawn does not suit the photo: it is then drawn again.
        """

    def tamper(self, batch: TamperBatch) -> Tampered:
        """Edit each photo, and leave the rest of it as it was (`background: original`).

        Raises:
            InputError: an edit changes nothing in any of `TRIES` draws, as of a photo of one colour.
        """
        faces = fit_template(batch.landmarks, batch.images.shape[1])
        donors = batch.donors or [()] * len(batch.images)
        made = [
            self._edited(Photo(image, faces[number], candidates), seed)
            for number, (image, candidates, seed) in enumerate(zip(batch.images, donors, batch.seeds, strict=True))
        ]
        images, masks, rows = zip(*made, strict=True)
        return Tampered(np.stack(images), np.stack(masks), list(rows))

    def _edited(self, photo: Photo, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
        source = np.random.default_rng(seed)
        for attempt in range(TRIES):
            if attempt in _TOLERANCE:
                photo = replace(photo, tolerance=_TOLERANCE[attempt])
            edited = self.edit(photo, source)
            if edited is None:
                continue
            laid = laid_over(photo.image, edited)
            if laid is not None:
                return finished(self.settings, photo, edited, *laid, source)
        raise InputError(
            f"{type(self).__name__} changed nothing in {TRIES} draws; a photo of one colour cannot be edited: "
            "leave it out"
        )


def laid_over(image: NDArray[np.uint8], edited: Edited) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return an edited photo and its mask, uint8 [H, W, 3] and [H, W]; None where it is no local edit of the photo."""
    weight = as_bytes(255 * edited.alpha)
    pixels = np.where(weight[..., None] > 0, as_bytes(edited.pixels), image)
    altered = float((weight >= BINARY).mean())
    # an empty mask is no forgery, a full one no local edit, and what changes nothing is the photo itself
    return (pixels, weight) if 0 < altered < 1 and (pixels != image).any() else None


def finished(
    settings: EditSettings,
    photo: Photo,
    edited: Edited,
    pixels: NDArray[np.uint8],
    weight: NDArray[np.uint8],
    source: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
    """Return the forgery, its mask, and the values of `COLUMNS`; re-encoded where settings say so.

    Args:
        settings: of the edit.
        photo: that was edited.
        edited: the edit.
        pixels: of the forgery, uint8 [H, W, 3].
        weight: uint8 [H, W], its mask.
        source: of random numbers, for the quality of a JPEG.
    """
    parameters = dict(edited.parameters)
    if settings.background == "re-encoded":
        low, high = settings.jpeg_quality
        parameters["jpeg_quality"] = int(source.integers(low, high + 1))
        pixels = coded(pixels, parameters["jpeg_quality"])
    return pixels, weight, row_of(photo.face.average, weight, edited.region, parameters)


def row_of(average: bool, weight: NDArray[np.uint8], region: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the values of `COLUMNS` for one image.

    Args:
        average: whether the average face's place was taken, since none was found.
        weight: uint8 [H, W], its mask.
        region: name of the altered region.
        parameters: JSON values.
    """
    return {
        "outline": "average" if average else "found",
        "region": region,
        "altered": float((weight >= BINARY).mean()),
        "edit": json.dumps(parameters, sort_keys=True),
    }


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Round values to 0..255."""
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def mixed(new: NDArray[Any], old: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return alpha new + (1 - alpha) old for images [H, W, 3] and weights [H, W]."""
    weight = alpha[..., None]
    return np.asarray(weight * new + (1 - weight) * old)


def chosen(values: Sequence[T], source: np.random.Generator) -> T:
    """Draw one of some values, each equally often."""
    return values[int(source.integers(len(values)))]
