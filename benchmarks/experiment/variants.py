"""Variants of a generator: models of one family that differ in settings, or only in the seed of their training."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from forge.core.errors import InputError, quoted, short


class Variant(NamedTuple):
    """One model of a grid.

    Attributes:
        name: of the generator in the run; letters, digits, "_", "." and "-" alone, so that it can name a file and be
            part of the name of a train set.
        settings: nested, as `--set generators.NAME` takes them.
    """

    name: str
    settings: dict[str, Any]


def variants_of(generator: str, grid: Mapping[str, Any], *, limit: int) -> list[Variant]:
    """Return a model for each combination of the values of some settings.

    Args:
        generator: name that the names of the variants begin with.
        grid: nested settings, each with the list of its values, e.g. {"network": {"upsample": ["nearest", "bilinear"]},
            "seed": [0, 1]}.
        limit: how many models a run may have.

    Raises:
        InputError: a setting without a list of values, a value twice, too many models, or two of one name.
    """
    axes = dict(_axes(grid, ""))
    if not axes:
        raise InputError(f"setting 'variants.{generator}' names no values; e.g. variants.{generator}.seed=[0, 1]")
    for setting, values in axes.items():
        if not isinstance(values, list | tuple) or not values or any(values.count(value) > 1 for value in values):
            raise InputError(
                f"setting 'variants.{generator}.{short(setting)}' cannot be {quoted(values)}: it lists the values of "
                f"this setting, each once, e.g. [0, 1]"
            )
    combinations = list(itertools.islice(itertools.product(*axes.values()), limit + 1))
    if len(combinations) > limit:
        raise InputError(f"variants of {quoted(generator)}: their lists combine to more than {limit} models")
    variants: dict[str, Variant] = {}
    for combination in combinations:
        chosen = dict(zip(axes, combination, strict=True))
        # values that all models share say nothing in a name
        parts = [_part(setting, value, axes) for setting, value in chosen.items() if len(axes[setting]) > 1]
        name = "-".join([generator, *parts])
        if name in variants:
            raise InputError(f"variants of {quoted(generator)}: two of them are called {quoted(name)}; change a value")
        variants[name] = Variant(name, _nested(chosen))
    return list(variants.values())


def _axes(grid: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name of each setting and the list of its values."""
    for key, value in grid.items():
        if isinstance(value, Mapping):
            yield from _axes(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _part(setting: str, value: object, axes: Mapping[str, Any]) -> str:
    """Return what a value adds to the name: a word as it is, else with the setting's last word: "width24"."""
    text = re.sub(r"[^\w.]+", "-", str(value).lower()).strip("-.")
    if isinstance(value, str):
        return text
    last = [name.rpartition(".")[2] for name in axes]
    words = [name.rpartition("_")[2] for name in last]
    word = setting.rpartition(".")[2]
    # generator_width is "width" unless discriminator_width is varied too
    return f"{word.rpartition('_')[2] if words.count(word.rpartition('_')[2]) == 1 else word}{text}"


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for setting, value in settings.items():
        *heads, last = setting.split(".")
        inner = nested
        for head in heads:
            inner = inner.setdefault(head, {})
        inner[last] = value
    return nested
