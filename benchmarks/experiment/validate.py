"""Check a run's settings by the types of its generators and detectors, before any work starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.experiment.configs import validated
from benchmarks.experiment.matrix import families_of, planned_fits
from benchmarks.experiment.names import base_name, is_fitted, short_name
from benchmarks.experiment.settings import Conditions, DetectorRequest, GeneratorSettings, RunSettings
from benchmarks.protocol import ELSEWHERE, Condition, GeneratorId
from forge.core.errors import BenchError, InputError, UnknownNameError, quoted
from forge.core.files import digest_file
from forge.core.registry import code_files, is_file_reference, named_file

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forge.blending.blending import Blending
    from forge.generators.base import Architecture
    from forge.training.settings import LoopSettings


def typed(settings: RunSettings) -> RunSettings:
    """Check the settings of every generator and detector by their own types, and write their defaults out."""
    from detect.detectors.base import Detector
    from detect.detectors.registry import DETECTORS

    generators = {name: _generator(name, one, settings.data.resolution) for name, one in settings.generators.items()}
    detectors = {}
    for name, request in settings.detectors.items():
        if is_fitted(request.detector):
            detectors[name] = _adopted(request, settings.data.resolution)
            continue
        kind = of_kind("detector", request.detector, DETECTORS.load(request.detector), Detector)
        typed = validated(kind.Settings, request.settings, where=f"detectors.{name}")
        if is_file_reference(request.detector):
            _construct("detector", request.detector, functools.partial(kind, typed, settings.data.resolution))
        values = typed.model_dump(mode="json")
        _check_adversary(name, request, kind.needs, generators)
        checked = {"settings": values, "needs": kind.needs, "files": _digests(request.detector, values)}
        fixed = {"trained_on": ELSEWHERE} if kind.needs == "nothing" else {}
        detectors[name] = request.model_copy(update=checked | fixed)
    generators = _with_snapshots(generators, detectors)
    if settings.conditions.snapshots and all(one.trained_on for one in detectors.values()):
        raise InputError("conditions.snapshots needs a detector that is fitted here; add --detector random")
    _check_conditions(settings, generators)
    return settings.model_copy(
        update={
            "generators": generators,
            "detectors": detectors,
            "conditions": _perturbations(settings.conditions),
            **_metrics(settings),
            **_sections(settings),
        },
    )


def _metrics(settings: RunSettings) -> dict[str, Any]:
    """Metrics that were asked for, those of detection and those of quality apart, with the digests of their code.

    Raises:
        UnknownNameError, InputError: one is not known, is no metric, lacks a field, or has an id that is taken.
    """
    from benchmarks.evaluation.metrics import METRICS, load_metrics
    from forge.quality import QUALITY, load_more
    from forge.quality.metric import QualityMetric

    of_quality = []
    for name in settings.metrics:
        if is_file_reference(name):
            kind = METRICS.load(name)
            of_quality += [name] if isinstance(kind, type) and issubclass(kind, QualityMetric) else []
        elif name not in METRICS.names() and name in QUALITY.names():
            of_quality.append(name)
        elif name not in METRICS.names():
            raise UnknownNameError("metric", name, [*METRICS.names(), *QUALITY.names()], see="bench list metrics")
    of_detection = [name for name in settings.metrics if name not in of_quality]
    load_metrics(of_detection)
    load_more(of_quality)

    def code(names: Sequence[str]) -> dict[str, str]:
        return {f"{name} {key}": digest for name in names for key, digest in _digests(name, {}).items()}

    quality = settings.quality.model_copy(update={"metrics": tuple(of_quality), "files": code(of_quality)})
    return {"metrics": tuple(of_detection), "metric_files": code(of_detection), "quality": quality}


def _sections(settings: RunSettings) -> dict[str, Any]:
    """Check the additional sections of the page, and digest their code and templates.

    Raises:
        UnknownNameError, InputError: one is not known, is no section, lacks a field, or has an id that is taken.
    """
    if not settings.sections:
        return {}
    from benchmarks.report.sections import load_sections, section_digests

    load_sections(settings.sections)
    return {"section_files": section_digests(settings.sections)}


def _perturbations(conditions: Conditions) -> Conditions:
    """The conditions with the ids of perturbations from files and the digests of their code.

    Raises:
        UnknownNameError, InputError: one is not known, is no perturbation, or two have one id.
    """
    from detect.data.perturb import perturbation

    files: dict[str, dict[str, str]] = {}
    ids: dict[str, str] = {}
    for reference in conditions.robust:
        name = perturbation(reference).name  # refuses what is not known
        if name in ids:
            raise InputError(f"conditions.robust: {quoted(ids[name])} and {quoted(reference)} are both {quoted(name)}")
        ids[name] = reference
        if is_file_reference(reference):
            parts = [part for part in reference.split("+") if is_file_reference(part)]
            code = {f"{part} {key}": digest for part in parts for key, digest in _digests(part, {}).items()}
            files[reference] = {"id": name, **code}
    return conditions.model_copy(update={"perturbation_files": files})


def _check_conditions(settings: RunSettings, generators: Mapping[str, GeneratorSettings]) -> None:
    asked = settings.conditions
    for name, moments in asked.snapshots.items():
        if name not in generators:
            raise InputError(
                f"conditions.snapshots: {quoted(name)} is not a generator of this run ({', '.join(generators)})"
            )
        if generators[name].blends or generators[name].snapshot is not None:
            raise InputError(f"conditions.snapshots: {quoted(name)} has no snapshots; name a generator that is trained")
        for kimg in moments:
            if kimg >= generators[name].training["kimg"]:
                raise InputError(
                    f"conditions.snapshots: the training of {quoted(name)} shows {generators[name].training['kimg']:g} "
                    f"thousand images, whose end is tested anyway; ask for snapshots before it, not for {kimg:g}"
                )
            if (snapshot := str(GeneratorId(name, kimg))) in generators:
                raise InputError(f"{snapshot} is a generator of this run; leave it out of conditions.snapshots")
    for condition in asked.only:
        if condition not in list(Condition):
            raise UnknownNameError("condition", condition, [str(known) for known in Condition])
    for name in (*asked.shuffled, *(name for names in asked.only.values() for name in names)):
        if name not in settings.detectors:
            raise InputError(
                f"conditions: {quoted(name)} is not a detector of this run ({', '.join(settings.detectors)})"
            )
    families = families_of(generators)
    if asked.unseen and len(set(families.values())) < 2:
        raise InputError(
            f"conditions.unseen needs generators of two families or more: it trains on all families but the tested "
            f"one; all here are {next(iter(families.values()), 'missing')}; add a --generator of another family, or "
            "leave unseen out and rank by matrix"
        )
    checked = settings.model_copy(update={"generators": dict(generators)})
    if not any(planned_fits(checked, name) for name in settings.detectors):
        raise InputError("the run asks for no training: conditions leave nothing to do for any detector")


def _generator(name: str, generator: GeneratorSettings, resolution: int) -> GeneratorSettings:
    from forge.blending.blending import Blending
    from forge.generators import GENERATORS
    from forge.generators.base import Architecture
    from forge.training.steps import method_of

    found = of_kind(
        "generator", generator.architecture, GENERATORS.load(generator.architecture), Architecture, Blending
    )
    network = validated(found.Settings, generator.network, where=f"generators.{name}.network")
    if issubclass(found, Blending):
        return _blending(name, generator, network, _family(generator, found))
    training = validated(method_of(found).Settings, generator.training, where=f"generators.{name}.training")
    # refuses a resolution it cannot make, or labels where it takes none; their values are seen in the data
    classes = ((2,) * len(generator.condition),) if generator.condition else ()
    _construct("generator", generator.architecture, lambda: found(network, resolution, *classes))
    _check_snapshots(name, training, generator)
    if generator.truncation != 1 and not found.truncates:
        raise InputError(f"generator {quoted(name)} cannot be truncated; leave truncation at 1, or use stylegan-lite")
    if generator.mix != "training" and not generator.condition:
        raise InputError(
            f"generator {quoted(name)} takes no labels; leave the mix at 'training', or name a --condition"
        )
    return generator.model_copy(
        update={
            "family": _family(generator, found),
            "network": network.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "files": _digests(generator.architecture, network.model_dump()),
        }
    )


def _construct(kind: str, reference: str, make: Callable[[], object]) -> None:
    """Make an instance once, so that what a constructor refuses is known before any training.

    Raises:
        InputError: it refuses, or its code is wrong.
    """
    try:
        make()
    except BenchError:
        raise
    except Exception as error:  # code of others may raise anything; it is named and re-raised
        if not is_file_reference(reference):
            raise
        raise InputError(f"{kind} {reference!r} cannot be made: {type(error).__name__}: {str(error)[:200]}") from error


def _family(generator: GeneratorSettings, architecture: type[Architecture | Blending]) -> str:
    """The family that settings name, else that of the architecture; a plug-in without one is its own."""
    return generator.family or architecture.family or short_name(generator.architecture)


def _blending(name: str, generator: GeneratorSettings, settings: BaseModel, family: str) -> GeneratorSettings:
    """Forgeries made from reals: what is set for all generators about training and drawing does not apply."""
    if generator.snapshot is not None:
        raise InputError(f"generator {quoted(name)} is not trained and has no snapshots; use {base_name(name)}")
    network = settings.model_dump(mode="json")
    return GeneratorSettings(architecture=generator.architecture, network=network, blends=True, family=family)


def _adopted(request: DetectorRequest, resolution: int) -> DetectorRequest:
    """A fitted detector as it is: identified by its card, which holds the digests of all its files."""
    from detect.artifact import read_card
    from detect.detectors.registry import DETECTORS

    place = Path(request.detector)
    card = read_card(place)
    if card.resolution != resolution and card.settings.get("input_size") is None:
        raise InputError(
            f"{place} was fitted at {card.resolution} px and does not resize; use --resolution {card.resolution}"
        )
    files = {"detector.json": digest_file(place / "detector.json")}
    if is_file_reference(card.name):
        reference = named_file(card.name)
        if reference is None:
            raise InputError(
                f"{place} was fitted with a detector from a file; name that file too: --plugin {card.name}"
            )
        DETECTORS.load(reference)
        files |= _digests(reference, {})
    return request.model_copy(update={"trained_on": card.trained_on, "files": files})


def _check_adversary(
    name: str, request: DetectorRequest, needs: str, generators: Mapping[str, GeneratorSettings]
) -> None:
    if request.adversary and needs not in ("discriminator", "snapshots"):
        raise InputError(
            f"detector {quoted(name)}: {request.detector} uses no discriminator; leave @{request.adversary} out"
        )
    judges = [request.adversary] if request.adversary else list(generators)  # without a name, those it is trained on
    trained = [judge for judge in judges if judge not in generators or not generators[judge].blends]
    if needs in ("discriminator", "snapshots") and not trained:
        raise InputError(
            f"detector {quoted(name)} starts from a discriminator and {', '.join(judges)} has none; name a trained "
            f"generator: {request.detector}@dcgan"
        )
    if request.adversary and request.adversary not in generators:
        raise InputError(
            f"detector {quoted(name)} starts from the discriminator of {quoted(request.adversary)}, which is "
            f"not part of the run; "
            f"name it with --generator too (there: {', '.join(generators)})"
        )


def _with_snapshots(
    generators: Mapping[str, GeneratorSettings], detectors: Mapping[str, DetectorRequest]
) -> dict[str, GeneratorSettings]:
    """Let trainings keep snapshots at their quarters, where a detector asks for snapshots and none are kept."""
    asking = [request for request in detectors.values() if request.needs == "snapshots"]
    bases = {
        base_name(name) for request in asking for name in ([request.adversary] if request.adversary else generators)
    }
    changed = dict(generators)
    for name, generator in generators.items():
        if base_name(name) in bases and not generator.blends and not generator.training.get("snapshots_kimg"):
            quarters = [round(generator.training["kimg"] * part / 4, 3) for part in (1, 2, 3)]
            changed[name] = generator.model_copy(update={"training": generator.training | {"snapshots_kimg": quarters}})
    return changed


def _check_snapshots(name: str, training: LoopSettings, generator: GeneratorSettings) -> None:
    if generator.snapshot is not None and generator.snapshot > training.kimg:
        raise InputError(
            f"generator {quoted(name)}: the training shows {training.kimg:g} thousand images; ask for an "
            f"earlier snapshot or "
            f"a longer training (--set generators.{base_name(name)}.training.kimg=N)"
        )


def of_kind(kind: str, reference: str, found: Any, *bases: type) -> Any:  # noqa: ANN401 - a class of either kind
    """What was found under a name, if it is a class of the right kind.

    Raises:
        InputError: it is something else, or does not define all that every class of its kind defines.
    """
    if not (isinstance(found, type) and issubclass(found, bases)):
        base = bases[0]
        raise InputError(
            f"{kind} {quoted(reference)} is no {kind}: it must be a subclass of {base.__module__}.{base.__name__}"
        )
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise InputError(f"{kind} {reference!r} does not define {lacking}, which every {kind} has; add what is missing")
    return found


def _digests(reference: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files that code comes from and of the files that settings name: their contents are asked for."""
    named = {key: Path(value) for key, value in _strings(values)}
    if is_file_reference(reference):
        named |= code_files(reference)
    return {key: digest_file(file) for key, file in named.items() if file.is_file()}


def _strings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every string among settings and settings of settings, by its dotted name."""
    for key, value in values.items():
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", found) for inner, found in _strings(value))
