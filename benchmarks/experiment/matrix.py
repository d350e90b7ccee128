"""Which trainings and tests the conditions of a run ask for."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.experiment.settings import RunSettings
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

    A detector that was fitted elsewhere, or is a fixed scorer, has one exam: all generators, clean and perturbed. One
    generator alone has no left-out one, and what is asked of the union of all is asked of it.
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
    if asked.cross and _wanted(settings, Condition.CROSS, detector):
        found += [Exam(TrainSet.of(name), (*every, *_moments(settings, name, detector))) for name in every]
    if asked.leave_one_out and len(every) > 1 and _wanted(settings, Condition.LEAVE_ONE_OUT, detector):
        others = {name: TrainSet.of(*(other for other in every if other != name)) for name in every}
        found += [Exam(others[name], (name, *_moments(settings, name, detector))) for name in every]
    if asked.union and len(every) > 1 and _wanted(settings, Condition.UNION, detector):
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
