"""Matrix of a run: the fits of each detector, and the tests and perturbations of each, from the conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.experiment.race import rounds_of
from benchmarks.experiment.settings import GeneratorSettings, RunSettings
from benchmarks.protocol import (
    CLEAN,
    CONTROL_DETECTORS,
    EQUALISED,
    EXTERNAL_PREFIX,
    NEXT,
    PAIRED_PREFIX,
    SHUFFLED,
    WILD,
    Condition,
    GeneratorId,
    TrainSet,
)
from forge.core.compute import derive_seed
from forge.core.errors import InputError


@dataclass(frozen=True)
class PlannedFit:
    """One fit of a detector and its tests.

    Attributes:
        train_set: generators and variant of its training.
        tests: generators, their snapshots ("dcgan@24k"), external pairs ("external:NAME"), generators beside the
            sources of their forgeries ("paired:NAME").
        perturbations: of the test images, "none" for clean ones.
        attacked: of the tests, generators whose forgeries are changed against the fit.
    """

    train_set: TrainSet
    tests: tuple[str, ...]
    perturbations: tuple[str, ...] = (CLEAN,)
    attacked: tuple[str, ...] = ()


def planned_fits(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Return the fits of one detector, one per train set.

    A detector that was fitted elsewhere, or is a fixed scorer, has one entry: all generators, clean and perturbed. A
    run of one family has no `unseen`: no family would be left to train on.
    """
    request = settings.detectors[detector]
    # Nothing to fit means no train sets to vary: one entry with all tests, whatever conditions ask for trainings.
    if request.trained_on:
        tested = tuple(settings.generators)
        tested += tuple(label for name in tested for label in snapshots_of(settings, name))
        changed = settings.conditions.robust if _is_requested(settings, Condition.ROBUST, detector) else ()
        changed += (WILD,) if _is_wild(settings, detector) else ()
        tested += _external_pairs(settings, detector) + _beside_sources(settings, detector)
        # "elsewhere", or generators that its card names, which decides its conditions
        attacked = _attacked_generators(settings, detector)
        return [PlannedFit(TrainSet.parse(request.trained_on), tested, (CLEAN, *changed), attacked)]
    fits: list[PlannedFit] = []
    for condition, fits_of in _FITS.items():
        # `only` restricts a condition to some detectors.
        if _is_requested(settings, condition, detector):
            fits += fits_of(settings, detector)
    fits += _attributed(settings, detector)
    return _merged(fits)


def families_of(generators: Mapping[str, GeneratorSettings]) -> dict[str, str]:
    """Map each generator to its family; one without a family is its own, together with its snapshots."""
    # a generator without a family shares nothing with others, but does with its own snapshots
    return {name: request.family or GeneratorId.parse(name).base for name, request in generators.items()}


def _every(settings: RunSettings, variant: str = "") -> TrainSet:
    """Return the train set of all generators."""
    return TrainSet.of(*settings.generators, variant=variant)


