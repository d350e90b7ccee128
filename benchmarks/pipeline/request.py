"""What a run was asked for: from a YAML file, flags and `--set` to settings, and to the command that asks again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pipeline.compose import compose, short_name, split_adversary
from benchmarks.pipeline.configs import as_assignments, merged, parse_assignments, read_yaml, suites, validated
from benchmarks.pipeline.settings import RunFile, RunSettings
from benchmarks.protocol import PROTOCOL_VERSION
from forge.errors import InputError, quoted
from forge.registry import is_file_reference


def gather(
    file: Path | None,
    flags: dict[str, Any],
    assignments: list[str],
    device: str,
    *,
    show_real: bool,
    pairs: Sequence[str] | Mapping[str, tuple[str, str]] = (),
    notes: list[str] | None = None,
) -> RunSettings:
    """Settings from a YAML file, flags and `--set`; flags win.

    Args:
        file: the YAML file.
        flags: by their names, None where they are not given.
        assignments: of `--set`.
        device: "cpu" or a GPU, which decides the default preset.
        show_real: embed photos in the report.
        pairs: texts of `--external`, or name -> folders of real and of forged photos.
        notes: receives what a person should know of how the file was taken.

    Raises:
        InputError: a value that cannot be; a YAML file that names code.
    """
    from forge.errors import InputError, quoted

    stored = validated(RunFile, read_yaml(file), where=str(file)) if file else RunFile()
    for names in (stored.generator, stored.detector, stored.metric, stored.section):
        for entry in [names] if isinstance(names, str) else names or []:
            if is_file_reference(entry):
                raise InputError(f"{file} names the file {quoted(entry)}; a YAML never imports code: give it as a flag")
    given = {key: value for key, value in flags.items() if value is not None}
    if stored.sources and (stored.data or "data" not in given):
        raise InputError(
            f"{file} names both data and sources; keep one"
            if stored.data
            else f"{file} names several sources, which `bench run` runs one after another; here give data, one of: "
            f"{', '.join(stored.sources)}"
        )
    left = {"set", "conditions", "external", "title", "protocol", "sources"}
    asked = stored.model_dump(exclude=left, exclude_none=True) | given
    named = dict(pairs) if isinstance(pairs, Mapping) else dict(map(_pair, pairs))
    absent = [(label, part) for label, folders in named.items() for part in folders if not Path(part).is_dir()]
    for label, part in absent[:1]:
        raise InputError(f"--external {label}: there is no folder {part}")
    external = stored.external | named
    if stored.protocol not in (None, PROTOCOL_VERSION):
        raise InputError(
            f"{file} is written for protocol {stored.protocol}; this version measures by protocol {PROTOCOL_VERSION}"
        )
    if "seed" in given:
        asked.pop("seeds", None)
    preset = asked.get("preset") or ("quick" if device == "cpu" else "standard")
    preset_too = {} if stored.preset else {"preset": preset}  # what the device chose here it may not choose elsewhere
    generators, detectors = (
        [*_names(asked.get(kind), kind), *(_names(given[f"add-{kind}"], kind) if f"add-{kind}" in given else [])]
        for kind in ("generator", "detector")
    )
    conditions, left_out = narrowed(stored.conditions, detectors) if "detector" in given else (stored.conditions, [])
    if left_out and notes is not None:
        notes.append(f"conditions of {file} name {', '.join(left_out)}, which this run does not have; left out there")
    of_file = merged(stored.set, {"conditions": conditions} if conditions else {})
    overrides = merged(of_file, parse_assignments(assignments))
    return compose(
        generators=generators,
        detectors=detectors,
        condition=_names(asked["condition"], "condition") if "condition" in asked else (),
        metrics=_names(asked["metric"], "metric") if "metric" in asked else (),
        sections=_names(asked["section"], "section") if "section" in asked else (),
        preset=preset,
        seed=asked.get("seed", 0),
        seeds=asked.get("seeds", ()),
        source=asked.get("data", "rendered"),
        resolution=asked.get("resolution"),
        name=asked.get("name") or (file.stem if file and stored.seeds else None),
        overrides=overrides,
        external=external,
        show_real=show_real,
        command=_command(asked | {"preset": preset}, of_file, assignments, show_real, external)
        if file is None or not stored.seeds
        else _again(file, given | preset_too, assignments, show_real, named),
    )


def narrowed(conditions: Mapping[str, Any], detectors: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Conditions of a file without the detectors that flags left out of the run.

    Args:
        conditions: of the file.
        detectors: of the run.

    Returns:
        The conditions, and the detectors that were taken out of them.
    """
    members = [part for name in detectors for part in (name, *name.removeprefix("mean:").split("+"))]
    known = {*members, *(short_name(split_adversary(name)[0]) for name in members)}
    absent: set[str] = set()

    def kept(names: Any) -> Any:  # noqa: ANN401 - what is no list of names is refused where conditions are checked
        if not isinstance(names, list):
            return names
        absent.update(str(name) for name in names if name not in known)
        return [name for name in names if name in known]

    changed = dict(conditions)
    if "shuffled" in changed:
        changed["shuffled"] = kept(changed["shuffled"])
    if isinstance(changed.get("only"), Mapping):
        changed["only"] = {condition: kept(names) for condition, names in changed["only"].items()}
    return changed, sorted(absent)


