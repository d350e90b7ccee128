"""Conditions under which the detectors of a run are trained and tested, as settings."""

from __future__ import annotations

from operator import not_
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from benchmarks.experiment.order import Steps, steps_of
from benchmarks.experiment.settings_base import Names, Settings

Kimg = Annotated[float, Field(gt=0)]


class Conditions(Settings):
    """Conditions under which detectors are tested; their meanings are in benchmarks/protocol/conditions.py."""

    matrix: bool = Field(True, description="train on each generator, test on every one: the train x test matrix")
    seen: bool = Field(
        True, description="train on all generators, test on each: the detector for photos (`bench detect`)"
    )
    unseen: bool | None = Field(
        None,
        description="train on all families of generators but one, test on the generators of that family; by default "
        "where there are two families or more",
    )
    wild: bool = Field(
        False, description="beside `unseen`: each test image through a random chain of changes, as photos on the web"
    )
    robust: tuple[str, ...] = Field((), description="perturbations of the test images; trained on all generators")
    views: Names = Field(
        (),
        description="how external photos are shown at their own resolution: centre-crop, five-crops, tiles, tiles-max",
        exclude_if=not_,
    )
    view_resolution: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of the middle part of these photos, in their own pixels; null: twice the run's resolution",
        exclude_if=lambda value: value is None,
    )
    # Digests by name and not in a list: two perturbations may come from one file.
    perturbation_files: dict[str, dict[str, str]] = Field(
        {}, description="perturbation from a file -> its id, and the SHA-256 of its code"
    )
    paired: bool = Field(
        True,
        description="beside `seen`: test forgeries made from real faces against these faces too, the same photo before "
        "and after",
    )
    masks: bool = Field(
        True, description="measure where forgeries were altered, of detectors that say it and generators with masks"
    )
    masks_saliency: bool = Field(
        False, description="with `masks`: of detectors without maps measure the gradient of the score at each pixel"
    )
    attacked: dict[str, tuple[Annotated[float, Field(ge=1, le=255)], ...]] = Field(
        {},
        description="attack -> its budgets in grey levels, of the 255 of the stored image; [] of an attack without a "
        "budget; trained on all generators",
    )
    attacked_images: int = Field(200, ge=20, description="test images of each generator that are attacked, at most")
    attacked_reals: bool = Field(False, description="attack real test images too, so that they pass for forged")
    equalised: bool = Field(False, description="both classes end with one JPEG quality, in training and in the test")
    budget: tuple[Annotated[int, Field(gt=0)], ...] = Field((), description="numbers of training images a class")
    variants: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (), description="numbers of models of a family to train on; tested on its other models and on other families"
    )
    attribute: bool = Field(
        False,
        exclude_if=not_,
        description="beside `seen`: which generator made an image, by the frozen features of each detector",
    )
    order: Annotated[Steps, BeforeValidator(steps_of)] = Field(
        (),
        exclude_if=not_,
        description="generators as they came up, a list (a list in it is one step of time) or name -> date: train on "
        "all up to a step, test on the next",
    )
    choices: int = Field(3, ge=1, le=100, description="of these models, each number in so many ways")
    snapshots: dict[str, tuple[Kimg, ...]] = Field(
        {},
        description="generator -> thousands of images; its forgeries at these moments of its training are tested too",
    )
    shuffled: tuple[str, ...] = Field((), description="detectors that are trained on shuffled labels too, as a control")
    only: dict[str, tuple[str, ...]] = Field({}, description="condition -> the detectors it is limited to")
    scored_forgeries: dict[Literal["val", "test"], Annotated[int, Field(ge=2)]] = Field(
        {},
        exclude_if=not_,
        description="split -> most forgeries of each generator that are scored, fewer than images.val and images.test: "
        "of many generators each needs fewer than the real images, which all of them share",
    )
    score_step: float | None = Field(
        None,
        gt=0,
        le=0.1,
        exclude_if=lambda value: value is None,
        description="scores are rounded to steps of at most this in log odds: published scores are half as large",
    )
