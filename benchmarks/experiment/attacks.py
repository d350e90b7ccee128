"""Check the attacks of a run by their classes, and find what each needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.experiment.checked_class import checked_class
from benchmarks.experiment.configs import shipped, validated
from benchmarks.experiment.file_digests import file_digests
from benchmarks.experiment.resolve import generator_beside, mirrors
from benchmarks.experiment.settings import AttackRequest, DetectorRequest, RunSettings
from detect.attacks.registry import ATTACKS
from forge.core.errors import InputError, quoted

if TYPE_CHECKING:
    from detect.attacks.base import Attack

AUTOENCODER = "vae"  # generator that re-encodes images


def attack_requests(settings: RunSettings) -> dict[str, AttackRequest]:
    """Return the attacks with their settings written out; surrogates and autoencoders are checked by the caller.

    Raises:
        UnknownNameError, InputError: an attack is not known, is no attack, or has budgets where it takes none.
    """
    requests = {}
    for name, request in settings.attacks.items():
        attack = _attack_class(request.attack)
        where = f"conditions.attacked: {quoted(name)}"
        if attack.budget == "levels" and not request.budgets:
            raise InputError(f"{where} needs budgets in grey levels, e.g. {{{name}: [1, 2, 4, 8]}}")
        if attack.budget == "none" and request.budgets:
            raise InputError(f"{where} takes no budget; write {{{name}: []}}")
        if len(set(request.budgets)) < len(request.budgets):
            raise InputError(f"{where} names a budget twice; once is enough")
        typed = validated(attack.Settings, request.settings, where=f"attacks.{name}")
        values = typed.model_dump(mode="json")
        requests[name] = request.model_copy(
            update={
                "budgets": tuple(sorted(request.budgets)),
                "settings": values,
                "access": attack.access,
                "needs": attack.needs,
                "surrogate": _surrogate(name, values, settings) if attack.needs == "surrogate" else None,
                "autoencoder": (
                    generator_beside(
                        AUTOENCODER, settings.preset, settings.request.set, mirrors=mirrors(settings.data.source)
                    )
                    if attack.needs == "autoencoder"
                    else None
                ),
                "files": file_digests(request.attack, {}),
            }
        )
    return requests


def _attack_class(reference: str) -> type[Attack[Any]]:
    from detect.attacks.base import Attack  # imports torch

    return checked_class("attack", reference, ATTACKS.load(reference), Attack)  # type: ignore[no-any-return]


def _surrogate(name: str, values: dict[str, Any], settings: RunSettings) -> DetectorRequest:
    detector = values.get("surrogate")
    if not isinstance(detector, str):
        raise InputError(f"attack {quoted(name)} needs a surrogate and has no setting `surrogate` that names it")
    if not any(generator.draws_latents for generator in settings.generators.values()):
        raise InputError(
            f"conditions.attacked: the surrogate of {quoted(name)} is fitted on forgeries drawn for it, and no "
            "generator of this run draws any from latents; add one, e.g. dcgan"
        )
    return DetectorRequest(detector=detector, settings=shipped("detectors", detector, settings.preset))
