"""Descriptions for `bench list detectors`: method, citation, input and number of parameters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.evaluation.numbers import count
from benchmarks.experiment.configs import shipped, validated
from benchmarks.experiment.settings import PRESETS
from benchmarks.places import store_parts
from benchmarks.workflow.program import program_digest
from detect.detectors.facts import MethodFacts, facts_of, facts_of_class
from detect.detectors.registry import DETECTORS, EXAMPLES
from forge.core.errors import BenchError, InputError
from forge.core.files import digest_json, read_json_object, write_json

SIDE = 64  # pixels of the images for which parameters are counted
MEMORY = "parameters.json"  # in the store: counting imports torch and builds every network


def describe(name: str) -> dict[str, Any]:
    """Name, family, example, summary, citation, departure from the paper, input and parameters of a detector.

    Args:
        name: registered, e.g. "dct", "timm:resnet18", or "timm:" for the family as a whole.

    Returns:
        `parameters` is None; `count_parameters` counts them. `note` says why there may be no number.
    """
    # Facts are read from the class's source where possible, so that a list of all detectors imports no torch.
    try:
        facts = facts_of(name)
    except InputError:  # a plug-in whose class says more than its source
        facts = facts_of_class(DETECTORS.load(name))
    family = name.endswith(":")
    return {
        "name": f"{name}NAME" if family else name,
        "example": EXAMPLES.get(name, "") if family else "",
        "family": name if family else facts.family,
        "what": facts.summary,
        "citation": facts.citation,
        "variant": "; ".join(text for text in (facts.variant, _random_weights(name)) if text),
        "input": "" if family else _input(name),  # of a family each member has its own
        "parameters": None,
        "note": _note(facts),
    }


def _input(name: str) -> str:
    """The pixels fed to it, in the paper and in the smaller presets."""
    sizes = {preset: shipped("detectors", name, preset).get("input_size") for preset in ("full", "quick")}
    if sizes["full"] is None and sizes["quick"] is None:
        return "the set's own size"
    words = {preset: f"{size} px" if size else "the set's own size" for preset, size in sizes.items()}
    if words["full"] == words["quick"]:
        return words["full"]
    return f"{words['full']} at preset full, {words['quick']} at quick"


def _random_weights(name: str) -> str:
    """The presets that give a detector's backbone random weights."""
    presets = [preset for preset in PRESETS if shipped("detectors", name, preset).get("weights") == "random"]
    return f"random weights at preset {', '.join(presets)}: that says nothing of the method" if presets else ""


def _note(facts: MethodFacts) -> str:
    """Why a detector has no number of parameters before it is fitted; empty where its network can be built."""
    if facts.needs == "members":
        return "those of its members"
    if facts.needs in ("discriminator", "snapshots"):
        return "as the generator's discriminator"
    return "" if facts.network else "counted when fitted"


def with_parameters(rows: list[dict[str, Any]], store: Path, *, count: bool) -> None:
    """Fill in the numbers of parameters: those remembered in the store, and the others if they shall be counted.

    Args:
        rows: of `describe`.
        store: where results lie.
        count: build the networks that are not remembered, which takes some seconds.
    """
    # Keyed by name, settings and the digest of detect/: a change of the code counts again.
    file, program, known = store_parts(store)[0] / MEMORY, program_digest("detect"), dict[str, int]()
    with suppress(BenchError, AttributeError, TypeError, ValueError):  # a damaged memory is made again
        known = {str(key): int(n) for key, n in read_json_object(file).items()} if file.is_file() else {}
    remembered = dict(known)  # a copy, to see whether anything changed
    for row in rows:
        name = row["name"]
        if row["note"] or row["example"]:  # nothing to count: a note says why, or a family is not one network
            continue
        key = f"{name} {digest_json([program, shipped('detectors', name, 'full')])[:16]}"
        if count and key not in known:
            try:
                known[key] = count_parameters(name)
            except BenchError as error:  # say, a network that cannot be built without a file of weights
                row["note"] = f"not counted, {error}"
        row["parameters"] = known.get(key)
        # Counted each time, not remembered.
        if name not in DETECTORS.entries:
            known.pop(key, None)  # a plugin's code can change without this program noticing
    if known != remembered:
        write_json(file, known)


def count_parameters(name: str) -> int:
    """Learned values of a network with the settings of preset full, for images of 64 pixels, without any download."""
    import torch  # only here: a list with remembered counts does without

    detector_class = DETECTORS.load(name)
    settings = validated(detector_class.Settings, shipped("detectors", name, "full"), where=f"detectors.{name}")
    with torch.random.fork_rng(devices=[]):  # counting draws weights; the caller's random numbers must not change by it
        # without pretrained weights, which would be downloaded
        try:
            with torch.device("meta"):  # shapes alone: CLIP ViT-L would fill a gigabyte
                network = detector_class(settings, SIDE).build(blank=True)
        except (NotImplementedError, RuntimeError):  # a network that computes with values while it is made
            network = detector_class(settings, SIDE).build(blank=True)
    return sum(parameter.numel() for parameter in network.parameters())


def blocks(rows: list[dict[str, Any]], width: int) -> Iterator[str]:
    """A block of lines for each detector, wrapped to the width of the terminal; the first line is its name."""
    for row in rows:
        # Only where name and family differ, as of a network of timm, is the family named too.
        head = row["name"] if row["family"] in (row["name"], row["name"].partition("NAME")[0]) else ""
        head = head or f"{row['name']} (family {row['family']})"
        if row["example"]:
            head += f", e.g. {row['example']}"
        lines = [row["what"], _figures(row), row["citation"], f"Here: {row['variant']}" if row["variant"] else ""]
        filled = [
            # "timm:resnet-50" must not break at its hyphen
            textwrap.fill(line, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
            for line in lines
            if line
        ]
        yield "\n".join([head, *filled])


def _figures(row: dict[str, Any]) -> str:
    if row["parameters"] is not None:
        size = f"{count(row['parameters'])} parameters"
    else:
        size = f"parameters: {row['note']}" if row["note"] else ""
    fed = f"input: {row['input']}" if row["input"] else ""
    return "; ".join(part for part in (size, fed) if part)
