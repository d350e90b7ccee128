"""From a request to the settings of a run: shipped defaults, then the preset, then what is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.configs import configs_root, merged, read_yaml, shipped, validated
from benchmarks.experiment.external import external_of
from benchmarks.experiment.forged import generators_of_files
from benchmarks.experiment.names import (
    base_name,
    inverted_generator,
    is_fitted,
    safe_name,
    short_name,
    split_adversary,
    split_alias,
    split_snapshot,
)
from benchmarks.experiment.override_sections import check_sections
from benchmarks.experiment.race import check_conditions, conditions_of_race, raced
from benchmarks.experiment.request import command_of
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.settings import (
    PRESETS,
    AttackRequest,
    DataSettings,
    DetectorRequest,
    GeneratorSettings,
    ImageCounts,
    Preset,
    QualitySettings,
    RaceSettings,
    RunSettings,
)
from benchmarks.experiment.variants import Variant, variants_of
from benchmarks.experiment.zoo import generator_of_zoo
from benchmarks.protocol import GeneratorId
from benchmarks.zoo.members import is_zoo, member_of
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError, UnknownNameError, quoted, short
from forge.core.files import digest_json
from forge.core.registry import is_file_reference
from forge.faces.sources import SOURCES

LIMITS = {"generators": 100, "detectors": 200, "seeds": 100}  # of one run, far above what anybody waits for
_LONG_LIST = 40  # characters of a list of names in the name of a run


def resolve(request: RunRequest, *, device: str = "cpu", file: Path | None = None) -> RunSettings:
    """Put a run's settings together: shipped defaults, then the preset, then the request.

    Args:
        request: what is asked for.
        device: "cpu" or a GPU, which decides the default preset.
        file: the YAML file that the request began from, for the command that asks again.

    Raises:
        UnknownNameError: a preset or section that does not exist; generators and detectors are checked by the caller.
        InputError: a value of the wrong type or range; names the field, the value and the fix.
    """
    # Jobs and engine change no result: no report and no key knows of them.
    request = request.model_copy(update={"jobs": None, "engine": "", "ray_address": "", "ship_below": 0.0, "slurm": {}})
    # The preset goes into the request: stored with it, the run made again on another device is the same.
    if request.preset is None:  # what the device decides here it may not decide elsewhere
        request = request.model_copy(update={"preset": "quick" if device == "cpu" else "standard"})
    preset, generators, detectors, name = str(request.preset), request.generator, request.detector, request.name
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    # Checked here and not in the model: a suite may leave them to the flags.
    for option, names in (("generator", generators), ("detector", detectors)):
        if not names and not (option == "generator" and request.forged):
            raise InputError(f"no {option} was named; give --{option} NAME (`bench list {option}s` shows all)")
    for option in ("generator", "detector", "condition", "metric", "section"):
        names = getattr(request, option)
        if twice := [entry for entry in names if names.count(entry) > 1]:
            raise InputError(f"--{option} names {quoted(twice[0])} twice; once is enough")
    if request.sources and request.data is None:
        raise InputError(
            f"the request names several sources, which `bench run` runs one after another; here give data, one of: "
            f"{', '.join(request.sources)}"
        )
    if name is not None and safe_name(name) != name:
        raise InputError(f"name {quoted(name)} cannot name a folder everywhere; try --name {safe_name(name)}")
    # `conditions` of a request and `--set conditions.…` are one section; the flag wins.
    overrides = merged({"conditions": request.conditions} if request.conditions else {}, request.set)
    source, resolution, seeds = request.data or "rendered", request.resolution, request.seeds or ()
    condition = request.condition
    check_sections(overrides)
    for what, entries in (("generators", generators), ("detectors", detectors), ("seeds", seeds)):
        if len(entries) > LIMITS[what]:
            raise InputError(f"{len(entries):,} {what} are named; a run has at most {LIMITS[what]:,}")
    # Least to most specific: the preset's sizes, then the source, then what was set.
    size = read_yaml(configs_root() / "presets.yaml")[preset]
    data = merged(merged(size["data"], {"source": source}), overrides.get("data", {}))
    # --resolution wins over --set data.resolution.
    if resolution is not None:
        data["resolution"] = resolution
    images = merged(size["images"], overrides.get("images", {}))
    quality = merged(size.get("quality", {}), overrides.get("quality", {}))
    chosen_detectors = _detectors(detectors, preset, overrides)
    wanted = merged({"rounds": request.rounds} if request.rounds else {}, overrides.get("race", {}))
    race = validated(RaceSettings, wanted, where="race")
    chosen_conditions = overrides.get("conditions", {})
    if race.rounds:
        chosen_conditions = conditions_of_race(chosen_conditions)
    conditions = validated(Conditions, chosen_conditions, where="conditions")
    # Detectors and conditions first: they name snapshots that trainings must keep.
    kept = [request.adversary for request in chosen_detectors.values() if request.adversary]
    kept += [str(GeneratorId(name, kimg)) for name, moments in conditions.snapshots.items() for kimg in moments]
    # what a preset trains a plug-in's generator with, which has no file of its own
    length = {"training": size["training"]} if "training" in size else {}
    chosen_generators = _generators(
        generators, preset, condition, overrides, kept=kept, unknown=length, mirrors=mirrors(source)
    )
    chosen_generators |= generators_of_files(request.forged, chosen_generators)
    if race.rounds:
        check_conditions(conditions)
        race, chosen_generators = raced(race, chosen_generators, chosen_detectors)
    named = {short_name(name) for each in generators for name in inverted_generator(split_snapshot(each)[0]) if name}
    bases = {base_name(label) for label in chosen_generators} | named
    # Settings of a name that the run does not have would be without effect, and are mostly typing errors.
    attacks = {short_name(reference): reference for reference in conditions.attacked}
    sections = {"generators": bases, "variants": named, "detectors": chosen_detectors, "attacks": attacks}
    for section, known in sections.items():
        for label in overrides.get(section, {}):
            if label not in known:
                raise UnknownNameError(f"--set {section} name", label, known)
    checked = validated(DataSettings, data, where="data")
    return RunSettings(
        name=name or default_name(chosen_generators, chosen_detectors, checked, preset, seeds),
        preset=cast(Preset, preset),
        # With several seeds `seed` is the first: pages show its pictures, and its fits are explained.
        seed=seeds[0] if seeds else request.seed or 0,
        # one seed alone is no repetition: names of stages stay without a number
        seeds=tuple(seeds) if len(seeds) > 1 else (),
        data=checked,
        images=validated(ImageCounts, images, where="images"),
        quality=validated(QualitySettings, quality, where="quality"),
        generators=chosen_generators,
        detectors=chosen_detectors,
        conditions=conditions,
        race=race,
        attacks={
            name: AttackRequest(
                attack=reference,
                budgets=conditions.attacked[reference],
                settings=overrides.get("attacks", {}).get(name, {}),
            )
            for name, reference in attacks.items()
        },
        metrics=request.metric,
        sections=request.section,
        external=external_of(request.external),
        show_real=request.show_real,
        request=request,
        command=command_of(request, file),
    )


def _detectors(references: Sequence[str], preset: str, overrides: Mapping[str, Any]) -> dict[str, DetectorRequest]:
    """Settings of every detector by label; the members of an ensemble stand before it."""
    chosen: dict[str, DetectorRequest] = {}
    for alias, reference in map(split_alias, references):
        # The members are detectors of the run too, with settings and rows of their own.
        members = reference.removeprefix("mean:").split("+") if reference.startswith("mean:") else []
        if is_zoo(reference):
            folder = str(member_of(reference, "detector").check().folder)
            _add(chosen, alias or reference, DetectorRequest(detector=folder))
            continue
        if is_fitted(reference):  # adopted as it is: no settings, and by default its name is that of its folder
            _add(chosen, alias or _fitted_name(Path(reference)), DetectorRequest(detector=reference))
            continue
        # a member that the run has already, under a name of its own or not, is not added again
        for member in [*(name for name in members if name not in chosen), reference]:
            name, adversary = split_adversary(member)
            own = f"{short_name(name)}@{adversary}" if adversary else short_name(name)
            label = _alias(alias, own) if alias and member == reference else own
            # an ensemble has no settings of its own, so what is set for all detectors is meant for its members
            every = {} if name.startswith("mean:") else overrides.get("detector", {})
            # Least to most specific: shipped, for all detectors, for this one.
            value = merged(shipped("detectors", own, preset), every)
            value = merged(value, overrides.get("detectors", {}).get(label, {}))
            _add(chosen, label, DetectorRequest(detector=name, adversary=adversary, settings=value))
    return chosen


def _alias(alias: str, name: str) -> str:
    """Check the name that a detector is to have in the run, and return it.

    Raises:
        InputError: another detector is called so.
    """
    if alias in DETECTORS.names() and alias != name:
        raise InputError(f"--detector {alias}={name}: {alias!r} is another detector; choose another name")
    return alias


def _add(chosen: dict[str, DetectorRequest], label: str, request: DetectorRequest) -> None:
    """Add a detector; the same again, as a member of an ensemble, changes nothing.

    Raises:
        InputError: another detector has the name.
    """
    if chosen.setdefault(label, request) != request:  # frozen models compare by value
        raise InputError(
            f"two detectors of the run are called {label!r} ({chosen[label].detector} and {request.detector}); give "
            f"one of them another name: --detector NAME={request.detector}"
        )


def _fitted_name(folder: Path) -> str:
    """Name of a fitted detector: its folder's; in the store, where every folder is called "detector", its own."""
    from detect.artifact import read_card

    if folder.name != "detector":
        return folder.name
    card = read_card(folder)
    return card.label or short_name(card.name)


