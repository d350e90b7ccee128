"""Which trainings and tests the conditions of a run ask for."""

from __future__ import annotations

from collections.abc import Mapping
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
    every = tuple(settings.generators)
    asked = settings.conditions
    elsewhere = tuple(f"{EXTERNAL_PREFIX}{name}" for name in settings.external)
    elsewhere = elsewhere if _wanted(settings, Condition.EXTERNAL, detector) else ()
    changed = asked.robust if _wanted(settings, Condition.ROBUST, detector) else ()
    request = settings.detectors[detector]
    if request.trained_on:
        every += tuple(label for name in every for label in moments(settings, name)) + elsewhere
        return [Exam(TrainSet.parse(request.trained_on), every, (CLEAN, *changed))]
    found: list[Exam] = []
    if asked.matrix and _wanted(settings, Condition.MATRIX, detector):
        found += [Exam(TrainSet.of(name), (*every, *_moments(settings, name, detector))) for name in every]
    if asked.unseen and _wanted(settings, Condition.UNSEEN, detector):
        found += _unseen(settings, detector)
    if asked.seen and _wanted(settings, Condition.SEEN, detector):
        found.append(Exam(TrainSet.of(*every), every))
    if changed:
        found.append(Exam(TrainSet.of(*every), every, (CLEAN, *changed)))
    if asked.equalised and _wanted(settings, Condition.EQUALISED, detector):
        found.append(Exam(TrainSet.of(*every), every))
        found.append(Exam(TrainSet.of(*every, variant=EQUALISED), every, (EQUALISED,)))
    if asked.budget and _wanted(settings, Condition.BUDGET, detector):
        found.append(Exam(TrainSet.of(*every), every))
        found += [Exam(TrainSet.of(*every, variant=str(images)), every) for images in asked.budget]
    if elsewhere:
        found.append(Exam(TrainSet.of(*every), elsewhere))
    if detector in asked.shuffled:
        found.append(Exam(TrainSet.of(*every, variant=SHUFFLED), every))
    return _merged(found)


def families_of(generators: Mapping[str, GeneratorSettings]) -> dict[str, str]:
    """Generator of a run -> family; one without a family is its own, together with its snapshots."""
    return {name: one.family or GeneratorId.parse(name).base for name, one in generators.items()}


def _unseen(settings: RunSettings, detector: str) -> list[Exam]:
    """Train on all families but one and test on the generators of that one, for each family."""
    families = families_of(settings.generators)
    trainings = []
    for left_out in dict.fromkeys(families.values()):
        others = [name for name, family in families.items() if family != left_out]
        tested = [name for name, family in families.items() if family == left_out]
        if others:
            snapshots = [label for name in tested for label in _moments(settings, name, detector)]
            trainings.append(Exam(TrainSet.of(*others), (*tested, *snapshots)))
    return trainings


def moments(settings: RunSettings, generator: str) -> list[str]:
    """Labels of the snapshots of a generator that are tested."""
    return [str(GeneratorId(generator, kimg)) for kimg in settings.conditions.snapshots.get(generator, ())]


def _moments(settings: RunSettings, generator: str, detector: str) -> list[str]:
    return moments(settings, generator) if _wanted(settings, Condition.SNAPSHOTS, detector) else []


def _wanted(settings: RunSettings, condition: Condition, detector: str) -> bool:
    only = settings.conditions.only.get(condition)
    return only is None or detector in only


def _merged(found: list[Exam]) -> list[Exam]:
    """One exam a training: two conditions may ask for the same."""
    merged: dict[TrainSet, Exam] = {}
    for exam in found:
        known = merged.get(exam.training, exam)
        merged[exam.training] = Exam(
            exam.training,
            tuple(dict.fromkeys([*known.tests, *exam.tests])),
            tuple(dict.fromkeys([*known.perturbations, *exam.perturbations])),
        )
    return list(merged.values())
