"""Check a run's settings by the types of its generators and detectors, before any work starts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.metrics import METRICS, load_metrics
from benchmarks.experiment.attacks import attack_requests
from benchmarks.experiment.checked_class import checked_class, facts_of
from benchmarks.experiment.configs import validated
from benchmarks.experiment.file_digests import file_digests
from benchmarks.experiment.names import base_name, inverted_generator, is_fitted, short_name
from benchmarks.experiment.race import check_detector
from benchmarks.experiment.settings import DetectorRequest, GeneratorSettings, RunSettings
from benchmarks.experiment.trainings import shared_trainings, with_snapshots
from benchmarks.experiment.validate_conditions import check_conditions, with_perturbations
from benchmarks.experiment.views import check_views
from benchmarks.experiment.zoo import checked_member, refuse_equal_members, seen_in_training
from benchmarks.protocol import CONTROL_DETECTORS, ELSEWHERE
from benchmarks.report.sections import load_sections, section_digests
from detect.detectors.registry import DETECTORS
from forge.core.errors import BenchError, InputError, UnknownNameError, quoted
from forge.core.files import digest_file
from forge.core.registry import is_file_reference, named_file
from forge.generators import GENERATORS
from forge.quality import QUALITY, load_more
from forge.tampering.base import Tampering

if TYPE_CHECKING:
    from forge.generators.base import Architecture
    from forge.training.settings import LoopSettings


def typed(settings: RunSettings) -> RunSettings:
    """Check the settings of every generator and detector by their own types, and write their defaults out."""
    # Generators first: the checks of detectors ask which generator is trained.
    generators = {
        name: _generator(name, generator, settings.data.resolution) for name, generator in settings.generators.items()
    }
    detectors = {
        name: _detector(name, request, settings.data.resolution, generators)
        for name, request in settings.detectors.items()
    }
    check_detector(settings.race, detectors)
    refuse_equal_members(generators)
    check_views(settings, detectors)
    attacks = {}
    for name, attack in attack_requests(settings.model_copy(update={"generators": generators})).items():
        surrogate, autoencoder = attack.surrogate, attack.autoencoder
        if surrogate is not None:
            surrogate = _detector(surrogate.detector, surrogate, settings.data.resolution, generators)
        if autoencoder is not None:
            autoencoder = _generator(autoencoder.architecture, autoencoder, settings.data.resolution)
        attacks[name] = attack.model_copy(update={"surrogate": surrogate, "autoencoder": autoencoder})
    settings = settings.model_copy(update={"attacks": attacks})
    # After the detectors: they may ask for snapshots that no generator was told to keep.
    generators = shared_trainings(with_snapshots(generators, detectors))
    if settings.conditions.snapshots and all(request.trained_on for request in detectors.values()):
        raise InputError("conditions.snapshots needs a detector that is fitted here; add --detector random")
    check_conditions(settings, generators)
    return settings.model_copy(
        update={
            "generators": generators,
            "detectors": detectors,
            "conditions": with_perturbations(settings.conditions),
            **_metrics(settings),
            **_sections(settings),
        },
    )


def _detector(
    name: str, request: DetectorRequest, resolution: int, generators: Mapping[str, GeneratorSettings]
) -> DetectorRequest:
    from detect.detectors.base import Detector  # imports pandas

    if is_fitted(request.detector):  # a folder: its settings are its card's
        return _adopted(request, resolution, generators)
    if request.detector in CONTROL_DETECTORS and name != request.detector:
        raise InputError(f"--detector {name}={request.detector}: a control keeps its name, by which audits know it")
    implementation = checked_class("detector", request.detector, DETECTORS.load(request.detector), Detector)
    typed = validated(implementation.Settings, request.settings, where=f"detectors.{name}")
    # Constructed once: code of others may refuse in its constructor what its settings allow.
    if is_file_reference(request.detector):
        _construct("detector", request.detector, functools.partial(implementation, typed, resolution))
    values = typed.model_dump(mode="json")
    _check_adversary(name, request, implementation.needs, generators)
    # Defaults are written out: a default that changes in a later version changes the key.
    checked = {"settings": values, "needs": implementation.needs, "files": file_digests(request.detector, values)}
    checked |= facts_of(implementation, typed)
    # a fixed scorer learns nothing from this run's forgeries
    fixed = {"trained_on": ELSEWHERE} if implementation.needs == "nothing" else {}
    return request.model_copy(update=checked | fixed)


def _metrics(settings: RunSettings) -> dict[str, Any]:
    """Metrics that were asked for, those of detection and those of quality apart, with the digests of their code.

    Raises:
        UnknownNameError, InputError: one is not known, is no metric, lacks a field, or has an id that is taken.
    """
    from forge.quality.metric import QualityMetric  # imports torch

    of_quality = []
    # One option for two registries: a name is a metric of detection unless it is known as one of quality alone.
    for name in settings.metrics:
        if is_file_reference(name):
            implementation = METRICS.load(name)
            of_quality += (
                [name] if isinstance(implementation, type) and issubclass(implementation, QualityMetric) else []
            )
        elif name not in METRICS.names() and name in QUALITY.names():
            of_quality.append(name)
        elif name not in METRICS.names():
            raise UnknownNameError("metric", name, [*METRICS.names(), *QUALITY.names()], see="bench list metrics")
    of_detection = [name for name in settings.metrics if name not in of_quality]
    # Loading refuses ids that are taken, before any work.
    load_metrics(of_detection)
    load_more(of_quality)

    def code(names: Sequence[str]) -> dict[str, str]:
        # "name key": several metrics may come from files that import modules of one name
        return {f"{name} {key}": digest for name in names for key, digest in file_digests(name, {}).items()}

    quality = settings.quality.model_copy(update={"metrics": tuple(of_quality), "files": code(of_quality)})
    return {"metrics": tuple(of_detection), "metric_files": code(of_detection), "quality": quality}


def _sections(settings: RunSettings) -> dict[str, Any]:
    """Check the additional sections of the page, and digest their code and templates.

    Raises:
        UnknownNameError, InputError: one is not known, is no section, lacks a field, or has an id that is taken.
    """
    if not settings.sections:
        return {}
    load_sections(settings.sections)
    return {"section_files": section_digests(settings.sections)}


def _generator(name: str, generator: GeneratorSettings, resolution: int) -> GeneratorSettings:
    if generator.path:  # nothing to check but its files, which are opened when the run is planned
        return generator
    if generator.zoo:
        return checked_member(name, generator, resolution)
    from forge.generators.base import Architecture  # all import torch
    from forge.training.steps import method_of

    implementation = checked_class(
        "generator", generator.architecture, GENERATORS.load(generator.architecture), Architecture, Tampering
    )
    network = validated(implementation.Settings, generator.network, where=f"generators.{name}.network")
    learns = issubclass(implementation, Architecture)
    if generator.tuned is not None and not (learns and method_of(implementation).takes_guidance):
        raise InputError(
            f"generator {quoted(name)} cannot be trained against a detector; a race is for GANs, pix2pix, flow and "
            "ddpm, e.g. dcgan"
        )
    # A tampering is no architecture: it have no training, so that most settings below do not apply.
    if issubclass(implementation, Tampering):
        checked = _tampering(name, generator, implementation(network), _family(generator, implementation))
        if generator.inverts is None:
            if implementation.inverts:
                raise InputError(
                    f"generator {quoted(name)} inverts a generator that its name does not say; such edits are named "
                    "edit:NAME or inversion:NAME, e.g. edit:dcgan"
                )
            return checked
        inverted = _generator(inverted_generator(generator.architecture)[1], generator.inverts, resolution)
        return checked.model_copy(update={"inverts": inverted})
    # Each method of training has settings of its own.
    training = validated(method_of(implementation).Settings, generator.training, where=f"generators.{name}.training")
    # refuses a resolution it cannot make, or labels where it takes none; their values are seen in the data
    # two labels a column stand for any number: the data are not read yet
    classes = ((2,) * len(generator.condition),) if generator.condition else ()
    _construct("generator", generator.architecture, lambda: implementation(network, resolution, *classes))
    _check_snapshots(name, training, generator)
    if generator.truncation != 1 and not implementation.truncates:
        raise InputError(f"generator {quoted(name)} cannot be truncated; leave truncation at 1, or use stylegan-lite")
    if generator.mix != "training" and not generator.condition:
        raise InputError(
            f"generator {quoted(name)} takes no labels; leave the mix at 'training', or name a --condition"
        )
    _check_domains(name, generator, implementation)
    return generator.model_copy(
        update={
            "family": _family(generator, implementation),
            "translates": implementation.takes_faces,
            "moves_between": implementation.domains != "none",
            "masks": getattr(implementation, "masks", False),
            "judged": implementation.has_discriminator() and not implementation.takes_faces,
            "network": network.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            # of weights and code: a changed file of the same name is another generator
            "files": file_digests(generator.architecture, network.model_dump()),
        }
    )


def _check_domains(name: str, generator: GeneratorSettings, implementation: type[Architecture]) -> None:
    """Refuse domains where there are none, and a direction that is not learned.

    Raises:
        InputError: says which.
    """
    if generator.domains and implementation.domains == "none":
        raise InputError(
            f"generator {quoted(name)} does not translate between domains; set generators.NAME.domains for one that "
            "does, e.g. fastcut or cyclegan"
        )
    if generator.direction == "backward" and implementation.domains != "two-way":
        remedy = "exchange the values of its domains, or use cyclegan" if implementation.takes_faces else "use cyclegan"
        raise InputError(f"generator {quoted(name)} has no backward direction; {remedy}")


def _construct(noun: str, reference: str, make: Callable[[], object]) -> None:
    """Make an instance once, so that what a constructor refuses is known before any training.

    Raises:
        InputError: it refuses, or its code is wrong.
    """
    try:
        make()
    except BenchError:
        raise
    # An error of shipped code keeps its traceback: it is a bug, not an input.
    except Exception as error:  # code of others may raise anything; it is named and re-raised
        if not is_file_reference(reference):
            raise
        raise InputError(f"{noun} {reference!r} cannot be made: {type(error).__name__}: {str(error)[:200]}") from error


def _family(generator: GeneratorSettings, architecture: type[Architecture | Tampering[Any]]) -> str:
    """The family that settings name, else that of the architecture; a plug-in without one is its own."""
    return generator.family or architecture.family or short_name(generator.architecture)


def _tampering(name: str, generator: GeneratorSettings, tampering: Tampering[Any], family: str) -> GeneratorSettings:
    """Forgeries made from reals: what is set for all generators about training and drawing does not apply."""
    if generator.snapshot is not None:
        raise InputError(f"generator {quoted(name)} is not trained and has no snapshots; use {base_name(name)}")
    if generator.seed:
        raise InputError(f"generator {quoted(name)} is not trained; leave its seed out, or repeat the run: --seeds 0,1")
    searches = "all" if tampering.takes_donors else "taken"  # any face may be a donor
    # All else stays at its default, so that settings for all generators do not enter the key.
    return GeneratorSettings(
        architecture=generator.architecture,
        network=tampering.settings.model_dump(mode="json"),
        tampers=True,
        searches=searches if tampering.settings.landmarks == "mtcnn" else "none",
        masks=True,
        judged=False,
        family=family,
        files=file_digests(generator.architecture, {}),
    )


def _adopted(request: DetectorRequest, resolution: int, generators: Mapping[str, GeneratorSettings]) -> DetectorRequest:
    """Identify a fitted detector by its card, which holds the digests of all its files."""
    from detect.artifact import read_card, settings_of  # imports pandas

    folder = Path(request.detector)
    card = read_card(folder)
    # networks with an input size resize by themselves
    if card.resolution != resolution and card.settings.get("input_size") is None:
        raise InputError(
            f"{folder} was fitted at {card.resolution} px and does not resize; use --resolution {card.resolution}"
        )
    files = {"detector.json": digest_file(folder / "detector.json")}
    reference = card.name
    # Its class comes from a file, which the card names but may not import.
    if is_file_reference(card.name):
        named = named_file(card.name)
        if named is None:
            raise InputError(
                f"{folder} was fitted with a detector from a file; name that file too: --plugin {card.name}"
            )
        reference = named
        files |= file_digests(reference, {})
    implementation = DETECTORS.load(reference)
    settings = settings_of(card, implementation, folder / "detector.json")
    known = {"trained_on": seen_in_training(card.trained_on, generators), "files": files}
    return request.model_copy(update=known | facts_of(implementation, settings))


def _check_adversary(
    name: str, request: DetectorRequest, needs: str, generators: Mapping[str, GeneratorSettings]
) -> None:
    if request.adversary and needs not in ("discriminator", "snapshots"):
        raise InputError(
            f"detector {quoted(name)}: {request.detector} uses no discriminator; leave @{request.adversary} out"
        )
    judges = [request.adversary] if request.adversary else list(generators)  # without a name, those it is trained on
    trained = [judge for judge in judges if judge not in generators or generators[judge].judged]
    if needs in ("discriminator", "snapshots") and not trained:
        raise InputError(
            f"detector {quoted(name)} starts from a discriminator of images, and {', '.join(judges)} has none; name a "
            f"generator that has one: {request.detector}@dcgan"
        )
    if request.adversary and request.adversary not in generators:
        raise InputError(
            f"detector {quoted(name)} starts from the discriminator of {quoted(request.adversary)}, which is "
            f"not part of the run; "
            f"name it with --generator too (there: {', '.join(generators)})"
        )


def _check_snapshots(name: str, training: LoopSettings, generator: GeneratorSettings) -> None:
    if generator.snapshot is not None and generator.snapshot > training.kimg:  # equal: the snapshot at the end
        raise InputError(
            f"generator {quoted(name)}: the training shows {training.kimg:g} thousand images; ask for an "
            f"earlier snapshot or "
            f"a longer training (--set generators.{base_name(name)}.training.kimg=N)"
        )