def _generators(
    references: Sequence[str],
    preset: str,
    condition: Sequence[str],
    overrides: Mapping[str, Any],
    *,
    kept: Sequence[str] = (),
    unknown: Mapping[str, Any],
    mirrors: bool,
) -> dict[str, GeneratorSettings]:
    """Settings of every generator by label; those of one training ask for all its snapshots alike.

    One that has no shipped settings, a plugin's, gets those that the preset has for the `unknown`.

    Snapshots that only serve as judges, for their discriminators, or in tests are `kept` by the training too. Where the
    photos are none when they are mirrored (not `mirrors`), trainings leave them as they are.
    """
    chosen: dict[str, GeneratorSettings] = {}
    snapshots: dict[str, set[float]] = {}
    conditioned = False
    # Known before the loop: one training serves all snapshots of its generator.
    for label in kept:
        architecture, snapshot = split_snapshot(label)
        if snapshot is not None:
            snapshots.setdefault(short_name(architecture), set()).add(snapshot)
    for reference in references:
        if is_zoo(reference):
            chosen[reference] = generator_of_zoo(reference, overrides)
            snapshots.setdefault(reference, set())
            continue
        architecture, snapshot = split_snapshot(reference)
        architecture, inverted = inverted_generator(architecture)
        # A generator from a file is called by its class in lower case.
        base = short_name(architecture)
        # A file shares its class's name with a shipped generator perhaps, but not its settings.
        defaults = (not is_file_reference(architecture) and shipped("generators", base, preset)) or dict(unknown)
        # Labels go to conditional generators and to those of plug-ins, which may take labels; others ignore
        # --condition.
        if condition and (defaults == unknown or "condition" in defaults):
            defaults, conditioned = defaults | {"condition": list(condition)}, True
        value = merged(_unmirrored(defaults, mirrors), overrides.get("generator", {}))
        value = merged(value, overrides.get("generators", {}).get(base, {}))
        inverts = generator_beside(inverted, preset, overrides, mirrors=mirrors) if inverted else None
        grid = overrides.get("variants", {}).get(base)
        models = [Variant(base, {})] if grid is None else variants_of(base, grid, limit=LIMITS["generators"])
        for name, differing in models:
            label = str(GeneratorId(name, snapshot))
            if label in chosen:
                raise InputError(f"--generator names {quoted(label)} twice; once is enough")
            # of a variant: what all variants share, what it differs in, and what is set for it alone
            alone = overrides.get("generators", {}).get(name, {}) if grid is not None else {}
            values = merged(merged(value, differing), alone)
            chosen[label] = _checked(architecture, snapshot, name, values, inverts)
            snapshots.setdefault(name, set()).update(_kept_snapshots(chosen[label], name))
            # the snapshot that makes forgeries is kept as well
            snapshots[name].update([snapshot] if snapshot is not None else [])
    if len(chosen) > LIMITS["generators"]:
        raise InputError(f"{len(chosen):,} generators are named; a run has at most {LIMITS['generators']:,}")
    if condition and not conditioned:
        raise InputError(
            f"none of the generators {', '.join(chosen)} takes labels from --condition (a member of the zoo has "
            "those of its card); leave --condition out, or use cgan"
        )
    # Every generator of one training lists all its snapshots: equal settings make equal keys, hence one training.
    return {
        label: settings.model_copy(
            update={"training": settings.training | {"snapshots_kimg": sorted(snapshots[base_name(label)])}}
        )
        if snapshots[base_name(label)]
        else settings
        for label, settings in chosen.items()
    }


