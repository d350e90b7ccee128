"""States of a training, and settings of the health monitor: thresholds of failure modes and the reaction to them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal[
    "warming", "healthy", "overfit", "collapsed", "d_dominates", "d_at_chance", "blank", "noise", "diverged",
    "does_nothing", "colours_inverted", "one_output", "hides_source",
]  # fmt: skip
Policy = Literal["warn", "stop", "roll-back"]


class HealthSettings(BaseModel):
    """Thresholds of the failure modes of a training, and the reaction to them.

    Ratios are to as many real images (`RealReference.real_baseline`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy = Field("warn", description="reaction to a failure mode: warn, stop, or roll-back")
    roll_backs: int = Field(2, ge=0, description="returns to the last healthy checkpoint before the training stops")
    roll_back_lr: float = Field(0.5, gt=0, le=1, description="factor on both learning rates at each roll-back")
    warming_steps: int = Field(250, ge=0, description="steps during which nothing but divergence is called")
    patience: int = Field(3, ge=1, description="ticks in a row that a sign must last; divergence needs one")
    won_accuracy: float = Field(0.9, gt=0.5, le=1, description="discriminator accuracy from here on counts as always")
    coin_margin: float = Field(0.06, gt=0, lt=0.5, description="accuracy of at most 1/2 + this counts as chance")
    poor_distance: float = Field(
        4.0, gt=1, description="forgeries are poor if their distance ratio is above this and ..."
    )
    improvement: float = Field(0.05, ge=0, lt=1, description="a distance this much below the best so far is progress")
    still: float = Field(0.05, ge=0, description="the generator stands still if fixed samples move less than this")
    low_diversity: float = Field(0.4, ge=0, le=1, description="collapsed if the diversity is below this ratio")
    duplicates: float = Field(0.6, gt=0, le=1, description="collapsed if more are near-duplicates of each other")
    few_bins: float = Field(0.35, ge=0, le=1, description="collapsed if the ratio of filled bins is below this and ...")
    some_duplicates: float = Field(0.2, ge=0, le=1, description="... more than this share are near-duplicates")
    memory: float = Field(0.8, gt=0.5, le=1, description="overfit if training reals outrank held-out ones this often")
    exploded: float = Field(1000.0, gt=0, description="diverged if a loss is larger than this")
    start_accuracy: float = Field(
        0.9, gt=0.5, le=1, description="share that a small classifier must get right before the first step"
    )


class TranslationThresholds(HealthSettings):
    """Those of a translator: further ones, for the readings of `forge.training.monitor.translation`."""

    idle: float = Field(
        0.03,
        ge=0,
        lt=1,
        description="an unpaired translator does nothing if it changes images by at most this share "
        "of the difference of two of them",
    )
    idle_of_needed: float = Field(
        0.1, ge=0, lt=1, description="a paired one, if by at most this share of the way from what needs no learning"
    )
    inverted: float = Field(
        0.0, ge=-1, lt=1, description="colours are inverted if the luminance of input and output correlates below this"
    )
    one_output: float = Field(
        0.15, ge=0, lt=1, description="one output for all if outputs differ less than this share of what they should"
    )
    hidden: float = Field(
        2.0, gt=0, description="a cycle hides its source if JPEG adds more than this many times its change to the error"
    )
