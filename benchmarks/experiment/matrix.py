"""Trainings and tests that the conditions of a run ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.experiment.settings import GeneratorSettings, RunSettings
from benchmarks.protocol import CLEAN, EQUALISED, EXTERNAL_PREFIX, SHUFFLED, Condition, GeneratorId, TrainSet


@dataclass(frozen=True)
class Exam:
    """One training of a detector and what it is tested on.

    Attributes:
        training: what it is trained on.
        tests: what it is tested on: generators, their snapshots ("dcgan@24k"), external pairs ("external:NAME").
        perturbations: of the test images, "none" for clean ones.
    """

    training: TrainSet
    tests: tuple[str, ...]
    perturbations: tuple[str, ...] = (CLEAN,)


def exams(settings: RunSettings, detector: str) -> list[Exam]:
    """The exams of one detector, each training once.

    A detector that was fitted elsewhere, or is a fixed scorer, has one exam: all generators, clean and perturbed. A run
    of one family has no `unseen`: nothing would be left to train on.
    """
    request = settings.detectors[detector]
    if request.trained_on:
        tested = tuple(settings.generators)
        tested += tuple(label for name in tested for label in moments(settings, name))
        changed = settings.conditions.robust if _wanted(settings, Condition.ROBUST, detector) else ()
        tested += _external_pairs(settings, detector)
        return [Exam(TrainSet.parse(request.trained_on), tested, (CLEAN, *changed))]
    trainings: list[Exam] = []
    for condition, trainings_of in _TRAININGS.items():
        if _wanted(settings, condition, detector):
            trainings += trainings_of(settings, detector)
    return _merged(trainings)


def families_of(generators: Mapping[str, GeneratorSettings]) -> dict[str, str]:
    """Generator of a run -> family; one without a family is its own, together with its snapshots."""
    return {name: generator.family or GeneratorId.parse(name).base for name, generator in generators.items()}


def _every(settings: RunSettings, variant: str = "") -> TrainSet:
    """The training on all generators."""
    return TrainSet.of(*settings.generators, variant=variant)


def _matrix(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on each generator and test on every one."""
    every = tuple(settings.generators)
    tested = every if settings.conditions.matrix else ()
    return [Exam(TrainSet.of(name), (*every, *_moments(settings, name, detector))) for name in tested]


def _unseen(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on all families but one and test on the generators of that one, for each family."""
    families = families_of(settings.generators)
    trainings = []
    for left_out in dict.fromkeys(families.values()) if settings.conditions.unseen else ():
        others = [name for name, family in families.items() if family != left_out]
        tested = [name for name, family in families.items() if family == left_out]
        if others:
            snapshots = [label for name in tested for label in _moments(settings, name, detector)]
            trainings.append(Exam(TrainSet.of(*others), (*tested, *snapshots)))
    return trainings


def _seen(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on all generators and test on each."""
    return [Exam(_every(settings), tuple(settings.generators))] if settings.conditions.seen else []


def _robust(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on all generators and test on perturbed images too."""
    changed = settings.conditions.robust
    return [Exam(_every(settings), tuple(settings.generators), (CLEAN, *changed))] if changed else []


def _equalised(settings: RunSettings, detector: str) -> list[Exam]:
    """Train and test on equalised images, beside the same training on images as they are."""
    every = tuple(settings.generators)
    equalised = Exam(_every(settings, EQUALISED), every, (EQUALISED,))
    return [Exam(_every(settings), every), equalised] if settings.conditions.equalised else []


def _budget(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on few images, beside the same training on all of them."""
    every, budgets = tuple(settings.generators), settings.conditions.budget
    whole = [Exam(_every(settings), every)] if budgets else []
    return whole + [Exam(_every(settings, str(images)), every) for images in budgets]


def _external(settings: RunSettings, detector: str) -> list[Exam]:
    """Test the training on all generators on external pairs."""
    pairs = _external_pairs(settings, detector)
    return [Exam(_every(settings), pairs)] if pairs else []


def _shuffled(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on shuffled labels, a control."""
    is_control = detector in settings.conditions.shuffled
    return [Exam(_every(settings, SHUFFLED), tuple(settings.generators))] if is_control else []


# condition -> what it asks of a detector; a new condition is one entry here and one member of `Condition`
_TRAININGS: dict[Condition, Callable[[RunSettings, str], list[Exam]]] = {
    Condition.MATRIX: _matrix,
    Condition.UNSEEN: _unseen,
    Condition.SEEN: _seen,
    Condition.ROBUST: _robust,
    Condition.EQUALISED: _equalised,
    Condition.BUDGET: _budget,
    Condition.EXTERNAL: _external,
    Condition.SHUFFLED: _shuffled,
}


def _external_pairs(settings: RunSettings, detector: str) -> tuple[str, ...]:
    wanted = _wanted(settings, Condition.EXTERNAL, detector)
    return tuple(f"{EXTERNAL_PREFIX}{name}" for name in settings.external) if wanted else ()


def moments(settings: RunSettings, generator: str) -> list[str]:
    """Labels of the snapshots of a generator that are tested."""
    return [str(GeneratorId(generator, kimg)) for kimg in settings.conditions.snapshots.get(generator, ())]


def _moments(settings: RunSettings, generator: str, detector: str) -> list[str]:
    return moments(settings, generator) if _wanted(settings, Condition.SNAPSHOTS, detector) else []


def _wanted(settings: RunSettings, condition: Condition, detector: str) -> bool:
    only = settings.conditions.only.get(condition)
    return only is None or detector in only


def _merged(exams: list[Exam]) -> list[Exam]:
    """One exam a training: two conditions may ask for the same."""
    merged: dict[TrainSet, Exam] = {}
    for exam in exams:
        known = merged.get(exam.training, exam)
        merged[exam.training] = Exam(
            exam.training,
            tuple(dict.fromkeys([*known.tests, *exam.tests])),
            tuple(dict.fromkeys([*known.perturbations, *exam.perturbations])),
        )
    return list(merged.values())
