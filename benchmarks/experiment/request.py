"""Requests for runs: read from a YAML file, changed by flags or arguments, written as the command that asks again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiment.configs import as_assignments, merged, parse_assignments, read_yaml, suites, validated
from benchmarks.experiment.forged import written
from benchmarks.experiment.names import safe_name, short_name, source_name, split_adversary, split_alias
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.protocol import PROTOCOL_VERSION
from forge.core.errors import InputError, quoted
from forge.core.registry import is_file_reference
from forge.faces.sources.masked import COLUMN

# In the order in which the command is written.
_FLAGS = (
    "generator",
    "detector",
    "condition",
    "metric",
    "section",
    "data",
    "preset",
    "seed",
    "seeds",
    "rounds",
    "resolution",
    "name",
)
Folders = tuple[str, str] | tuple[str, str, str]
External = str | Folders  # the folder of a test set, or those of a pair
_ADDED = {"add_generator": "generator", "add_detector": "detector"}


def read_request(file: Path) -> RunRequest:
    """Read a YAML file.

    Raises:
        InputError: a value that cannot be, another protocol, or a file of code: a YAML never imports code.
    """
    request = validated(RunRequest, read_yaml(file), where=str(file))
    # Whatever can name code: files are passed around, a command line is given by the user.
    code = (*request.generator, *request.detector, *request.metric, *request.section, request.data, *request.sources)
    for name in code:
        if name and is_file_reference(name):
            raise InputError(f"{file} names the file {quoted(name)}; a YAML never imports code: give it as a flag")
    if request.data and request.sources:
        raise InputError(f"{file} names both data and sources; keep one")
    if request.protocol not in (None, PROTOCOL_VERSION):
        raise InputError(
            f"{file} is written for protocol {request.protocol}; this version measures by protocol {PROTOCOL_VERSION}"
        )
    if request.seeds and request.name is None:
        return request.model_copy(update={"name": file.stem})
    return request


def changed(request: RunRequest, values: Mapping[str, Any]) -> tuple[RunRequest, list[str]]:
    """Change a request by flags or arguments, which win over what it holds.

    Args:
        request: e.g. of a suite.
        values: fields of a request; None where one is not given. Also add_generator and add_detector, for names beside
            those of the request. Settings, conditions and external pairs are merged with those there.

    Returns:
        The request, and sentences on what had to be left out of it.

    Raises:
        InputError: a value that cannot be.
    """
    given = {key: value for key, value in values.items() if value is not None and value != {}}
    content = request.model_dump()
    if "data" in given:  # a flag asks for one source, in place of all of a suite
        content["sources"] = ()
    if "seed" in given and "seeds" in given:
        raise InputError(f"seed {given['seed']} and seeds {list(given['seeds'])} exclude each other; give either")
    # Whichever is given replaces both of the suite: a run has either.
    for key, other in (("seed", "seeds"), ("seeds", "seed")):
        if key in given:
            content[other] = None
    # Merged at every depth: a flag adds to a suite's settings and does not drop the others.
    for key in ("set", "conditions", "external", "forged"):
        if key in given:
            given[key] = merged(content.get(key, {}), given[key])
    added = {field: given.pop(key) for key, field in _ADDED.items() if key in given}
    checked = validated(RunRequest, content | given, where="")
    # Each list is validated alone first, since a flag is one text of several names.
    for field, names in added.items():
        both = [*getattr(checked, field), *getattr(validated(RunRequest, {field: names}, where="add"), field)]
        checked = validated(RunRequest, checked.model_dump() | {field: both}, where="")
    _check_pairs(checked.external)  # here and not in the model: a stored request may name folders of another machine
    # A suite's conditions may name its own detectors; with others chosen, those would be unknown names.
    if "detector" not in given:
        return checked, []
    conditions, left_out = narrowed(checked.conditions, checked.detector)
    notes = [f"conditions name {', '.join(left_out)}, which this run does not have; left out there"] if left_out else []
    return checked.model_copy(update={"conditions": conditions}), notes


def each_source(request: RunRequest, name: str) -> list[RunRequest]:
    """Return a request per source; with several sources each has a name of its own.

    Args:
        request: with data or sources.
        name: begins the names, where the request has none.
    """
    if len(request.sources) < 2:  # one source needs no name of its own
        data = {"data": request.sources[0], "sources": ()} if request.sources else {}
        return [request.model_copy(update=data)]
    return [
        request.model_copy(
            update={"data": source, "sources": (), "name": f"{request.name or name}-{safe_name(source_name(source))}"}
        )
        for source in request.sources
    ]


def narrowed(conditions: Mapping[str, Any], detectors: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return conditions without the detectors that a run does not have.

    Args:
        conditions: of a request.
        detectors: of the run.

    Returns:
        The conditions, and the detectors that were taken out of them.
    """
    # Members of a fusion may be named too, and a detector by its short name without the generator behind "@".
    members = []
    for alias, name in map(split_alias, detectors):
        parts = name.removeprefix("mean:").split("+") if name.startswith("mean:") else []
        members += [alias or name, *parts]
    known = {*members, *(short_name(split_adversary(name)[0]) for name in members)}
    absent: set[str] = set()

    def kept(names: Any) -> Any:  # noqa: ANN401 - what is no list of names is refused where conditions are checked
        if not isinstance(names, list | tuple):
            return names
        absent.update(str(name) for name in names if name not in known)
        return [name for name in names if name in known]

    content = dict(conditions)
    if "shuffled" in content:
        content["shuffled"] = kept(content["shuffled"])
    if isinstance(content.get("only"), Mapping):
        content["only"] = {condition: kept(names) for condition, names in content["only"].items()}
    return content, sorted(absent)


