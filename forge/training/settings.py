"""How a generator is trained: the settings of the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """Settings of the training loop; the same for every architecture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kimg: float = Field(1000, gt=0, description="length of the training: thousands of real images shown")
    batch: int = Field(64, ge=2, description="images of each kind a step")
    objective: Literal["minimax", "non-saturating", "least-squares", "hinge"] = "non-saturating"
    generator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the mean squared gradient")
    r1_gamma: float = Field(0.0, ge=0, description="weight of the R1 penalty; 0 switches it off")
    r1_every: int = Field(16, ge=1, description="steps between penalties (lazy R1); the weight is scaled up to match")
    ema_kimg: float = Field(
        10.0, ge=0, description="half-life of the averaged weights in thousands of images; 0 switches averaging off"
    )
    ema_ramp: float = Field(0.05, ge=0, description="early on, the half-life is at most this share of the images seen")
    flip: bool = Field(True, description="mirror real images at random")
    translate: int = Field(0, ge=0, description="shift what the discriminator sees by up to this many pixels")
    sample_every_kimg: float = Field(10.0, gt=0, description="thousands of images between sample grids")
    log_every: int = Field(50, ge=1, description="steps between lines of the log")
