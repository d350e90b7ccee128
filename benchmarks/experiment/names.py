"""Names in requests: generators, snapshots, detectors, sources, and names that every file system takes."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.protocol import GeneratorId
from forge.core.errors import InputError, quoted, short
from forge.core.registry import is_file_reference
from forge.generators import GENERATORS

_NAME_BYTES = 100
_ALIAS = re.compile(r"[A-Za-z0-9][\w.-]*")
_INVERTING = ("edit", "inversion")  # families of generators that invert the one behind the colon
_INVERTED = "stylegan-lite"  # by default


def is_fitted(reference: str) -> bool:
    """Return whether a detector is named by the folder of a fitted one, which is used as it is."""
    return "/" in reference and (Path(reference) / "detector.json").is_file()  # a bare name is always a registered one


def split_alias(reference: str) -> tuple[str, str]:
    """Split "hardened=npr" into the name that a detector has in the run and "npr"; without one the first is empty."""
    alias, equals, detector = reference.partition("=")
    return (alias, detector) if equals and _ALIAS.fullmatch(alias) else ("", reference)


def split_adversary(reference: str) -> tuple[str, str]:
    """Split "disc-probe@dcgan@24k" into "disc-probe" and "dcgan@24k"; without a generator the second is empty."""
    if is_file_reference(reference):
        # "@" may stand in the path, so that only the part behind the class is split
        file, _, attribute = reference.rpartition(":")
        attribute, _, adversary = attribute.partition("@")
        return f"{file}:{attribute}", adversary
    if reference.startswith("mean:"):
        return reference, ""  # the members may have generators of their own
    name, _, adversary = reference.partition("@")
    return name, adversary


def split_snapshot(reference: str) -> tuple[str, float | None]:
    """Split "dcgan@24k" into "dcgan" and 24.0; without a snapshot the second is None.

    Raises:
        InputError: what follows the "@" is no count of thousand images.
    """
    name, at, moment = reference.rpartition("@")  # the last "@": one before it belongs to a path
    if not at or (is_file_reference(reference) and ".py:" in moment):  # an @ in the path of a file
        return reference, None
    parsed = GeneratorId.parse(reference)
    if not parsed.kimg:
        raise InputError(f"generator {quoted(reference)}: a snapshot is named by thousands of images, e.g. {name}@24k")
    return parsed.base, parsed.kimg


def inverted_generator(reference: str) -> tuple[str, str]:
    """Split "edit:dcgan" into itself and "dcgan"; "edit" is "edit:stylegan-lite"; the second of others is empty.

    Raises:
        InputError: the generator behind the colon cannot be inverted.
    """
    family, _, name = reference.partition(":")
    if family not in _INVERTING:
        return reference, ""
    whole = f"{family}:{name or _INVERTED}"
    known = [each.partition(":")[2] for each in GENERATORS.names() if each.startswith(f"{family}:")]
    if whole.partition(":")[2] not in known:
        raise InputError(
            f"generator {quoted(reference)}: {short(name)} cannot be inverted; name {' or '.join(known)}, which make a "
            "face from a latent alone, in one pass: no labels, no photo, no steps"
        )
    return whole, whole.partition(":")[2]


def base_name(label: str) -> str:
    """The training that a generator comes from: "dcgan" for "dcgan" and for "dcgan@24k"."""
    return GeneratorId.parse(label).base


def short_name(reference: str) -> str:
    """Return the short form of a registered name or a `path/to/file.py:Class`: the name, or the class in lower case."""
    return reference.rpartition(":")[2].lower() if is_file_reference(reference) else reference


def source_name(source: str) -> str:
    """Return a source without its path: fairface of fairface:photos and of photos/fairface, mine of my.py:Mine."""
    # A file: the class names it, as with detectors and generators.
    if is_file_reference(source):
        return source.rpartition(".py:")[2].partition(":")[0].lower()
    # the part before a colon is a kind of source, without one it is a path
    name = source.partition(":")[0] if ":" in source else Path(source).name
    return name or source


def safe_name(text: str) -> str:
    """A name that every file system takes: other characters become `-`."""
    # Letters of any script stay; what is stripped would hide a file (.) or look like a flag (-).
    allowed = re.sub(r"[^\w.+@-]+", "-", text).strip("-.")
    # In bytes of UTF-8, as file systems count (at most 255): 100 leave room for endings. A letter that is cut in half
    # is dropped, and the cut may bare a "-" again.
    return allowed.encode()[:_NAME_BYTES].decode(errors="ignore").rstrip("-.") or "run"
