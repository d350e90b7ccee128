"""Settings of the training of a network: optimizer, schedule, stopping rule, augmentation."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from detect.detectors.base import DetectorSettings
from detect.training.adversarial import AdversarialSettings
from detect.training.consistency import ConsistencySettings

Share = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]


_DEFENCES = ("adversarial", "consistency")


class NetworkSettings(DetectorSettings):
    """Settings of the training of a network.

    A pass sees every image of the larger class once; batches are half real, half forged.
    """

    epochs: int = Field(30, ge=1, description="most passes over the training images")
    max_images: int | None = Field(
        None, ge=2, description="most images seen in training, repeats counted; null: epochs"
    )
    batch: int = Field(32, ge=2, multiple_of=2, description="images per step, half of them real")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Adam with L2, Adam with decoupled weight decay, or gradient descent with momentum and L2"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="after the warm-up")
    weight_decay: float = Field(0.0, ge=0, le=1, description="as the optimizer defines it")
    schedule: Literal["constant", "cosine", "step", "plateau"] = Field(
        "cosine",
        description="of the learning rate, after the warm-up: step falls every step_epochs passes, plateau whenever "
        "patience runs out",
    )
    step_epochs: int = Field(10, ge=1, description="passes between the steps of schedule step")
    decay: float = Field(0.1, gt=0, lt=1, description="what step and plateau multiply the learning rate with")
    min_learning_rate: float = Field(
        0.0, ge=0, description="where cosine ends, what step does not go below, and under which plateau stops the fit"
    )
    # a share of the steps and not a number: short fits warm up too
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no limit")
    validate_every: int | None = Field(
        None, ge=1, description="training images between validations, about; null: one pass"
    )
    patience: int | None = Field(
        5,
        ge=1,
        description="validations without a higher AUC before stopping, or with schedule plateau before the learning "
        "rate falls; null: never",
    )
    flip: bool = Field(True, description="mirror training images left to right at random")
    shift: float = Field(0.06, ge=0, lt=0.5, description="largest random move of a training image, share of its side")
    wild: Share = Field(
        0.0,
        exclude_if=lambda share: share == 0,
        description="probability that a training image is changed as by the perturbation wild, with draws of its own",
    )
    rescale: Share = Field(0.0, description="probability that a training image is made smaller and enlarged back")
    rescale_range: tuple[float, float] = Field((0.5, 1.0), description="how much smaller, share of its side")
    blur: Share = Field(0.0, description="probability that a training image is blurred")
    blur_sigma: tuple[float, float] = Field((0.0, 3.0), description="standard deviation of the blur in pixels")
    noise: Share = Field(0.0, description="probability that a training image gets Gaussian noise")
    noise_sigma: tuple[float, float] = Field((0.0, 5.0), description="its standard deviation in grey levels of 255")
    jpeg: Share = Field(0.0, description="probability that a training image is compressed as JPEG")
    jpeg_quality: tuple[Quality, Quality] = Field((30, 100), description="lowest and highest quality of the JPEG")
    crop: float = Field(
        1.0, gt=0, le=1, description="side of the random window that training sees, share of the image's; not resized"
    )
    input_size: int | None = Field(None, ge=16, le=1024, description="pixels fed to the network; null: the set's own")
    adversarial: AdversarialSettings | None = Field(
        None, description="change training images so that the network errs more, e.g. {attack: n-fgsm, epsilon: 2}"
    )
    consistency: ConsistencySettings | None = Field(
        None, description="equal logits of an image and its noisy copy, e.g. {weight: 0.1, noise: 4}"
    )

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave defences out where there are none: fits without them have the settings that they had before."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if value is not None or name not in _DEFENCES}

    @field_validator("rescale_range", "blur_sigma", "noise_sigma", "jpeg_quality")
    @classmethod
    def _ordered(cls, ends: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        # bounds that hold for the operation: shares above 0, sigma in pixels, and levels or qualities up to 255
        low, high = {"rescale_range": (0.05, 1.0), "blur_sigma": (0.0, 50.0)}.get(info.field_name or "", (0.0, 255.0))
        if not low <= ends[0] <= ends[1] <= high:
            raise ValueError(f"must be [lowest, highest] within {low:g} to {high:g}, not {list(ends)}")
        return ends

    @model_validator(mode="after")
    def _possible(self) -> Self:
        # a floor above the start would raise the rate instead of bounding it
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}"
            )
        if self.schedule == "plateau" and self.patience is None:
            raise ValueError("schedule plateau needs patience: validations without a higher AUC")
        return self


class WindowSettings(NetworkSettings):
    """Settings of networks whose authors cut a window out of each image."""

    window: int | None = Field(
        None,
        ge=8,
        le=1024,
        exclude_if=lambda side: side is None,
        description="score the middle window of so many pixels; what an image lacks is black, as in the authors' tests",
    )


Model = TypeVar("Model", bound=BaseModel)


def with_defaults(settings: type[Model], **values: Any) -> type[Model]:  # noqa: ANN401 - whatever the fields hold
    """Return the same settings with other defaults; ranges and descriptions stay.

    Args:
        settings: a class of settings.
        values: field -> its new default.

    Returns:
        A subclass with the name of `settings`.

    Raises:
        pydantic.ValidationError: a field that is not there, or a default outside its range.
    """
    # validated once, so that a default outside its range fails when the class is made
    checked = settings.model_validate(values)
    fields: dict[str, Any] = {}
    for name in values:
        # a copy of the field keeps its bounds and description; only the default is another
        field = copy.copy(settings.model_fields[name])
        field.default = getattr(checked, name)
        fields[name] = (field.annotation, field)
    return create_model(settings.__name__, __base__=settings, __doc__=settings.__doc__, **fields)