def mirrors(source: str) -> bool:
    """Return whether trainings may mirror the images of a source; False of digits. Only registered names are known."""
    return source not in SOURCES.entries or SOURCES.load(source).mirrors


def _unmirrored(defaults: Mapping[str, Any], mirrors: bool) -> Mapping[str, Any]:
    return defaults if mirrors or "training" not in defaults else merged(defaults, {"training": {"flip": False}})


def generator_beside(name: str, preset: str, overrides: Mapping[str, Any], *, mirrors: bool) -> GeneratorSettings:
    """Return the settings of a generator that others need: those of a generator of the run, without labels."""
    value = merged(_unmirrored(shipped("generators", name, preset), mirrors), overrides.get("generator", {}))
    return _checked(name, None, name, merged(value, overrides.get("generators", {}).get(name, {})))


def _checked(
    architecture: str,
    snapshot: float | None,
    name: str,
    value: Mapping[str, Any],
    inverts: GeneratorSettings | None = None,
) -> GeneratorSettings:
    """Check the settings of a generator.

    Raises:
        InputError: a value that cannot be, or one that follows from the name on the command line.
    """
    # set here, they would contradict the name
    instead_of = {"snapshot": f"{name}@24k", "architecture": "NAME", "inverts": "edit:NAME"}
    for key, instead in instead_of.items():
        if key in value:
            raise InputError(f"setting 'generators.{name}.{short(key)}' cannot be set; use --generator {instead}")
    content = {"architecture": architecture, "snapshot": snapshot, "inverts": inverts, **value}
    return validated(GeneratorSettings, content, where=f"generators.{name}")


