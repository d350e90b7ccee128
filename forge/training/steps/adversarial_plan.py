"""The plan of an adversarial step: what is computed beside the losses; each variant is a CUDA graph of its own."""

from __future__ import annotations

from typing import NamedTuple

from forge.training.settings import TrainingSettings

ADAPT_EVERY = 4  # discriminator steps between changes of the augmentation probability, as in ADA


class DiscriminatorStep(NamedTuple):
    """Outputs of a discriminator step beside its loss.

    Attributes:
        penalise: the gradient penalties.
        adapt: a change of the augmentation probability.
        measure: the norm of the gradient.
    """

    penalise: bool
    adapt: bool
    measure: bool


class GeneratorStep(NamedTuple):
    """Outputs of a generator step beside its loss.

    Attributes:
        smooth: the path-length penalty.
        measure: the norm of the gradient.
    """

    smooth: bool
    measure: bool


class AdversarialPlan(NamedTuple):
    """The discriminator steps and the generator steps of one step, and whether their networks are grown."""

    discriminator: tuple[DiscriminatorStep, ...]
    generator: tuple[GeneratorStep, ...]
    grown: bool


def plan_of(settings: TrainingSettings, step: int, *, grown: bool, measure: bool) -> AdversarialPlan:
    """Return the plan of a step, which follows from its number.

    Args:
        settings: intervals of penalties, and numbers of discriminator and generator steps.
        step: from 0.
        grown: whether the networks compute their finest block.
        measure: whether norms of gradients are wanted.
    """
    penalties = settings.r1_gamma or settings.r2_gamma or settings.gradient_penalty
    adapts = settings.augment_target is not None
    d_numbers = range(step * settings.d_steps, (step + 1) * settings.d_steps)
    g_numbers = range(step * settings.g_steps, (step + 1) * settings.g_steps)
    return AdversarialPlan(
        tuple(
            DiscriminatorStep(
                penalise=bool(penalties) and number % settings.penalty_every == 0,
                adapt=adapts and (number + 1) % ADAPT_EVERY == 0,
                measure=measure,
            )
            for number in d_numbers
        ),
        tuple(
            GeneratorStep(bool(settings.path_length) and number % settings.path_every == 0, measure)
            for number in g_numbers
        ),
        grown,
    )
