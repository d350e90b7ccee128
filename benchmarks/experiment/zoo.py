"""Generators of the zoo in a run: settings from the card of a member, and what does not apply to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiment.configs import merged, validated
from benchmarks.experiment.settings import GeneratorSettings
from benchmarks.protocol import GeneratorId, TrainSet
from benchmarks.zoo.members import PREFIX, WEIGHTS, member_of, refuse_other_resolution
from forge.core.errors import InputError, quoted, short
from forge.generators import GENERATORS

DRAWN = ("mix", "truncation", "direction", "family")  # settings of how forgeries are drawn; all others are the card's


def generator_of_zoo(reference: str, overrides: Mapping[str, Any]) -> GeneratorSettings:
    """Return the settings of a generator that is not trained, as its card has them.

    What is set for all generators about networks and trainings does not apply to it.

    Args:
        reference: e.g. "zoo:stylegan-lite-64".
        overrides: settings of the request, by section.

    Raises:
        UnknownNameError: there is no such member; carries the nearest names.
        InputError: a snapshot or a variant of it, a setting that only a training has, or a damaged member.
    """
    name, at, _ = reference.partition("@")
    if at:
        raise InputError(
            f"generator {quoted(reference)}: a member of the zoo is the end of a training and has no snapshots; use "
            f"{name}, or train the generator here"
        )
    if name in overrides.get("variants", {}):
        raise InputError(f"setting 'variants.{name}' cannot be set: {name} is not trained here and has no variants")
    member = member_of(name, "generator")
    alone = overrides.get("generators", {}).get(name, {})
    if refused := [key for key in alone if key not in DRAWN]:
        raise InputError(
            f"setting 'generators.{name}.{short(refused[0])}' cannot be set: {name} is not trained here; of a member "
            f"of the zoo {', '.join(DRAWN)} can be set"
        )
    every = {key: value for key, value in overrides.get("generator", {}).items() if key in DRAWN}
    card = member.generator
    content = {
        "family": member.card.family,
        **merged(every, alone),
        "architecture": card["architecture"],
        "zoo": member.card.name,
        "network": card["settings"],
        "condition": tuple(card["condition"]["values"]) if card.get("condition") else (),
        "domains": card.get("domains") or {},
        "files": {WEIGHTS: member.weights_sha256},
    }
    return validated(GeneratorSettings, content, where=f"generators.{name}")


def checked_member(name: str, generator: GeneratorSettings, resolution: int) -> GeneratorSettings:
    """Check a generator of the zoo against the run, and fill in what its architecture is.

    Args:
        name: in the run.
        generator: of `generator_of_zoo`.
        resolution: of the run, in pixels.

    Raises:
        InputError: another resolution, or a way of drawing forgeries that the architecture does not have.
    """
    refuse_other_resolution(member_of(f"{PREFIX}{generator.zoo}", "generator"), resolution)
    implementation = GENERATORS.load(generator.architecture)
    network = validated(implementation.Settings, generator.network, where=f"{name} (its generator.json)")
    if generator.truncation != 1 and not implementation.truncates:
        raise InputError(f"generator {quoted(name)} cannot be truncated; leave truncation at 1")
    if generator.mix != "training" and not generator.condition:
        raise InputError(f"generator {quoted(name)} takes no labels; leave the mix at 'training'")
    if generator.direction == "backward" and implementation.domains != "two-way":
        raise InputError(f"generator {quoted(name)} has no backward direction; leave the direction at 'forward'")
    return generator.model_copy(
        update={
            "family": generator.family or implementation.family,
            "network": network.model_dump(mode="json"),
            "translates": implementation.takes_faces,
            "moves_between": implementation.domains != "none",
            "masks": getattr(implementation, "masks", False),
            "judged": False,  # published weights have no discriminator
        }
    )


def seen_in_training(trained_on: str, generators: Mapping[str, GeneratorSettings]) -> str:
    """Add to the training of a fitted detector the generators of a run that are of one architecture with one in it.

    A detector that was trained on `dcgan` has seen the family of `zoo:dcgan-64`, perhaps the same weights, and the
    other way round; by their names alone it would count as unseen.

    Args:
        trained_on: of the detector's card.
        generators: of the run.

    Returns:
        The training as a run writes it; `trained_on` itself where nothing is added.
    """
    training = TrainSet.parse(trained_on)
    seen = {_architecture(name) for name in training.generators}
    added = [
        name
        for name, generator in generators.items()
        if (generator.zoo or any(each.startswith(PREFIX) for each in training.generators))
        and _architecture(name) in seen
    ]
    return str(TrainSet.of(*training.generators, *added, variant=training.variant)) if added else trained_on


def _architecture(name: str) -> str:
    """Return the architecture behind a generator's name; of a member that is not here, its name."""
    base = GeneratorId.parse(name).base
    if not base.startswith(PREFIX):
        return base
    try:
        return str(member_of(base, "generator").generator["architecture"])
    except InputError:  # unknown here
        return base


def refuse_equal_members(generators: Mapping[str, GeneratorSettings]) -> None:
    """Refuse two names of one set of weights: their forgeries would be the same images.

    Raises:
        InputError: there are two.
    """
    names: dict[str, str] = {}
    for name, generator in generators.items():
        if generator.zoo and names.setdefault(generator.files[WEIGHTS], name) != name:
            raise InputError(f"{names[generator.files[WEIGHTS]]} and {name} are the same weights; name one of them")
