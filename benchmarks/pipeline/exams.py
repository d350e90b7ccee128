"""Which trainings and tests the conditions of a run ask for."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measures.trainings import CLEAN, EQUALISED, SHUFFLED, Training
from benchmarks.pipeline.settings import RunSettings


@dataclass(frozen=True)
class Exam:
    """One training of a detector and what it is tested on.

    Attributes:
        training: what it is trained on.
        tests: generators whose forgeries it is tested on.
        perturbations: of the test images, "none" for clean ones.
    """

    training: Training
    tests: tuple[str, ...]
    perturbations: tuple[str, ...] = (CLEAN,)


def exams(settings: RunSettings, detector: str) -> list[Exam]:
    """The exams of one detector, each training once.

    A detector that was fitted elsewhere has one exam: all generators, clean and perturbed. One generator alone has no
    left-out one, and what is asked of the union of all is asked of it.
    """
    every = tuple(settings.generators)
    asked = settings.conditions
    changed = asked.robust if _wanted(settings, "robust", detector) else ()
    request = settings.detectors[detector]
    if request.trained_on:
        return [Exam(Training.parse(request.trained_on), every, (CLEAN, *changed))]
    found: list[Exam] = []
    if asked.cross and _wanted(settings, "cross", detector):
        found += [Exam(Training.of(name), every) for name in every]
    if asked.leave_one_out and len(every) > 1 and _wanted(settings, "leave-one-out", detector):
        found += [Exam(Training.of(*(other for other in every if other != name)), (name,)) for name in every]
    if changed:
        found.append(Exam(Training.of(*every), every, (CLEAN, *changed)))
    if asked.equalised and _wanted(settings, "equalised", detector):
        found.append(Exam(Training.of(*every), every))
        found.append(Exam(Training.of(*every, variant=EQUALISED), every, (EQUALISED,)))
    if asked.budget and _wanted(settings, "budget", detector):
        found.append(Exam(Training.of(*every), every))
        found += [Exam(Training.of(*every, variant=str(images)), every) for images in asked.budget]
    if detector in asked.shuffled:
        found.append(Exam(Training.of(*every, variant=SHUFFLED), every))
    return _merged(found)


def _wanted(settings: RunSettings, condition: str, detector: str) -> bool:
    only = settings.conditions.only.get(condition)
    return only is None or detector in only


def _merged(found: list[Exam]) -> list[Exam]:
    """One exam a training: two conditions may ask for the same."""
    merged: dict[Training, Exam] = {}
    for exam in found:
        known = merged.get(exam.training, exam)
        merged[exam.training] = Exam(
            exam.training,
            tuple(dict.fromkeys([*known.tests, *exam.tests])),
            tuple(dict.fromkeys([*known.perturbations, *exam.perturbations])),
        )
    return list(merged.values())
