"""Settings as text: YAML files, those that are shipped, and `--set`."""

from __future__ import annotations

import copy
import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from forge.core.errors import InputError, UnknownNameError, quoted, short

Model = TypeVar("Model", bound=BaseModel)


# The largest shipped suite has a few kB. The three limits keep a hostile file from taking memory or the stack.
LARGEST_YAML = 1 << 20  # characters
DEEPEST_YAML = 50  # levels
MOST_NODES = 20_000  # values, those that aliases repeat counted each time


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe YAML loader that refuses a key that stands twice, and more values than a person would write."""

    def get_single_node(self) -> Any:  # noqa: ANN401 - a node or None
        """The document; its values are counted before any is made, since aliases multiply them."""
        # After composing, before constructing: a node behind an alias is one object here, and would be many values
        # then.
        node = super().get_single_node()
        _count_nodes(node, {}, 0)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()  # YAML itself lets the last one win, which hides a typing error
        # `deep=True` finishes a key before it is compared.
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise InputError(f"the key {quoted(key)} stands twice (line {key_node.start_mark.line + 1}); keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _count_nodes(node: yaml.Node | None, counted: dict[int, int], depth: int) -> int:
    """Count the values below a node, those behind aliases each time.

    Raises:
        InputError: more than MOST_NODES, or deeper than DEEPEST_YAML.
    """
    if depth > DEEPEST_YAML:
        raise InputError(f"its values are nested more than {DEEPEST_YAML} deep; settings are not")
    if node is None or isinstance(node, yaml.ScalarNode):  # leaves
        return 1
    if id(node) not in counted:
        counted[id(node)] = MOST_NODES + 1  # an alias of a value within itself never ends
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        total = 1
        for part in parts:
            total += _count_nodes(part, counted, depth + 1)
            if total > MOST_NODES:
                raise InputError(f"it holds more than {MOST_NODES:,} values, aliases counted; settings do not")
        counted[id(node)] = total
    return counted[id(node)]  # counted once per node, added once per alias


def parse_yaml(text: str, *, where: str) -> Any:  # noqa: ANN401 - any YAML value
    """Read YAML without running anything in it.

    Raises:
        InputError: not YAML, or a key stands twice.
    """
    try:
        if len(text) > LARGEST_YAML:
            raise InputError(f"it has {len(text):,} characters; settings have at most {LARGEST_YAML:,}")
        return yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader: it makes plain values, never objects
    # of brackets nested deeper than the parser's own recursion goes, before nodes are counted
    except RecursionError as error:
        raise InputError(f"{where}: its values are nested too deep") from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except yaml.YAMLError as error:
        # in one line: PyYAML's messages have several
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        InputError: missing, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    value = parse_yaml(text, where=str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold settings as `name: value` lines, not {type(value).__name__}")
    return value


def validated(model: type[Model], value: Mapping[str, Any], *, where: str) -> Model:
    """Check a mapping against a model.

    Raises:
        InputError: names the field, the value and what would be right.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # The first error alone: one sentence; the next call shows the next one.
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        setting = f"'{'.'.join(part for part in (where, short(field)) if part)}'"
        if first["type"] == "extra_forbidden":
            names = list(model.model_fields)
            # half alike: a wrong letter or two in a short name
            close = difflib.get_close_matches(str(first["loc"][-1]), names, n=1, cutoff=0.5)
            hint = f"did you mean {quoted(close[0])}?" if close else f"known: {', '.join(names)}"
            raise InputError(f"setting {setting} is not known; {hint}") from error
        reason = first["msg"].removeprefix("Value error, ").lower()
        raise InputError(f"setting {setting} cannot be {quoted(first['input'])}: {reason}") from error


def configs_root() -> Path:
    """The folder of shipped settings: inside an installed package, or beside the packages in a checkout."""
    packages = Path(__file__).resolve().parents[1]
    inside = packages / "configs"  # the wheel puts configs/ into the package
    return inside if inside.is_dir() else packages.parent / "configs"


def suites() -> dict[str, Path]:
    """The shipped suites by name."""
    return {file.stem: file for file in sorted((configs_root() / "suites").glob("*.yaml"))}


def find_suite(name: str) -> Path:
    """The YAML file of a shipped suite's name, or of a path.

    Raises:
        UnknownNameError: neither; carries the nearest.
    """
    # What looks like a path is one: its error is then "cannot be read", not "no such suite".
    if Path(name).is_file() or name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    known = suites()
    if name not in known:
        raise UnknownNameError("suite", name, known, see="bench list suites")
    return known[name]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, mappings merged at every depth."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        # a list is a value and replaces the list before it
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def shipped(section: str, name: str, preset: str) -> dict[str, Any]:
    """The shipped settings of a generator or detector at a preset; empty where nothing is shipped (a plugin)."""
    # The most specific file that there is: with the generator or member, without it, the family.
    names = (name, name.partition("@")[0], name.partition(":")[0])  # disc-probe@dcgan, timm:resnet18
    files = [configs_root() / section / f"{candidate}.yaml" for candidate in names]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return {}
    value = copy.deepcopy(_read_once(file, file.stat().st_mtime_ns))
    presets = value.pop("presets", {})
    return merged(value, presets.get(preset) or {})  # values outside of `presets` hold for all of them


@functools.lru_cache(maxsize=128)
def _read_once(file: Path, changed: int) -> dict[str, Any]:
    """Read a shipped file, again where it was `changed`: a run asks for the same few many times."""
    return read_yaml(file)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn `["a.b=1", "a.c=x"]` into `{"a": {"b": 1, "c": "x"}}`; values are YAML.

    Raises:
        InputError: no `=`, or the value is not YAML.
    """
    result: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise InputError(f"--set {quoted(assignment)} must look like section.name=value")
        # As in a YAML file, so that a flag and a line of a suite mean the same.
        value: Any = parse_yaml(text, where=f"--set {path}")
        # From the inside out: a.b.c=1 becomes {"a": {"b": {"c": 1}}}.
        for key in reversed(path.split(".")):
            value = {key: value}
        result = merged(result, value)
    return result


def as_assignments(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Turn nested settings back into `a.b=value` texts, values as YAML of one line."""
    assignments = []
    for key, item in value.items():
        # a name with a dot, as of a file, would be taken for two: such a mapping is one value
        if isinstance(item, Mapping) and item and not any("." in str(name) for name in item):
            assignments += as_assignments(item, f"{prefix}{key}.")
        else:
            # "..." ends a plain scalar in PyYAML
            text = yaml.safe_dump(item, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()
            assignments.append(f"{prefix}{key}={text}")
    return assignments
