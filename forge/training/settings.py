"""Settings of a generator's training: of the loop, and of adversarial training."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forge.generators.base import is_off
from forge.training.augment import AugmentationName
from forge.training.losses import OBJECTIVES, ObjectiveName
from forge.training.monitor.thresholds import HealthSettings
from forge.training.schedule import ScheduleSettings


class LoopSettings(BaseModel):
    """Settings of the training loop; the same for every architecture and every training method."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kimg: float = Field(1000, gt=0, description="length of the training: thousands of real images shown")
    batch: int = Field(64, ge=2, description="images of each class per step")
    ema_kimg: float = Field(
        10.0, ge=0, description="half-life of the averaged weights in thousands of images; 0 switches averaging off"
    )
    # 0.05 as in StyleGAN2-ADA
    ema_ramp: float = Field(0.05, ge=0, description="early on, the half-life is at most this share of the images seen")
    flip: bool = Field(True, description="mirror real images at random")
    snapshots_kimg: tuple[float, ...] = Field(
        (), description="thousands of images after which a snapshot is kept as a generator of its own (name@24k)"
    )
    sample_every_kimg: float = Field(10.0, gt=0, description="thousands of images between sample grids")
    log_every: int = Field(50, ge=1, description="steps between lines of the log")
    health_every_kimg: float = Field(
        0.0,
        ge=0,
        description="thousands of images between looks of the health monitor; 0: 20 looks, at most 50 k apart",
    )
    health: HealthSettings = Field(HealthSettings(), description="thresholds of failure modes, and the reaction")


class TrainingSettings(LoopSettings):
    """Settings of an adversarial training: the loop's, and those of the steps of both networks."""

    objective: ObjectiveName = Field("non-saturating", description="losses of discriminator and generator")
    d_steps: int = Field(1, ge=1, description="discriminator updates per training step")
    g_steps: int = Field(1, ge=1, description="generator updates per training step, after the discriminator's")
    share_forgeries: bool = Field(
        True, description="with one step each: both see the same forged images; else each step makes its own"
    )
    # the defaults of Adam are those of DCGAN (Radford et al. 2015): 2e-4, beta1 0.5
    generator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the mean squared gradient")
    r1_gamma: float = Field(0.0, ge=0, description="weight of the R1 penalty (at real images); 0 switches it off")
    r2_gamma: float = Field(0.0, ge=0, description="weight of the R2 penalty (at forged images); 0 switches it off")
    gradient_penalty: float = Field(
        0.0, ge=0, description="weight of WGAN-GP's penalty (between real and forged images), 10 in the paper; 0: off"
    )
    path_length: float = Field(
        0.0, ge=0, description="weight of StyleGAN2's path-length penalty, 2 in the paper; 0: off; style-based only"
    )
    # lazy regularisation (Karras et al. 2020, section 3.1): a penalty that is computed at every k-th update with k
    # times its weight has the same mean gradient at a fraction of the cost; 16 and 4 are the published intervals
    penalty_every: int = Field(
        16, ge=1, description="discriminator updates between penalties (lazy); weights are scaled up"
    )
    path_every: int = Field(
        4, ge=1, description="generator updates between path-length penalties; the weight is scaled up"
    )
    schedule: ScheduleSettings | None = Field(
        None,
        exclude_if=is_off,
        description="values at the end of the training, reached along half a cosine (R3GAN); none: all stay",
    )
    augment: tuple[AugmentationName, ...] = Field(
        (), description="what is done to all images, real and forged, before the discriminator sees them"
    )
    augment_probability: float | None = Field(
        None, ge=0, le=1, description="of each augmentation (default 1); where it adapts, its start (default 0)"
    )
    augment_target: float | None = Field(
        None, gt=0, lt=1, description="adapt the probability until the mean sign of D at real images is this (ADA: 0.6)"
    )
    augment_kimg: float = Field(
        100.0, gt=0, description="thousands of images in which the probability can go from 0 to 1"
    )
    # above 0.8 augmentations leak into the forgeries (Karras et al. 2020, "Training GANs with limited data")
    augment_most: float = Field(0.8, ge=0, le=1, description="the adapted probability stays at or below this")

    @model_validator(mode="after")
    def _adapts_something(self) -> Self:
        if self.augment_target is not None and not self.augment:
            raise ValueError("augment_target adapts nothing; name augmentations, e.g. augment=[colour, translation]")
        # ADA reads overfitting from the sign of D at real images; some objectives fix differences of logits alone
        if self.augment_target is not None and OBJECTIVES[self.objective].boundary is None:
            raise ValueError(
                f"augment_target needs the sign of a logit, which objective {self.objective} does not give"
            )
        return self

    @property
    def first_probability(self) -> float:
        """The augmentation probability at the first step."""
        if self.augment_probability is not None:
            return self.augment_probability
        return 1.0 if self.augment_target is None else 0.0  # adapting starts without augmentation, as ADA does