def _matrix(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on each generator and test on every one."""
    every = tuple(settings.generators)
    trained = every if settings.conditions.matrix else ()
    return [PlannedFit(TrainSet.of(name), (*every, *_snapshots(settings, name, detector))) for name in trained]


def _unseen(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on all families but one and test on the generators of that one, for each family."""
    families = families_of(settings.generators)
    fits = []
    # families in the order of their first generators
    # not asked for and not refused: wherever it is possible
    for left_out in dict.fromkeys(families.values()) if settings.conditions.unseen is not False else ():
        others = [name for name, family in families.items() if family != left_out]
        tested = [name for name, family in families.items() if family == left_out]
        # The whole family is left out: its other members are near copies of the tested one.
        if others:
            snapshots = [label for name in tested for label in _snapshots(settings, name, detector)]
            changed = (CLEAN, WILD) if _is_wild(settings, detector) else (CLEAN,)
            fits.append(PlannedFit(TrainSet.of(*others), (*tested, *snapshots), changed))
    return fits


def _is_wild(settings: RunSettings, detector: str) -> bool:
    return settings.conditions.wild and _is_requested(settings, Condition.WILD, detector)


def _seen(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on all generators and test on each."""
    return [PlannedFit(_every(settings), tuple(settings.generators))] if settings.conditions.seen else []


def _next(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on all generators up to a step of time and test on those of the next, for each step."""
    order = settings.conditions.order
    before = [[name for step in order[:number] for name in step] for number in range(len(order))]
    # a variant: the same generators are the training of `matrix` or `unseen` in another mean
    return [PlannedFit(TrainSet.of(*before[number], variant=NEXT), order[number]) for number in range(1, len(order))]


def _robust(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on all generators and test on perturbed images too."""
    changed = settings.conditions.robust
    # Clean first: the gap to it is what the column explains.
    return [PlannedFit(_every(settings), tuple(settings.generators), (CLEAN, *changed))] if changed else []


def _equalised(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train and test on equalised images, and on unchanged images for comparison."""
    every = tuple(settings.generators)
    # two fits: what detectors gain from coding artefacts is the difference
    equalised = PlannedFit(_every(settings, EQUALISED), every, (EQUALISED,))
    return [PlannedFit(_every(settings), every), equalised] if settings.conditions.equalised else []


def _budget(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on few images, and on all of them for comparison."""
    every, budgets = tuple(settings.generators), settings.conditions.budget
    whole = [PlannedFit(_every(settings), every)] if budgets else []
    # the number of images is the variant: "dct@dcgan+gan:200"
    return whole + [PlannedFit(_every(settings, str(images)), every) for images in budgets]


def _variants(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on some models of a family, in several choices, and test on its other models and on other families.

    Each choice takes the models in another order: its first k are trained on, and those that no number of models
    reaches are tested, the same ones for all k. Orders are one random order, rotated, so that choices share as few
    models as can be.
    """
    numbers = settings.conditions.variants
    families = families_of(settings.generators)
    fits = []
    for family in families_with_more(settings.generators, max(numbers, default=0)) if numbers else ():
        models = [name for name, other in families.items() if other == family]
        others = [name for name, other in families.items() if other != family]
        # of the run's seed: repetitions choose anew, so that the interval over them is over choices too
        order = np.random.default_rng(derive_seed(settings.seed, "variants", family)).permutation(len(models))
        choices = min(settings.conditions.choices, len(models))
        for number in range(choices):
            rotated = [models[i] for i in np.roll(order, -(number * len(models) // choices))]
            tested = (*rotated[max(numbers) :], *others)
            fits += [PlannedFit(TrainSet.of_choice(number + 1, rotated[:k]), tested) for k in sorted(set(numbers))]
    return fits


def families_with_more(generators: Mapping[str, GeneratorSettings], models: int) -> list[str]:
    """Return the families that have more than a number of generators, in the order of their first ones."""
    families = list(families_of(generators).values())
    return [family for family in dict.fromkeys(families) if families.count(family) > models]


def _rounds(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on each round of an arms race, or on all up to it, and test on every generator, controls included."""
    if not settings.race.rounds:
        return []
    rounds, every = rounds_of(settings.generators), tuple(settings.generators)
    trained = [train_set_of_round(settings, number) for number in range(len(rounds))]
    return [PlannedFit(train_set, every) for train_set in trained]


def train_set_of_round(settings: RunSettings, number: int) -> TrainSet:
    """Return what detectors are trained on after a round of an arms race, 0 before the first."""
    rounds = rounds_of(settings.generators)
    learned = rounds[: number + 1] if settings.race.fits == "all" else [rounds[number]]
    return TrainSet.of(*(name for names in learned for name in names))


def _external(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Test the fit on all generators on external pairs."""
    pairs = _external_pairs(settings, detector)
    return [PlannedFit(_every(settings), pairs)] if pairs else []


def _paired(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Test the fit on all generators on forgeries beside the photos that they were made from."""
    tested = _beside_sources(settings, detector)
    return [PlannedFit(_every(settings), tested)] if tested else []


def _attacked(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Attack the fit on all generators, which is tested on unchanged images too."""
    attacked = _attacked_generators(settings, detector)
    return [PlannedFit(_every(settings), tuple(settings.generators), attacked=attacked)] if attacked else []


def _attributed(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Ask for the fit on all generators, whose features tell them apart.

    Raises:
        InputError: there is one generator.
    """
    if not settings.conditions.attribute:
        return []
    if len(settings.generators) < 2:
        raise InputError(
            f"--attribute asks which generator made an image, and this run has one, {next(iter(settings.generators))}; "
            "add another --generator or --forged"
        )
    return [PlannedFit(_every(settings), tuple(settings.generators))]


def _shuffled(settings: RunSettings, detector: str) -> list[PlannedFit]:
    """Train on shuffled labels, a control."""
    requested = detector in settings.conditions.shuffled
    # the same tests as the fit with true labels, which it is a control of
    return [PlannedFit(_every(settings, SHUFFLED), tuple(settings.generators))] if requested else []


# condition -> fits that it requires; a new condition is one entry here and one member of `Condition`
_FITS: dict[Condition, Callable[[RunSettings, str], list[PlannedFit]]] = {
    Condition.MATRIX: _matrix,
    Condition.UNSEEN: _unseen,
    Condition.SEEN: _seen,
    Condition.NEXT: _next,
    Condition.ROBUST: _robust,
    Condition.EQUALISED: _equalised,
    Condition.BUDGET: _budget,
    Condition.VARIANTS: _variants,
    Condition.ROUNDS: _rounds,
    Condition.EXTERNAL: _external,
    Condition.PAIRED: _paired,
    Condition.ATTACKED: _attacked,
    Condition.SHUFFLED: _shuffled,
}


# A pair is a test and no training: it changes no fit.
def _external_pairs(settings: RunSettings, detector: str) -> tuple[str, ...]:
    requested = _is_requested(settings, Condition.EXTERNAL, detector)
    return tuple(f"{EXTERNAL_PREFIX}{name}" for name in settings.external) if requested else ()


def views_of(settings: RunSettings, detector: str) -> tuple[str, ...]:
    """Return the views under which a detector is tested on external photos at their own resolution; not of controls."""
    requested = detector not in CONTROL_DETECTORS and _is_requested(settings, Condition.VIEWS, detector)
    return settings.conditions.views if requested else ()


def _beside_sources(settings: RunSettings, detector: str) -> tuple[str, ...]:
    """Return the tests beside sources: those of all generators whose forgeries are made from real faces."""
    # beside `seen`: it asks for no training of its own
    conditions = settings.conditions
    requested = conditions.paired and conditions.seen and _is_requested(settings, Condition.PAIRED, detector)
    made = [name for name, generator in settings.generators.items() if generator.takes_faces] if requested else []
    return tuple(f"{PAIRED_PREFIX}{name}" for name in made)


def _attacked_generators(settings: RunSettings, detector: str) -> tuple[str, ...]:
    requested = settings.attacks and _is_requested(settings, Condition.ATTACKED, detector)
    return tuple(settings.generators) if requested else ()


def snapshots_of(settings: RunSettings, generator: str) -> list[str]:
    """Return the names of the snapshots of a generator that are tested, e.g. "dcgan@24k"."""
    return [str(GeneratorId(generator, kimg)) for kimg in settings.conditions.snapshots.get(generator, ())]


def _snapshots(settings: RunSettings, generator: str, detector: str) -> list[str]:
    return snapshots_of(settings, generator) if _is_requested(settings, Condition.SNAPSHOTS, detector) else []


def _is_requested(settings: RunSettings, condition: Condition, detector: str) -> bool:
    only = settings.conditions.only.get(condition)
    return only is None or detector in only


def _merged(fits: list[PlannedFit]) -> list[PlannedFit]:
    """Merge the fits of one train set: several conditions may require the same fit."""
    merged: dict[TrainSet, PlannedFit] = {}
    # One fit, scored on the union of what each condition asks for. The order of first appearance keeps keys of scores
    # stable.
    for fit in fits:
        known = merged.get(fit.train_set, fit)
        merged[fit.train_set] = PlannedFit(
            fit.train_set,
            tuple(dict.fromkeys([*known.tests, *fit.tests])),
            tuple(dict.fromkeys([*known.perturbations, *fit.perturbations])),
            known.attacked or fit.attacked,
        )
    return list(merged.values())