def _kept_snapshots(settings: GeneratorSettings, name: str) -> list[float]:
    """Return the snapshots that a generator's own settings keep, in thousands of images."""
    # checked before the training's own settings are, since they are merged with other snapshots
    kimgs = settings.training.get("snapshots_kimg") or []
    if not isinstance(kimgs, list | tuple) or not all(isinstance(kimg, int | float) for kimg in kimgs):
        raise InputError(
            f"setting 'generators.{name}.training.snapshots_kimg' cannot be {quoted(kimgs)}: it is a list of thousands "
            "of images, e.g. [12, 24]"
        )
    return list(map(float, kimgs))


# Named by contents, not by date: the same request finds the same report and store.
def default_name(
    generators: Mapping[str, Any],
    detectors: Mapping[str, Any],
    data: DataSettings,
    preset: str,
    seeds: Sequence[int] = (),
) -> str:
    """Return the name of a run without one; also the name of its report's folder.

    Long lists are counted; a few digits of their digest tell two of them apart.
    """
    parts = [_listed(generators, "generators"), _listed(detectors, "detectors"), data.source_name, preset]
    parts += ["seeds", *map(str, seeds)] if len(seeds) > 1 else []
    return safe_name("-".join(parts))


def _listed(names: Collection[str], what: str) -> str:
    text = "+".join(names)
    # four digits: enough for a few lists beside each other in one folder
    return text if len(text) <= _LONG_LIST else f"{len(names)}-{what}-{digest_json(list(names))[:4]}"
