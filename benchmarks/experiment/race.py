"""Generators of an arms race: each round trains a generator on against the detector of the round before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.settings import DetectorRequest, GeneratorSettings, RaceSettings, Tuned
from forge.core.errors import InputError, UnknownNameError

# training settings of a round that are not those of the generator's own training
_WITHOUT = ("snapshots_kimg", "schedule")
_OFF = {"matrix": False, "seen": False, "unseen": False, "paired": False}  # conditions that a race replaces


def raced(
    race: RaceSettings, generators: Mapping[str, GeneratorSettings], detectors: Mapping[str, DetectorRequest]
) -> tuple[RaceSettings, dict[str, GeneratorSettings]]:
    """Return the race with its detector named, and the generators of all its rounds and controls after their bases.

    Round r of `dcgan` is called dcgan-r1, its control without a detector dcgan-plain-r1, that against a network with
    random weights dcgan-random-r1.

    Raises:
        UnknownNameError, InputError: the detector is no part of the run; a snapshot or an edit would race.
    """
    name = race.detector or next(iter(detectors))
    if name not in detectors:
        raise UnknownNameError("--set race.detector", name, detectors)
    made: dict[str, GeneratorSettings] = {}
    for label, generator in generators.items():
        if generator.snapshot is not None or generator.inverts is not None or generator.path or generator.zoo:
            what = "files" if generator.path else "published weights" if generator.zoo else "a snapshot or an edit"
            raise InputError(f"an arms race begins with a whole training; {label} is {what}")
        made[label] = generator

        def add(chain: str, against: str, rounds: int, begin: str = label, of: GeneratorSettings = generator) -> None:
            base = begin
            for number in range(1, rounds + 1):
                tuned = Tuned(base=base, detector=against, round=number, weight=race.weight)
                base = f"{begin}{chain}-r{number}"
                made[base] = of.model_copy(update={"tuned": tuned, "training": _training(of.training, race)})

        add("", name, race.rounds)
        if race.controls:
            add("-plain", "", race.rounds)
            add("-random", Tuned.RANDOM, 1)
    return race.model_copy(update={"detector": name}), made


def _training(training: Mapping[str, Any], race: RaceSettings) -> dict[str, Any]:
    kept = {key: value for key, value in training.items() if key not in _WITHOUT}
    return kept | {"kimg": race.kimg, "sample_every_kimg": race.kimg}


def conditions_of_race(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions of a request without those that a race replaces, unless they are asked for."""
    return {**_OFF, **conditions}


def rounds_of(generators: Mapping[str, GeneratorSettings]) -> list[list[str]]:
    """Return the generators of each round that detectors learn from, the untuned ones first; controls are in none."""
    rounds: list[list[str]] = []
    for name, generator in generators.items():
        tuned = generator.tuned
        if tuned is None or tuned.detector not in ("", Tuned.RANDOM):
            number = 0 if tuned is None else tuned.round
            rounds += [[] for _ in range(number + 1 - len(rounds))]
            rounds[number].append(name)
    return rounds


def check_detector(race: RaceSettings, detectors: Mapping[str, DetectorRequest]) -> None:
    """Refuse a race against a detector that no round fits.

    Raises:
        InputError: it learns nothing, or was fitted elsewhere.
    """
    if race.rounds and detectors[race.detector].trained_on:
        raise InputError(
            f"{race.detector} learns nothing in this run, so that no generator can race against it; name another one: "
            "--set race.detector=NAME"
        )


def check_conditions(conditions: Conditions) -> None:
    """Refuse conditions that a race cannot have.

    Raises:
        InputError: detectors would be attacked that no round has.
    """
    if conditions.attacked:
        raise InputError(
            "an arms race has fits of its own, and `attacked` needs one on all generators; attack in another run"
        )