def parse_pairs(texts: Iterable[str]) -> dict[str, External]:
    """Read texts of `--external`: name -> folder of a test set, or folders of real and of forged photos and of masks.

    Raises:
        InputError: a text is neither NAME=ROOT nor NAME=REAL_DIR,FORGED_DIR[,MASK_DIR], can be read in several ways, or
            a name stands twice.
    """
    parsed = [_parse_pair(text) for text in texts]
    for name, _ in parsed:
        if [other for other, _ in parsed].count(name) > 1:
            raise InputError(f"--external names {quoted(name)} twice; give each test a name of its own")
    return dict(parsed)


def _parse_pair(text: str) -> tuple[str, External]:
    """Split NAME=ROOT or NAME=REAL_DIR,FORGED_DIR[,MASK_DIR] into a name and folders, whose names may hold commas."""
    # Folders may hold commas: every comma is a candidate, and only splits into existing folders count.
    name, equals, folders = text.partition("=")
    if name and folders and "," not in folders:
        return name, folders
    parts = folders.split(",")
    splits: list[Folders] = []
    for first in range(1, len(parts)):
        real, rest = ",".join(parts[:first]), parts[first:]
        splits.append((real, ",".join(rest)))
        splits += [(real, ",".join(rest[:n]), ",".join(rest[n:])) for n in range(1, len(rest))]
    splits = [split for split in splits if all(split)]
    if not (name and equals and splits):
        raise InputError(
            f"--external {quoted(text)} must look like NAME=ROOT, the folder of a test set, or like "
            "NAME=REAL_DIR,FORGED_DIR, two folders of photos, or NAME=REAL_DIR,FORGED_DIR,MASK_DIR"
        )
    existing: list[External] = [split for split in (folders, *splits) if not _missing(split)]
    if len(existing) > 1:
        raise InputError(f"--external {name} can be read in {len(existing)} ways; give it as external in a YAML file")
    # none exists: the split with most folders that do; the next check names the one that is missing
    if existing:
        return name, existing[0]
    return name, max(splits, key=lambda split: len(split) - len(_missing(split)))


def _missing(folders: External) -> list[str]:
    """Return the folders that are not there; a column of a label file is none."""
    if isinstance(folders, str):
        return [] if Path(folders).exists() else [folders]
    named = [folder for folder in folders if folder not in folders[2:] or not folder.startswith(COLUMN)]
    return [folder for folder in named if not Path(folder).is_dir()]


def _check_pairs(external: Mapping[str, External]) -> None:
    for label, folders in external.items():
        if missing := _missing(folders):
            raise InputError(f"--external {label}: there is no folder {missing[0]}")


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn settings with dotted names into nested ones: {"a.b": 1} -> {"a": {"b": 1}}."""
    return parse_assignments(as_assignments(settings))  # by way of the texts of --set, so that both forms mean the same


def command_of(request: RunRequest, file: Path | None = None) -> str:
    """Write the command that asks for a run.

    Args:
        request: of the run.
        file: the YAML file that it began from; of a shipped suite the command says its name and what differs.
    """
    # by path: a file of the user that is called like a shipped suite is not it
    suite = file is not None and suites().get(file.stem) == file
    base = read_request(file) if suite and file else RunRequest()
    parts = ["bench", "run", *([file.stem] if suite and file else [])]
    # Only what differs from where the command begins: defaults and the suite's own values are left out.
    for flag in _FLAGS:
        value = getattr(request, flag)
        if value != getattr(base, flag) and value not in (None, ()):
            parts += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    known = {*as_assignments({"conditions": base.conditions}), *as_assignments(base.set)}
    assignments = (*as_assignments({"conditions": request.conditions}), *as_assignments(request.set))
    for assignment in assignments:
        # A condition that the suite has and the request lacks cannot be said by a flag; `request` in results.json holds
        # it.
        if assignment not in known and assignment != "conditions={}":
            parts += ["--set", assignment]
    for name, folders in request.external.items():
        if base.external.get(name) != folders:
            parts += ["--external", f"{name}={folders if isinstance(folders, str) else ','.join(folders)}"]
    for name, folder in request.forged.items():
        if base.forged.get(name) != folder:
            parts += ["--forged", written(name, folder)]
    return shlex.join([*parts, "--show-real"] if request.show_real else parts)