def _names(value: str | list[str] | None, option: str) -> list[str]:

    entries = value.split(",") if isinstance(value, str) else value or []
    names = [entry.strip() for entry in entries if entry.strip()]
    if not names:
        raise InputError(f"no {option} was named; give --{option} NAME (`bench list {option}s` shows all)")
    if len(set(names)) < len(names):
        raise InputError(f"--{option} names {quoted(max(names, key=names.count))} twice; once is enough")
    return names


def _pair(text: str) -> tuple[str, tuple[str, str]]:
    """NAME=REAL_DIR,FORGED_DIR as a name and two folders, whose names may hold commas."""
    name, equals, folders = text.partition("=")
    commas = [at for at, letter in enumerate(folders) if letter == ","]
    splits = [(folders[:at], folders[at + 1 :]) for at in commas]
    splits = [(real, forged) for real, forged in splits if real and forged]
    if not (name and equals and splits):
        raise InputError(f"--external {quoted(text)} must look like NAME=REAL_DIR,FORGED_DIR, two folders of photos")
    there = [(real, forged) for real, forged in splits if Path(real).is_dir() and Path(forged).is_dir()]
    if len(there) > 1:
        raise InputError(f"--external {name} can be read in {len(there)} ways; give it as external in a YAML file")
    return name, (there or splits)[0]


def _again(
    file: Path,
    given: dict[str, Any],
    assignments: list[str],
    show_real: bool,
    external: Mapping[str, tuple[str, str]],
) -> str:
    """The command that runs a suite again: what the file says need not be repeated."""
    name = file.stem if suites().get(file.stem) == file else str(file)
    return _command(given, {}, assignments, show_real, external).replace(
        "bench run", f"bench run {shlex.quote(name)}", 1
    )


def _command(
    asked: dict[str, Any],
    stored: dict[str, Any],
    assignments: list[str],
    show_real: bool,
    external: Mapping[str, tuple[str, str]],
) -> str:
    """The command that makes this run again, whatever file and defaults it came from."""
    parts = ["bench", "run"]
    for key, value in asked.items():
        parts += [f"--{key}", ",".join(value) if isinstance(value, list) else str(value)]
    for assignment in [*as_assignments(stored), *assignments]:
        parts += ["--set", assignment]
    for name, (real, forged) in external.items():
        parts += ["--external", f"{name}={real},{forged}"]
    return shlex.join([*parts, "--show-real"] if show_real else parts)
